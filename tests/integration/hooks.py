"""What the tests of hooks share: logins at a POP or IMAP server.

    address = next(clients)
    took_s = login(space, mailclient.pop3, address, "alice", "sesame")
    with pytest.raises(REFUSED):
        login(space, mailclient.imap, address, "alice", "wrong")
"""

import imaplib
import ipaddress
import itertools
import poplib
import time

import daemon

CLIENT6 = "fd00:beef::5"
REFUSED = (poplib.error_proto, imaplib.IMAP4.error)
ROUNDS = 3
# A new one for each login.
clients = (str(ipaddress.IPv4Address("127.1.0.1") + n)
           for n in itertools.count())


def login(space, protocol, *who):
    """Seconds until the client knew; REFUSED when it is."""
    begin = time.monotonic()
    session = protocol(space, *who)
    took = time.monotonic() - begin
    end(session)
    return took


def end(session):
    session.quit() if isinstance(session, poplib.POP3) else session.logout()


def times(dracd, log_in, figures):
    """
    The seconds of log_in() while dracd is up, absent (the best of ROUNDS
    each), and stopped. After that it is up again.
    """
    def best():
        return min(log_in() for _ in range(ROUNDS))

    took = {"up": best()}
    dracd.stop()
    try:
        took["absent"] = best()
    finally:
        dracd.start()
    with daemon.hanging(dracd.process):
        took["stopped"] = log_in()
    figures("a login takes %.1f ms, %+.1f with dracd absent, %+.1f stopped" % (
        took["up"] * 1000, (took["absent"] - took["up"]) * 1000,
        (took["stopped"] - took["up"]) * 1000))
    return took

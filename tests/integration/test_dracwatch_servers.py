"""
dracwatch reads what real servers log by syslog(3). The file is written here,
as a syslog daemon does it, from what has come to the /dev/log of the space.
"""

import imaplib
import os
import poplib
import re

import pytest

import accounts
import courier
import daemon
import dracwatch
import mailclient
import mailutils
import popa3d
import servers
import solid_pop3d

SOCKET = "/run/dracd/rpc.sock"
LOG = "/var/log/mail.log"
CLIENT, CLIENT6, STRANGER = "127.0.1.1", "fd00:beef::5", "127.0.1.2"
REFUSED = (poplib.error_proto, imaplib.IMAP4.error)
POP3, IMAP = mailclient.pop3, mailclient.imap

# name: sets, how it starts, protocols, clients, line of a login, can it be
# watched?
SERVERS = {
    "popa3d": (["popa3d"], popa3d.standalone, [POP3], [CLIENT],
               "Authentication passed", True),
    "popa3d-tcpserver": (["popa3d", "qmail"], popa3d.inetd, [POP3], [CLIENT],
                         "Authentication passed", False),
    "courier": (["courier"], courier.start, [POP3, IMAP], [CLIENT, CLIENT6],
                "LOGIN, user=", True),
    "solid-pop3d": (["solid-pop3d"], solid_pop3d.standalone, [POP3],
                    [CLIENT, CLIENT6], "authenticated - ", True),
    "mailutils": (["mailutils"], mailutils.standalone, [POP3],
                  [CLIENT, CLIENT6], "logged in with mailbox", False),
}


def syslog(space, start, end):
    """What a syslog daemon would have written of the log of the space."""
    with open(space.path(LOG), "a") as file:
        for line in space.log.lines[start:end]:
            stamp, rest = re.fullmatch(r"<\d+>(.{15}) (.*?)\n?", line,
                                       re.DOTALL).groups()
            file.write(f"{stamp} relay {rest}\n")


@pytest.mark.parametrize("name", SERVERS)
def test_server(name, build, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    sets, start, protocols, clients, login, watched = SERVERS[name]
    with servers.Space(*sets) as space:
        accounts.make(space)
        space.path("/run/dracd").mkdir()
        dracd = daemon.Dracd(build, tmp_path, prefix=space.attached(),
                             listen=[f"unix:{SOCKET}"])
        dracd.unix = str(space.path(SOCKET))
        dracd.start()
        watch = dracwatch.Watch(build, space, tmp_path, f"file:{LOG}").start()
        try:
            start(space)
            with pytest.raises(REFUSED):
                POP3(space, STRANGER, accounts.USER, "wrong")
            at = 0
            for protocol in protocols:
                for client in clients:
                    before = len(space.log.find(re.escape(login)))
                    session = protocol(space, client, accounts.USER,
                                       accounts.PASSWORD)
                    session.quit() if protocol is POP3 else session.logout()
                    servers.wait_until(
                        lambda: len(space.log.find(re.escape(login))) > before,
                        f"a line with \"{login}\"")
                    end = len(space.log.lines)
                    syslog(space, at, end)
                    at = end
                    expect(dracd, watch, client, protocol, watched)
        finally:
            watch.close()
            dracd.finish()


def expect(dracd, watch, client, protocol, watched):
    """Whether this login is the only entry, and then none."""
    def table():
        with dracd.client("unix") as connection:
            return connection.table()

    if not watched:
        watch.stop()            # which reads the rest
        assert table() == {}
        watch.start()
        return
    servers.wait_until(table, f"{client} is authorized")
    with dracd.client("unix") as connection:
        entry = connection.query(client)[1]
        assert (entry.user, entry.service) == (
            accounts.USER, "pop3" if protocol is POP3 else "imap")
        assert len(connection.table()) == 1
        connection.remove(client)

"""A mail client in a Space: logs in to whatever listens on 110 and 143.

    mailclient.pop3(space, "127.0.0.5", "alice", "sesame").quit()

comes from 127.0.0.5. An IPv6 client connects to fd00:beef::7, another one to
127.0.0.1.
"""

import imaplib
import poplib
import socket

POP3_PORT = 110
IMAP_PORT = 143
TIMEOUT_S = 20


def pop3(space, address, user, password):
    """A session that has logged in; poplib.error_proto when it may not."""
    session = _Pop3(space, address)
    try:
        session.user(user)
        session.welcome = session.pass_(password)
    except poplib.error_proto:
        session.close()
        raise
    return session


def imap(space, address, user, password):
    """The same; imaplib.IMAP4.error when it may not."""
    session = _Imap(space, address)
    try:
        session.login(user, password)
    except imaplib.IMAP4.error:
        session.shutdown()
        raise
    return session


def _connect(space, address, port):
    to = "fd00:beef::7" if ":" in address else "127.0.0.1"
    with space.network():
        return socket.create_connection((to, port), TIMEOUT_S, (address, 0))


class _Pop3(poplib.POP3):
    def __init__(self, space, address):
        self._create_socket = lambda _: _connect(space, address, POP3_PORT)
        super().__init__("server", timeout=TIMEOUT_S)


class _Imap(imaplib.IMAP4):
    def __init__(self, space, address):
        self._create_socket = lambda _: _connect(space, address, IMAP_PORT)
        super().__init__("server", timeout=TIMEOUT_S)

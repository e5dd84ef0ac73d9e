"""
socketmap: lookups as an MTA makes them, with a raw socket; and a daemon that
answers them by unix and TCP.
"""

import socket

import pytest

from daemon import free_port
from rpcraw import OK

NOTFOUND = b"9:NOTFOUND ,"
CLOSED_S = 10.0
REQUEST_MAX = 512


def netstring(text):
    data = text.encode() if isinstance(text, str) else text
    return b"%d:%s," % (len(data), data)


def found(expiry):
    return netstring("OK %d" % expiry)


class Mta:
    """A connection of an MTA: a path, or an address and a port."""

    def __init__(self, place, source=None):
        if isinstance(place, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(CLOSED_S)
            self.sock.connect(place)
        else:
            self.sock = socket.create_connection(
                place, CLOSED_S, source and (source, 0))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def read(self, size):
        """So many bytes, fewer at the end of file."""
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                break
            data += piece
        return data

    def answer(self):
        """The next netstring as it is; b"" at the end of file."""
        head = b""
        while not head.endswith(b":"):
            byte = self.sock.recv(1)
            if not byte:
                return head
            head += byte
        return head + self.read(int(head[:-1]) + 1)

    def ask(self, key, name="drac"):
        self.sock.sendall(netstring("%s %s" % (name, key)))
        return self.answer()

    def closed(self, timeout=CLOSED_S):
        """Whether the other side closes it, within the timeout."""
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True
        except (socket.timeout, BlockingIOError):
            return False

    def lives(self):
        try:
            return self.ask("192.0.2.99") == NOTFOUND
        except (ConnectionResetError, BrokenPipeError):
            return False


@pytest.fixture
def daemon(dracd):
    """With lookups by unix and TCP; not started."""
    made = dracd()
    made.lookup_tcp = ("127.0.0.1", free_port())
    made.settings["lookup"] = ["unix:" + made.lookup,
                               "tcp:127.0.0.1:%d" % made.lookup_tcp[1]]
    return made


@pytest.fixture(params=["unix", "tcp"])
def place(daemon, request):
    return daemon.lookup if request.param == "unix" else daemon.lookup_tcp


def add(daemon, address, lifetime=0):
    with daemon.client("unix") as client:
        status, expiry = client.add3(address, lifetime)
    assert status == OK
    return expiry


def stats(daemon):
    with daemon.client("unix") as client:
        return client.stats()

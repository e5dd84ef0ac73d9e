"""dracctl: runs the command of a build; and a server that is hostile."""

import contextlib
import json
import os
import pathlib
import pty
import socket
import struct
import subprocess
import termios
import threading

import pytest

import rpcraw
from daemon import SANITIZER

USAGE, DATAERR, NOINPUT, UNAVAILABLE, IOERR, NOPERM = 64, 65, 66, 69, 74, 77
TIMEOUT_S = 60


class Ctl:
    """ctl("list", "-H") -> CompletedProcess, in text."""

    def __init__(self, build, server):
        self.program = str(pathlib.Path(build).resolve() / "dracctl")
        self.server = server

    def command(self, *args):
        return [self.program, "-s", self.server, *map(str, args)]

    def __call__(self, *args, text=None, stdout=subprocess.PIPE):
        done = subprocess.run(
            self.command(*args), input=text, stdout=stdout,
            stderr=subprocess.PIPE, encoding="utf-8", timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL if text is None else None, check=False)
        assert not SANITIZER.search(done.stderr), done.stderr
        return done

    def well(self, *args, **options):
        """Its output; it must succeed and have nothing to say."""
        done = self(*args, **options)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def rows(self, *args):
        return [line.split() for line in self.well(*args).splitlines()]

    def objects(self, *args):
        return [json.loads(line) for line in self.well(*args).splitlines()]

    def on_terminal(self, *args, width=80, typed=""):
        """(exit status, what a terminal of that width shows)"""
        outer, inner = pty.openpty()
        termios.tcsetwinsize(inner, (24, width))
        with subprocess.Popen(self.command(*args), stdin=inner, stdout=inner,
                              stderr=inner) as process:
            os.close(inner)
            os.write(outer, typed.encode())
            shown = b""
            try:
                while True:
                    shown += os.read(outer, 65536)
            except OSError:     # the other side is closed
                pass
        os.close(outer)
        return process.returncode, shown.decode()


def entry(address, expiry, user=b"", service=b"", caller=b""):
    return (rpcraw.opaque(rpcraw.packed(address)) + struct.pack(">q", expiry) +
            rpcraw.opaque(user) + rpcraw.opaque(service) +
            struct.pack(">qqQ", 0, 0, 1) + rpcraw.opaque(caller))


class Hostile(threading.Thread):
    """A server on a local socket that answers each procedure with bytes."""

    def __init__(self, path, answers):
        super().__init__(daemon=True)
        self.answers = answers
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen()
        self.start()

    def close(self):
        self.socket.close()

    def run(self):
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            with contextlib.suppress(OSError):      # it has gone
                self.serve(connection)

    def serve(self, connection):
        with connection, connection.makefile("rwb") as file:
            while True:
                mark = file.read(4)
                if len(mark) < 4:
                    return
                length = struct.unpack(">I", mark)[0] & ~rpcraw.LAST_FRAGMENT
                message = file.read(length)
                procedure = struct.unpack_from(">I", message, 20)[0]
                file.write(rpcraw.record(
                    message[:4] + struct.pack(">IIIII", 1, 0, 0, 0, 0) +
                    self.answers[procedure]))
                file.flush()


# ---- fixtures --------------------------------------------------------------

@pytest.fixture
def daemon(dracd):
    return dracd().start()


@pytest.fixture
def ctl(build, daemon):
    return Ctl(build, "unix:" + daemon.unix)


@pytest.fixture
def three(ctl):
    """Three entries; the last added is the first to expire."""
    ctl.well("add", "192.0.2.7", "--for", "2h", "--user", "alice b",
             "--service", "imap")
    ctl.well("add", "2001:db8::1", "--for", "30m", "--user", "bob")
    ctl.well("add", "192.0.2.130", "--for=90", "--user", "Zoë")
    return ctl

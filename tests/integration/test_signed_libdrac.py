"""
Signed calls by libdrac: to a dracd that demands them, with keys that are no
good, and to servers that lie, which are a thread of this test. The default key
file, on two hosts: test_signed_hosts.py.
"""

import contextlib
import socket
import struct
import subprocess
import threading

import pytest

import rpcraw
import signing
from signing import BOTH, NAME, PLACES, SECRET, keyed, listed


def libdrac(tool, server, *steps, budget_ms=2000):
    """[(result, ms, text)] of each step."""
    done = subprocess.run(
        [tool("libdrac_calls"), server, str(budget_ms), *map(str, steps)],
        capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [(int(result), float(ms), text) for result, ms, text in rows]


def url(host, port, key=None, name=NAME, options=""):
    host = "[%s]" % host if ":" in host else host
    return "drac://%s@%s:%d%s%s" % (name, host, port,
                                   "?key=%s" % key if key else "", options)


@PLACES
@pytest.mark.parametrize("options", ["", "&tcp"])
def test_libdrac_signs_and_is_answered(keyed, tool, tmp_path, host, options):
    server = url(host, keyed.port, tmp_path / "pop1.key", options=options)
    rows = libdrac(tool, server, "add", "192.0.2.7", 60, "joe", "pop3",
                   "query", "192.0.2.7", "list", 32, "stats", 4,
                   "add", "192.0.2.8", 0, "", "", "remove", "192.0.2.8",
                   "remove", "192.0.2.8")
    assert [row[0] for row in rows] == [0, 0, 0, 0, 0, 0, 4], rows
    assert listed(keyed) == {"192.0.2.7"}
    for address in "192.0.2.9", "2001:db8::9":          # versions 1 and 2
        subprocess.run([tool("draccall"), server, address], check=True)
    assert listed(keyed) == {"192.0.2.7", "192.0.2.9", "2001:db8::9"}
    assert "deny" not in keyed.stderr


def test_libdrac_by_tcp_alone(dracd, tool):
    daemon = dracd()
    daemon.allow.write_text("127.0.0.1 tcp\n")
    daemon.start()
    add = "add", "192.0.2.7", 60, "joe", "pop3"
    udp, tcp = ("drac://127.0.0.1:%d%s" % (daemon.port, end)
                for end in ("", "?tcp"))
    assert libdrac(tool, udp, *add)[0][0] == 1
    assert libdrac(tool, tcp, *add)[0][0] == 0


@pytest.mark.parametrize("text, mode, name, message", [
    ("y" * 40, 0o600, NAME, "Invalid client verifier; key pop1"),
    ("y" * 40, 0o600, "nobody", "Server rejected credential; key nobody"),
    (NAME + " " + SECRET, 0o600, "other", "it has key pop1, not other"),
    (SECRET, 0o644, NAME, "chmod"), ("short", 0o600, NAME, "5 characters"),
    (None, 0o600, NAME, "No such file")])
def test_libdrac_with_a_bad_key(keyed, tool, tmp_path, text, mode, name,
                                message):
    file = tmp_path / "client.key"
    if text is not None:
        signing.write_key(file, text, mode)
    server = url("127.0.0.1", keyed.port, file, name)
    result, ms, said = libdrac(tool, server, "add", "192.0.2.7", 60, "", "")[0]
    assert result == -1 and message in said and ms < 1000
    if text is None or mode != 0o600 or name == "other":
        assert str(file) in said
    classic = subprocess.run([tool("draccall"), server, "192.0.2.7"],
                             capture_output=True, text=True)
    assert classic.returncode == 1 and message in classic.stderr
    assert listed(keyed) == set()


class Liar:
    """A server of version 3 on loopback whose answers go through `lie`."""

    def __init__(self, transport, lie):
        self.lie, self.calls = lie, []
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        self.sock = socket.socket(socket.AF_INET, kind)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(10)
        self.port = self.sock.getsockname()[1]
        if transport == "tcp":
            self.sock.listen()
        self.thread = threading.Thread(
            target=self.serve_udp if transport == "udp" else self.serve_tcp)
        self.thread.start()

    def answer(self, call):
        """Its own honest answer, changed by lie(reply, MAC of the call)."""
        self.calls.append(call)
        cred = struct.unpack_from(">I", call, 28)[0]
        at = 32 + cred + 8
        tag = call[at:at + 32]
        reply = call[:4] + struct.pack(">IIIII", 1, 0, 0, 0, 0) + \
            struct.pack(">Iq", 0, 2000000000)
        return self.lie(reply, tag)

    def serve_udp(self):
        with contextlib.suppress(OSError):
            call, peer = self.sock.recvfrom(2000)
            self.sock.sendto(self.answer(call), peer)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            peer, _ = self.sock.accept()
            with peer:
                peer.settimeout(10)
                call = peer.recv(2000)[4:]
                peer.sendall(rpcraw.record(self.answer(call)))
                peer.recv(1)

    def close(self):
        self.thread.join(15)
        self.sock.close()


def honest(reply, tag):
    return signing.sign_reply(reply, tag)


def altered(reply, tag):
    """Says that it was refused, or was not, with the signature of another."""
    signed = honest(reply, tag)
    return signed[:-1] + bytes([signed[-1] ^ 1])


LIES = {
    "honest": honest,
    "unsigned": lambda reply, tag: reply,
    "another secret": lambda reply, tag:
        signing.sign_reply(reply, tag, "z" * 40),
    "to another call": lambda reply, tag:
        signing.sign_reply(reply, bytes(32)),
    "altered": altered,
    "cut": lambda reply, tag: honest(reply, tag)[:-4],
    "longer": lambda reply, tag: honest(reply, tag) + bytes(4),
    "the call's own MAC": lambda reply, tag:
        honest(reply, tag)[:20] + tag + honest(reply, tag)[52:],
    "zeros": lambda reply, tag:
        honest(reply, tag)[:20] + bytes(32) + honest(reply, tag)[52:],
    "only a header": lambda reply, tag: reply[:12],
    "a short verifier": lambda reply, tag:
        reply[:12] + struct.pack(">II", signing.FLAVOR, 0) + reply[20:],
}


@BOTH
@pytest.mark.parametrize("lie", LIES)
def test_libdrac_believes_only_signed_answers(build, tool, tmp_path,
                                              transport, lie):
    liar = Liar(transport, LIES[lie])
    server = url("127.0.0.1", liar.port,
                 signing.write_key(tmp_path / "pop1.key"),
                 options="&tcp" if transport == "tcp" else "")
    result, ms, said = libdrac(tool, server, "add", "192.0.2.7", 60, "", "")[0]
    liar.close()
    if lie == "honest":
        assert (result, said) == (0, "2000000000")
    else:
        assert result == -1 and said == (
            "127.0.0.1:%d: the server's answer is not signed by key pop1" %
            liar.port), said
        assert ms < 1500

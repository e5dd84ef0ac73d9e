"""
Errors that no other test has for its subject: a start in the background, too
few descriptors, an rpcbind with bad manners, a server that is DRAC 1.12,
nowhere to sort.
"""

import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading

import pytest

import dracctl
import rpcraw
from daemon import START_S, STOP_S, free_port, wait_for
from rpcraw import ADD_SUCCESS
from servers import Space

HERE = pathlib.Path(__file__).resolve().parent
PEER = HERE / "libdrac_peer.py"
UNAVAILABLE = 69


# ---- in the background --------------------------------------------------------

def in_background(daemon):
    """The end of the process that was started, not of the daemon."""
    daemon.write_config()
    command = [word for word in daemon.command() if word != "-f"]
    return subprocess.run(command, capture_output=True, text=True, check=False,
                          env=daemon.environment(), timeout=START_S)


def peer_pid(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        return struct.unpack("3i", sock.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def is_gone(pid):
    try:
        stat = pathlib.Path("/proc/%d/stat" % pid).read_text()
        return stat.rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_background(dracd):
    """The one who started it hears that it serves; nothing of his is kept."""
    daemon = dracd()
    done = in_background(daemon)
    assert (done.returncode, done.stdout) == (0, ""), done
    pid = peer_pid(daemon.unix)
    try:
        with daemon.client("unix") as client:
            assert client.add1("192.0.2.1") == ADD_SUCCESS
        proc = pathlib.Path("/proc/%d" % pid)
        assert os.readlink(proc / "cwd") == "/"
        assert {os.readlink(proc / "fd" / n) for n in "012"} == {"/dev/null"}
        assert os.getsid(pid) == pid
        again = in_background(dracd("other", listen=["unix:" + daemon.unix]))
        assert again.returncode == UNAVAILABLE
        assert "is another dracd running?" in again.stderr
    finally:
        os.kill(pid, 15)
        wait_for(lambda: is_gone(pid), STOP_S, "the end")
    assert not os.path.exists(daemon.unix)


# ---- descriptors ----------------------------------------------------------------

def limit_of(daemon):
    text = pathlib.Path("/proc/%d/limits" % daemon.process.pid).read_text()
    return [int(n) for n in
            re.search(r"Max open files +(\d+) +(\d+)", text).groups()]


def test_descriptors_are_asked_for(dracd):
    daemon = dracd(max_connections=200, prefix=["prlimit", "--nofile=100:300"])
    daemon.start()
    assert limit_of(daemon) == [264, 300]
    assert "descriptors allowed" not in daemon.stderr


@pytest.mark.parametrize("most, connections", [(100, 64), (150, 86)])
def test_too_few_descriptors(dracd, most, connections):
    if os.geteuid() != 0:
        pytest.skip("needs root, to give up the right to raise limits")
    daemon = dracd(max_connections=200, prefix=[
        "setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource",
        "prlimit", "--nofile=%d:%d" % (most // 2, most)])
    daemon.start()
    assert "only %d descriptors allowed: max-connections=%d" % (
        most, connections) in daemon.stderr
    assert limit_of(daemon)[0] == most


# ---- rpcbind --------------------------------------------------------------------

class Rpcbind(threading.Thread):
    """One that answers each call with these bytes after the xid, or closes."""

    def __init__(self, path, answer):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.answer, self.ended = answer, 0

    def run(self):
        while True:
            client, _ = self.listener.accept()
            with client:
                while True:
                    call = client.recv(4096)
                    if not call:
                        self.ended += 1     # by dracd, not by us
                        break
                    if self.answer is None:
                        break
                    if self.answer:
                        client.sendall(self.answer[:4] + call[4:8] +
                                       self.answer[4:])


def reply(*words):
    return struct.pack(">%dI" % (len(words) + 1),
                       0x80000000 | 4 * (len(words) + 1), *words)


NO = reply(1, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("answer, said", [
    (None, ""), (b"", ""), (reply(7), ""), (struct.pack(">I", 0x8fffffff), ""),
    (reply(1, 1, 1, 0), ""),
    (NO, "rpcbind keeps another address for program 900101")],
    ids=["closes", "silent", "junk", "huge", "denied", "no"])
def test_bad_rpcbind(dracd, answer, said):
    """It serves all the same, and lets go of the connection."""
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    with Space() as space:
        daemon = dracd(rpcbind=True, prefix=[
            "nsenter", "-t", str(space.pid), "-m", "-n", "--",
            "unshare", "--mount", "--propagation", "private", "sh", "-c",
            'mount -t proc proc /proc && exec "$@"', "sh"])
        rpcbind = Rpcbind(str(space.path("/run/rpcbind.sock")), answer)
        rpcbind.start()
        daemon.start()
        with daemon.client("unix") as client:
            assert client.add1("192.0.2.1") == ADD_SUCCESS
        # Once by the unset at start, and once by a round.
        wait_for(lambda: answer is None or rpcbind.ended > 1, 15, "the end")
        wait_for(lambda: said in daemon.stderr, 5, said)
        daemon.stop()


# ---- dracctl ----------------------------------------------------------------------

@pytest.fixture
def old_server(build):
    """dracctl and a server that knows versions 1 and 2 only."""
    where = "127.0.0.1:%d" % free_port()
    peer = subprocess.Popen(
        [sys.executable, PEER, "versions=1-2", "udp:" + where, "tcp:" + where],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert peer.stdout.readline() == "ready\n"
    yield dracctl.Ctl(build, where)
    peer.kill()
    peer.communicate()


def test_dracctl_and_an_old_server(old_server):
    text = old_server.well("add", "192.0.2.1")
    assert "192.0.2.1 may relay" in text and "is DRAC 1.12" in text
    assert "answers, as DRAC 1.12" in old_server.well("ping")
    for verb in ("list",), ("query", "192.0.2.1"), ("remove", "192.0.2.1"):
        done = old_server(*verb)
        assert done.returncode == dracctl.UNAVAILABLE and done.stderr, done


def test_dracctl_has_no_room_to_sort(build, dracd):
    """A list that does not fit into its memory, and not into a file either."""
    daemon = dracd().start()
    with daemon.client("unix") as client:
        for i in range(14000):
            assert client.add3("10.0.%d.%d" % divmod(i, 256), 3600, "u" * 250,
                               "s" * 30)[0] == rpcraw.OK
    done = subprocess.run(
        ["sh", "-c", 'trap "" XFSZ; exec prlimit --fsize=1000000 "$@"', "sh",
         *dracctl.Ctl(build, "unix:" + daemon.unix).command("list")],
        capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (dracctl.IOERR, "")
    assert "cannot sort in a temporary file: File too large" in done.stderr

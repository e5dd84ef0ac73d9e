"""
dracctl: what is wrong: the command line, the server, the caller, the output; and
servers that are hostile to the terminal.
"""

import os
import re
import shutil
import struct
import subprocess
import tempfile

import pytest

import dracctl
import rpcraw
from dracctl import IOERR, NOPERM, UNAVAILABLE, USAGE, ctl, daemon, three

NOBODY = 65534


# ---- what is wrong -------------------------------------------------------------

@pytest.mark.parametrize("line, word", [
    ("", "no verb"), ("frobnicate", "frobnicate"), ("-x list", "-x"),
    ("-s", "-s"), ("list --frob", "--frob"), ("list -x", "-x"),
    ("list 192.0.2.1/24", "192.0.2.1/24"), ("list host.example", "host"),
    ("list 192.0.2.0/33", "192.0.2.0/33"), ("list 10.0.0.0/8 x", "x"),
    ("list --user", "--user"), ("list --yes", "--yes"),
    ("query", "query"), ("query host", "host"), ("query -H", "query"),
    ("add", "add"), ("add 192.0.2", "192.0.2"), ("add 192.0.2.1 -H", "-H"),
    ("add --for 0 192.0.2.1", "0"), ("add --for 367d 192.0.2.1", "367d"),
    ("add --for 1w 192.0.2.1", "1w"), ("add --for -1 192.0.2.1", "-1"),
    ("add --for 99999999999999999999d 192.0.2.1", "999"),
    ("remove", "remove"), ("remove 192.0.2.1 x", "x"),
    ("remove --user a 192.0.2.1", "remove"), ("remove --user=", "--user"),
    ("flush all", "all"), ("flush", "--yes"),
    ("stats --json --openmetrics", "either"), ("stats x", "x"),
    ("watch x", "x"), ("ping x", "x"), ("export x", "x"),
    ("import a b", "b"), ("-s [bad list", "[bad")])
def test_wrong_lines(three, line, word):
    """Nothing is asked and nothing changed: one line, status 64."""
    done = subprocess.run(
        [three.program, *line.split()], capture_output=True, text=True,
        stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr.count("\n") == 1 and word in done.stderr
    assert done.stderr.startswith("dracctl: ")
    if not line.startswith("-"):
        done = three(*line.split())
        assert done.returncode == USAGE
    assert len(three.rows("list", "-H")) == 3


def test_arguments_that_the_server_refuses(ctl):
    done = ctl("add", "192.0.2.1", "--user", "a\tb")
    assert done.returncode == USAGE and "192.0.2.1" in done.stderr
    done = ctl("add", "192.0.2.1", "--user", "u" * 256)
    assert done.returncode == USAGE and "255" in done.stderr
    done = ctl("add", "224.0.0.1")
    assert done.returncode == NOPERM and "224.0.0.1" in done.stderr


ASKS = [["list"], ["query", "192.0.2.1"], ["add", "192.0.2.1"],
        ["remove", "192.0.2.1"], ["remove", "--user", "a"],
        ["flush", "--yes"], ["stats"], ["watch"], ["ping"], ["export"]]


@pytest.mark.parametrize("words", ASKS, ids=" ".join)
def test_server_down(build, tmp_path, words):
    ctl = dracctl.Ctl(build, "unix:%s" % (tmp_path / "none"))
    done = ctl(*words)
    assert done.returncode == UNAVAILABLE
    assert done.stderr.count("\n") == 1 and ctl.server in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be others")
def test_a_stranger_is_refused(build, dracd):
    """A local user outside the group: 77, whatever he asks."""
    with tempfile.TemporaryDirectory() as place:    # pytest's are 0700
        os.chmod(place, 0o755)
        daemon = dracd()
        daemon.settings["listen"].append("unix:%s/rpc.sock" % place)
        daemon.start()
        ctl = dracctl.Ctl(build, "unix:%s/rpc.sock" % place)
        ctl.well("add", "192.0.2.2", "--user", "a")
        ctl.program = shutil.copy(ctl.program, place)
        for words in ASKS:
            done = subprocess.run(
                ["setpriv", "--regid", str(NOBODY), "--reuid", str(NOBODY),
                 "--clear-groups", *ctl.command(*words)],
                capture_output=True, text=True)
            assert done.returncode == NOPERM, (words, done)
            assert "192.0.2.2" not in done.stdout
        assert len(ctl.rows("list", "-H")) == 1
        daemon.stop()


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["stats"],
                                   ["export"], ["query", "192.0.2.7"],
                                   ["--help"]], ids=" ".join)
def test_full_output(three, words):
    with open("/dev/full", "w") as full:
        assert three(*words, stdout=full).returncode == IOERR


# ---- a hostile server ------------------------------------------------------------

ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\n\t\x7f\u009b31m".encode() + b"\xff"
TURNED = "a\u202eb\u2066c\u200b".encode()


@pytest.fixture
def hostile(build, tmp_path):
    path = str(tmp_path / "hostile")
    one = dracctl.entry("192.0.2.1", 4000000000, ESCAPES, b"\x1b[31m",
                        b"\x1bc\x9b")
    two = dracctl.entry("192.0.2.2", 4000000001, TURNED)
    page = struct.pack(">II", 0, 2)
    counter = rpcraw.opaque(b"a\x1b[2J\n") + struct.pack(">Q", 1)
    event = struct.pack(">Iq", 77, 0) + one
    server = dracctl.Hostile(path, {
        rpcraw.LIST: page + one + two + struct.pack(">Q", 0),
        rpcraw.QUERY: struct.pack(">I", 0) + one,
        rpcraw.STATS: struct.pack(">II", 0, 1) + counter,
        6: struct.pack(">II", 0, 1) + event + struct.pack(">QQ", 1, 0),
    })
    yield dracctl.Ctl(build, "unix:" + path)
    server.close()


@pytest.mark.parametrize("words", [
    ["list"], ["list", "--json"], ["query", "192.0.2.1"], ["stats"],
    ["query", "192.0.2.1", "--json"], ["stats", "--json"], ["export"],
    ["stats", "--openmetrics"]], ids=" ".join)
def test_nothing_reaches_the_terminal(hostile, words):
    shown = hostile.well(*words)
    assert re.search("[\0-\x08\x0b-\x1f\x7f-\x9f]", shown) is None
    if "--json" not in words and words[0] != "export":
        assert re.search("[\u200b-\u200f\u2028-\u202e\u2060-\u206f\t]",
                         shown) is None
    assert all("owned" not in line or "192.0.2.1" in line
               for line in shown.splitlines())


def test_nothing_reaches_the_terminal_by_events(hostile):
    for args in ([], ["--json"]):
        process = subprocess.Popen(hostile.command("watch", *args),
                                   stdout=subprocess.PIPE)
        lines = [process.stdout.readline() for _ in range(3)]
        process.kill()
        process.communicate()
        for line in lines:
            assert re.search(b"[\0-\x09\x0b-\x1f\x7f]", line) is None, line
            assert b"192.0.2.1" in line

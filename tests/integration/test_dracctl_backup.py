"""dracctl export and import: between hosts, from DRAC 1.12, and what is bad."""

import subprocess
import time

import pytest

import dracctl
from dracctl import DATAERR, NOINPUT, NOPERM, UNAVAILABLE, ctl, daemon

NOW = int(time.time())
LATER = NOW + 3600
HEADER = "# dracctl export 1\n"
NAMES = ["alice", "al ice", "DOMAIN\\bob", "\"quoted\"", "Zoë", "# end", "",
         "=x,y;|z", "u" * 255]


def tally(added=0, expired=0, refused=0, unreadable=0):
    return "added %d, expired %d, refused %d, unreadable %d\n" % (
        added, expired, refused, unreadable)


def kept(client):
    """What import can set."""
    return {e.address: (e.expiry, e.user, e.service)
            for e in client.table().values()}


def dump(path, *args):
    return subprocess.run(["db5.3_dump", *args, str(path)], text=True,
                          stdout=subprocess.PIPE, check=True).stdout


def make_map(path, kind, *pairs):
    subprocess.run(["db5.3_load", "-T", "-t", kind, str(path)], text=True,
                   input="".join("%s\n" % item for item in pairs), check=True)


# ---- round trips ---------------------------------------------------------------

def test_from_host_to_host(ctl, build, daemon, dracd):
    for i, name in enumerate(NAMES):
        ctl.well("add", "198.51.100.%d" % i, "--for", "%dm" % (i + 1),
                 "--user", name, "--service", "imap" if i % 2 else "")
    ctl.well("add", "2001:db8::1", "--for", "366d")
    text = ctl.well("export")
    assert text.startswith(HEADER)
    assert text.endswith("\n# end entries=%d\n" % (len(NAMES) + 1))

    new = dracd("new").start()
    there = dracctl.Ctl(build, "unix:" + new.unix)
    assert there.well("import", text=text) == tally(added=len(NAMES) + 1)
    with daemon.client() as a, new.client() as b:
        old, got = kept(a), kept(b)
    assert old.keys() == got.keys()
    for address, entry in old.items():
        assert abs(got[address][0] - entry[0]) <= 1
        assert got[address][1:] == entry[1:]
    # Twice does no harm.
    assert there.well("import", text=text) == tally(added=len(NAMES) + 1)
    assert len(there.rows("list", "-H")) == len(NAMES) + 1


def test_export_format(ctl):
    ctl.well("add", "192.0.2.1", "--user", "a b", "--service", "pop3")
    ctl.well("add", "192.0.2.1", "--user", "a b", "--service", "pop3")
    entry = ctl.objects("query", "--json", "192.0.2.1")[0]
    lines = ctl.well("export").splitlines()
    assert lines[1].split("\t") == [str(entry[key]) for key in (
        "address", "expiry", "user", "service", "first", "last", "adds",
        "caller")]
    assert entry["adds"] == 2 and len(lines) == 3


def test_from_a_file(ctl, tmp_path):
    path = tmp_path / "backup"
    path.write_text(ctl.well("export"))
    assert ctl.well("import", path) == tally()
    assert ctl.well("import", "-", text="192.0.2.1\t%d\n" % LATER) == tally(1)
    done = ctl("import", tmp_path / "none")
    assert done.returncode == NOINPUT and str(tmp_path / "none") in done.stderr


@pytest.mark.parametrize("kind, nul", [("btree", ""), ("hash", "\\00")])
def test_a_map_of_drac(ctl, daemon, tmp_path, kind, nul):
    """As DRAC 1.12 wrote them; a hash with NULs as other MTAs want it."""
    path = tmp_path / "old.db"
    make_map(path, kind, *(item + nul for item in (
        "192.0.2.1", str(LATER), "192.0.2.2", str(NOW - 5), "2001:db8::1",
        str(LATER), "::ffff:192.0.2.3", str(LATER))))
    assert ctl.well("import", text=dump(path, "-p")) == tally(3, expired=1)
    with daemon.client() as client:
        got = kept(client)
    assert {"192.0.2.1", "192.0.2.3", "2001:db8::1"} == got.keys()
    assert all(abs(entry[0] - LATER) <= 1 for entry in got.values())


def test_a_map_of_ours(ctl, daemon, build, dracd):
    ctl.well("add", "192.0.2.1", "--for", "1h")
    ctl.well("add", "2001:db8::1", "--for", "2h")
    new = dracd("new").start()
    there = dracctl.Ctl(build, "unix:" + new.unix)
    text = dump(daemon.map_path, "-p")
    assert there.well("import", text=text) == tally(1 + 3)
    with daemon.client() as a, new.client() as b:
        assert kept(a).keys() == kept(b).keys()


# ---- what is bad -----------------------------------------------------------------

def test_a_dump_without_p(ctl, tmp_path):
    path = tmp_path / "old.db"
    make_map(path, "btree", "192.0.2.1", str(LATER))
    done = ctl("import", text=dump(path))
    assert done.returncode == DATAERR
    assert "standard input:2: " in done.stderr and "-p" in done.stderr
    assert done.stdout == tally(unreadable=1)


def test_bad_lines_are_named_and_passed_over(ctl, tmp_path):
    path = tmp_path / "backup"
    path.write_bytes(b"".join(line + b"\n" for line in (
        b"192.0.2.1\t%d" % LATER, b"garbage", b"192.0.2.2\tsoon",
        b"192.0.2.3\t%d\t\xff" % LATER, b"x" * 100000,
        b"192.0.2.4\t%d\t\0" % LATER, b"192.0.2.5\t%d" % (NOW - 1),
        b"192.0.2.6\t%d" % (LATER * 2), b"192.0.2.7\t%d" % LATER)))
    done = ctl("import", path)
    assert (done.returncode, done.stdout) == (
        DATAERR, tally(2, expired=1, unreadable=6))
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "%s:%d" % (path, n) for n in (2, 3, 4, 5, 6, 8)]
    assert {row[0] for row in ctl.rows("list", "-H")} == {"192.0.2.1",
                                                           "192.0.2.7"}


def test_garbage_is_not_a_million_messages(ctl):
    done = ctl("import", text="garbage\n" * 5000)
    assert (done.returncode, done.stdout) == (DATAERR, tally(unreadable=5000))
    assert done.stderr.count("\n") < 30


def test_an_export_that_was_cut_off(ctl):
    for i in range(3):
        ctl.well("add", "192.0.2.%d" % i)
    text = ctl.well("export")
    done = ctl("import", text=text[:text.index("# end")])
    assert (done.returncode, done.stdout) == (DATAERR, tally(3))
    assert "standard input:4: " in done.stderr and "cut off" in done.stderr
    # What grep leaves of one is whole.
    lines = [line for line in text.splitlines() if "192.0.2.1" in line]
    assert ctl.well("import", text="\n".join(lines)) == tally(1)


def test_an_export_of_a_newer_version(ctl):
    done = ctl("import", text="# dracctl export 2\n192.0.2.1\t%d\n" % LATER)
    assert (done.returncode, done.stdout) == (DATAERR, tally(unreadable=1))
    assert "newer" in done.stderr and ctl.rows("list", "-H") == []


def test_what_the_server_refuses(build, dracd):
    daemon = dracd(never=["192.0.2.80"]).start()
    ctl = dracctl.Ctl(build, "unix:" + daemon.unix)
    done = ctl("import", text="".join(
        "%s\t%d\n" % (address, LATER)
        for address in ("192.0.2.1", "192.0.2.80", "192.0.2.2")))
    assert (done.returncode, done.stdout) == (NOPERM, tally(2, refused=1))
    assert "standard input:2: 192.0.2.80" in done.stderr


def test_the_server_ends(build, tmp_path):
    ctl = dracctl.Ctl(build, "unix:%s" % (tmp_path / "none"))
    done = ctl("import", text="192.0.2.1\t%d\n192.0.2.2\t%d\n" % (LATER, LATER))
    assert (done.returncode, done.stdout) == (UNAVAILABLE, tally(refused=1))
    assert "standard input:1: 192.0.2.1" in done.stderr

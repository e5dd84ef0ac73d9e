"""
A daemon's life: how it starts on what it finds, how it stops, what -i, -e and
dbfile do, and that there is never a second one.
"""

import fcntl
import os
import signal
import struct
import subprocess
import time
import zlib

import pytest

import rpcraw
from daemon import wait_for
from rpcraw import ADD_SUCCESS, ADD_SYSERR, OK

HELD = {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
KEYS = {b"192.0.2.1", b"192.0.2.2", b"2001:db8::1", b"2001:db8:0:0:0:0:0:1",
        b"ipv6:2001:db8:0:0:0:0:0:1"}


def fill(daemon):
    """Adds HELD; {key: value} that the map must have from now on."""
    with daemon.client() as client:
        for address in HELD:
            assert client.add3(address, 600, "alice", "pop3")[0] == OK
    return daemon.map()


def check(daemon, expected):
    with daemon.client() as client:
        table = client.table()
        assert set(table) == HELD
        assert {e.user for e in table.values()} == {"alice"}
    assert daemon.map() == expected


# ---- signals ----------------------------------------------------------------

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_clean_stop(dracd, number):
    """Status 0 within a second, map left readable, nothing lost."""
    daemon = dracd().start()
    expected = fill(daemon)
    begin = time.monotonic()
    daemon.process.send_signal(number)
    assert daemon.process.wait(5) == 0
    assert time.monotonic() - begin < 1
    assert daemon.map() == expected
    daemon.start()
    check(daemon, expected)


def test_stop_under_load_and_with_connections(dracd):
    """Calls on their way and open connections delay nothing."""
    daemon = dracd().start()
    with daemon.client("tcp") as idle, daemon.client("tcp") as half, \
            daemon.client("udp") as busy:
        idle.null()
        half.carrier.send_raw(b"\x80\x00")
        for i in range(200):
            busy.carrier.send(rpcraw.call(1, 1, rpcraw.v1_args(
                "198.51.100.%d" % i)))
        assert daemon.stop() < 1
        with pytest.raises(rpcraw.Closed):
            idle.carrier.receive()


def test_signals_are_not_lost(dracd):
    """A hundred HUPs in a row and then TERM: it ends."""
    daemon = dracd().start()
    for _ in range(100):
        daemon.process.send_signal(signal.SIGHUP)
    with daemon.client() as client:
        assert client.add1("192.0.2.1") == ADD_SUCCESS
    daemon.stop()


def test_reload_changes_the_lifetime(dracd):
    daemon = dracd(lifetime="10m").start()
    with daemon.client() as client:
        assert abs(client.add3("192.0.2.1")[1] - time.time() - 600) < 3
        daemon.settings["lifetime"] = "20m"
        daemon.write_config()
        daemon.reload()
        assert abs(client.add3("192.0.2.2")[1] - time.time() - 1200) < 3
        assert abs(client.query("192.0.2.1")[1].expiry - time.time() -
                   600) < 10


def test_idle_daemon_uses_no_time(dracd):
    daemon = dracd().start()
    fill(daemon)

    def cpu_s():
        with open("/proc/%d/stat" % daemon.process.pid) as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu_s()
    time.sleep(1)   # the second over which it is measured
    assert cpu_s() - before < 0.1


# ---- command line -----------------------------------------------------------

def test_initialize(dracd):
    """-i begins with an empty table and map, over whatever is there."""
    daemon = dracd().start()
    fill(daemon)
    daemon.kill9()
    with open(daemon.map_path, "r+b") as file:
        file.write(b"garbage" * 1000)
    daemon.start("-i")
    with daemon.client() as client:
        assert client.table() == {}
    assert daemon.map() == {}
    daemon.stop()
    daemon.start()
    with daemon.client() as client:
        assert client.table() == {}


def test_lifetime_option_wins(dracd):
    daemon = dracd(lifetime="10m").start("-e", "2")
    with daemon.client() as client:
        assert abs(client.add3("192.0.2.1")[1] - time.time() - 120) < 3
        daemon.reload()
        assert abs(client.add3("192.0.2.2")[1] - time.time() - 120) < 3


def test_dbfile_argument(dracd):
    daemon = dracd()
    other = str(daemon.dir / "other.db")
    daemon.start(other)
    with daemon.client() as client:
        assert client.add1("192.0.2.1") == ADD_SUCCESS
    assert not os.path.exists(daemon.map_path)
    daemon.maps[0] = ("btree:" + other, {})
    assert set(daemon.map()) == {b"192.0.2.1"}


@pytest.mark.parametrize("args", [("-e", "0"), ("-e", "soon"), ("-Z",),
                                  ("a", "b")])
def test_bad_usage(dracd, args):
    done = dracd().run(*args)
    assert done.returncode == 64 and done.stderr


def test_old_name(dracd):
    """rpc.dracd, as init scripts call it."""
    daemon = dracd()
    assert (daemon.build / "rpc.dracd").resolve() == daemon.build / "dracd"


@pytest.mark.parametrize("shared", ["journal and map", "map", "address"])
def test_second_instance_is_refused(dracd, shared):
    first = dracd().start()
    expected = fill(first)
    second = dracd("second")
    if "journal" in shared:
        second.settings["journal"] = first.settings["journal"]
    if "map" in shared:
        second.maps = first.maps
    if shared == "address":
        second.settings["listen"] = first.settings["listen"]
    done = second.run()
    assert done.returncode != 0 and done.stderr
    assert first.alive()
    check(first, expected)
    first.kill9()
    first.start()
    check(first, expected)


# ---- what it finds at start -------------------------------------------------

def load_map(path, kind, pairs):
    """A map as another program makes it; 512-byte pages as DRAC 1.12."""
    if os.path.exists(path):
        os.unlink(path)
    text = "".join("%s\n%s\n" % pair for pair in pairs)
    options = ["-c", "db_pagesize=512"] if kind == "btree" else []
    subprocess.run(["db5.3_load", "-T", "-t", kind, *options, path],
                   input=text, text=True, check=True)


def missing(path):
    os.unlink(path)


def empty(path):
    os.truncate(path, 0)


def garbage(path):
    with open(path, "wb") as file:
        file.write(os.urandom(20000))


def short(path):
    os.truncate(path, 100)


def hashed(path):
    load_map(path, "hash", [("198.51.100.1", "9999999999")])


def torn(path):
    """The leaves are gone, the first page is right."""
    size = os.path.getsize(path)
    os.truncate(path, 4096)
    os.truncate(path, size)


def stale(path):
    """An older file: one entry too many, one that is not there."""
    load_map(path, "btree", [("198.51.100.1", "9999999999"),
                             ("192.0.2.1", "1000")])


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
@pytest.mark.parametrize("damage", [missing, empty, garbage, short, hashed,
                                    torn, stale])
def test_damaged_map(dracd, damage, killed):
    """The journal is the truth: the map says the same again, and the log."""
    daemon = dracd().start()
    expected = fill(daemon)
    if killed:
        daemon.kill9()
    else:
        daemon.stop()
    damage(daemon.map_path)
    before = len(daemon.stderr)
    daemon.start()
    check(daemon, expected)
    if damage is not stale and (killed or damage is not torn):
        assert daemon.map_path in daemon.stderr[before:]
    with daemon.client() as client:
        assert client.add3("192.0.2.77", 60)[0] == OK
    assert b"192.0.2.77" in daemon.map()
    assert os.stat(daemon.map_path).st_mode & 0o777 == 0o644


def test_map_replaced_while_it_runs(dracd):
    """
    Somebody removes the map: MTAs have it again within seconds, with all
    entries in it.
    """
    daemon = dracd().start()
    expected = fill(daemon)
    os.unlink(daemon.map_path)
    wait_for(lambda: os.path.exists(daemon.map_path), 5, "the map again")
    check(daemon, expected)


def test_takeover_of_drac_1_12(dracd):
    """Without a journal, the live entries of the map that is there count."""
    soon, ever = int(time.time()) - 100, int(time.time()) + 1200
    daemon = dracd()
    load_map(daemon.map_path, "btree", [
        ("192.0.2.1", ever), ("192.0.2.2", soon), ("2001:db8::1", ever),
        ("::ffff:192.0.2.3", ever), ("nonsense", ever), ("192.0.2.4", "soon"),
        ("0.0.0.0", ever), ("192.0.2", ever)])
    daemon.start()
    with daemon.client() as client:
        assert {a: e.expiry for a, e in client.table().items()} == {
            "192.0.2.1": ever, "2001:db8::1": ever, "192.0.2.3": ever}
    expected = {b"192.0.2.1": b"%d" % ever, b"192.0.2.3": b"%d" % ever}
    for key in b"2001:db8::1", b"2001:db8:0:0:0:0:0:1", \
            b"ipv6:2001:db8:0:0:0:0:0:1":
        expected[key] = b"%d" % ever
    assert daemon.map() == expected
    daemon.kill9()
    os.unlink(daemon.map_path)
    daemon.start()
    assert daemon.map() == expected


def test_damaged_map_without_a_journal(dracd):
    """Nothing to take over: it starts, and the log says so."""
    daemon = dracd()
    garbage(daemon.map_path)
    daemon.start()
    assert daemon.map() == {}
    assert daemon.map_path in daemon.stderr


def test_entries_that_ran_out_while_it_was_down(dracd):
    daemon = dracd().start()
    with daemon.client() as client:
        client.add3("192.0.2.1", 1)
        _, expiry = client.add3("192.0.2.2", 600)
    daemon.kill9()
    while time.time() < expiry - 599 + 1:
        time.sleep(0.05)    # until the first one's time is over
    daemon.start()
    with daemon.client() as client:
        assert set(client.table()) == {"192.0.2.2"}
    assert daemon.map() == {b"192.0.2.2": b"%d" % expiry}


# ---- the journal, damaged ---------------------------------------------------

def newest_segment(daemon):
    """The last file that holds records."""
    files = sorted(f for f in (daemon.dir / "journal").iterdir()
                   if f.read_bytes()[:8] == b"DRACDJNL")
    with_records = [f for f in files if f.stat().st_size > 24]
    return with_records[-1]


def test_journal_torn(dracd):
    """The last record is lost, and said so; all before it count."""
    daemon = dracd().start()
    with daemon.client() as client:
        for i in range(1, 11):
            client.add3("192.0.2.%d" % i, 600)
    daemon.kill9()
    segment = newest_segment(daemon)
    os.truncate(segment, segment.stat().st_size - 5)
    before = len(daemon.stderr)
    daemon.start()
    with daemon.client() as client:
        assert set(client.table()) == {"192.0.2.%d" % i for i in range(1, 10)}
    assert len(daemon.map()) == 9
    assert segment.name in daemon.stderr[before:]


def test_journal_with_garbage_behind(dracd):
    daemon = dracd().start()
    expected = fill(daemon)
    daemon.kill9()
    with open(newest_segment(daemon), "ab") as file:
        file.write(os.urandom(1000))
    daemon.start()
    check(daemon, expected)


def test_journal_all_garbage(dracd):
    """Not fatal: set aside and named, and the daemon serves."""
    daemon = dracd().start()
    fill(daemon)
    daemon.kill9()
    segment = newest_segment(daemon)
    segment.write_bytes(os.urandom(5000))
    before = len(daemon.stderr)
    daemon.start()
    assert segment.name in daemon.stderr[before:]
    with daemon.client() as client:
        assert client.add1("192.0.2.9") == ADD_SUCCESS
        assert set(client.table()) == {"192.0.2.9"}
    assert set(daemon.map()) == {b"192.0.2.9"}


def test_journal_of_a_newer_version(dracd):
    """Refused, and not a byte of it is overwritten. dracd(8), UPGRADING."""
    daemon = dracd().start()
    fill(daemon)
    daemon.stop()
    segment = newest_segment(daemon)
    data = bytearray(segment.read_bytes())
    version, number = struct.unpack_from("<II", data, 8)
    struct.pack_into("<I", data, 8, version + 1)
    struct.pack_into("<I", data, 16, zlib.crc32(bytes(data[:16]), number))
    segment.write_bytes(data)
    done = daemon.run()
    assert done.returncode == os.EX_UNAVAILABLE
    journal = daemon.dir / "journal"
    assert "segment=%s was written by a newer" % segment.name in done.stderr
    assert "journal=%s cannot be used" % journal in done.stderr
    assert "cannot start" not in done.stderr
    assert segment.read_bytes() == data
    journal.rename(daemon.dir / "journal.new")
    daemon.start()
    with daemon.client() as client:
        assert {a: e.user for a, e in client.table().items()} == \
            dict.fromkeys(HELD, "")
    assert set(daemon.map()) == KEYS


def test_journal_mode(dracd):
    """It names users: nobody else reads it."""
    daemon = dracd().start()
    fill(daemon)
    assert os.stat(daemon.dir / "journal").st_mode & 0o777 == 0o700
    for file in (daemon.dir / "journal").iterdir():
        assert file.stat().st_mode & 0o077 == 0


# ---- more than one map ------------------------------------------------------

def test_two_maps(dracd):
    """btree, and hash with NULs: the same entries in both, always."""
    daemon = dracd()
    path = str(daemon.dir / "hash.db")
    daemon.maps.append(("hash:" + path, {"nul": True, "capacity": 100}))
    daemon.start()

    def same():
        return daemon.map(1) == {k + b"\0": v + b"\0"
                                 for k, v in daemon.map(0).items()}

    expected = fill(daemon)
    assert same() and set(expected) == KEYS
    with daemon.client() as client:
        assert client.remove("192.0.2.1") == OK
        assert same() and b"192.0.2.1" not in daemon.map()
        client.add3("192.0.2.1", 600, "alice", "pop3")
        expected = daemon.map()
        for i in range(300):
            assert client.add3("198.51.100.%d" % (i % 256) if i < 256 else
                               "203.0.113.%d" % (i - 256), 2)[0] == OK
    assert same()
    daemon.kill9()
    os.unlink(path)
    daemon.start()
    wait_for(lambda: daemon.map() == expected, 5, "short ones gone")
    assert same()
    check(daemon, expected)


def test_the_log_names_the_map(dracd):
    """That which is locked, or gone, and not the first one."""
    daemon = dracd()
    path = str(daemon.dir / "hash.db")
    daemon.maps.append(("hash:" + path, {"capacity": 100}))
    daemon.start()
    with open(path, "rb") as file, daemon.client(timeout=5) as client:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert client.add1("192.0.2.1") == ADD_SYSERR
    assert "map=%s is kept locked" % path in daemon.stderr
    os.unlink(path)
    wait_for(lambda: "map=%s was removed" % path in daemon.stderr, 5, "tick")
    daemon.maps[0][1]["capacity"] = 2048
    daemon.write_config()
    daemon.reload()
    assert 'setting "map" has changed: restart' in daemon.stderr


def test_unix_socket_left_over(dracd):
    """A dead socket is no obstacle; a file in its place is not ours."""
    daemon = dracd().start()
    daemon.kill9()
    assert os.path.exists(daemon.unix)
    daemon.start()
    daemon.stop()
    if os.path.exists(daemon.unix):
        os.unlink(daemon.unix)
    with open(daemon.unix, "w"):
        pass
    done = daemon.run()
    assert done.returncode != 0 and daemon.unix in done.stderr
    assert os.path.exists(daemon.unix)

"""
What each entry keeps (first and last add, how many, by whom), that it lasts,
and how it is told: query, list, events, log. Who may read it.
"""

import contextlib
import os
import pathlib
import re
import struct
import subprocess
import sys
import time
import zlib

import pytest

import rpcraw
from daemon import wait_for
from namespace import Namespace
from rpcraw import (AUTHORIZE, DENY, EXPIRE, OK, PERM, REFRESH, REMOVED)

ME = "local uid=%d" % os.geteuid()
KEPT = 1024             # EVENTS_KEPT
CONNECTIONS = 32        # that make a journal long


def near(seconds):
    return abs(seconds - time.time()) < 3


def account(client, address):
    status, entry = client.query(address)
    assert status == OK
    return entry


# ---- entries ----------------------------------------------------------------

def test_an_add_and_its_refreshes(dracd):
    daemon = dracd().start()
    with daemon.client("unix") as local, \
            daemon.client("udp", source="127.0.0.2") as other:
        local.add3("192.0.2.1", 600, "alice", "pop3")
        entry = account(local, "192.0.2.1")
        assert near(entry.first) and entry.last == entry.first
        assert (entry.adds, entry.caller) == (1, ME)
        wait_for(lambda: time.time() >= entry.first + 1, 3, "a second")
        other.add1("192.0.2.1")     # no names: those that are there stay
        after = account(other, "192.0.2.1")
        assert after.first == entry.first < after.last
        assert after[2:4] == ("alice", "pop3")
        assert (after.adds, after.caller) == (2, "127.0.0.2")
        other.add3("192.0.2.1", 1, "bob", "imap")   # shortens nothing
        last = account(other, "192.0.2.1")
        assert last.expiry == after.expiry and last.first == entry.first
        assert (last.user, last.service, last.adds) == ("bob", "imap", 3)
        assert local.table()["192.0.2.1"] == last
        assert local.remove("192.0.2.1") == OK      # and it begins anew
        local.add3("192.0.2.1", 600)
        again = account(local, "192.0.2.1")
        assert (again.user, again.adds, again.caller) == ("", 1, ME)


@pytest.mark.parametrize("version", [1, 2])
def test_classic_callers_give_what_they_have(dracd, version):
    daemon = dracd().start()
    with daemon.client("udp", host="::1") as client:
        add = client.add1 if version == 1 else client.add2
        for adds in range(1, 4):
            add("192.0.2.1")
            entry = account(client, "192.0.2.1")
            assert (entry.adds, entry.caller) == (adds, "::1")
            assert (entry.user, entry.service) == ("", "")
            assert near(entry.first) and near(entry.last)


def some_entries(daemon):
    with daemon.client("unix") as local, \
            daemon.client("tcp", source="127.0.0.3") as other:
        local.add3("192.0.2.1", 900, "alice", "pop3")
        local.add3("192.0.2.2", 900)
        other.add1("192.0.2.3")
        other.add2("2001:db8::1")
        for _ in range(4):
            other.add3("192.0.2.1", 950, "alice", "imap")
            other.add1("192.0.2.3")
        return local.table()


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_it_lasts(dracd, end):
    daemon = dracd().start()
    before = some_entries(daemon)
    assert {e.adds for e in before.values()} == {1, 5}
    for _ in range(2):
        getattr(daemon, end)()
        daemon.start()
        with daemon.client("unix") as client:
            assert client.table() == before


def test_survivors_of_an_old_segment_keep_it(dracd):
    """The journal's first segments go, what is known of entries does not."""
    daemon = dracd().start()
    before = some_entries(daemon)
    first = daemon.dir / "journal" / "0000000001.journal"
    assert first.exists()
    batch = [rpcraw.call(3, rpcraw.ADD, rpcraw.v3_add_args(
        "198.51.100.1", 900, name * 255, "s" * 32)) for name in "ab" * 10]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(daemon.client("tcp"))
                   for _ in range(CONNECTIONS)]

        def lengthen():
            for client in clients:
                client.carrier.send_raw(b"".join(map(rpcraw.record, batch)))
            for client in clients * len(batch):
                client.carrier.receive()
            return not first.exists()
        wait_for(lengthen, 60, "the first segment goes")
    daemon.kill9()
    daemon.start()
    with daemon.client("unix") as client:
        assert before.items() <= client.table().items()


# ---- the journal of the version before --------------------------------------

def old_record(number, kind, address, expiry=0, user=b"", service=b""):
    body = struct.pack("<BBq", kind, len(user), expiry) + \
        bytes(10) + b"\xff\xff" + address + bytes([len(service)]) + \
        user + service
    body += bytes(-(len(body) + 6) % 8)
    body = struct.pack("<H", len(body) + 6) + body
    return struct.pack("<I", zlib.crc32(body, number)) + body


def old_journal(daemon, records):
    head = b"DRACDJNL" + struct.pack("<II", 1, 1)
    head += struct.pack("<II", zlib.crc32(head, 1), 0)
    journal = daemon.dir / "journal"
    journal.mkdir(mode=0o700, exist_ok=True)
    (journal / "0000000001.journal").write_bytes(head + b"".join(records))


def test_journal_of_version_1(dracd):
    """Read, with the time of reading; written on in the present format."""
    daemon = dracd()
    until = int(time.time()) + 500
    old_journal(daemon, [
        old_record(1, 1, bytes([192, 0, 2, 1]), until, b"alice", b"pop3"),
        old_record(1, 1, bytes([192, 0, 2, 2]), until),
        old_record(1, 1, bytes([192, 0, 2, 3]), until),
        old_record(1, 2, bytes([192, 0, 2, 2]))])
    daemon.start()
    with daemon.client() as client:
        table = client.table()
        assert set(table) == {"192.0.2.1", "192.0.2.3"}
        for entry in table.values():
            assert entry.expiry == until and entry.adds == 1
            assert near(entry.first) and entry.last == entry.first
            assert entry.caller == ""
        assert table["192.0.2.1"][2:4] == ("alice", "pop3")
        client.add1("192.0.2.3")
        after = account(client, "192.0.2.3")
        assert (after.adds, after.caller) == (2, "127.0.0.1")
    daemon.kill9()
    daemon.start()
    with daemon.client() as client:
        assert account(client, "192.0.2.3") == after


def test_journal_of_a_newer_version_is_refused(dracd):
    daemon = dracd()
    old_journal(daemon, [])
    path = daemon.dir / "journal" / "0000000001.journal"
    head = b"DRACDJNL" + struct.pack("<II", 4, 1)
    path.write_bytes(head + struct.pack("<II", zlib.crc32(head, 1), 0))
    before = path.read_bytes()
    done = daemon.run()
    assert done.returncode != 0 and "newer dracd" in done.stderr
    assert path.read_bytes() == before


# ---- events -----------------------------------------------------------------

def follow(client, cookie):
    """What has happened since: (events, cookie); none may be lost."""
    found = []
    while True:
        status, events, cookie, lost = client.events(cookie)
        assert (status, lost) == (OK, 0)
        if not events:
            return found, cookie
        found += events


def test_events_in_their_order(dracd):
    daemon = dracd(never=["198.51.100.7"])
    daemon.start()
    with daemon.client("unix") as client:
        client.add3("192.0.2.9", 600)
        status, events, cookie, lost = client.events()
        assert (status, events, lost) == (OK, [], 0) and cookie
        assert follow(client, cookie) == ([], cookie)
        client.add3("192.0.2.1", 2, "alice", "pop3")
        client.add3("192.0.2.2", 600, "bob")
        client.add3("192.0.2.2", 700, "bob")
        client.remove("192.0.2.2")
        client.add3("198.51.100.7", 600)
        seen, place = follow(client, cookie)
        assert [(e.kind, e.entry.address) for e in seen] == [
            (AUTHORIZE, "192.0.2.1"), (AUTHORIZE, "192.0.2.2"),
            (REFRESH, "192.0.2.2"), (REMOVED, "192.0.2.2"),
            (DENY, "198.51.100.7")]
        assert all(near(e.time) and e.entry.caller == ME for e in seen)
        assert seen[0].entry[2:4] == ("alice", "pop3")
        assert (seen[2].entry.user, seen[2].entry.adds) == ("bob", 2)
        ended = wait_for(lambda: follow(client, place)[0], 5, "the expiry")
        assert [(e.kind, e.entry.address, e.entry.user) for e in ended] == [
            (EXPIRE, "192.0.2.1", "alice")]
        # the same cookie again is the same answer: nothing is used up
        assert follow(client, cookie)[0] == seen + ended


def test_refused_caller_is_an_event(dracd):
    daemon = dracd()
    daemon.allow.write_text("host 127.0.0.2\n")
    daemon.start()
    with daemon.client("unix") as client, \
            daemon.client("udp", source="127.0.0.3") as stranger:
        cookie = client.events()[2]
        for _ in range(300):
            assert stranger.add1("192.0.2.1") == rpcraw.ADD_PERM
        seen, _ = follow(client, cookie)
        assert {(e.kind, e.entry.address, e.entry.caller) for e in seen} == {
            (DENY, "", "127.0.0.3")}
        assert len(seen) < 200, "a stranger fills the ring"


def test_slow_reader_hears_how_many_he_missed(dracd):
    daemon = dracd().start()
    with daemon.client("tcp") as client:
        cookie = client.events()[2]
        for i in range(KEPT + 100):
            client.add1("198.18.%d.%d" % (i // 250, i % 250 + 1))
        status, events, after, lost = client.events(cookie, 7)
        assert (status, len(events), lost) == (OK, 7, 100)
        assert events[0].entry.address == "198.18.0.101"
        rest, _ = follow(client, after)
        assert len(rest) == KEPT - 7


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_restart_is_seen_in_the_cookie(dracd, end):
    """Then the oldest that is known comes first, and something is lost."""
    daemon = dracd().start()
    with daemon.client("unix") as client:
        client.add1("192.0.2.1")
        cookie = client.events()[2]
    getattr(daemon, end)()
    daemon.start()
    with daemon.client("unix") as client:
        client.add1("192.0.2.2")
        client.add1("192.0.2.3")
        status, events, after, lost = client.events(cookie)
        assert (status, lost) == (OK, 1)
        assert [e.entry.address for e in events] == ["192.0.2.2", "192.0.2.3"]
        assert after != cookie and follow(client, after)[0] == []
        for nonsense in 1, cookie + 10 ** 6, 2 ** 64 - 1:
            assert client.events(nonsense)[3] == 1


def test_events_over_udp_fit_a_datagram(dracd):
    daemon = dracd().start()
    with daemon.client("udp") as client:
        cookie = client.events()[2]
        for i in range(20):
            client.add3("2001:db8::%d" % i, 60, "u" * 255, "s" * 32)
        assert len(follow(client, cookie)[0]) == 20


# ---- the log ----------------------------------------------------------------

def test_lines_of_a_life(dracd):
    daemon = dracd().start()
    with daemon.client("udp") as client:
        client.add3("192.0.2.1", 60, "alice", "pop3")
        client.add3("192.0.2.1", 60, "alice", "imap")
        client.remove("192.0.2.1")
        client.add3("192.0.2.2", 1)
    wait_for(lambda: "expire address=192.0.2.2" in daemon.stderr, 5,
             "the expiry's line")
    lines = [line.removeprefix("dracd: ") for line in
             daemon.stderr.splitlines() if "address=192.0.2." in line]
    wanted = [
        'authorize address=192.0.2.1 expiry=N caller=127.0.0.1 '
        'user="alice" service="pop3" adds=1',
        'refresh address=192.0.2.1 expiry=N caller=127.0.0.1 '
        'user="alice" service="imap" adds=2',
        'remove address=192.0.2.1 caller=127.0.0.1 user="alice" '
        'service="imap" first=N last=N adds=2',
        'authorize address=192.0.2.2 expiry=N caller=127.0.0.1 '
        'user="" service="" adds=1',
        'expire address=192.0.2.2 caller=127.0.0.1 user="" service="" '
        'first=N last=N adds=1']
    assert [re.sub(r"=\d{10}\b", "=N", line)
            for line in lines] == wanted


def test_refreshes_do_not_hide_who_is_let_in(dracd):
    """Each kind of line has a budget of its own."""
    daemon = dracd().start()
    with daemon.client("udp") as client:
        client.add1("192.0.2.1")
        for _ in range(500):
            client.add1("192.0.2.1")
        client.add1("192.0.2.2")
        assert daemon.stderr.count("refresh address=") < 400
        assert "authorize address=192.0.2.2" in daemon.stderr


# ---- who may read -----------------------------------------------------------

HERE = pathlib.Path(__file__).resolve().parent
READS = """
import sys
sys.path.insert(0, %r)
import rpcraw
client = rpcraw.Client(rpcraw.%s(("10.77.0.1", %d), source=sys.argv[1]))
try:
    stats = rpcraw.OK if client.stats() else None
except RuntimeError:
    stats = rpcraw.PERM
print(client.query("192.0.2.1")[0], client.page()[0], stats,
      client.events()[0], client.add3("192.0.2.50")[0])
"""


def other_hosts(space, daemon, source, carrier="Udp"):
    """query, list, stats, events, add: the answers to a host elsewhere."""
    out = subprocess.run(
        space.prefix + ["ip", "netns", "exec", "away", sys.executable, "-c",
                        READS % (str(HERE), carrier, daemon.port), source],
        capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return [int(word) for word in out.stdout.split()]


AWAY = """
mount -t tmpfs none /run
ip link set lo up
ip netns add away
ip link add here type veth peer name there netns away
ip addr add 10.77.0.1/24 dev here
ip link set here up
ip -n away addr add 10.77.0.2/24 dev there
ip -n away addr add 10.77.0.3/24 dev there
ip -n away link set there up
"""


@pytest.fixture
def space():
    found = Namespace(["net", "mount"], AWAY)
    yield found
    found.close()


def test_reading_is_for_this_host(dracd, space):
    """Who may write may not read, nor the other way round."""
    daemon = dracd(prefix=space.prefix)
    daemon.settings["listen"] += ["udp:10.77.0.1:%d" % daemon.port,
                                  "tcp:10.77.0.1:%d" % daemon.port]
    daemon.allow.write_text("10.77.0.2\n")
    daemon.start()
    with daemon.client("unix") as client:
        client.add1("192.0.2.1")
    writer, reader = "10.77.0.2", "10.77.0.3"
    for carrier in "Udp", "Stream":
        assert other_hosts(space, daemon, writer, carrier) == [PERM] * 4 + [OK]
        assert other_hosts(space, daemon, reader, carrier) == [PERM] * 5
    assert "may not read" in daemon.stderr
    assert daemon.stderr.count("may not read") < 4
    daemon.settings["read_allow"] = ["10.77.0.3/32"]
    daemon.write_config()
    daemon.reload()
    for carrier in "Udp", "Stream":
        assert other_hosts(space, daemon, writer, carrier) == [PERM] * 4 + [OK]
    assert other_hosts(space, daemon, reader, "Stream") == [OK] * 4 + [PERM]
    # By UDP his address may be forged, and answers are longer than calls.
    assert other_hosts(space, daemon, reader, "Udp") == [PERM] * 5
    del daemon.settings["read_allow"]
    daemon.write_config()
    daemon.reload()
    assert other_hosts(space, daemon, reader) == [PERM] * 5
    daemon.stop()


def test_addresses_of_this_host_read_without_the_list(dracd):
    daemon = dracd()
    daemon.allow.write_text("host 127.0.0.2\n")
    daemon.start()
    with daemon.client("udp", source="127.0.0.9") as client:
        assert client.add1("192.0.2.1") == rpcraw.ADD_PERM
        assert client.table() == {} and client.stats()
        assert client.events()[0] == OK


@pytest.mark.parametrize("value", ["10.0.0.0/40", "mail.example.org", ""])
def test_bad_read_allow(dracd, value):
    done = dracd(read_allow=[value]).run("-t")
    assert done.returncode == 78
    assert 'setting "read-allow"' in done.stderr

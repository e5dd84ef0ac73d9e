"""Version 3: add with a lifetime and names, remove, query, list, stats."""

import time

import pytest

import rpcraw
from rpcraw import GARBAGE_ARGS, INVALID, NOTFOUND, OK

DEFAULT_S = 1800
LIFETIME_MAX_S = 366 * 24 * 3600


@pytest.fixture
def daemon(dracd):
    return dracd().start()


@pytest.fixture(params=["udp", "tcp", "unix"])
def client(daemon, request):
    with daemon.client(request.param) as client:
        yield client


def near(expiry, lifetime):
    return abs(expiry - time.time() - lifetime) < 3


def test_add_query_remove(client, daemon):
    client.null(3)
    status, expiry = client.add3("192.0.2.1", 600, "alice", "pop3")
    assert status == OK and near(expiry, 600)
    status, entry = client.query("192.0.2.1")
    assert status == OK and entry[:4] == (
        "192.0.2.1", expiry, "alice", "pop3")
    assert client.query("::ffff:192.0.2.1")[0] == OK
    assert daemon.map() == {b"192.0.2.1": b"%d" % expiry}
    assert client.remove("192.0.2.1") == OK
    assert client.query("192.0.2.1") == (NOTFOUND, None)
    assert client.remove("192.0.2.1") == NOTFOUND
    assert daemon.map() == {}


def test_ipv6_entry_has_three_keys(client, daemon):
    _, expiry = client.add3("2001:db8::1")
    assert near(expiry, DEFAULT_S)
    assert daemon.map() == {key: b"%d" % expiry for key in (
        b"2001:db8::1", b"2001:db8:0:0:0:0:0:1", b"ipv6:2001:db8:0:0:0:0:0:1")}
    assert client.remove("2001:db8::1") == OK
    assert daemon.map() == {}


def test_refresh_reaches_the_map(client, daemon):
    """The answer needs the journal only; the map follows within a second."""
    _, first = client.add3("192.0.2.1", 60)
    status, second = client.add3("192.0.2.1", 6000)
    assert status == OK and near(second, 6000)
    deadline = time.monotonic() + 1.5
    while daemon.map() != {b"192.0.2.1": b"%d" % second}:
        assert time.monotonic() < deadline


def test_expiry(client, daemon):
    """Gone from table and map within a second of its end, not before."""
    client.add3("192.0.2.1", 2)
    client.add3("192.0.2.2", 100)
    _, expiry = client.add3("2001:db8::1", 2)
    while True:
        now = time.time()
        keys = set(daemon.map())
        if keys == {b"192.0.2.2"}:
            break
        if time.time() < expiry:
            assert len(keys) == 5
        assert now < expiry + 1.5
    assert time.time() >= expiry
    assert set(client.table()) == {"192.0.2.2"}


@pytest.mark.parametrize("lifetime, status", [
    (1, OK), (LIFETIME_MAX_S, OK), (LIFETIME_MAX_S + 1, INVALID),
    (0xffffffff, INVALID)])
def test_lifetime_range(daemon, lifetime, status):
    with daemon.client() as client:
        assert client.add3("192.0.2.1", lifetime)[0] == status
        assert len(client.table()) == (status == OK)


@pytest.mark.parametrize("user, service, status", [
    ("u" * 255, "s" * 32, OK),
    ("Zo\u00eb \u2713", "imap", OK),
    ("", "", OK),
    ("a\nb", "", INVALID), ("", "a\tb", INVALID), ("a\0b", "", INVALID),
    (b"\x7f", "", INVALID), (b"\xc2\x85", "", INVALID),
    (b"\xff", "", INVALID), (b"\xc0\xaf", "", INVALID),
    (b"\xed\xa0\x80", "", INVALID), ("", b"\xe2\x82", INVALID)])
def test_names(daemon, user, service, status):
    with daemon.client() as client:
        assert client.add3("192.0.2.1", 60, user, service)[0] == status
        if status == OK:
            entry = client.query("192.0.2.1")[1]
            assert (entry.user, entry.service) == (user, service)
        else:
            assert client.table() == {}


@pytest.mark.parametrize("user, service", [("u" * 256, ""), ("", "s" * 33)])
def test_names_too_long(daemon, user, service):
    with daemon.client() as client:
        with pytest.raises(rpcraw.Refused) as refused:
            client.add3("192.0.2.1", 60, user, service)
        assert refused.value.reply.stat == GARBAGE_ARGS
        assert client.table() == {}


@pytest.mark.parametrize("size", [0, 1, 5, 15])
def test_address_of_odd_size(daemon, size):
    address = bytes(range(1, size + 1))
    with daemon.client() as client:
        assert client.add3(address)[0] == INVALID
        assert client.remove(address) == INVALID
        assert client.query(address)[0] == INVALID


def test_list_in_pages(client, daemon):
    addresses = {"198.51.100.%d" % i for i in range(200)} | {"2001:db8::5"}
    for address in addresses:
        assert client.add3(address, 600, "bob", "imap")[0] == OK
    status, page, cookie = client.page(maximum=7)
    assert status == OK and 0 < len(page) <= 7 and cookie
    table = client.table()
    assert set(table) == addresses
    assert {(e.user, e.service) for e in table.values()} == {("bob", "imap")}


def test_list_while_entries_come_and_go(daemon):
    """What was there all the time is seen, and nothing twice."""
    with daemon.client("tcp") as client, daemon.client("udp") as other:
        stay = {"198.51.100.%d" % i for i in range(100)}
        for address in stay:
            client.add3(address, 600)
        seen, cookie, turn = [], 0, 0
        while True:
            status, page, cookie = client.page(cookie, 5)
            assert status == OK
            seen += [e.address for e in page]
            if not cookie:
                break
            turn += 1
            other.add3("203.0.113.%d" % (turn % 250), 600)
            other.remove("203.0.113.%d" % ((turn - 3) % 250))
        assert stay <= set(seen)
        kept = [a for a in seen if a in stay]
        assert len(kept) == len(stay)


def test_stats(client):
    before = client.stats()
    assert before and all(isinstance(v, int) for v in before.values())
    client.add3("192.0.2.1", 60)
    assert client.stats() != before


def test_log_says_who_is_let_in_and_put_out(daemon):
    """A line each with a name that cannot forge another; few in a flood."""
    with daemon.client("udp") as client:
        client.add3("192.0.2.1", 60, 'al"ice caller=x', "pop3")
        client.add3("192.0.2.1", 90, 'al"ice caller=x', "pop3")
        client.remove("192.0.2.1")
        lines = daemon.stderr.splitlines()
        assert [line.split("expiry=")[0].strip() for line in lines
                if "authorize address=" in line] == [
                    "dracd: authorize address=192.0.2.1"]
        assert 'user="al\\"ice caller=x" service="pop3"' in daemon.stderr
        assert sum("remove address=192.0.2.1 caller=127.0.0.1" in line
                   for line in lines) == 1
        begin = time.monotonic()
        for i in range(1000):
            client.add1("198.18.%d.%d" % (i // 250, i % 250 + 1))
        seconds = int(time.monotonic() - begin) + 2
    said = daemon.stderr.count("authorize address=198.18.")
    assert 40 < said <= 50 * seconds

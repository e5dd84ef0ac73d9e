"""
A reader of the map holds its shared lock. The loop goes on, adds of new
addresses are refused in time, refreshes are taken.
"""

import contextlib
import struct
import time

import pytest

import load
import rpcraw
from daemon import wait_for
from rpcraw import ADD_SUCCESS, ADD_SYSERR, OK

HOLD_S = 10
BOUND_S = 1.0       # commit.c: 500 ms, and a busy machine
EARLY_S = 0.3
PROMPT_S = 0.3
BATCH = 64          # UDP_BATCH: calls that are read, answers that are sent
MANY = 3 * BATCH


class Prober(load.Beside):
    """Null calls, queries and refreshes all the time; the worst of each."""

    def __init__(self, daemon):
        super().__init__()
        self.client = daemon.client("tcp", timeout=20)
        self.worst, self.failed = {}, []

    def probe(self, name, right, function, *args):
        begin = time.monotonic()
        try:
            if not right(function(*args)):
                self.failed.append(name)
        except Exception as error:
            self.failed.append("%s: %r" % (name, error))
            self.over.set()
        self.worst[name] = max(self.worst.get(name, 0),
                               time.monotonic() - begin)

    def run(self):
        with self.client as client:
            while not self.over.is_set():
                self.probe("null", lambda r: True, client.null)
                self.probe("query", lambda r: r[0] == OK, client.query,
                           "192.0.2.1")
                self.probe("refresh", lambda r: r == ADD_SUCCESS,
                           client.add1, "192.0.2.1")


def test_reader_holds_the_lock(dracd, figures):
    daemon = dracd().start()
    with daemon.client() as client:
        assert client.add1("192.0.2.1") == ADD_SUCCESS
    refused, times = [], []
    with Prober(daemon) as prober, daemon.client(timeout=5) as client:
        with daemon.map_locked():
            begin = time.monotonic()
            while time.monotonic() < begin + HOLD_S:
                address = "198.51.100.%d" % len(refused)
                asked = time.monotonic()
                assert client.add1(address) == ADD_SYSERR
                times.append(time.monotonic() - asked)
                refused.append(address)
    figures("adds refused after %.3f to %.3f s; worst %s" % (
        min(times), max(times), ", ".join(
            "%s %.1f ms" % (n, s * 1e3) for n, s in prober.worst.items())))
    assert prober.failed == []
    assert EARLY_S < min(times) and max(times) < BOUND_S
    assert prober.worst["null"] < PROMPT_S
    assert prober.worst["query"] < PROMPT_S
    assert prober.worst["refresh"] < BOUND_S
    with daemon.client() as client:
        assert set(client.table()) == {"192.0.2.1"}
        assert set(daemon.map()) == {b"192.0.2.1"}
        assert client.add1(refused[0]) == ADD_SUCCESS
        assert set(daemon.map()) == {b"192.0.2.1", refused[0].encode()}
    daemon.kill9()
    daemon.start()
    with daemon.client() as client:
        assert set(client.table()) == {"192.0.2.1", refused[0]}
    assert set(daemon.map()) == {b"192.0.2.1", refused[0].encode()}


def test_short_hold_costs_only_time(dracd):
    """An add that waits for a reader of 0.2 s succeeds after it."""
    daemon = dracd().start()
    with daemon.client() as client, daemon.client("tcp") as other:
        with daemon.map_locked():
            begin = time.monotonic()
            client.carrier.send(rpcraw.call(1, rpcraw.ADD,
                                            rpcraw.v1_args("192.0.2.7")))
            while time.monotonic() < begin + 0.2:
                other.null()
        assert rpcraw.parse(client.carrier.receive()).body == bytes(4)
    assert set(daemon.map()) == {b"192.0.2.7"}


def test_what_is_told_meanwhile(dracd):
    """Neither what has run out nor what is held: no MTA may relay for it."""
    daemon = dracd().start()
    with daemon.client() as client, daemon.client("tcp") as other:
        expiry = client.add3("192.0.2.1", 2)[1]
        with daemon.map_locked():
            wait_for(lambda: time.time() > expiry, 4, "the expiry")
            assert other.query("192.0.2.1") == (rpcraw.NOTFOUND, None)
            assert other.table() == {}
            client.carrier.send(rpcraw.call(1, rpcraw.ADD,
                                            rpcraw.v1_args("192.0.2.7")))
            wait_for(lambda: other.stats()["entries"] == 2, 5,
                     "one that is held, one that is not gone yet")
            assert other.query("192.0.2.7") == (rpcraw.NOTFOUND, None)
            assert other.table() == {}
        assert rpcraw.parse(client.carrier.receive()).body == bytes(4)
        assert set(other.table()) == {"192.0.2.7"}


def test_more_than_one_batch_waits(dracd):
    """Of one UDP caller: each is answered, and once, whatever became of it."""
    daemon = dracd().start()
    asked, done = {}, {}
    with daemon.client(timeout=5) as client, daemon.client("tcp") as other:
        with daemon.map_locked():
            for i in range(MANY):
                asked[i] = "198.51.100.%d" % i
                client.carrier.send(rpcraw.call(
                    3, rpcraw.ADD, rpcraw.v3_add_args(asked[i], 60), xid=i))
            for _ in range(MANY // BATCH + 1):
                other.null()        # each has been read
        while len(done) < MANY:
            reply = rpcraw.parse(client.carrier.receive())
            assert reply.xid in asked and reply.xid not in done
            done[reply.xid] = rpcraw.Reader(reply.body).take(">I")
        assert set(done.values()) <= {OK, rpcraw.SYSERR}    # on a busy host
        table = set(client.table())
    assert table == {asked[i] for i, status in done.items() if status == OK}
    assert set(daemon.map()) == {address.encode() for address in table}


@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "add-waits"])
def test_stop_while_a_reader_holds(dracd, waiting):
    """TERM ends it within a second all the same, and no refused add lives."""
    daemon = dracd().start()
    with daemon.client() as client:
        assert client.add1("192.0.2.1") == ADD_SUCCESS
        with daemon.map_locked():
            if waiting:
                client.carrier.send(rpcraw.call(
                    1, rpcraw.ADD, rpcraw.v1_args("192.0.2.7")))
            assert daemon.stop() < 1.5
            if waiting:         # before it went
                answer = rpcraw.parse(client.carrier.receive()).body
                assert answer == struct.pack(">I", ADD_SYSERR)
    daemon.start()
    with daemon.client() as client:
        assert set(client.table()) == {"192.0.2.1"}
    assert set(daemon.map()) == {b"192.0.2.1"}

"""
A reader of the map holds its shared lock. The loop goes on, adds of new
addresses are refused in time, refreshes are taken.
"""

import contextlib
import fcntl
import threading
import time

import pytest

import rpcraw
from rpcraw import ADD_SUCCESS, ADD_SYSERR, OK

HOLD_S = 10
BOUND_S = 1.0       # commit.c: 500 ms, and a busy machine
EARLY_S = 0.3
PROMPT_S = 0.3


@contextlib.contextmanager
def reader(daemon):
    with open(daemon.map_path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield
        fcntl.flock(file, fcntl.LOCK_UN)


class Prober(threading.Thread):
    """Null calls, queries and refreshes all the time; the worst of each."""

    def __init__(self, daemon):
        super().__init__()
        self.client = daemon.client("tcp", timeout=20)
        self.worst, self.failed, self.over = {}, [], threading.Event()

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

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.join()


def test_reader_holds_the_lock(dracd, figures):
    daemon = dracd().start()
    with daemon.client() as client:
        assert client.add1("192.0.2.1") == ADD_SUCCESS
    refused, times = [], []
    with Prober(daemon) as prober, daemon.client(timeout=5) as client:
        with reader(daemon):
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
        with reader(daemon):
            begin = time.monotonic()
            client.carrier.send(rpcraw.call(1, rpcraw.ADD,
                                            rpcraw.v1_args("192.0.2.7")))
            while time.monotonic() < begin + 0.2:
                other.null()
        assert rpcraw.parse(client.carrier.receive()).body == bytes(4)
    assert set(daemon.map()) == {b"192.0.2.7"}


@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "add-waits"])
def test_stop_while_a_reader_holds(dracd, waiting):
    """TERM ends it within a second all the same, and no refused add lives."""
    daemon = dracd().start()
    with daemon.client() as client:
        assert client.add1("192.0.2.1") == ADD_SUCCESS
        with reader(daemon):
            if waiting:
                client.carrier.send(rpcraw.call(
                    1, rpcraw.ADD, rpcraw.v1_args("192.0.2.7")))
            assert daemon.stop() < 1.5
            answered = False
            if waiting:
                with contextlib.suppress(rpcraw.NoAnswer, rpcraw.Closed):
                    client.carrier.sock.settimeout(0.1)
                    answered = rpcraw.parse(
                        client.carrier.receive()).body == bytes(4)
    assert not answered, "success, but no MTA could see it"
    daemon.start()
    with daemon.client() as client:
        assert "192.0.2.1" in client.table()
    assert b"192.0.2.1" in daemon.map()

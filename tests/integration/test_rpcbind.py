"""
A real rpcbind that is absent, started, killed, stopped: dracd serves all the
same, registers within a minute, and takes its registrations back at exit.
"""

import struct
import time

import pytest

import load
import rpcraw
from daemon import wait_for
from rpcraw import ADD_SUCCESS
from servers import Space

RPCBIND, RPCBIND_VERSION, RPCBIND_DUMP = 100000, 3, 4
REGISTERED_S = 60
BOUND_S = 1.0
NETIDS = {"udp", "tcp", "udp6", "tcp6", "local"}


@pytest.fixture
def space():
    with Space() as space:
        yield space


@pytest.fixture
def daemon(dracd, space):
    """
    In the mounts and the network of the space, but not in its PIDs, because
    signals go to it from here: hence a /proc that knows it.
    """
    return dracd(rpcbind=True, prefix=[
        "nsenter", "-t", str(space.pid), "-m", "-n", "--",
        "unshare", "--mount", "--propagation", "private", "sh", "-c",
        'mount -t proc proc /proc && exec "$@"', "sh"])


def start_rpcbind(space):
    return space.start(["/usr/sbin/rpcbind", "-f"],
                       ready=space.answers("127.0.0.1", 111))


def registrations(space):
    """{(version, netid): universal address} of our program."""
    with space.network():
        carrier = rpcraw.Stream(("127.0.0.1", 111))
    with rpcraw.Client(carrier) as client:
        reply = client.exchange(rpcraw.call(RPCBIND_VERSION, RPCBIND_DUMP,
                                            prog=RPCBIND))
    body, found = rpcraw.Reader(reply.body), {}
    while body.take(">I"):
        program, version = body.take(">I"), body.take(">I")
        netid, address = body.opaque().decode(), body.opaque().decode()
        body.opaque()
        if program == rpcraw.PROG:
            found[version, netid] = address
    return found


def all_registered(space, daemon):
    found = registrations(space)
    if {v for v, _ in found} != {1, 2, 3}:
        return False
    port = ".%d.%d" % divmod(daemon.port, 256)
    for (_, netid), address in found.items():
        assert netid in NETIDS
        assert address == daemon.unix if netid == "local" else \
            address.endswith(port)
    return {n for v, n in found if v == 1} >= {"udp", "tcp", "udp6", "tcp6"}


class Adder(load.Beside):
    """Adds all the time; worst: seconds of the longest."""

    def __init__(self, daemon):
        super().__init__()
        self.daemon, self.worst, self.failed = daemon, 0.0, []

    def run(self):
        with self.daemon.client("unix", timeout=20) as client:
            number = 0
            while not self.over.is_set():
                number += 1
                begin = time.monotonic()
                if client.add1(struct.pack(">I", 0x0a000000 + number)) != \
                        ADD_SUCCESS:
                    self.failed.append(number)
                self.worst = max(self.worst, time.monotonic() - begin)
                self.over.wait(0.002)


def test_absent_started_killed_stopped(daemon, space, figures):
    begin = time.monotonic()
    daemon.start()
    assert time.monotonic() - begin < BOUND_S, "absent: it waits for nothing"
    with Adder(daemon) as adder:
        rpcbind = start_rpcbind(space)
        begin = time.monotonic()
        wait_for(lambda: all_registered(space, daemon), REGISTERED_S,
                 "registered with an rpcbind that came later")
        first = time.monotonic() - begin

        rpcbind.stop(9)
        rpcbind = start_rpcbind(space)
        begin = time.monotonic()
        wait_for(lambda: all_registered(space, daemon), REGISTERED_S,
                 "registered again after kill -9")
        second = time.monotonic() - begin

        rpcbind.kill(19)        # SIGSTOP
        time.sleep(2)           # while it is stopped, adds go on
        rpcbind.kill(18)
    assert adder.failed == []
    assert adder.worst < BOUND_S
    figures("registered after %.1f s, again after %.1f s; longest add "
            "meanwhile %.1f ms" % (first, second, adder.worst * 1e3))
    daemon.stop()
    assert registrations(space) == {}


def test_stopped_at_start_and_at_exit(daemon, space):
    """A silent rpcbind delays neither by more than its bound."""
    rpcbind = start_rpcbind(space)
    rpcbind.kill(19)
    begin = time.monotonic()
    daemon.start()
    assert time.monotonic() - begin < 2 * BOUND_S
    with daemon.client("unix") as client:
        assert client.add1("192.0.2.1") == ADD_SUCCESS
    assert daemon.stop() < 2 * BOUND_S
    rpcbind.kill(18)


def test_registered_at_start(daemon, space):
    """Over UDP and TCP, IPv4 and IPv6, by the time it answers, or soon."""
    start_rpcbind(space)
    daemon.start()
    wait_for(lambda: all_registered(space, daemon), 2, "registered at once")
    with space.network():
        carriers = [rpcraw.Udp(("127.0.0.1", daemon.port)),
                    rpcraw.Udp(("::1", daemon.port)),
                    rpcraw.Stream(("127.0.0.1", daemon.port)),
                    rpcraw.Stream(("::1", daemon.port))]
    for carrier in carriers:
        with rpcraw.Client(carrier) as client:
            assert client.add1("192.0.2.1") == ADD_SUCCESS

"""
Clients that mean harm, or are broken, and what others see meanwhile: callers
over UDP, over IPv6, TCP and the local socket, 500 calls a second each, and an
MTA. One line an attack: the longest answer of each and the 99th percentile, in
milliseconds. `make hostile` makes them longer and leaves the machine to them.
The bounds here are generous, the lines are what counts.
"""

import contextlib
import os
import socket
import struct
import sys
import time

import pytest

import hostile
import load
import rpcraw
from daemon import hanging, wait_for
from hostile import is_closed as closed
from namespace import Namespace
from socketmap import NOTFOUND, daemon

SECONDS = float(os.environ.get("HOSTILE_SECONDS", "0.3"))
BOUND_US = 2e6      # the budget of libdrac; a datagram is sent every 250 ms
PACE = 500          # calls a second of a caller who is well-behaved
IDLE_CONNECTIONS = 5000
FLOOD_RATE = 200000
FORBIDDEN = "127.0.0.9"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


# ---- who is there meanwhile -----------------------------------------------------

class Usage:
    """What a process has used since: CPU seconds, and growth in KB."""

    def __init__(self, process):
        self.place = "/proc/%d/" % process.pid
        self.begin = self.now()

    def now(self):
        with open(self.place + "stat") as stat, \
                open(self.place + "statm") as statm:
            fields = stat.read().rpartition(")")[2].split()
            return ((int(fields[11]) + int(fields[12])) / TICKS,
                    int(statm.read().split()[1]) * PAGE_KB)

    def __str__(self):
        cpu, memory = (b - a for a, b in zip(self.begin, self.now()))
        return "%.2f s of CPU, %+d KB" % (cpu, memory)


def callers(daemon, tool, seconds):
    """(name, command) of dracload for each."""
    for i, name in enumerate(("udp", "udp6", "tcp", "unix")):
        command = load.command(tool, daemon, "add", name.rstrip("6"), c=1,
                               d=seconds, p=PACE, b=i << 24)
        if name == "udp6":
            command[-1] = "[::1]:%d" % daemon.port
        yield name, command


def look_up(daemon, while_true):
    """Latencies of an MTA, in seconds, in order."""
    times = []
    with contextlib.closing(hostile.connect(daemon.lookup)) as sock:
        while while_true():
            begin = time.monotonic()
            sock.sendall(hostile.LOOKUP)
            assert sock.recv(64).endswith(b",")
            times.append(time.monotonic() - begin)
            time.sleep(1 / PACE)
    return sorted(times)


def check(name, result, lossy):
    """lossy: datagrams find no room behind those of others."""
    answered = result["calls"] - result["failures"]
    assert result["status"][0] == answered, name
    if not (lossy and name.startswith("udp")):
        assert answered > 0 and result["failures"] == 0, name
        assert result["max_us"] < BOUND_US, name


def served(daemon, tool, figures, name, seconds=SECONDS, count=None,
           lossy=False):
    """All of them are served, by the daemon that is attacked meanwhile."""
    usage, line = Usage(daemon.process), []
    with contextlib.ExitStack() as stack:
        runs = [(who, stack.enter_context(load.running(command)))
                for who, command in callers(daemon, tool, seconds)]
        lookups = look_up(daemon, lambda: runs[0][1].process.poll() is None)
        for who, generator in runs:
            result = generator.result()
            check(who, result, lossy)
            again = result["retransmits"]
            line.append("%s %.1f (%.1f)%s" % (
                who, result["max_us"] / 1e3, result["p99_us"] / 1e3,
                ", %d sent again" % again if again else ""))
    assert lookups[-1] * 1e6 < BOUND_US
    line.append("lookup %.1f (%.1f)" % (
        lookups[-1] * 1e3, lookups[len(lookups) * 99 // 100] * 1e3))
    if count is not None:
        assert count.value > 0, "no harm was done"
        name = "%s, %d times" % (name, count.value)
    figures("%s: %s; %s" % (name, "; ".join(line), usage))


# ---- attacks --------------------------------------------------------------------

def tcp(daemon):
    return "127.0.0.1", daemon.port


NULL = rpcraw.record(hostile.VALID["null"])
ADD = rpcraw.record(hostile.VALID["add"])

ATTACKS = {
    "nobody": lambda d: iter(lambda: time.sleep(0.01), 1),
    "bad calls": hostile.bad_calls,
    "bad records": hostile.bad_records,
    "never read": lambda d: hostile.never_reads((tcp(d), d.unix), NULL),
    "call and go": lambda d: hostile.asks_and_goes(tcp(d), ADD),
    "connect and go": lambda d: hostile.comes_and_goes(tcp(d), "127.0.0.2"),
    "crowd": lambda d: hostile.crowd(tcp(d), "127.0.0.2", 128),
    "crowd, IPv6": lambda d: hostile.crowd(("::1", d.port), None, 128),
    "drip": lambda d: hostile.drips(tcp(d), ADD),
    "pipeline": lambda d: hostile.pipelines(tcp(d), NULL, 28),
    "bad lookups": lambda d: hostile.bad_records(
        d, (d.lookup, d.lookup_tcp), hostile.LOOKUPS),
    "never read lookups": lambda d: hostile.never_reads(
        (d.lookup_tcp, d.lookup), hostile.LOOKUP),
    "look up and go": lambda d: hostile.asks_and_goes(d.lookup_tcp,
                                                      hostile.LOOKUP),
    "crowd of lookups": lambda d: hostile.crowd(d.lookup_tcp, "127.0.0.2",
                                                128),
    "drip of lookups": lambda d: hostile.drips(d.lookup_tcp, hostile.LOOKUP),
    "pipeline of lookups": lambda d: hostile.pipelines(
        d.lookup, hostile.LOOKUP, len(NOTFOUND)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(daemon, tool, figures, name):
    daemon.start()
    with hostile.attacked(ATTACKS[name](daemon)) as count:
        wait_for(lambda: count.value > 0, hostile.ANSWERED_S, "the attack")
        served(daemon, tool, figures, name, count=count)


def flood_messages(kind):
    if kind == "garbage":
        return [os.urandom(100) for _ in range(50)]
    if kind == "bad calls":
        return [message for message, _ in hostile.CALLS.values()]
    if kind == "forbidden adds":
        return [rpcraw.call(1, rpcraw.ADD, rpcraw.v1_args("198.51.100.%d" % i))
                for i in range(250)]
    return [hostile.CALLS["program"][0] if kind == "program"
            else hostile.VALID["null"]]


@pytest.mark.parametrize("kind, host", [
    ("garbage", "127.0.0.1"), ("program", "[::1]"), ("bad calls", "127.0.0.1"),
    ("null", "127.0.0.1"), ("null", "[::1]"), ("forbidden adds", "127.0.0.1")])
def test_flood(daemon, tool, figures, kind, host):
    """
    At a rate that no honest caller has. What looks like a call is answered,
    and takes the room of others' datagrams where the daemon is too slow.
    """
    daemon.allow.write_text("host 127.0.0.1\nhost ::1\n")
    daemon.start()
    messages = daemon.dir / "messages"
    messages.write_text("".join(m.hex() + "\n" for m in flood_messages(kind)))
    flood = [tool("dracflood"), messages, str(FLOOD_RATE), str(SECONDS + 0.2),
             "%s:%d" % (host, daemon.port),
             *([FORBIDDEN] if kind == "forbidden adds" else ())]
    with load.running(flood) as running:
        served(daemon, tool, figures, "%s to %s" % (kind, host),
               lossy=kind in ("null", "bad calls", "forbidden adds"))
        sent = running.result()
    figures("%s: %d datagrams/s" % (kind, sent["rate"]))
    with daemon.client("unix") as client:
        assert set(client.table()).isdisjoint(
            "198.51.100.%d" % i for i in range(250))


def test_idle_connections(daemon, tool, figures, descriptors):
    descriptors(2 * IDLE_CONNECTIONS)
    daemon.settings.update(max_connections=2 * IDLE_CONNECTIONS,
                           max_connections_per_address=2 * IDLE_CONNECTIONS,
                           idle_timeout="60s")
    daemon.start()

    def opened():
        return len(os.listdir("/proc/%d/fd" % daemon.process.pid))

    before = opened()
    stack, socks = connections(daemon, IDLE_CONNECTIONS)
    with stack:
        wait_for(lambda: opened() > IDLE_CONNECTIONS, 5, "5,000 accepted")
        served(daemon, tool, figures, "5,000 idle")
        assert lives(socks[0]) and lives(socks[-1])
    wait_for(lambda: opened() <= before, 5, "descriptors given back")


SILENT = """\
ip link set lo up
ip link add silent type veth peer name nobody
ip addr add 192.0.2.1/24 dev silent
ip link set silent arp off up
ip link set nobody up
"""


def test_half_open_connections(daemon, tool, figures):
    """SYNs from hosts that do not answer."""
    with contextlib.closing(Namespace(["net"], SILENT)) as space:
        daemon.prefix = space.prefix
        daemon.settings["listen"] = [
            "tcp:192.0.2.1:%d" % daemon.port, "udp:192.0.2.1:%d" % daemon.port,
            "unix:" + daemon.unix]
        daemon.start()
        flood = space.prefix + [
            sys.executable, hostile.__file__, "syn", "192.0.2.1",
            str(daemon.port), "192.0.2"]
        with load.running(flood) as running:
            assert running.process.stdout.readline() == "ready\n"

            def half_open():
                return space.run("ss", "-Htn", "state", "syn-recv").count("\n")

            wait_for(lambda: half_open() > 100, 5, "half open connections")
            for transport in "udp", "tcp", "unix":
                command = load.command(tool, daemon, "add", transport, c=1,
                                       d=SECONDS, p=PACE)
                if transport != "unix":
                    command[-1] = "192.0.2.1:%d" % daemon.port
                with load.running(space.prefix + command) as caller:
                    result = caller.result()
                check(transport, result, lossy=False)
                figures("%d half open: %s %.1f (%.1f)" % (
                    half_open(), transport, result["max_us"] / 1e3,
                    result["p99_us"] / 1e3))
        daemon.stop()


# ---- answers --------------------------------------------------------------------

@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_answers_to_bad_calls(daemon, host):
    """By UDP; over TCP they are looked at during the attack."""
    daemon.start()
    with daemon.client("udp", host=host) as client:
        for name, (message, answer) in hostile.CALLS.items():
            want = [] if answer in (hostile.NOTHING, hostile.FILTERED) else \
                [message[:4] + answer]
            assert hostile.udp_answers(client.carrier, message) == want, \
                name


CABLE = """\
ip link add cable type veth peer name eth0 netns %d
ip addr add 10.77.0.1/24 dev cable
ip link set cable up
ip link set lo up
"""
OTHER_END = """\
ip link set lo up
ip addr add 10.77.0.2/24 dev eth0
ip link set eth0 up
"""


@pytest.mark.parametrize("who", ["stranger", "caller", "reader"])
def test_no_answer_is_longer_than_its_call(daemon, who):
    """Or whoever forges a source has others sent more than he sends."""
    with contextlib.ExitStack() as stack:
        caller = stack.enter_context(contextlib.closing(Namespace(["net"])))
        server = stack.enter_context(contextlib.closing(
            Namespace(["net"], CABLE % caller.pid)))
        caller.run("sh", "-ec", OTHER_END)
        daemon.prefix = server.prefix
        daemon.settings["listen"] = ["udp:10.77.0.1:%d" % daemon.port,
                                     "unix:" + daemon.unix]
        daemon.allow.write_text("10.77.0.2\n" if who == "caller" else "")
        if who == "reader":
            daemon.settings["read_allow"] = ["10.77.0.2"]
        daemon.start()
        with daemon.client("unix") as client:
            for i in range(40):
                client.add3("198.51.100.%d" % i, 600, "u" * 200, "imap")
        lines = caller.run(sys.executable, hostile.__file__, "sizes",
                           "10.77.0.1", str(daemon.port)).splitlines()
        daemon.stop()
    sizes = {name: (int(sent), int(got)) for name, sent, got in
             (line.split(",") for line in lines)}
    assert sizes.keys() == hostile.CALLS.keys() | hostile.VALID.keys()
    assert sizes["null"] == (40, 24) and sizes["add"] == (44, 28)
    assert {n: s for n, s in sizes.items() if s[1] > s[0]} == {}


# ---- ports that nobody has, and our own -------------------------------------------

@pytest.fixture
def raw():
    """raw(message, source port, port): a datagram within this host."""
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW,
                             socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("needs root for datagrams from any port")

    def send(message, source, port):
        head = struct.pack(">HHHH", source, port, 8 + len(message), 0)
        sock.sendto(head + message, ("127.0.0.1", port))

    yield send
    sock.close()


def test_datagram_from_port_0(daemon, raw):
    """It cannot be answered; those that came with it are."""
    daemon.start()
    with daemon.client() as client:
        wanted = set()
        with hanging(daemon.process):
            for _ in range(100):
                message = rpcraw.call(1, rpcraw.NULL)
                wanted.add(message[:4])
                client.carrier.send(message)
                raw(rpcraw.call(1, rpcraw.NULL), 0, daemon.port)
                raw(hostile.VALID["add"], 0, daemon.port)
        assert {client.carrier.receive()[:4] for _ in range(100)} == wanted


def test_datagrams_from_each_other(dracd, raw):
    """Nor from itself: an answer is no call, so they do not talk for ever."""
    first, second = dracd("a").start(), dracd("b").start()
    for source, daemon in ((first, second), (second, first), (first, first)):
        for message in (hostile.VALID["null"], hostile.CALLS["version 4"][0],
                        hostile.CALLS["flavor 99"][0]):
            raw(message, source.port, daemon.port)
    for daemon in first, second:
        with daemon.client() as client:
            client.null()
            assert client.stats()["bad_calls"] == 0


# ---- limits --------------------------------------------------------------------------

def connections(daemon, count, source="127.0.0.1"):
    """A stack of so many open TCP connections, and the list of them."""
    stack = contextlib.ExitStack()
    return stack, [stack.enter_context(contextlib.closing(
        socket.create_connection(("127.0.0.1", daemon.port), 5,
                                 (source, 0)))) for _ in range(count)]


def lives(sock):
    """Whether a null call on a connection is answered."""
    sock.settimeout(2)
    try:
        sock.sendall(rpcraw.record(rpcraw.call(1, rpcraw.NULL)))
        return len(sock.recv(64)) == 28
    except (ConnectionResetError, BrokenPipeError):
        return False


def test_half_a_record(daemon, tool, figures):
    """Closed after idle-timeout; a byte now and then does not help."""
    daemon.settings["idle_timeout"] = "2s"
    daemon.start()
    whole = rpcraw.record(rpcraw.call(1, rpcraw.ADD,
                                      rpcraw.v1_args("192.0.2.1")))
    stack, socks = connections(daemon, 7)
    with stack:
        for sock, size in zip(socks, (1, 2, 3, 4, 20, 47)):
            sock.sendall(whole[:size])
        unix = stack.enter_context(contextlib.closing(
            hostile.connect(daemon.unix)))
        unix.sendall(whole[:2])
        served(daemon, tool, figures, "half a record")
        begin = time.monotonic()
        for byte in whole:      # for ten seconds
            if closed(socks[6], 0.2):
                break
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socks[6].send(bytes([byte]))
        assert time.monotonic() < begin + 6, "drips, and stays"
        assert all(closed(s, 6) for s in socks[:6] + [unix])
    with daemon.client() as client:
        assert client.query("192.0.2.1")[0] == rpcraw.NOTFOUND


def test_connection_caps(dracd):
    """Too many from one address: refused. Too many: the idlest has to go."""
    daemon = dracd(max_connections=20, max_connections_per_address=8)
    daemon.allow.write_text("255.0.0.0 127.0.0.0\n")
    daemon.start()
    stack = contextlib.ExitStack()

    def more(count, source):
        held, socks = connections(daemon, count, source)
        stack.enter_context(held)
        return socks

    with stack:
        first = more(8, "127.0.0.1")
        assert all(map(lives, first))
        assert closed(more(1, "127.0.0.1")[0], 2), "a ninth stays"
        second, third = more(8, "127.0.0.2"), more(8, "127.0.0.3")
        assert all(map(lives, second + third))
        assert [closed(s, 2) for s in first[:4]] == [True] * 4
        assert all(map(lives, first[4:])), "20 of 24 stay"
        with daemon.client() as client:
            assert client.add1("192.0.2.1") == rpcraw.ADD_SUCCESS
        third[0].close()
        wait_for(lambda: lives(more(1, "127.0.0.3")[0]), 2,
                 "a place given back")
    assert "max-connections=" in daemon.stderr
    assert "max-connections-per-address=" in daemon.stderr


def test_idle_timeout(dracd):
    daemon = dracd(idle_timeout="1s").start()
    stack, (idle, busy) = connections(daemon, 2)
    with stack:
        begin = time.monotonic()
        while not closed(idle, 0.1):
            assert time.monotonic() < begin + 4, "idle, but still open"
            assert lives(busy), "busy, but closed"
        assert time.monotonic() > begin + 0.9
        assert lives(busy)

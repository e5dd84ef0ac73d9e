"""
libdrac against servers with bad manners, a real rpcbind, hosts that swallow
packets and resolvers that say nothing: return codes, texts, and the time that
each call takes.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from libdrac_world import (DEAD, LOCAL_SOCKET, ROOT, SERVERS, START_S,
                           UNROUTED, World)

BUDGET_MS = 2000
SLACK_MS = 1000         # of a busy machine, under sanitizers
FAST_MS = 700           # "at once", on the same
ADDRESS, ADDRESS6 = "192.0.2.1", "2001:db8::fe80:1"
PORT = 5901
HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def the_world():
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    world = World()
    yield world
    world.close()


@pytest.fixture
def world(the_world):
    yield the_world
    the_world.stop_all()
    the_world.nameserver("127.0.0.1")


@pytest.fixture(scope="module")
def rpcbind_there():
    fetch = subprocess.run([ROOT / "tests/servers/fetch", "-d", SERVERS, "base"],
                           capture_output=True, text=True)
    if fetch.returncode != 0:
        pytest.skip("no rpcbind: %s" % fetch.stderr.strip())


@pytest.fixture
def classic(world, build):
    """classic(step, ...) -> [(return code, milliseconds, message), ...]"""
    def run(*steps):
        return parse(execute(world, build, "libdrac_classic", *steps))
    return run


@pytest.fixture
def classics(classic):
    """classics([step, ...], ...): several programs at the same time."""
    def run(*programs):
        with concurrent.futures.ThreadPoolExecutor(len(programs)) as pool:
            return list(pool.map(lambda steps: classic(*steps), programs))
    return run


@pytest.fixture
def calls(world, build):
    """calls(server, step, ...): the same for drac(3), default budget."""
    def run(server, *steps, budget=0):
        return parse(execute(world, build, "libdrac_calls", server, budget,
                             *steps))
    return run


@pytest.fixture
def stress(world, build):
    def run(*args):
        return execute(world, build, "libdrac_stress", *args)
    return run


def environment():
    env = dict(os.environ)
    env.setdefault("ASAN_OPTIONS", "verify_asan_link_order=0")
    return env


def tool(build, name):
    return pathlib.Path(build).resolve() / "tools" / name


def execute(world, build, name, *args):
    done = subprocess.run(world.inside([tool(build, name), *args]),
                          capture_output=True, text=True, timeout=120,
                          env=environment())
    assert done.returncode == 0, "%d\n%s%s" % (done.returncode, done.stdout,
                                               done.stderr)
    assert done.stderr == ""
    return done.stdout


def parse(output):
    rows = [line.split("\t") for line in output.splitlines()]
    return [(int(code), float(ms), text) for code, ms, text in rows]


shown = []              # the rows that the test has looked at


@pytest.fixture
def table(figures):
    """Puts every row of the test, with its time, into the summary."""
    shown.clear()
    yield
    for row in shown:
        figures(row)


def within(row, code, text, low_ms, high_ms):
    shown.append("%d %.1f ms %s" % row)
    assert (row[0], row[2]) == (code, text)
    assert low_ms <= row[1] <= high_ms


def at_once(row, code, text):
    within(row, code, text, 0, FAST_MS)


def after_budget(row, code, text):
    # A millisecond early would be a clock's; half of it would be a fault.
    within(row, code, text, BUDGET_MS * 0.9, BUDGET_MS + SLACK_MS)


SUCCESS = "Server reports add succeeded"
TIMED_OUT = "call failed: RPC: Timed out"
REFUSED = "call failed: RPC: Unable to receive; errno = Connection refused"


# ---- the failure table of DRAC 1.12 ----------------------------------------

@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("version", ["", "6"])
class TestFailureTable:
    """Both families: version 1 with an IPv4 address, 2 with an IPv6 one."""

    @staticmethod
    def address(version):
        return ADDRESS6 if version else ADDRESS

    def auth(self, classic, version, server):
        return classic("auth" + version, server, self.address(version))[0]

    def send(self, classic, version, server):
        return classic("conn" + version, server, "send" + version,
                       self.address(version), "disc" + version)

    def test_success(self, world, rpcbind_there, classic, version):
        world.rpcbind()
        peer = world.peer("versions=1-2+register=7777", "udp:127.0.0.1:7777")
        at_once(self.auth(classic, version, "127.0.0.1"), 0, SUCCESS)
        rows = self.send(classic, version, "127.0.0.1")
        at_once(rows[0], 0, "Connect succeeded")
        at_once(rows[1], 0, SUCCESS)
        at_once(rows[2], 0, "Disconnect succeeded")
        seen = [line.split()[:3] for line in world.calls_seen(peer)]
        assert seen == 2 * [["add", "2" if version else "1",
                             self.address(version)]]

    def test_not_connected(self, classic, version):
        for step in (["send" + version, self.address(version)],
                     ["disc" + version]):
            at_once(classic(*step)[0], -1, "Not connected")

    @pytest.mark.parametrize("status, text", [
        (1, "Server reports permission denied"),
        (2, "Server reports system error"),
        (3, "Server reports unknown error")])
    def test_refusal(self, world, classic, version, status, text):
        world.peer("status=%d" % status, "udp:127.0.0.1:5901")
        at_once(self.auth(classic, version, "127.0.0.1:5901"), status, text)
        at_once(self.send(classic, version, "127.0.0.1:5901")[1], status,
                text)

    def test_stale_registration(self, world, rpcbind_there, classic, version):
        world.rpcbind()
        world.stop(world.peer("versions=1-2+register=7777",
                              "udp:127.0.0.1:7777"))
        at_once(self.auth(classic, version, "127.0.0.1"), -2, REFUSED)
        rows = self.send(classic, version, "127.0.0.1")
        at_once(rows[0], 0, "Connect succeeded")
        at_once(rows[1], -2, REFUSED)

    def test_not_registered(self, world, rpcbind_there, classic, version):
        world.rpcbind()
        for row in (self.auth(classic, version, "live.test"),
                    classic("conn" + version, "live.test")[0]):
            at_once(row, -1, "live.test: RPC: Program not registered")

    def test_rpcbind_down(self, classic, version):
        for row in (self.auth(classic, version, "live.test"),
                    classic("conn" + version, "live.test")[0]):
            at_once(row, -1, "live.test: RPC: Unable to receive")

    def test_unknown_host(self, classic, version):
        for row in (self.auth(classic, version, "nobody.test"),
                    classic("conn" + version, "nobody.test")[0]):
            at_once(row, -1, "nobody.test: RPC: Unknown host")

    def test_null_errmsg(self, world, classic, version):
        world.peer("status=1", "udp:127.0.0.1:5901")
        for server in ("127.0.0.1:5901", "127.0.0.1:9", "live.test",
                       "nobody.test", ""):
            row = classic("null", "auth" + version, server,
                          self.address(version))[0]
            assert row[0] != 0 and row[2] == "(untouched)"
        codes = [row[0] for row in classic(
            "null", "conn" + version, "127.0.0.1:5901", "null",
            "send" + version, self.address(version), "null", "disc" + version,
            "null", "disc" + version)]
        assert codes == [0, 1, 0, -1]


@pytest.mark.usefixtures("table")
class TestSlowRows:
    """Those that took 25 s, 60 s and more; both families at once."""

    BOTH = [["", ADDRESS], ["6", ADDRESS6]]

    def auth(self, server):
        return [["auth" + version, server, address]
                for version, address in self.BOTH]

    def test_silent_server(self, world, rpcbind_there, classics):
        """Stopped by SIGSTOP, as it was measured."""
        world.rpcbind()
        world.freeze(world.peer("versions=1-2+register=7777",
                                "udp:127.0.0.1:7777"))
        sends = [["conn" + version, "127.0.0.1", "send" + version, address]
                 for version, address in self.BOTH]
        rows = classics(*self.auth("127.0.0.1"), *sends)
        for row in rows[:2]:
            after_budget(row[0], -2, TIMED_OUT)
        for row in rows[2:]:
            at_once(row[0], 0, "Connect succeeded")
            after_budget(row[1], -2, TIMED_OUT)

    def test_silent_rpcbind(self, world, rpcbind_there, classics):
        world.freeze(world.rpcbind())
        # Nobody is at the fixed port, so nothing more is waited for.
        for row in classics(*self.auth("127.0.0.1"), ["conn", "127.0.0.1"],
                            ["conn6", "127.0.0.1"]):
            within(row[0], -1, "127.0.0.1: RPC: Timed out", 900,
                   BUDGET_MS + SLACK_MS)

    def test_dead_host(self, classics):
        rows = classics(*self.auth(DEAD), *self.auth(DEAD + ":5901"),
                        *self.auth(UNROUTED))
        for row in rows[:2]:
            after_budget(row[0], -1, DEAD + ": RPC: Timed out")
        for row in rows[2:4]:
            after_budget(row[0], -2, TIMED_OUT)
        for row in rows[4:]:
            at_once(row[0], -1, UNROUTED + ": RPC: Remote system error - "
                    "Network is unreachable")


# ---- what the other side may do --------------------------------------------

class TestBounds:
    @pytest.mark.parametrize("behaviour", ["silent", "noise-only"])
    def test_datagrams(self, world, classic, behaviour):
        world.peer(behaviour, "udp:127.0.0.1:5901")
        after_budget(classic("auth", "127.0.0.1:5901", ADDRESS)[0], -2,
                     TIMED_OUT)

    def test_noise_costs_nothing(self, world, classic):
        """Foreign answers and a foreign sender's "system error"."""
        world.peer("noise", "udp:127.0.0.1:5901")
        at_once(classic("auth", "127.0.0.1:5901", ADDRESS)[0], 0, SUCCESS)

    def test_lost_datagrams(self, world, classic):
        world.peer("drop=3", "udp:127.0.0.1:5901")
        row = classic("auth", "127.0.0.1:5901", ADDRESS)[0]
        within(row, 0, SUCCESS, 700, BUDGET_MS)

    @pytest.mark.parametrize("behaviour", ["silent", "drip"])
    def test_streams(self, world, classic, calls, behaviour):
        world.peer(behaviour, "unix:/run/p.sock", "tcp:127.0.0.1:5901")
        after_budget(classic("auth", "unix:/run/p.sock", ADDRESS)[0], -2,
                     TIMED_OUT)
        after_budget(calls("127.0.0.1:5901", "stats", 9)[0], -1,
                     "127.0.0.1:5901: RPC: Timed out")

    def test_full_backlog(self, world, classic):
        world.peer("backlog", "unix:/run/p.sock")
        expect(world.start(["python3", "-c", FILL % "/run/p.sock"]), "full")
        after_budget(classic("auth", "unix:/run/p.sock", ADDRESS)[0], -1,
                     "unix:/run/p.sock: RPC: Timed out")

    def test_dead_tcp(self, calls):
        after_budget(calls(DEAD + ":5901", "stats", 9)[0], -1,
                     DEAD + ":5901: RPC: Timed out")

    @pytest.mark.parametrize("behaviour, text", [
        ("junk", "RPC: Can't decode result"),
        ("short", "RPC: Can't decode result"),
        ("denied", "RPC: Authentication error; why = Client credential too "
                   "weak"),
        ("versions=7-9", "RPC: Program/version mismatch; low version = 7, "
                         "high version = 9")])
    def test_bad_answers(self, world, classic, behaviour, text):
        world.peer(behaviour, "udp:127.0.0.1:5901", "unix:/run/p.sock")
        for server in ("127.0.0.1:5901", "unix:/run/p.sock"):
            at_once(classic("auth", server, ADDRESS)[0], -2,
                    "call failed: " + text)

    def test_entries_without_an_address(self, world, calls):
        world.peer("nameless", "unix:/run/p.sock")
        rows = calls("unix:/run/p.sock", "add", ADDRESS, "1", "u", "s",
                     "query", ADDRESS, "list", "10")
        assert rows[0][0] == 0
        for row in rows[1:]:
            assert row[2] == "Server sent an entry without an address"

    def test_reset(self, world, classic):
        """Whichever end notices first: an error at once, and no SIGPIPE."""
        world.peer("reset", "unix:/run/p.sock")
        for _ in range(20):
            row = classic("auth", "unix:/run/p.sock", ADDRESS)[0]
            assert row[0] == -2 and row[1] < FAST_MS
            assert re.fullmatch(r"call failed: RPC: Unable to (send|receive); "
                                r"errno = (Broken pipe|Connection reset by "
                                r"peer)", row[2])

    def test_huge_fragment(self, world, classic):
        world.peer("huge", "unix:/run/p.sock")
        at_once(classic("auth", "unix:/run/p.sock", ADDRESS)[0], -2,
                "call failed: RPC: Can't decode result")

    def test_fragments(self, world, calls):
        world.peer("fragments", "unix:/run/p.sock")
        rows = calls("unix:/run/p.sock", "add", ADDRESS, 60, "joe", "pop3",
                     "list", 32)
        at_once(rows[1], 0, "1 pages, 1 entries, last %s joe pop3" % ADDRESS)

    def test_silent_resolver(self, world, classic, stress):
        """Bounded, and what was left behind ends with the resolver."""
        world.nameserver(DEAD)
        after_budget(classic("auth", "nobody.test", ADDRESS)[0], -1,
                     "nobody.test: RPC: Unknown host")
        print(stress("calls", "nobody.test", 1))

    def test_short_budget(self, calls):
        row = calls(DEAD + ":5901", "query", ADDRESS, budget=300)[0]
        within(row, -1, DEAD + ":5901: RPC: Timed out", 270, 300 + SLACK_MS)


# Connects until the backlog has no room, and holds on.
FILL = """
import socket, sys
held = []
while True:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.setblocking(False)
    held.append(s)
    try:
        s.connect("%s")
    except BlockingIOError:
        break
print("full", flush=True)
sys.stdin.read()
"""


def expect(process, word):
    assert process.stdout.readline() == word + "\n"


# ---- the ways to a server ----------------------------------------------------

class TestServers:
    def test_localhost_prefers_the_local_socket(self, world, classic):
        local = world.peer("answer", "unix:" + LOCAL_SOCKET)
        udp = world.peer("answer", "udp:127.0.0.1:5901")
        at_once(classic("auth", "localhost", ADDRESS)[0], 0, SUCCESS)
        assert world.calls_seen(local) == ["add 1 " + ADDRESS]
        assert world.calls_seen(udp) == []

    @pytest.mark.parametrize("behaviour", ["status=1", "reset"])
    def test_localhost_without_it(self, world, classic, behaviour):
        """Stale, refused by it, or not there: as any other host."""
        local = world.peer(behaviour, "unix:" + LOCAL_SOCKET)
        udp = world.peer("answer", "udp:127.0.0.1:5901")
        at_once(classic("auth", "localhost", ADDRESS)[0], 0, SUCCESS)
        world.stop(local)
        at_once(classic("auth", "localhost", ADDRESS)[0], 0, SUCCESS)
        assert world.calls_seen(udp).count("add 1 " + ADDRESS) == 2

    def test_fixed_port(self, world, rpcbind_there, classic):
        """No rpcbind, one that does not know, one that is silent."""
        world.peer("answer", "udp:127.0.0.1:5901", "udp:[::1]:5901")
        at_once(classic("auth", "127.0.0.1", ADDRESS)[0], 0, SUCCESS)
        at_once(classic("auth", "::1", ADDRESS)[0], 0, SUCCESS)
        rpcbind = world.rpcbind()
        at_once(classic("auth", "127.0.0.1", ADDRESS)[0], 0, SUCCESS)
        world.freeze(rpcbind)
        row = classic("auth", "127.0.0.1", ADDRESS)[0]
        within(row, 0, SUCCESS, 900, BUDGET_MS)

    def test_somebody_else_on_the_fixed_port(self, world, classic):
        world.peer("junk", "udp:127.0.0.1:5901")
        at_once(classic("auth", "127.0.0.1", ADDRESS)[0], -1,
                "127.0.0.1: RPC: Unable to receive")

    def test_portmapper_version_2(self, world, classic):
        asked = world.peer("portmapper=7777", "udp:127.0.0.1:111")
        server = world.peer("versions=1-2", "udp:127.0.0.1:7777")
        at_once(classic("auth", "127.0.0.1", ADDRESS)[0], 0, SUCCESS)
        assert world.calls_seen(asked) == ["getport"]
        assert world.calls_seen(server) == ["add 1 " + ADDRESS]

    def test_portmapper_does_not_know(self, world, classic):
        world.peer("portmapper=0", "udp:127.0.0.1:111")
        at_once(classic("auth", "127.0.0.1", ADDRESS)[0], -1,
                "127.0.0.1: RPC: Program not registered")

    def test_universal_address(self, world, classic):
        """What rpcbind says is a stranger's text."""
        world.peer("answer", "udp:127.0.0.1:7777")
        for text, known in (("127.0.0.1.30.97", True), ("30.97", False),
                            ("0.0.0.0.30.97", True), (".30.97", True),
                            ("", False), (".", False), ("..", False),
                            ("97", False), ("127.0.0.1.30.", False),
                            ("127.0.0.1..97", False), ("a.b.c.d.e.f", False),
                            ("127.0.0.1.30.256", False),
                            ("127.0.0.1.-30.97", False),
                            ("127.0.0.1.30x.97", False),
                            ("127.0.0.1.30.97 ", False),
                            ("127.0.0.1.0.0", False),
                            ("/run/dracd.sock", False), ("9" * 400, False)):
            rpcbind = world.peer("rpcbind=" + text, "udp:127.0.0.1:111")
            row = classic("auth", "127.0.0.1", ADDRESS)[0]
            if known:
                at_once(row, 0, SUCCESS)
            else:
                at_once(row, -1, "127.0.0.1: RPC: Program not registered")
            world.stop(rpcbind)

    def test_tcp_port_of_rpcbind(self, world, rpcbind_there, calls):
        """Only UDP is registered: no TCP port but the fixed one is tried."""
        world.rpcbind()
        world.peer("register=7777", "udp:127.0.0.1:7777",
                   "tcp:127.0.0.1:5901")
        rows = calls("127.0.0.1", "add", ADDRESS, 60, "a", "b", "list", 5)
        at_once(rows[0], 0, "2000000000")
        at_once(rows[1], 0, "1 pages, 1 entries, last %s a b" % ADDRESS)

    @pytest.mark.parametrize("server", [
        "[::1]:5901", "localhost:5901", "live.test:5901",
        " 127.0.0.1:9 , 127.0.0.1:5901\t", "unix:/nowhere,live.test:5901",
        "nobody.test,127.0.0.1:5901"])
    def test_syntax_that_reaches(self, world, classic, server):
        world.peer("answer", "udp:127.0.0.1:5901", "udp:[::1]:5901")
        at_once(classic("auth", server, ADDRESS)[0], 0, SUCCESS)

    @pytest.mark.parametrize("server", [
        "", ",", "127.0.0.1:5901,", "127.0.0.1:0", "127.0.0.1:65536",
        "127.0.0.1:", ":5901", "[::1]5901", "[::1", "[]:5901", "unix:",
        "unix:relative", "unix:/" + "x" * 108, "h" * 256,
        "127.0.0.1:5901x", "127.0.0.1:-1"])
    def test_syntax_error(self, world, classic, server):
        world.peer("answer", "udp:127.0.0.1:5901", "udp:[::1]:5901")
        row = classic("auth", server, ADDRESS)[0]
        at_once(row, -1, server + ": RPC: Unknown host")

    def test_dead_first_server(self, world, classic):
        """A dead one costs its share and no more: a half, a third."""
        world.peer("answer", "udp:127.0.0.1:5901")
        row = classic("auth", DEAD + ":5901,127.0.0.1:5901", ADDRESS)[0]
        within(row, 0, SUCCESS, 900, BUDGET_MS)
        row = classic("auth", "%s,%s:1,127.0.0.1:5901" % (DEAD, DEAD),
                      ADDRESS)[0]
        within(row, 0, SUCCESS, 1200, BUDGET_MS)

    def test_all_dead(self, classic):
        row = classic("auth", ",".join([DEAD + ":5901"] * 5), ADDRESS)[0]
        after_budget(row, -2, TIMED_OUT)

    def test_two_addresses(self, world, classic):
        world.peer("answer", "udp:127.0.0.1:5901")
        row = classic("auth", "two.test:5901", ADDRESS)[0]
        within(row, 0, SUCCESS, 0, BUDGET_MS)

    def test_refused_then_accepted(self, world, classic):
        for status in (1, 2):
            first = world.peer("status=%d" % status, "udp:127.0.0.1:7001")
            second = world.peer("answer", "udp:127.0.0.1:7002")
            rows = classic("auth", "127.0.0.1:7001,127.0.0.1:7002", ADDRESS)
            at_once(rows[0], 0, SUCCESS)
            assert world.calls_seen(first) == world.calls_seen(second)

    def test_first_refusal_is_reported(self, world, classic):
        world.peer("status=2", "udp:127.0.0.1:7001")
        world.peer("status=1", "udp:127.0.0.1:7002")
        at_once(classic("auth", "127.0.0.1:9,127.0.0.1:7001,127.0.0.1:7002,"
                        "nobody.test", ADDRESS)[0], 2,
                "Server reports system error")

    def test_no_netconfig(self, world, rpcbind_there, build):
        """In a chroot, where libtirpc says "Unknown protocol"."""
        world.rpcbind()
        world.peer("register=7777", "udp:127.0.0.1:7777")
        done = subprocess.run(
            world.inside(["unshare", "--mount", "sh", "-c",
                          "mount --bind /dev/null /etc/netconfig && "
                          "exec $0 auth live.test 192.0.2.1",
                          tool(build, "libdrac_classic")]),
            capture_output=True, text=True, env=environment())
        at_once(parse(done.stdout)[0], 0, SUCCESS)


# ---- version 3 -----------------------------------------------------------------

    def test_accounts_and_events(self, world, calls):
        world.peer("answer", "udp:127.0.0.1:5901", "tcp:127.0.0.1:5901")
        rows = calls("127.0.0.1:5901",
                     "add", ADDRESS, 60, "joe", "pop3",
                     "add", ADDRESS6, 60, "ann", "imap",
                     "account", ADDRESS, "events", 0, "events", 9,
                     "events", 2, "events", 32)
        assert [(row[0], row[2]) for row in rows[2:]] == [
            (0, "1999999800 1999999900 9223372036854775809 " + "c" * 63),
            (3, "no room for an event"),
            (0, "cookie 7 lost 0"),
            (0, "cookie 14 lost 7 0,2000000000,%s,ann 1,1999999999,%s,joe" %
             (ADDRESS6, ADDRESS)),
            (0, "cookie 21 lost 14 0,2000000000,%s,ann 1,1999999999,%s,joe "
             "4,2000000000,," % (ADDRESS6, ADDRESS))]

class TestCalls:
    @pytest.mark.parametrize("server", ["127.0.0.1:5901", "[::1]:5901",
                                        "unix:/run/p.sock"])
    def test_all_five(self, world, calls, server):
        peer = world.peer("answer", "udp:127.0.0.1:5901", "udp:[::1]:5901",
                          "tcp:127.0.0.1:5901", "tcp:[::1]:5901",
                          "unix:/run/p.sock")
        user, service = "u" * 255, "s" * 32
        rows = calls(
            server,
            "add", ADDRESS, 60, "j\u00f6rg", "pop3",
            "add", "::ffff:192.0.2.2", 0, "", "",
            "add", ADDRESS6, 4294967295, user, service,
            "query", ADDRESS, "query", "192.0.2.2", "query", ADDRESS6,
            "query", "192.0.2.3",
            "list", 2, "stats", 9, "stats", 1,
            "remove", ADDRESS, "remove", ADDRESS, "list", 32)
        assert [(row[0], row[2]) for row in rows] == [
            (0, "2000000000")] * 3 + [
            (0, ADDRESS + " 2000000000 j\u00f6rg pop3"),
            (0, "192.0.2.2 2000000000  "),
            (0, "%s 2000000000 %s %s" % (ADDRESS6, user, service)),
            (4, "Server reports no such entry"),
            (0, "2 pages, 3 entries, last 192.0.2.2  "),
            (0, "entries=3 big=18446744073709551615 "),
            (0, "entries=3 "),
            (0, "done"),
            (4, "Server reports no such entry"),
            (0, "1 pages, 2 entries, last 192.0.2.2  ")]
        assert "add 3 %s 60 j\u00f6rg pop3" % ADDRESS in world.calls_seen(peer)

    def test_many_pages(self, world, calls):
        world.peer("answer", "unix:/run/p.sock")
        adds = []
        for i in range(100):
            adds += ["add", "10.0.0.%d" % i, 60, "u" * 255, "s" * 32]
        row = calls("unix:/run/p.sock", *adds, "list", 1000)[-1]
        at_once(row, 0, "4 pages, 100 entries, last 10.0.0.99 %s %s" %
                ("u" * 255, "s" * 32))

    @pytest.mark.parametrize("status, text", [
        (1, "permission denied"), (2, "system error"),
        (3, "invalid argument"), (4, "no such entry")])
    def test_refusals(self, world, calls, status, text):
        world.peer("status=%d" % status, "unix:/run/p.sock")
        rows = calls("unix:/run/p.sock", "add", ADDRESS, 1, "", "", "remove",
                     ADDRESS, "query", ADDRESS, "list", 1, "stats", 1)
        assert [(row[0], row[2]) for row in rows] == [
            (status, "Server reports " + text)] * 5

    @pytest.mark.parametrize("step, text", [
        (["add", "host.test", 1, "", ""], "host.test: not an address"),
        (["add", "", 1, "", ""], ": not an address"),
        (["add", "fe80::1%lo", 1, "", ""], "fe80::1%lo: not an address"),
        (["remove", "1.2.3"], "1.2.3: not an address"),
        (["query", "1.2.3.4.5"], "1.2.3.4.5: not an address"),
        (["add", ADDRESS, 1, "u" * 256, ""], "user is longer than 255 bytes"),
        (["add", ADDRESS, 1, "", "s" * 33],
         "service is longer than 32 bytes"),
        (["list", 0], "no room for an entry")])
    def test_invalid(self, calls, step, text):
        at_once(calls("unix:/nowhere", *step)[0], 3, text)

    @pytest.mark.parametrize("server", ["127.0.0.1:5901", "live.test"])
    def test_old_server(self, world, rpcbind_there, calls, server):
        """DRAC 1.12 can add, and nothing else."""
        world.rpcbind()
        peer = world.peer("versions=1-2+register=5901", "udp:127.0.0.1:5901",
                          "tcp:127.0.0.1:5901")
        rows = calls(server, "add", ADDRESS, 60, "joe", "pop3", "add",
                     ADDRESS6, 60, "joe", "pop3", "query", ADDRESS, "remove",
                     ADDRESS)
        assert [(row[0], row[2]) for row in rows[:2]] == [(0, "0")] * 2
        mismatch = (server + ": RPC: Program/version mismatch; "
                    "low version = 1, high version = 2")
        for row in rows[2:]:
            at_once(row, 5, mismatch)
        seen = world.calls_seen(peer)
        assert seen[0] == "add 1 " + ADDRESS
        assert seen[1] == (
            "add 2 %s 0000002000000001" "0000000dffffffb8%s"
            "fffffffeffffff8000000000" "00000001" % (ADDRESS6, "0" * 64))

    @pytest.mark.parametrize("status, result, text", [
        (1, 1, "permission denied"), (2, 2, "system error"),
        (3, 2, "unknown error"), (4, 2, "unknown error")])
    def test_old_refusals(self, world, calls, status, result, text):
        world.peer("versions=1-2+status=%d" % status, "udp:127.0.0.1:5901")
        at_once(calls("127.0.0.1:5901", "add", ADDRESS, 1, "", "")[0], result,
                "Server reports " + text)

    def test_server_restarts(self, world, build):
        """The kept connection is dead: the call finds the new server."""
        for endpoint in ("unix:/run/p.sock", "udp:127.0.0.1:5901"):
            server = endpoint.replace("udp:", "")
            peer = world.peer("answer", endpoint)
            user = world.start([tool(build, "libdrac_calls"), server, 0,
                                "add", ADDRESS, 1, "", "", "pause",
                                "add", ADDRESS6, 1, "", ""],
                               env=environment())
            assert parse(user.stdout.readline())[0][0] == 0
            expect(user, "paused")
            world.stop_but(user)
            peer = world.peer("answer", endpoint)
            user.stdin.write("\n")
            user.stdin.flush()
            at_once(parse(user.stdout.readline())[0], 0, "2000000000")
            assert user.wait(START_S) == 0
            assert world.calls_seen(peer) == ["add 3 %s 1  " % ADDRESS6]

    def test_server_dies_between_conn_and_send(self, world, build):
        peer = world.peer("answer", "udp:127.0.0.1:5901")
        user = world.start([tool(build, "libdrac_classic"), "conn",
                            "127.0.0.1", "send", ADDRESS, "pause", "send",
                            ADDRESS, "disc"], env=environment())
        assert [parse(user.stdout.readline())[0][0]
                for _ in range(2)] == [0, 0]
        expect(user, "paused")
        world.stop(peer)
        user.stdin.write("\n")
        user.stdin.flush()
        at_once(parse(user.stdout.readline())[0], -2, REFUSED)
        at_once(parse(user.stdout.readline())[0], 0, "Disconnect succeeded")
        assert user.wait(START_S) == 0


# ---- in a program --------------------------------------------------------------

class TestPrograms:
    @pytest.mark.parametrize("server, count", [
        ("127.0.0.1:9", 1000), ("unix:/nowhere", 1000), ("live.test", 1000),
        ("unix:/run/p.sock", 1000), ("nobody.test", 1000)])
    def test_descriptors(self, world, stress, server, count):
        world.peer("reset", "unix:/run/p.sock")
        output = stress("calls", server, count)
        print(output)
        assert output.startswith("%d of %d failed" % (count, count))

    @pytest.mark.parametrize("server", ["127.0.0.1:5901", "unix:/run/p.sock"])
    def test_threads(self, world, stress, server):
        world.peer("answer", "udp:127.0.0.1:5901", "tcp:127.0.0.1:5901",
                   "unix:/run/p.sock", quiet=True)
        stress("threads", server, 100)
        stress("connection", server, 200)
        stress("fork", server, 100)

    def test_threads_at_bad_servers(self, world, stress):
        world.peer("silent", "udp:127.0.0.1:5901")
        world.peer("drip", "unix:/run/drip.sock")
        world.peer("noise-only", "udp:127.0.0.1:5902")
        world.peer("reset", "unix:/run/reset.sock")
        world.nameserver(DEAD)
        stress("bad", "127.0.0.1:5901", "unix:/run/drip.sock",
               DEAD + ":5901", "127.0.0.1:5902", "unix:/run/reset.sock",
               "nobody.test", "unix:/nowhere", "dead.test:5901")

    def test_texts(self, stress):
        stress("texts", "127.0.0.1", "unix:/nowhere")

    @pytest.mark.parametrize("server", ["127.0.0.1:5901", "unix:/run/p.sock"])
    def test_high_descriptors(self, world, stress, server):
        world.peer("answer", "udp:127.0.0.1:5901", "tcp:127.0.0.1:5901",
                   "unix:/run/p.sock")
        stress("high", server)

    @pytest.mark.parametrize("server, result", [
        (DEAD + ":5901", "-2 " + TIMED_OUT),
        ("unix:/run/p.sock", "-2 " + TIMED_OUT),
        ("nobody.test", "-1 nobody.test: RPC: Unknown host")])
    def test_signals(self, world, stress, server, result):
        world.peer("drip", "unix:/run/p.sock")
        world.nameserver(DEAD)
        output = stress("signals", server)
        print(output)
        assert output.startswith(result + " (")

    def test_library_is_closed(self, world, build):
        """As PAM does, while the resolver is still being waited for."""
        if "asan" in output_of("nm", tool(build, "libdrac_dlclose")):
            pytest.skip("a sanitized library cannot be loaded late")
        world.nameserver(DEAD)
        library = pathlib.Path(build).resolve() / "libdrac.so.1"
        assert execute(world, build, "libdrac_dlclose", library,
                       "nobody.test") == (
            "nobody.test: RPC: Unknown host\nalone\n")

    def test_draccall(self, world, build):
        world.peer("answer", "udp:127.0.0.1:5901")
        for args, status in ((["127.0.0.1", ADDRESS], 0),
                             (["127.0.0.1", ADDRESS6], 0),
                             (["127.0.0.1:9", ADDRESS], 1)):
            done = subprocess.run(
                world.inside([tool(build, "draccall"), *args]),
                capture_output=True, text=True, env=environment())
            assert done.returncode == status
            text = done.stderr if status else done.stdout
            assert (REFUSED if status else SUCCESS) in text


# ---- the binary ------------------------------------------------------------------

CLASSIC = {"dracauth", "dracconn", "dracsend", "dracdisc", "dracauth6",
           "dracconn6", "dracsend6", "dracdisc6"}
STUBS = {"dracproc_add_1", "dracproc_add_2", "xdr_addstat",
         "xdr_drac_add_parm", "xdr_drac_add_parm6"}
CALLS = {"drac_open", "drac_close", "drac_add", "drac_remove", "drac_query",
         "drac_list", "drac_events", "drac_stats", "drac_error"}


def output_of(*command):
    return subprocess.run([str(word) for word in command], check=True,
                          capture_output=True, text=True).stdout


@pytest.fixture
def library(build):
    return pathlib.Path(build).resolve() / "libdrac.so.1"


def test_exported_symbols(library):
    lines = output_of("nm", "-D", "--defined-only", library).splitlines()
    names = {line.split()[2].split("@")[0] for line in lines
             if line.split()[1] != "A"}
    assert names == CLASSIC | STUBS | CALLS


def test_soname_and_needed(library):
    dynamic = output_of("readelf", "-d", library)
    assert "soname: [libdrac.so.1]" in dynamic
    assert "NEEDED" in dynamic and "[libtirpc.so.3]" in dynamic


def test_header_alone(tmp_path):
    """drac.h includes nothing of RPC, and C++ accepts it."""
    for compiler, name in (("cc", "a.c"), ("c++", "a.cc")):
        if shutil.which(compiler) is None:
            pytest.skip("no %s" % compiler)
        source = tmp_path / name
        source.write_text('#include "drac.h"\nint main(void) { return 0; }\n')
        output_of(compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                  "-I", ROOT / "libdrac", "-fsyntax-only", source)
        included = output_of(compiler, "-I", ROOT / "libdrac", "-M", source)
        assert "rpc" not in included.replace(str(tmp_path), "").replace(
            str(ROOT), "")


def test_old_program_runs(world, library, tmp_path):
    """
    A program linked to a libdrac.so.1 as it was, without symbol versions and
    without NEEDED, runs with ours put in its place.
    """
    if shutil.which("cc") is None:
        pytest.skip("no cc")
    stub = tmp_path / "stub.c"
    stub.write_text("".join("int %s(void) { return 99; }\n" % name
                            for name in sorted(CLASSIC | STUBS)))
    program = tmp_path / "old"
    output_of("cc", "-shared", "-fPIC", "-Wl,-soname,libdrac.so.1", "-o",
              tmp_path / "libdrac.so.1", stub)
    output_of("cc", "-o", program, ROOT / "tests/tools/libdrac_classic.c",
              tmp_path / "libdrac.so.1")
    # With the stub it says 99, so it is this name that is replaced.
    command = [program, "auth", "unix:/run/p.sock", ADDRESS, "auth6",
               "unix:/run/p.sock", ADDRESS6, "conn", "unix:/run/p.sock",
               "send", ADDRESS, "disc"]
    for directory, codes in ((tmp_path, [99] * 5), (library.parent, [0] * 5)):
        peer = world.peer("answer", "unix:/run/p.sock")
        done = subprocess.run(
            world.inside(command), capture_output=True, text=True,
            env=dict(environment(), LD_LIBRARY_PATH=str(directory)))
        assert [row[0] for row in parse(done.stdout)] == codes, done.stderr
        world.stop(peer)
        world.stop_all()


def test_static_library(build, tmp_path):
    """Everything the archive needs is libtirpc and what libc has."""
    if shutil.which("cc") is None:
        pytest.skip("no cc")
    if re.search("_[at]san_|_gcov_",
                 output_of("nm", pathlib.Path(build) / "libdrac.a")):
        pytest.skip("an instrumented archive needs more by its nature")
    program = tmp_path / "static"
    output_of("cc", "-o", program, ROOT / "tests/tools/draccall.c",
              pathlib.Path(build) / "libdrac.a", "-ltirpc")
    assert "libdrac" not in output_of("readelf", "-d", program)

"""
libdrac against servers with bad manners, a real rpcbind, hosts that swallow
packets and resolvers that say nothing: return codes, texts, and the time that
each call takes.
"""

import re
import subprocess

import pytest

from libdrac_steps import (ADDRESS, ADDRESS6, BUDGET_MS, FAST_MS, REFUSED,
                           SLACK_MS, SUCCESS, TIMED_OUT, after_budget, at_once,
                           calls, classic, classics, environment, expect,
                           parse, rpcbind_there, stress, table, the_world,
                           tool, within, world)
from libdrac_world import (DEAD, LOCAL_SOCKET, UNROUTED)

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

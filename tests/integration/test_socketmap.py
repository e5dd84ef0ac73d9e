"""
Lookups by socketmap, with raw sockets: what is answered and when, who may ask,
and what the broken and the hostile get. Real MTAs ask in tests of their own.
"""

import contextlib
import fcntl
import os
import socket
import stat
import tempfile
import time

import pytest

import load
import rpcraw
from daemon import free_port, wait_for
from namespace import Namespace
from rpcraw import ADD_SUCCESS, ADD_SYSERR, OK

NOTFOUND = b"9:NOTFOUND ,"
PROMPT_S = 2.0      # "at once", on a busy machine with sanitizers
CLOSED_S = 10.0
NOBODY = 65534
EX_UNAVAILABLE, EX_CONFIG = 69, 78
REQUEST_MAX = 512


def netstring(text):
    data = text.encode() if isinstance(text, str) else text
    return b"%d:%s," % (len(data), data)


def found(expiry):
    return netstring("OK %d" % expiry)


class Mta:
    """A connection of an MTA: a path, or an address and a port."""

    def __init__(self, place, source=None):
        if isinstance(place, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(CLOSED_S)
            self.sock.connect(place)
        else:
            self.sock = socket.create_connection(
                place, CLOSED_S, source and (source, 0))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def read(self, size):
        """So many bytes, fewer at the end of file."""
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                break
            data += piece
        return data

    def answer(self):
        """The next netstring as it is; b"" at the end of file."""
        head = b""
        while not head.endswith(b":"):
            byte = self.sock.recv(1)
            if not byte:
                return head
            head += byte
        return head + self.read(int(head[:-1]) + 1)

    def ask(self, key, name="drac"):
        self.sock.sendall(netstring("%s %s" % (name, key)))
        return self.answer()

    def closed(self, timeout=CLOSED_S):
        """Whether the other side closes it, within the timeout."""
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True
        except (socket.timeout, BlockingIOError):
            return False

    def lives(self):
        try:
            return self.ask("192.0.2.99") == NOTFOUND
        except (ConnectionResetError, BrokenPipeError):
            return False


@pytest.fixture
def daemon(dracd):
    """With lookups by unix and TCP; not started."""
    made = dracd()
    made.tcp = ("127.0.0.1", free_port())
    made.settings["lookup"] = ["unix:" + made.lookup,
                               "tcp:127.0.0.1:%d" % made.tcp[1]]
    return made


@pytest.fixture(params=["unix", "tcp"])
def place(daemon, request):
    return daemon.lookup if request.param == "unix" else daemon.tcp


@contextlib.contextmanager
def reader(daemon):
    """As long as an MTA or somebody else has the map locked."""
    with open(daemon.map_path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def add(daemon, address, lifetime=0):
    with daemon.client("unix") as client:
        status, expiry = client.add3(address, lifetime)
    assert status == OK
    return expiry


def stats(daemon):
    with daemon.client("unix") as client:
        return client.stats()


@contextlib.contextmanager
def somebody(uid):
    """Sockets that are connected meanwhile are this user's."""
    if os.geteuid() != 0:
        pytest.skip("needs root to be others")
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


# ---- answers ----------------------------------------------------------------

def test_answers(daemon, place):
    daemon.start()
    four, six = add(daemon, "192.0.2.1"), add(daemon, "2001:db8::5", 600)
    with Mta(place) as mta:
        for key in "192.0.2.1", "::ffff:192.0.2.1", "::FFFF:c000:0201":
            assert mta.ask(key) == found(four)
        for key in ("2001:db8::5", "2001:DB8:0:0::5", "2001:db8:0:0:0:0:0:5",
                    "IPv6:2001:db8:0:0:0:0:0:5", "ipv6:2001:db8::5"):
            assert mta.ask(key, "any.name") == found(six)
        nobody = ["192.0.2.2", "2001:db8::6", "unknown", "client.example.org",
                  "192.0.2", "192", "", "[192.0.2.1]", "192.0.2.1/32",
                  "192.0.2.01", "0300.0.2.1", "IPv6:192.0.2.1", "192.0.2.1 "]
        for key in nobody:
            assert mta.ask(key) == NOTFOUND, key
        mta.sock.sendall(b"0:,")
        assert mta.answer() == NOTFOUND
    assert daemon.map()[b"192.0.2.1"] == b"%d" % four
    counted = stats(daemon)
    assert counted["lookups_found"] == 8
    assert counted["lookups_not_found"] == len(nobody) + 1
    assert counted["bad_calls"] == 0


def test_pipelined_and_in_pieces(daemon, place):
    """Answers come in the order of the requests, however these arrive."""
    daemon.start()
    expiry = add(daemon, "192.0.2.1")
    keys = ["192.0.2.%d" % (i % 3) for i in range(1000)]
    wanted = [found(expiry) if k == "192.0.2.1" else NOTFOUND for k in keys]
    with Mta(place) as mta:
        mta.sock.sendall(b"".join(netstring("drac " + k) for k in keys))
        assert [mta.answer() for _ in keys] == wanted
        for byte in netstring("drac 192.0.2.1"):
            time.sleep(0.001)
            mta.sock.sendall(bytes([byte]))
        assert mta.answer() == found(expiry)
        mta.sock.sendall(netstring("x " * (REQUEST_MAX // 2)))
        assert mta.answer() == NOTFOUND


@pytest.mark.parametrize("count", [0, 1, 100])
def test_half_closed(daemon, place, count):
    """Exim's readsocket: all answers, and then the end at once."""
    daemon.start()
    expiry = add(daemon, "192.0.2.1")
    with Mta(place) as mta:
        mta.sock.sendall(netstring("drac 192.0.2.1") * count)
        mta.sock.shutdown(socket.SHUT_WR)
        begin = time.monotonic()
        assert mta.read(1 << 20) == found(expiry) * count
        assert time.monotonic() < begin + PROMPT_S


def test_gone_in_its_second(daemon):
    """Not before, and not after, although it cannot leave the map."""
    daemon.start()
    add(daemon, "192.0.2.9")
    with Mta(daemon.lookup) as mta, reader_when_added(daemon) as expiry:
        while True:
            before = time.time()
            answer = mta.ask("192.0.2.1")
            after = time.time()
            if after < expiry:
                assert answer == found(expiry)
            elif before >= expiry:
                assert answer == NOTFOUND
                break
        assert b"192.0.2.1" in daemon.map()


@contextlib.contextmanager
def reader_when_added(daemon):
    expiry = add(daemon, "192.0.2.1", 2)
    with reader(daemon):
        yield expiry


def test_removed_and_kept_over_a_restart(daemon):
    daemon.start()
    expiry = add(daemon, "192.0.2.1")
    add(daemon, "192.0.2.2")
    with Mta(daemon.lookup) as mta, daemon.client("unix") as client:
        assert client.remove("192.0.2.2") == OK
        assert mta.ask("192.0.2.2") == NOTFOUND
    daemon.kill9()
    daemon.start()
    with Mta(daemon.lookup) as mta:
        assert mta.ask("192.0.2.1") == found(expiry)
        assert mta.ask("192.0.2.2") == NOTFOUND


def test_while_a_reader_has_the_map_locked(daemon, figures):
    """Lookups are answered at once; an add only counts when it is answered."""
    daemon.start()
    expiry = add(daemon, "192.0.2.1")
    worst = 0
    with Mta(daemon.lookup) as mta, daemon.client("tcp", timeout=5) as client:
        with reader(daemon):
            client.carrier.send(rpcraw.call(1, rpcraw.ADD,
                                            rpcraw.v1_args("192.0.2.2")))
            client.carrier.sock.setblocking(False)
            while True:
                begin = time.monotonic()
                assert mta.ask("192.0.2.1") == found(expiry)
                assert mta.ask("192.0.2.2") == NOTFOUND
                worst = max(worst, time.monotonic() - begin)
                with contextlib.suppress(BlockingIOError):
                    if client.carrier.sock.recv(1, socket.MSG_PEEK):
                        break
            client.carrier.sock.settimeout(5)
            answer = rpcraw.parse(client.carrier.receive()).body
            assert answer == bytes([0, 0, 0, ADD_SYSERR])
            assert mta.ask("192.0.2.2") == NOTFOUND
        assert client.add1("192.0.2.2") == ADD_SUCCESS
        assert mta.ask("192.0.2.2") != NOTFOUND
    figures("two lookups while the map is locked: worst %.1f ms" % (
        worst * 1e3))
    assert worst < 0.4, "they waited for the lock, which is kept 0.5 s"


def test_never(daemon):
    """Not even what was authorized before, nor by prefix."""
    daemon.settings["ipv6_prefix"] = 64
    daemon.start()
    expiry = add(daemon, "192.0.2.1")
    add(daemon, "2001:db8::1", 3600)
    with Mta(daemon.lookup) as mta:
        assert mta.ask("2001:db8::2") != NOTFOUND
        daemon.settings["never"] = ["192.0.2.7", "2001:db8::1"]
        daemon.write_config()
        with reader(daemon):        # it can leave neither map nor table
            daemon.reload()
            assert mta.ask("192.0.2.1") == found(expiry)
            assert mta.ask("2001:db8::1") == NOTFOUND
            assert mta.ask("2001:db8::2") == NOTFOUND
        expiry = add(daemon, "2001:db8::3", 600)
        assert mta.ask("2001:db8::1") == NOTFOUND
        assert mta.ask("2001:db8::2") == found(expiry)


def test_by_prefix(daemon):
    daemon.settings["ipv6_prefix"] = 64
    daemon.start()
    late, soon = add(daemon, "2001:db8::1", 900), add(daemon, "2001:db8::2", 3)
    other = add(daemon, "2001:db8:0:1::1", 700)
    add(daemon, "192.0.2.1")

    def check(mta):
        assert mta.ask("2001:db8::2") == found(late)
        assert mta.ask("IPv6:2001:db8:0:0:ffff:0:0:5") == found(late)
        assert mta.ask("2001:db8:0:1::ffff") == found(other)
        assert mta.ask("2001:db8:0:2::1") == NOTFOUND
        assert mta.ask("192.0.2.2") == NOTFOUND

    with Mta(daemon.lookup) as mta:
        check(mta)
    assert b"2001:db8::3" not in daemon.map() and len(daemon.map()) == 10
    daemon.stop()
    daemon.start()
    with Mta(daemon.lookup) as mta, daemon.client("unix") as client:
        check(mta)
        assert client.remove("2001:db8::1") == OK
        while time.time() < soon - 0.5:
            assert mta.ask("2001:db8::3") == found(soon)
        wait_for(lambda: mta.ask("2001:db8::3") == NOTFOUND, 5, "its expiry")
        assert time.time() >= soon


def test_by_address_unless_told_otherwise(daemon):
    daemon.start()
    add(daemon, "2001:db8::1")
    with Mta(daemon.lookup) as mta:
        assert mta.ask("2001:db8::2") == NOTFOUND


# ---- the broken and the hostile ---------------------------------------------

@pytest.mark.parametrize("junk", [
    b"GET / HTTP/1.1\r\n\r\n", b"drac 192.0.2.1\n", b"014:drac 192.0.2.1,",
    b"14:drac 192.0.2.1;", b"13:drac 192.0.2.1,", b"%d:" % (REQUEST_MAX + 1),
    b"9" * 100, b":", b"-1:x,", rpcraw.record(rpcraw.call(1, rpcraw.NULL)),
    bytes(2000)], ids=lambda junk: repr(junk[:12]))
def test_junk(daemon, place, junk):
    """Answered up to there, closed, counted; nobody else notices."""
    daemon.start()
    with Mta(place) as other, Mta(place) as mta:
        assert other.lives()
        mta.sock.sendall(netstring("drac 192.0.2.1") + junk)
        answers = b""
        with contextlib.suppress(ConnectionResetError):
            answers = mta.read(1 << 20)
        assert NOTFOUND.startswith(answers[:len(NOTFOUND)])
        assert answers in (b"", NOTFOUND)
        assert other.lives()
    assert stats(daemon)["bad_calls"] == 1
    assert "not a socketmap lookup" in daemon.stderr


def check_served(daemon, tool, figures, name, seconds=1):
    """Lookups and adds of others, meanwhile: all right, none late."""
    command = load.command(tool, daemon, "add", "tcp", c=2, d=seconds)
    worst = count = 0
    with load.running(command) as running, Mta(daemon.lookup) as mta:
        while running.process.poll() is None:
            begin = time.monotonic()
            assert mta.lives()
            worst, count = max(worst, time.monotonic() - begin), count + 1
        result = running.result()
    figures("%s: %d lookups, worst %.1f ms; %d adds, worst %.1f ms" % (
        name, count, worst * 1e3, result["calls"], result["max_us"] / 1e3))
    assert result["failures"] == 0 and result["calls"] > 0
    assert worst < PROMPT_S and result["max_us"] < PROMPT_S * 1e6


def test_half_a_request(daemon, tool, figures):
    """Closed after idle-timeout; a trickle of bytes does not keep it."""
    daemon.settings["idle_timeout"] = "2s"
    daemon.start()
    whole = netstring("drac 192.0.2.1")
    with contextlib.ExitStack() as stack:
        mtas = [stack.enter_context(Mta(where))
                for where in (daemon.lookup, daemon.tcp) for _ in range(4)]
        for i, mta in enumerate(mtas):
            mta.sock.sendall(whole * (i % 2) + whole[:(1, 2, 3, 17)[i % 4]])
        trickle = stack.enter_context(Mta(daemon.lookup))
        check_served(daemon, tool, figures, "half a request")
        trickle.sock.sendall(b"512:")
        assert all(mta.read(1 << 10) in (b"", NOTFOUND) for mta in mtas)
        begin = time.monotonic()
        while not trickle.closed(0.2):
            assert time.monotonic() < begin + CLOSED_S
            with contextlib.suppress(BrokenPipeError):
                trickle.sock.sendall(b"x")


def test_reader_that_never_reads(daemon, tool, figures):
    daemon.start()
    flood = netstring("drac 192.0.2.1") * 200
    shut = 0
    with contextlib.ExitStack() as stack:
        def attack(where):
            mta = stack.enter_context(Mta(where))
            mta.sock.setblocking(False)
            return mta

        places = [daemon.lookup, daemon.tcp] * 2
        mtas = [attack(where) for where in places]
        with load.running(load.command(tool, daemon, "add", "tcp", c=2,
                                       d=2)) as victim:
            with Mta(daemon.lookup) as other:
                worst = 0
                while victim.process.poll() is None:
                    for i, mta in enumerate(mtas):
                        try:
                            mta.sock.send(flood)
                        except BlockingIOError:
                            pass
                        except (BrokenPipeError, ConnectionResetError):
                            mta.sock.close()
                            mtas[i] = attack(places[i])
                            shut += 1
                    begin = time.monotonic()
                    assert other.lives()
                    worst = max(worst, time.monotonic() - begin)
            result = victim.result()
        figures("never reads, closed %d times: lookup worst %.1f ms, %d adds, "
                "worst %.1f ms" % (shut, worst * 1e3, result["calls"],
                                   result["max_us"] / 1e3))
    assert shut > 0
    assert worst < PROMPT_S and result["max_us"] < PROMPT_S * 1e6
    assert result["failures"] == 0


def test_thousands_of_idle_connections(daemon, tool, figures, descriptors):
    count = 3000
    descriptors(2 * count)
    daemon.settings.update(max_connections=2 * count,
                           max_connections_per_address=2 * count,
                           idle_timeout="1s")
    daemon.start()
    with contextlib.ExitStack() as stack:
        mtas = [stack.enter_context(Mta(daemon.lookup))
                for _ in range(count)]
        wait_for(lambda: stats(daemon)["connections"] > count, 10, "accepted")
        check_served(daemon, tool, figures, "%d idle" % count, seconds=2)
        assert all(mta.lives() for mta in mtas[::100])
        assert stats(daemon)["connections"] > count


def test_idle_timeout_is_not_for_lookups(daemon, place):
    daemon.settings["idle_timeout"] = "1s"
    daemon.start()
    with Mta(place) as fresh, Mta(place) as used:
        assert used.lives()
        with socket.create_connection(("127.0.0.1", daemon.port)) as rpc:
            rpc.settimeout(CLOSED_S)
            assert rpc.recv(1) == b"", "a call's connection stays open"
        assert fresh.lives() and used.lives()


# ---- how many, and who ------------------------------------------------------

def test_the_idlest_makes_room(daemon):
    """Whether it was left by a caller or by an MTA."""
    daemon.settings["max_connections"] = 10
    daemon.start()
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(daemon.client("unix"))
        old.null()
        mtas = [stack.enter_context(Mta(daemon.lookup)) for _ in range(8)]
        for mta in mtas[4:] + mtas[:4]:
            assert mta.lives()
            time.sleep(0.02)
        time.sleep(1.1)                 # idle time is counted in seconds
        assert all(mta.lives() for mta in mtas[:4])
        rpc = stack.enter_context(daemon.client("unix"))
        rpc.null()
        more = [stack.enter_context(Mta(daemon.lookup)) for _ in range(3)]
        assert all(mta.lives() for mta in more)
        rpc.null()
        with pytest.raises(rpcraw.Closed):
            old.null()
        assert [mta.closed(1) for mta in mtas[4:]] == [True, True, False,
                                                       False]
        assert all(mta.lives() for mta in mtas[:4])
    assert "max-connections=10 reached" in daemon.stderr


def test_connections_of_one_caller(daemon):
    """Root's may be any number, others are limited, each for himself."""
    daemon.settings["max_connections_per_address"] = 4
    with tempfile.TemporaryDirectory() as place:    # pytest's are 0700
        os.chmod(place, 0o755)
        socket_path = place + "/map.sock"
        daemon.settings["lookup"][0] = "unix:" + socket_path
        daemon.start()
        assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o666
        expiry = add(daemon, "192.0.2.1")
        with contextlib.ExitStack() as stack:
            def connect(where, count):
                return [stack.enter_context(Mta(where)) for _ in range(count)]

            assert all(mta.lives() for mta in connect(socket_path, 40))
            with somebody(NOBODY):
                users = connect(socket_path, 5)
            assert users[4].closed()
            assert all(u.ask("192.0.2.1") == found(expiry) for u in users[:4])
            hosts = connect(daemon.tcp, 5)
            assert hosts[4].closed()
            assert all(mta.lives() for mta in hosts[:4])
        daemon.stop()
    assert daemon.stderr.count("max-connections-per-address=4") == 1


def test_hosts_that_may_not_call(daemon):
    """By TCP only who may call: looked at when he comes and when he asks."""
    daemon.allow.write_text("host 127.0.0.1\nhost 127.0.0.2\n")
    daemon.start()
    with Mta(daemon.tcp, "127.0.0.1") as first, \
            Mta(daemon.tcp, "127.0.0.2") as second:
        assert first.lives() and second.lives()
        with Mta(daemon.tcp, "127.0.0.3") as stranger:
            assert stranger.closed()
        assert "deny caller=127.0.0.3" in daemon.stderr
        assert stats(daemon)["denied"] == 1
        daemon.allow.write_text("host 127.0.0.1\n")
        daemon.reload()
        assert first.lives()
        assert not second.lives()
    with Mta(daemon.lookup) as local:
        assert local.lives()


def test_hosts_access(daemon):
    """hosts.deny counts for lookups, too."""
    with contextlib.closing(Namespace(
            ["mount"], "mount -t tmpfs none /etc && "
            "echo 'dracd: 127.0.0.2' > /etc/hosts.deny")) as other:
        daemon.prefix = other.prefix
        daemon.settings["hosts_access"] = True
        daemon.start()
        with Mta(daemon.tcp, "127.0.0.1") as mta:
            assert mta.lives()
        with Mta(daemon.tcp, "127.0.0.2") as mta:
            assert mta.closed()
        daemon.stop()


# ---- settings ---------------------------------------------------------------

def test_reload_and_stop(daemon):
    daemon.start()
    with Mta(daemon.lookup) as unix, Mta(daemon.tcp) as tcp:
        daemon.reload()
        assert "restart dracd" not in daemon.stderr
        daemon.settings["lookup"] = ["unix:%s/other.sock" % daemon.dir]
        daemon.settings["ipv6_prefix"] = 56
        daemon.write_config()
        daemon.reload()
        for name in "lookup", "ipv6-prefix":
            assert 'setting "%s" has changed: restart' % name in daemon.stderr
        assert unix.lives() and tcp.lives()
        assert daemon.stop() < 1.5
        assert unix.closed() and tcp.closed()
    assert not os.path.exists(daemon.lookup)
    daemon.start()
    with Mta(str(daemon.dir / "other.sock")) as mta:
        assert mta.lives()


@pytest.fixture
def host(dracd):
    """host(**settings): a daemon where /run is empty; host.root: its /."""
    space = Namespace(["mount", "net"], "mount -t tmpfs none /run && "
                      "mkdir -m 755 /run/dracd && ip link set lo up")

    def make(name="d", **settings):
        daemon = dracd(name, prefix=space.prefix, **settings)
        daemon.lookup = str(space.seen("/run/dracd/map.sock"))
        return daemon

    make.space = space
    yield make
    space.close()


def test_default_socket(host):
    """Opened without being asked; the second daemon says that it is not."""
    first, second = host("a", lookup=None), host("b", lookup=None)
    first.start()
    expiry = add(first, "192.0.2.1")
    second.start()
    assert "lookup=unix:/run/dracd/map.sock cannot be opened" in second.stderr
    assert "lookup=" not in first.stderr
    second.stop()
    with Mta(first.lookup) as mta:
        assert mta.ask("192.0.2.1") == found(expiry)
    first.kill9()
    second.start()      # what nobody listens at may be taken
    with Mta(second.lookup) as mta:
        assert mta.ask("192.0.2.1") == NOTFOUND


def test_default_sockets_that_cannot_be_opened(host):
    """Only a warning, for calls as for lookups."""
    daemon = host(lookup=None, listen=None)
    for name in "map", "rpc":
        host.space.seen("/run/dracd/%s.sock" % name).write_text("mine\n")
    daemon.launch()
    wait_for(lambda: "serves: " in daemon.stderr, 10, "start")
    for what in "lookup=unix:/run/dracd/map.sock", "listen=unix:/run/dracd/rpc":
        assert what in daemon.stderr
    daemon.stop()
    assert host.space.seen("/run/dracd/map.sock").read_text() == "mine\n"


def test_default_socket_without_its_directory(host):
    """It is made by root; where it cannot be, there are no lookups."""
    daemon = host(lookup=None)
    host.space.run("rmdir", "/run/dracd")
    daemon.start()
    with Mta(daemon.lookup) as mta:
        assert mta.lives()
    daemon.stop()
    host.space.run("rmdir", "/run/dracd")
    host.space.run("mount", "-o", "remount,ro", "/run")
    daemon.start()
    assert "lookup=unix:/run/dracd/map.sock cannot be opened" in daemon.stderr


def test_explicit_socket_that_cannot_be_opened(host):
    daemon = host(lookup=["unix:/run/dracd/map.sock"])
    host.space.seen("/run/dracd/map.sock").write_text("mine\n")
    done = daemon.run()
    assert done.returncode == EX_UNAVAILABLE
    assert "lookup=unix:/run/dracd/map.sock cannot be opened" in done.stderr


def test_switched_off(host):
    daemon = host(lookup=[])
    daemon.start()
    assert not os.path.exists(daemon.lookup)


@pytest.mark.parametrize("name, value, why", [
    ("lookup", ["udp:127.0.0.1"], "no MTA asks a socketmap by udp"),
    ("lookup", ["inet:5599@127.0.0.1"], "does not begin with"),
    ("ipv6_prefix", 16, "32 to 128")])
def test_wrong_settings(dracd, name, value, why):
    daemon = dracd()
    daemon.settings[name] = value
    done = daemon.run("-t")
    assert done.returncode == EX_CONFIG
    assert why in done.stderr

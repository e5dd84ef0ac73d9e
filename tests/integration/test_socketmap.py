"""
Lookups by socketmap, with raw sockets: what is answered and when, and where.
Who may ask, and what the broken and the hostile get: test_socketmap_hostile.py.
Real MTAs ask in tests of their own.
"""

import contextlib
import os
import socket
import time

import pytest

import rpcraw
from daemon import wait_for
from namespace import Namespace
from rpcraw import ADD_SUCCESS, ADD_SYSERR, OK
from socketmap import (NOTFOUND, REQUEST_MAX, Mta, add, daemon, found,
                       netstring, place, stats)

PROMPT_S = 2.0      # "at once", on a busy machine with sanitizers
EX_UNAVAILABLE, EX_CONFIG = 69, 78


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
    expiry = add(daemon, "192.0.2.1", 2)
    with Mta(daemon.lookup) as mta, daemon.map_locked():
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
        with daemon.map_locked():
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
        with daemon.map_locked():        # it can leave neither map nor table
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


# ---- settings ---------------------------------------------------------------

def test_reload_and_stop(daemon):
    daemon.start()
    with Mta(daemon.lookup) as unix, Mta(daemon.lookup_tcp) as tcp:
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

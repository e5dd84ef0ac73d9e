"""
Lookups by socketmap: who may ask, how many at once, and what the broken and the
hostile get, while everybody else is served.
"""

import contextlib
import os
import socket
import stat
import tempfile
import time

import pytest

import load
import rpcraw
from daemon import wait_for
from namespace import Namespace
from socketmap import (CLOSED_S, NOTFOUND, REQUEST_MAX, Mta, add, daemon,
                       found, netstring, place, stats)

PROMPT_S = 2.0      # "at once", on a busy machine with sanitizers
NOBODY = 65534


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


# ---- the broken and the hostile ---------------------------------------------

@pytest.mark.parametrize("junk", [
    b"GET / HTTP/1.1\r\n\r\n", b"drac 192.0.2.1\n", b"014:drac 192.0.2.1,",
    b"14:drac 192.0.2.1;", b"13:drac 192.0.2.1,", b"%d:" % (REQUEST_MAX + 1),
    b"9" * 100, b":", b"-1:x,", bytes(2000),
    rpcraw.record(rpcraw.call(1, rpcraw.NULL, xid=1))], ids=lambda junk: repr(junk[:12]))
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
                for where in (daemon.lookup, daemon.lookup_tcp) for _ in range(4)]
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

        places = [daemon.lookup, daemon.lookup_tcp] * 2
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
            hosts = connect(daemon.lookup_tcp, 5)
            assert hosts[4].closed()
            assert all(mta.lives() for mta in hosts[:4])
        daemon.stop()
    assert daemon.stderr.count("max-connections-per-address=4") == 1


def test_hosts_that_may_not_call(daemon):
    """By TCP only who may call: looked at when he comes and when he asks."""
    daemon.allow.write_text("host 127.0.0.1\nhost 127.0.0.2\n")
    daemon.start()
    with Mta(daemon.lookup_tcp, "127.0.0.1") as first, \
            Mta(daemon.lookup_tcp, "127.0.0.2") as second:
        assert first.lives() and second.lives()
        with Mta(daemon.lookup_tcp, "127.0.0.3") as stranger:
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
        with Mta(daemon.lookup_tcp, "127.0.0.1") as mta:
            assert mta.lives()
        with Mta(daemon.lookup_tcp, "127.0.0.2") as mta:
            assert mta.closed()
        daemon.stop()

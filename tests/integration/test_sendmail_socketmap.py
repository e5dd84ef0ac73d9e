"""
What a real sendmail does that asks dracd itself, with mta/sendmail-socketmap.mc:
who may relay, and what it answers when dracd is not there.
"""

import contextlib
import socket
import threading
import time

import pytest

import daemon
import installed
import sendmail
import servers
from ways import FAMILIES, LISTED, LISTED6, STRANGER

SNIPPET = servers.TOP / "mta/sendmail-socketmap.mc"
WAIT_S = 3          # -d3
SLACK_S = 3         # of a busy machine
IDLE_S = 1


@pytest.fixture(scope="module")
def world(build, tmp_path_factory):
    with servers.Space() as space:
        space.dracd = installed.Dracd(
            space, build, tmp_path_factory.mktemp("dracd") / "d",
            idle_timeout=f"{IDLE_S}s").start()
        space.mta = sendmail.Sendmail(space, sendmail.mc(SNIPPET.read_text()))
        yield space
        space.dracd.finish()


@pytest.fixture
def dracd(world):
    """Up before and after, and empty."""
    yield world.dracd
    if not world.dracd.alive():
        world.dracd.start()
    for address in (LISTED, LISTED6):
        world.dracd.remove(address)


@pytest.fixture
def mta(world):
    return world.mta


@FAMILIES
def test_relays_for_listed(mta, dracd, listed, stranger):
    assert mta.relay(listed) == 550
    dracd.add(listed)
    assert mta.relay(listed) == 250
    assert mta.relay(stranger) == 550
    dracd.remove(listed)
    assert mta.relay(listed) == 550


@FAMILIES
def test_long_session_sees_changes(mta, dracd, listed, stranger):
    """Added, removed, and expired, while it is open."""
    del stranger
    with mta.client(listed) as client:
        assert client.relay() == 550
        dracd.add(listed)
        assert client.relay() == 250
        dracd.remove(listed)
        assert client.relay() == 550
        dracd.add(listed, 1)
        assert client.relay() == 250
        servers.wait_until(lambda: client.relay() == 550, "expired")


def test_v4_mapped(mta, dracd):
    dracd.add(LISTED)
    assert mta.relay(LISTED, port=sendmail.PORT6) == 250
    assert mta.relay(STRANGER, port=sendmail.PORT6) == 550


def test_local_mail_and_this_host_never_ask(mta, dracd):
    dracd.stop()
    with mta.client(STRANGER) as client:
        assert client.local() == 250
        assert client.relay() == 550
        assert client.local() == 250
    assert mta.relay("127.0.0.1") == 250


def test_stopped_between_sessions(mta, dracd):
    dracd.add(LISTED)
    assert mta.relay(LISTED) == 250
    dracd.stop()
    assert mta.relay(LISTED) == 550
    dracd.start()
    assert mta.relay(LISTED) == 250


def test_asked_between_stop_and_start(mta, dracd):
    """451 once, then 550 until the client comes again."""
    dracd.add(LISTED)
    with mta.client(LISTED) as client:
        assert client.relay() == 250
        dracd.stop()
        assert client.relay() == 451
        assert client.relay() == 550
        dracd.start()
        assert client.relay() == 550
        assert client.local() == 250
    assert mta.relay(LISTED) == 250


def test_not_asked_between_stop_and_start(mta, dracd):
    """451 once, then as before."""
    dracd.add(LISTED)
    with mta.client(LISTED) as client:
        assert client.relay() == 250
        dracd.stop()
        dracd.start()
        assert [client.relay() for _ in range(3)] == [451, 250, 250]
        dracd.remove(LISTED)
        assert client.relay() == 550


def test_idle_session(mta, dracd):
    """It is not idle-timeout that ends sendmail's connection."""
    dracd.add(LISTED)
    with mta.client(LISTED) as client:
        assert client.relay() == 250
        dracd.add(LISTED6, 2 * IDLE_S + 1)
        servers.wait_until(lambda: mta.relay(LISTED6) == 550, "expired")
        assert client.relay() == 250


def test_socket_missing(world, mta, dracd):
    dracd.add(LISTED)
    path = world.path("/run/dracd/map.sock")
    path.rename(path.with_suffix(".away"))
    try:
        with mta.client(LISTED) as client:
            assert client.relay() == 550
            assert client.local() == 250
    finally:
        path.with_suffix(".away").rename(path)
    assert mta.relay(LISTED) == 250


def test_dracd_that_does_not_answer(mta, dracd, figures):
    dracd.add(LISTED)
    with mta.client(LISTED) as client:
        assert client.relay() == 250
        with daemon.hanging(dracd.process):
            begin = time.monotonic()
            assert client.relay() == 451
            elapsed_s = time.monotonic() - begin
            assert mta.relay(LISTED) == 451
            assert client.local() == 250
        figures(f"451 after {elapsed_s:.2f} s")
        assert WAIT_S - 0.5 < elapsed_s < WAIT_S + SLACK_S
        assert client.relay() == 250
    assert mta.relay(LISTED) == 250


# ---- somebody else at the socket -------------------------------------------

@contextlib.contextmanager
def answering(path, answer):
    """A socketmap server that says one thing to every question."""
    def serve(connection):
        with connection, contextlib.suppress(OSError):
            while connection.recv(4096):
                connection.sendall(answer)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],),
                                 daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            path.unlink()


def netstring(text):
    return b"%d:%s," % (len(text), text)


@pytest.mark.parametrize("answer, code", [
    (b"OK 1900000000", 250), (b"OK 0", 250),
    (b"OK ", 550), (b"OK yes", 550), (b"OK 19x", 550), (b"OK 1 2", 550),
    (b"OK -1", 550), (b"OK 1.2", 550), (b"OK <1>", 550), (b"OK OK", 550),
    (b"NOTFOUND ", 550), (b"NOTFOUND", 550), (b"TEMP later", 550),
    (b"TIMEOUT 1900000000", 550), (b"PERM 1900000000", 550),
    (b"1900000000", 550), (b"", 550),
], ids=lambda value: value.decode() if isinstance(value, bytes) else "")
def test_only_digits_relay(world, mta, dracd, answer, code):
    dracd.stop()
    with answering(world.path("/run/dracd/map.sock"), netstring(answer)):
        assert mta.relay(LISTED) == code


@pytest.mark.parametrize("answer", [b"OK 1900000000\n", b"99999999:"])
def test_no_netstring(world, mta, dracd, answer):
    dracd.stop()
    with answering(world.path("/run/dracd/map.sock"), answer):
        assert mta.relay(LISTED) == 451


def test_by_tcp(world, dracd):
    """As sendmail-cf/README has it for another host."""
    port = daemon.free_port()
    dracd.stop()
    dracd.settings["lookup"] = [f"tcp:127.0.0.1:{port}"]
    dracd.start()
    try:
        dracd.add(LISTED)
        cf, messages = sendmail.make_cf(world, sendmail.mc(
            SNIPPET.read_text().replace("local:/run/dracd/map.sock",
                                        f"inet:{port}@127.0.0.1")), "tcp")
        assert messages == ""
        done = world.run([sendmail.PROGRAM, "-C", cf, "-bt"], check=False,
                         input=f"/map dracd {LISTED}\n/map dracd {STRANGER}\n")
        assert f"map_lookup: dracd ({LISTED}) returns " in done.stdout
        assert f"map_lookup: dracd ({STRANGER}) no match" in done.stdout
    finally:
        dracd.stop()
        dracd.settings["lookup"] = None


@pytest.mark.parametrize("tempfail", [" -T", " -T<TMPF>"])
def test_feature_refuses_tempfail_token(world, tempfail):
    source = sendmail.mc(SNIPPET.read_text().replace(" -d3", f" -d3{tempfail}"))
    cf, messages = sendmail.make_cf(world, source, "bad")
    assert "-T lets everybody relay" in messages
    assert "dracd" not in world.path(cf).read_text()

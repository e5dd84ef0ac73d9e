"""max-addresses-per-user: a stolen password is not for everywhere."""

import threading
import time

import pytest

import rpcraw
from daemon import wait_for
from rpcraw import AUTHORIZE, DENY, OK, PERM, REMOVED


def addresses(client, user):
    return {e.address for e in client.table().values() if e.user == user}


def make(dracd, limit, on_limit="oldest", **settings):
    return dracd(max_addresses_per_user=limit, on_limit=on_limit,
                 **settings).start()


def host(number, net="192.0.2"):
    return "%s.%d" % (net, number)


def tick(then):
    """The clock has moved: what comes now is later."""
    wait_for(lambda: int(time.time()) > then, 3, "a second")


def test_without_it_nobody_counts(dracd):
    daemon = dracd().start()
    with daemon.client("unix") as client:
        for i in range(50):
            assert client.add3(host(i), 60, "alice")[0] == OK
        assert len(addresses(client, "alice")) == 50


def test_the_oldest_goes(dracd):
    daemon = make(dracd, 3)
    with daemon.client("unix") as client:
        cookie = client.events()[2]
        for i in range(1, 7):
            assert client.add3(host(i), 60, "alice")[0] == OK
        client.add3(host(100), 60, "bob")
        assert addresses(client, "alice") == {host(4), host(5), host(6)}
        assert set(daemon.map()) == {b"192.0.2.4", b"192.0.2.5",
                                     b"192.0.2.6", b"192.0.2.100"}
        kinds = [(e.kind, e.entry.address) for e in client.events(cookie)[1]]
        assert kinds[3:5] == [(AUTHORIZE, host(4)), (REMOVED, host(1))]
        assert client.stats()["denied"] == 0
    daemon.kill9()
    daemon.start()
    with daemon.client("unix") as client:
        assert addresses(client, "alice") == {host(4), host(5), host(6)}


def test_the_one_that_is_used_is_not_the_oldest(dracd):
    daemon = make(dracd, 2)
    with daemon.client("unix") as client:
        client.add3(host(1), 60, "alice")
        client.add3(host(2), 60, "alice")
        last = client.query(host(2))[1].last
        tick(last)
        client.add3(host(1), 60, "alice")
        client.add3(host(3), 60, "alice")
        assert addresses(client, "alice") == {host(1), host(3)}


def test_refuse(dracd):
    daemon = make(dracd, 2, "refuse")
    with daemon.client("unix") as client:
        cookie = client.events()[2]
        assert client.add3(host(1), 60, "alice")[0] == OK
        assert client.add3(host(2), 60, "alice")[0] == OK
        for i in range(3, 40):
            assert client.add3(host(i), 60, "alice") == (PERM, 0)
        assert client.add3(host(1), 600, "alice")[0] == OK    # a refresh
        assert client.add3(host(50), 60, "bob")[0] == OK
        assert client.add3(host(60), 60)[0] == OK             # nobody's
        assert client.add1(host(61)) == rpcraw.ADD_SUCCESS
        assert addresses(client, "alice") == {host(1), host(2)}
        assert set(daemon.map()) == {
            host(i).encode() for i in (1, 2, 50, 60, 61)}
        denied = [e for e in client.events(cookie)[1] if e.kind == DENY]
        assert denied[0].entry[:4] == (host(3), 0, "alice", "")
        assert client.stats()["denied"] == 37
        # room is made by a removal, and by nothing else
        assert client.remove(host(1)) == OK
        assert client.add3(host(3), 60, "alice")[0] == OK
        assert client.add3(host(4), 60, "alice")[0] == PERM
    lines = [line for line in daemon.stderr.splitlines() if "deny" in line]
    assert len(lines) < 4
    assert 'address=192.0.2.3 ' in lines[0] and 'user="alice"' in lines[0]
    assert lines[0].endswith("limit=2")


def test_what_has_expired_does_not_count(dracd):
    daemon = make(dracd, 1, "refuse")
    with daemon.client("unix") as client:
        _, expiry = client.add3(host(1), 1, "alice")
        wait_for(lambda: time.time() >= expiry, 3, "the expiry")
        assert client.add3(host(2), 60, "alice")[0] == OK
        assert addresses(client, "alice") == {host(2)}
        assert client.add3(host(3), 60, "alice")[0] == PERM


def test_an_address_that_changes_its_user(dracd):
    """It counts for the one who came last; his own limit holds."""
    daemon = make(dracd, 2)
    with daemon.client("unix") as client:
        for i in 1, 2:
            client.add3(host(i), 60, "alice")
        for i in 3, 4:
            client.add3(host(i), 60, "bob")
        assert client.add3(host(1), 60, "bob")[0] == OK
        assert addresses(client, "bob") == {host(4), host(1)}
        assert addresses(client, "alice") == {host(2)}
        client.add3(host(5), 60, "alice")
        assert addresses(client, "alice") == {host(2), host(5)}


def test_refused_change_of_user_changes_nothing(dracd):
    daemon = make(dracd, 1, "refuse")
    with daemon.client("unix") as client:
        client.add3(host(1), 60, "alice")
        client.add3(host(2), 60, "bob")
        before = client.table()
        assert client.add3(host(1), 600, "bob")[0] == PERM
        assert client.table() == before


@pytest.mark.parametrize("on_limit", ["oldest", "refuse"])
def test_many_at_once(dracd, on_limit):
    """However they come together: never more than the limit."""
    daemon = make(dracd, 4, on_limit)

    def flood(number):
        with daemon.client("tcp") as client:
            for i in range(40):
                client.add3(host(i, "198.18.%d" % number), 60, "alice")

    threads = [threading.Thread(target=flood, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    with daemon.client("unix") as client:
        while any(thread.is_alive() for thread in threads):
            assert len(addresses(client, "alice")) <= 4 + 1     # two pages
        assert len(addresses(client, "alice")) == 4
        assert len(daemon.map()) == 4


def test_one_turn_of_many(dracd):
    """A burst that is read in one pass, more of them than the limit."""
    daemon = make(dracd, 3)
    calls = [rpcraw.call(3, rpcraw.ADD, rpcraw.v3_add_args(
        host(i), 60, "alice")) for i in range(1, 61)]
    with daemon.client("udp") as client:
        for call in calls:
            client.carrier.send(call)
        answers = [rpcraw.parse(client.carrier.receive()) for _ in calls]
        assert all(a.body[:4] == bytes(4) for a in answers)
        assert len(addresses(client, "alice")) == 3


def test_restart_with_more_than_the_limit(dracd):
    """They stay; the next add is judged."""
    daemon = dracd().start()
    with daemon.client("unix") as client:
        for i in range(1, 11):
            client.add3(host(i), 600, "alice")
    daemon.stop()
    daemon.settings.update(max_addresses_per_user=4, on_limit="refuse")
    daemon.start()
    with daemon.client("unix") as client:
        assert len(addresses(client, "alice")) == 10
        assert client.add3(host(20), 60, "alice")[0] == PERM
        assert client.add3(host(3), 600, "alice")[0] == OK
        assert len(addresses(client, "alice")) == 10
    daemon.settings["on_limit"] = "oldest"      # applied by a reload
    daemon.write_config()
    daemon.reload()
    with daemon.client("unix") as client:
        assert client.add3(host(20), 60, "alice")[0] == OK
        assert addresses(client, "alice") >= {host(20), host(3)}
        assert len(addresses(client, "alice")) == 4


def test_reload(dracd):
    """A number by another; from nothing to one it needs a restart."""
    daemon = make(dracd, 2, "refuse")

    def reload(limit):
        daemon.settings["max_addresses_per_user"] = limit
        daemon.write_config()
        daemon.reload()

    with daemon.client("unix") as client:
        for i in range(1, 4):
            client.add3(host(i), 60, "alice")
        assert len(addresses(client, "alice")) == 2
        reload(3)
        assert client.add3(host(3), 60, "alice")[0] == OK
        assert client.add3(host(4), 60, "alice")[0] == PERM
        reload(0)
        assert client.add3(host(4), 60, "alice")[0] == OK
        reload(4)
        assert client.add3(host(5), 60, "alice")[0] == PERM
    assert "restart" not in daemon.stderr
    other = dracd("other").start()
    other.settings["max_addresses_per_user"] = 1
    other.write_config()
    other.reload()
    assert 'setting "max-addresses-per-user" has changed: restart' in \
        other.stderr
    with other.client("unix") as client:
        for i in range(3):
            assert client.add3(host(i), 60, "alice")[0] == OK


@pytest.mark.parametrize("setting", [
    "max-addresses-per-user = -1", "max-addresses-per-user = 1001",
    'on-limit = "newest"'])
def test_bad_settings(dracd, setting):
    daemon = dracd()
    daemon.write_config()
    text = daemon.conf.read_text()
    daemon.write_config = lambda: daemon.conf.write_text(
        setting + "\n" + text)
    done = daemon.run("-t")
    assert done.returncode == 78
    assert "%s:1: " % daemon.conf in done.stderr

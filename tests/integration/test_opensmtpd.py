"""
A real OpenSMTPD that reads a second map, of type hash, with
mta/opensmtpd.conf: who may relay, and when it notices changes.
"""

import os
import time

import pytest

import opensmtpd
import sendmail_map
import servers

FILE = "/var/lib/dracd/dracd-hash.db"
LISTED, STRANGER = "127.0.0.5", "127.0.0.6"
LISTED6, STRANGER6 = "fd00:beef::5", "fd00:beef::6"
DENIED = 550
FAMILIES = pytest.mark.parametrize("listed, stranger", [
    (LISTED, STRANGER), (LISTED6, STRANGER6)], ids=["IPv4", "IPv6"])


class HashMap(sendmail_map.DaemonMap):
    def __init__(self, space, build, directory):
        super().__init__(space, build, directory, maps=[
            (f"btree:{sendmail_map.FILE}", {"capacity": 16}),
            (f"hash:{FILE}", {"nul": True})])
        self.path = space.path(FILE)
        self.dracd = self._dracd


@pytest.fixture(scope="module")
def space():
    with servers.Space("opensmtpd", "base") as made:
        yield made


@pytest.fixture(scope="module", params=servers.BUILDS,
                ids=lambda build: build.name)
def relay_map(request, space, tmp_path_factory):
    sendmail_map.clear(space)
    made = HashMap(space, request.param, tmp_path_factory.mktemp("hash"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def mta(space, relay_map):
    made = opensmtpd.OpenSmtpd(space, opensmtpd.snippet("opensmtpd.conf"))
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def running(relay_map):
    """Whatever the test before did."""
    if not relay_map.dracd.alive():
        relay_map.dracd.start()
    with relay_map.dracd.client("unix") as client:
        for address in (LISTED, LISTED6):
            client.remove(address)


def test_missing_at_start(space, relay_map):
    """It says so and does not start: nobody relays."""
    away = relay_map.path.with_suffix(".away")
    relay_map.dracd.stop()
    os.rename(relay_map.path, away)
    with pytest.raises(RuntimeError, match="for table drac"):
        opensmtpd.OpenSmtpd(space, opensmtpd.snippet("opensmtpd.conf"))
    os.rename(away, relay_map.path)


# ---- who may relay --------------------------------------------------------

@FAMILIES
def test_listed_relays(mta, relay_map, listed, stranger):
    """Denied, accepted, removed; in a new session and in one that lives."""
    with mta.client(listed) as client:
        assert client.relay() == DENIED, client.text
        assert client.local() == 250
        relay_map.add(listed)
        assert client.relay() == 250
        assert mta.relay(listed) == 250
        assert mta.relay(stranger) == DENIED
        relay_map.remove(listed)
        assert client.relay() == DENIED
        assert mta.relay(listed) == DENIED


@FAMILIES
def test_expired_does_not_relay(mta, relay_map, listed, stranger):
    with mta.client(listed) as client:
        relay_map.add(listed, lifetime=2)
        assert client.relay() == 250
        servers.wait_until(lambda: client.relay() == DENIED, "expired")
        assert mta.relay(listed) == DENIED
        assert mta.relay(stranger) == DENIED


def test_without_dracd(mta, relay_map):
    """Killed: what is in the map stays. Then it goes on in the same file."""
    relay_map.add(LISTED)
    inode = relay_map.path.stat().st_ino
    with mta.client(LISTED) as client, mta.client(LISTED6) as client6:
        assert client.relay() == 250 and client6.relay() == DENIED
        relay_map.dracd.kill9()
        assert client.relay() == 250
        assert mta.relay(LISTED) == 250
        assert mta.relay(STRANGER) == DENIED
        relay_map.dracd.start()
        assert relay_map.path.stat().st_ino == inode
        assert client.relay() == 250
        relay_map.add(LISTED6)
        relay_map.remove(LISTED)
        assert client.relay() == DENIED and client6.relay() == 250


# ---- when it sees changes ---------------------------------------------------

def test_changes_in_one_second(mta, relay_map):
    """It compares whole seconds; yet it notices each change."""
    with mta.client(LISTED) as client:
        for _ in range(5):
            relay_map.add(LISTED)
            assert client.relay() == 250
            relay_map.remove(LISTED)
            assert client.relay() == DENIED


def test_growth(mta, relay_map):
    """The file grows tenfold while both a listed one and another ask."""
    relay_map.add(LISTED)
    size = relay_map.path.stat().st_size
    with mta.client(LISTED) as client, mta.client(STRANGER) as other, \
            relay_map.dracd.client("unix") as caller:
        for number in range(3000):
            assert caller.add1(f"10.2.{number >> 8}.{number & 255}") == 0
            if number % 20 == 0:
                assert client.relay() == 250
                assert other.relay() == DENIED
    assert relay_map.path.stat().st_size > 5 * size


def test_built_anew(mta, relay_map):
    """A file that was renamed over is seen by a session that lives."""
    relay_map.add(LISTED)
    with mta.client(LISTED) as client, mta.client(LISTED6) as client6:
        assert client.relay() == 250 and client6.relay() == DENIED
        relay_map.rebuild()
        relay_map.add(LISTED6)
        assert client.relay() == 250 and client6.relay() == 250
        assert mta.relay(STRANGER) == DENIED


def test_missing(mta, relay_map):
    """Removed while it runs: nobody relays until it is back."""
    relay_map.add(LISTED)
    with mta.client(LISTED) as client:
        assert client.relay() == 250
        relay_map.dracd.stop()
        away = relay_map.path.with_suffix(".away")
        os.rename(relay_map.path, away)
        assert client.relay() == 451, client.text
        assert client.local() == 250
        assert mta.relay(STRANGER) == 451
        os.rename(away, relay_map.path)
        assert client.relay() == 250
        assert mta.relay(STRANGER) == DENIED


def test_very_many_changes(mta, relay_map):
    """
    The time of change is far ahead of the clock then, and moves on once a
    second: so late it notices the last one.
    """
    with mta.client(LISTED) as client, \
            relay_map.dracd.client("unix") as caller:
        while relay_map.path.stat().st_mtime < time.time() + 3590:
            for number in range(100):
                caller.add1(f"10.1.1.{number}")
                caller.remove(f"10.1.1.{number}")
        for change, wanted in ((relay_map.add, 250),
                               (relay_map.remove, DENIED)) * 2:
            client.relay()          # opens the file anew
            change(LISTED)
            servers.wait_until(lambda: client.relay() == wanted, wanted, 5)

"""
A real OpenSMTPD that reads a second map, of type hash, with
mta/opensmtpd.conf: who may relay, and when it notices changes.
"""

import time

import pytest

import installed
import opensmtpd
import sendmail
import sendmail_map
import servers
from ways import LISTED, OK, STRANGER, Way, Ways

FILE = "/var/lib/dracd/dracd-hash.db"
DENIED = 550
WAY = Way("opensmtpd.conf", DENIED, map=FILE, asks=False, expiry=False,
          missing=451, garbage=None, refuses="for table drac")


@pytest.fixture(scope="module")
def world(build, tmp_path_factory):
    with servers.Space("opensmtpd", "base") as space:
        space.dracd = installed.Dracd(
            space, build, tmp_path_factory.mktemp("opensmtpd") / "d",
            maps=[(f"btree:{sendmail_map.FILE}", {}),
                  (f"hash:{FILE}", {"nul": True})]).start()
        yield space
        space.dracd.finish()


@pytest.fixture(scope="module")
def mta(world):
    made = opensmtpd.OpenSmtpd(world, sendmail.snippet(WAY.file))
    made.way = WAY
    yield made
    made.stop()


class TestOpenSmtpd(Ways):
    def test_changes_in_one_second(self, world, mta):
        """It compares whole seconds; yet it notices each change."""
        with mta.client(LISTED) as client:
            for _ in range(5):
                world.dracd.add(LISTED)
                assert client.relay() == OK
                world.dracd.remove(LISTED)
                assert client.relay() == DENIED

    def test_growth(self, world, mta):
        """The file grows tenfold while both a listed one and another ask."""
        world.dracd.add(LISTED)
        size = world.path(FILE).stat().st_size
        with mta.client(LISTED) as client, mta.client(STRANGER) as other, \
                world.dracd.client("unix") as caller:
            for number in range(3000):
                assert caller.add1(f"10.2.{number >> 8}.{number & 255}") == 0
                if number % 20 == 0:
                    assert client.relay() == OK
                    assert other.relay() == DENIED
        assert world.path(FILE).stat().st_size > 5 * size

    def test_very_many_changes(self, world, mta):
        """
        The time of change is far ahead of the clock then, and moves on once a
        second: so late it notices the last one.
        """
        with mta.client(LISTED) as client, \
                world.dracd.client("unix") as caller:
            while world.path(FILE).stat().st_mtime < time.time() + 3590:
                for number in range(100):
                    caller.add1(f"10.1.1.{number}")
                    caller.remove(f"10.1.1.{number}")
            for change, wanted in ((world.dracd.add, OK),
                                   (world.dracd.remove, DENIED)) * 2:
                client.relay()          # opens the file anew
                change(LISTED)
                servers.wait_until(lambda: client.relay() == wanted, wanted, 5)

"""
A full disk, as a small tmpfs in a mount namespace of its own: new adds are
refused and stay refused, what was acknowledged stays, and it goes on by
itself when there is room again.
"""

import os

import pytest

import rpcraw
from daemon import wait_for
from rpcraw import ADD_SUCCESS, ADD_SYSERR
from namespace import Namespace

TMPFS_KB = 6144     # the map grows by half a megabyte
RECOVERY_S = 5


class SmallDisk(Namespace):
    """A tmpfs at directory, which only the daemon sees; inside: from here."""

    def __init__(self, directory):
        directory.mkdir()
        super().__init__(["mount"], "mount -t tmpfs -o size=%dk,mode=755 full"
                         " %s" % (TMPFS_KB, directory))
        self.inside = self.seen(directory)

    def fill(self):
        with open(self.inside / "filler", "wb", buffering=0) as filler:
            for size in (65536, 4096, 512, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError:
                    pass

    def free(self):
        os.unlink(self.inside / "filler")


@pytest.fixture
def disk(tmp_path):
    disk = SmallDisk(tmp_path / "full")
    yield disk
    disk.close()


@pytest.fixture(params=["btree", "lmdb"])
def daemon(request, dracd, disk, tmp_path):
    directory = tmp_path / "full"
    daemon = dracd(prefix=disk.prefix, journal=directory / "journal",
                   maps=[("%s:%s/dracd.db" % (request.param, directory),
                          {"capacity": 64})])
    daemon.root = str(disk.root)
    return daemon.start()


def address(number):
    return "10.%d.%d.%d" % (number >> 16 & 255, number >> 8 & 255,
                            number & 255)


def add_until_refused(client, first):
    """Numbers acknowledged from first on; the one after them was refused."""
    number = first
    while True:
        status = client.add1(address(number))
        if status != ADD_SUCCESS:
            assert status == ADD_SYSERR
            return set(range(first, number))
        number += 1
        assert number < first + 200000, "the disk does not get full"


def check(daemon, numbers):
    addresses = {address(n) for n in numbers}
    with daemon.client("unix") as client:
        assert set(client.table()) == addresses
    assert {key.decode() for key in daemon.map()} == addresses


@pytest.mark.parametrize("durability", ["os", "disk"])
def test_filled_by_others(daemon, disk, durability):
    daemon.stop()
    daemon.settings["durability"] = durability
    daemon.start()
    with daemon.client("tcp") as client:
        for number in range(50):
            assert client.add1(address(number)) == ADD_SUCCESS
        # What the first daemon wrote leaves room when it goes.
        wait_for(lambda: len(os.listdir(disk.inside / "journal")) == 1,
                 RECOVERY_S, "one segment")
        disk.fill()
        good = set(range(50)) | add_until_refused(client, 50)
        refused = range(len(good), len(good) + 200)
        for number in refused:
            assert client.add1(address(number)) == ADD_SYSERR
        check(daemon, good)
        for number in refused:
            assert client.query(address(number))[0] == rpcraw.NOTFOUND

        disk.free()
        wait_for(lambda: client.add1(address(1 << 20)) == ADD_SUCCESS,
                 RECOVERY_S, "adds succeed again")
        good |= {1 << 20}
        check(daemon, good)
    daemon.kill9()
    daemon.start()
    check(daemon, good)


def test_filled_by_itself(daemon):
    """New addresses until there is no room; then the process is killed."""
    with daemon.client("tcp") as client:
        good = add_until_refused(client, 0)
        for number in range(1 << 20, (1 << 20) + 100):
            assert client.add1(address(number)) == ADD_SYSERR
        check(daemon, good)
    assert len(good) > 1000
    daemon.kill9()
    daemon.start()
    check(daemon, good)


def test_restart_on_a_full_disk(daemon, disk):
    """It starts, and serves what it had."""
    with daemon.client("tcp") as client:
        for number in range(50):
            assert client.add1(address(number)) == ADD_SUCCESS
        disk.fill()
        good = set(range(50)) | add_until_refused(client, 50)
    daemon.kill9()
    daemon.start()
    check(daemon, good)
    disk.free()
    with daemon.client("tcp") as client:
        wait_for(lambda: client.add1(address(1 << 20)) == ADD_SUCCESS,
                 RECOVERY_S, "adds succeed again")
    check(daemon, good | {1 << 20})


def test_removal_and_expiry_on_a_full_disk(daemon, disk):
    """
    An entry that ends while nothing can be written is not authorized on:
    expiry needs no room.
    """
    with daemon.client("tcp") as client:
        for number in range(50):
            assert client.add3(address(number), 2)[0] == rpcraw.OK
        disk.fill()
        add_until_refused(client, 50)
        wait_for(lambda: not {address(n).encode() for n in range(50)} &
                 set(daemon.map()), 5, "expired entries leave the map")
        assert not {address(n) for n in range(50)} & set(client.table())

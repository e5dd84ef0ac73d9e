"""
The map of DRAC 1.12, found at the first start: what is alive in it stays
authorized, whoever owns the file and wherever it lies.
"""

import os
import pathlib
import pwd
import subprocess
import time

import pytest

import daemon

LIFETIME_S = 1500
USER = "nobody"
needs_root = pytest.mark.skipif(os.geteuid() != 0,
                                reason="needs root: files of two users")


def old_map(path):
    """As DRAC 1.12 leaves it: a live entry, an expired one. The live one."""
    expiry = int(time.time()) + LIFETIME_S
    text = "VERSION=3\nformat=print\ntype=btree\ndb_pagesize=512\nHEADER=END\n" \
        " 192.0.2.1\n %d\n 192.0.2.2\n 1000\nDATA=END\n" % expiry
    subprocess.run(["db5.3_load", str(path)], input=text.encode(), check=True)
    path.chmod(0o644)
    return {b"192.0.2.1": b"%d" % expiry}


def give(path):
    user = pwd.getpwnam(USER)
    os.chown(path, user.pw_uid, user.pw_gid)


@pytest.fixture
def as_user(build, open_dir):
    """A Dracd that becomes USER, with a state directory that is his."""
    state = open_dir / "state"
    state.mkdir()
    give(state)
    dracd = daemon.Dracd(build, open_dir, user=USER, journal=state / "journal",
                         maps=[("btree:%s" % (state / "dracd.db"), {})])
    yield dracd
    dracd.finish()


def check(dracd, live):
    dracd.start()
    assert "taken over entries=1" in dracd.stderr
    assert dracd.map() == live
    with dracd.client() as client:
        assert client.add1("192.0.2.3") == 0
    dracd.kill9()
    dracd.start()
    entries = dracd.map()
    assert entries.pop(b"192.0.2.3")
    assert entries == live


def test_own_map(dracd):
    d = dracd()
    check(d, old_map(pathlib.Path(d.map_path)))


@needs_root
def test_map_of_root_in_the_daemons_directory(as_user):
    """After make install, which moves the file as it is."""
    check(as_user, old_map(pathlib.Path(as_user.map_path)))


@needs_root
def test_map_in_a_directory_of_root(as_user):
    """/etc/mail/dracd.db, on the command line or in the configuration."""
    path = as_user.dir / "dracd.db"
    as_user.maps = [("btree:%s" % path, {})]
    check(as_user, old_map(path))
    assert path.owner() == USER


@needs_root
def test_link_in_a_directory_of_root(as_user):
    """The link that make install leaves, with the classic dbfile."""
    target = pathlib.Path(as_user.map_path)
    live = old_map(target)
    give(target)
    link = as_user.dir / "dracd.db"
    link.symlink_to(target)
    as_user.maps = [("btree:%s" % link, {})]
    check(as_user, live)
    assert link.is_symlink()

"""
Starts that fail, or go on with less: what the administrator got wrong, and the
line that tells him which setting and which file it is about.
"""

import os
import shutil
import subprocess

import pytest

from daemon import Dracd, START_S

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def refuses(daemon, *said):
    """It does not start; the lines it says why in are a few, with all this."""
    done = daemon.run()
    assert done.returncode > 0, done
    for text in said:
        assert text in done.stderr, done.stderr
    assert not os.path.exists(daemon.unix)
    return done


def test_user_is_missing(dracd):
    refuses(dracd(user="no-such-user"), "user=no-such-user does not exist")


@needs_root
def test_not_started_by_root(build, open_dir):
    shutil.copy(os.path.join(build, "dracd"), open_dir)
    refuses(Dracd(open_dir, open_dir / "d", user="daemon", prefix=NOBODY),
            "only root can become user=daemon")


@pytest.mark.parametrize("setting", ["journal", "map", "listen"])
def test_no_parent(dracd, tmp_path, setting):
    """One directory is made for each, not two."""
    deep = tmp_path / "one/two/three"
    daemon = dracd()
    if setting == "journal":
        daemon.settings["journal"] = deep
    elif setting == "map":
        daemon.maps = [("btree:%s" % deep, {})]
    else:
        daemon.settings["listen"] = ["unix:%s" % deep]
    refuses(daemon, "directory=%s cannot be made" % deep.parent,
            "No such file")


@needs_root
@pytest.mark.parametrize("kind", ["fifo", "hard link", "directory"])
def test_map_is_no_plain_file(dracd, tmp_path, kind):
    """What is not a file of his own is not given to the daemon's user."""
    daemon = dracd(user="daemon")
    path = daemon.map_path
    os.chmod(os.path.dirname(path), 0o755)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    else:
        (tmp_path / "shadow").write_text("secret")
        os.link(tmp_path / "shadow", path)
    refuses(daemon, "map=%s cannot be given to the daemon's user" % path)
    assert os.stat(path).st_uid == 0


@pytest.mark.parametrize("name", ["s" * 120, "file"])
def test_socket_cannot_be_bound(dracd, tmp_path, name):
    (tmp_path / "file").write_text("mine")
    path = "unix:%s/%s" % (tmp_path, name)
    refuses(dracd(listen=[path]), path)
    assert (tmp_path / "file").read_text() == "mine"


def test_dbfile_from_a_directory_that_is_gone(dracd, tmp_path):
    daemon = dracd()
    daemon.write_config()
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh",
         *daemon.command("here.db")], cwd=gone, check=False, text=True,
        capture_output=True, env=daemon.environment(), timeout=START_S)
    assert done.returncode == os.EX_USAGE, done
    assert "dbfile: a path from here" in done.stderr


def test_key_of_another_name(dracd, tmp_path):
    """A reload says so, and keeps what it had."""
    key = tmp_path / "pop1.key"
    key.write_text("pop1 " + "01" * 32 + "\n")
    key.chmod(0o600)
    daemon = dracd()
    daemon.start()
    with open(daemon.conf, "a", encoding="utf-8") as conf:
        conf.write('key "pop2" { file = "%s" }\n' % key)
    daemon.reload()
    assert str(key) in daemon.stderr and "reload: errors" in daemon.stderr
    with daemon.client() as client:
        assert client.add1("192.0.2.1") == 0


def test_maps_of_a_reload(dracd, tmp_path):
    """One more, one of another sort, another file: each needs a restart."""
    daemon = dracd()
    daemon.start()
    path = daemon.map_path
    for maps in ([("hash:%s" % path, {})],
                 [("btree:%s" % (tmp_path / "other.db"), {})],
                 [("btree:%s" % path, {}),
                  ("btree:%s" % (tmp_path / "other.db"), {})]):
        before = daemon.stderr.count("restart")
        daemon.maps = maps
        daemon.write_config()
        daemon.reload()
        assert daemon.stderr.count("restart") == before + 1, daemon.stderr
    assert not os.path.exists(tmp_path / "other.db")
    daemon.maps = [("btree:%s" % path, {})]

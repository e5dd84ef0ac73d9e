"""
What systemd/dracd.service takes from the daemon, and what the daemon gives up
by itself: system calls, capabilities, the user. In containers systemd is not
process 1, so seccomp_run.py applies the unit's filters.
"""

import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys

import pytest

import rpcraw
import signing
from daemon import wait_for
from rpcraw import ADD_SUCCESS

HERE = pathlib.Path(__file__).resolve().parent
UNIT = HERE.parent.parent / "systemd" / "dracd.service"
RUN = str(HERE / "seccomp_run.py")
USER = "nobody"

pytestmark = pytest.mark.skipif(os.geteuid() != 0,
                                reason="needs root, which it gives up")


@pytest.fixture
def place():
    """A directory that USER can reach, as /tmp/pytest-of-root is not."""
    path = pathlib.Path("/tmp/dracd-sandbox-%d" % os.getpid())
    path.mkdir(mode=0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def filtered():
    """The command that applies the unit's filters; skips without them."""
    prefix = [sys.executable, RUN, str(UNIT)]
    done = subprocess.run(prefix + ["true"], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return prefix


def bounding_set():
    """setpriv(1) with no more capabilities than the unit gives."""
    line = re.search(r"^CapabilityBoundingSet=(.*)$", UNIT.read_text(),
                     re.M)[1]
    keep = ",".join("+" + word[4:].lower() for word in line.split())
    return ["setpriv", "--bounding-set", "-all," + keep]


def status(pid):
    """{name: words} of /proc/PID/status."""
    lines = pathlib.Path("/proc/%d/status" % pid).read_text().splitlines()
    return {name: value.split() for name, _, value in
            (line.partition(":") for line in lines)}


def works(daemon):
    """All that a daemon does in its life but starting and stopping."""
    message, tag = signing.call(1, 1, rpcraw.v1_args("192.0.2.9"))
    for transport in "udp", "tcp":
        for host in "127.0.0.1", "::1":
            with daemon.client(transport, host=host) as client:
                assert client.add1("192.0.2.1") == ADD_SUCCESS
                assert client.add2("2001:db8::1") == ADD_SUCCESS
    with daemon.client("udp") as client:
        assert signing.is_signed(signing.exchange(client.carrier, message),
                                 tag)
    with daemon.client("unix") as client:
        for i in range(200):
            assert client.add3("198.51.100.%d" % i, 1, "joe", "pop3")[0] == 0
        assert client.remove("192.0.2.1") == 0
        assert client.stats()["adds"] > 200
    signing.write_key(daemon.dir / "pop1.key", "k" * 40)
    shutil.chown(daemon.dir / "pop1.key", USER)
    daemon.reload()
    wait_for(lambda: "reload: done" in daemon.stderr, 10, "a reload")
    # Its map and its journal, damaged and gone: rebuilt as it runs.
    os.unlink(daemon.map_path)
    wait_for(lambda: os.path.exists(daemon.map_path), 10, "another map")
    wait_for(lambda: set(daemon.map()) >= {b"192.0.2.9"} and
             b"198.51.100.0" not in daemon.map(), 10, "expiry")


def start(daemon, prefix, **settings):
    # LeakSanitizer needs ptrace(2), which the filter forbids.
    daemon.env["ASAN_OPTIONS"] = "verify_asan_link_order=0:detect_leaks=0"
    daemon.prefix = list(prefix)
    daemon.settings.update(settings)
    signing.give_keys(daemon,
                      pop1=signing.write_key(daemon.dir / "pop1.key"))
    return daemon


def test_filter_is_one(filtered):
    """What the unit forbids fails, or the tests below show nothing."""
    probe = """
import ctypes, errno, mmap, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def fails(result):
    return result == -1 and ctypes.get_errno() == errno.EPERM
print(fails(libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
      fails(libc.mlockall(1)), fails(libc.syscall(250, 0, 0, 0, 0, 0)),
      fails(libc.ptrace(0, 0, 0, 0)),
      fails(libc.socket(socket.AF_PACKET, 3, 0)),
      libc.socket(socket.AF_INET, 2, 0) > 0,
      fails(libc.mprotect(0, 0, 7)))
try:
    mmap.mmap(-1, 4096, prot=7)
except PermissionError:
    print("no writable code")
"""
    done = subprocess.run(filtered + [sys.executable, "-c", probe],
                          capture_output=True, text=True)
    assert done.stdout == "True " * 6 + "True\nno writable code\n", \
        done.stdout + done.stderr


def test_under_the_filter_of_the_unit(place, dracd, filtered):
    """Start as root with the unit's capabilities, life, and a good end."""
    daemon = dracd(place / "d")
    start(daemon, bounding_set() + filtered, user=USER,
          hosts_access=True)
    os.chown(daemon.dir, pwd.getpwnam(USER).pw_uid, -1)
    daemon.start()
    found = status(daemon.process.pid)
    assert found["Seccomp"] == ["2"]
    works(daemon)
    daemon.stop()
    daemon.start()      # with a journal and a map of its own
    with daemon.client("unix") as client:
        assert "192.0.2.9" in client.table()
    daemon.kill9()
    daemon.start()      # and with those of a crash


def test_nothing_of_root_is_left(place, dracd):
    daemon = dracd(place / "d")
    start(daemon, [], user=USER)
    os.chown(daemon.dir, pwd.getpwnam(USER).pw_uid, -1)
    daemon.start()
    user = pwd.getpwnam(USER)
    # The thread that flushes the journal as well.
    threads = os.listdir("/proc/%d/task" % daemon.process.pid)
    assert len(threads) >= 2
    for thread in threads:
        found = status(int(thread))
        for kind in "CapInh", "CapPrm", "CapEff", "CapAmb":
            assert int(found[kind][0], 16) == 0, kind
        assert found["NoNewPrivs"] == ["1"]
        assert found["Uid"] == [str(user.pw_uid)] * 4
        assert found["Gid"] == [str(user.pw_gid)] * 4
        assert found["Groups"] == []
    # The secret of a file that only root can read is kept by a reload.
    daemon.reload()
    message, tag = signing.call(1, 1, rpcraw.v1_args("192.0.2.9"))
    with daemon.client("udp") as client:
        assert signing.is_signed(signing.exchange(client.carrier, message),
                                 tag)
    assert "the secret read at start stays in force" in daemon.stderr
    assert "reload: done" in daemon.stderr


def test_as_an_unprivileged_user(place, dracd, filtered):
    """Started by somebody who has never been root, under the filter too."""
    user = pwd.getpwnam(USER)
    daemon = dracd(place / "d")
    nobody = ["setpriv", "--reuid=%d" % user.pw_uid,
              "--regid=%d" % user.pw_gid, "--clear-groups",
              "--bounding-set", "-all", "--no-new-privs"]
    start(daemon, nobody + filtered)
    for path in daemon.dir, daemon.dir / "pop1.key":
        os.chown(path, user.pw_uid, user.pw_gid)
    daemon.start()
    assert status(daemon.process.pid)["Uid"] == [str(user.pw_uid)] * 4
    works(daemon)


def test_check_by_somebody_else(place, dracd):
    """dracd -t, as ExecReload= runs it: a file of root's is no error."""
    daemon = dracd(place / "d")
    start(daemon, ["setpriv", "--reuid=65534", "--regid=65534",
                          "--clear-groups"])
    done = daemon.run("-t")
    assert done.returncode == 0, done.stderr
    assert "key=pop1" in done.stderr and "not checked" in done.stderr

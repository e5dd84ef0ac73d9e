"""
Who may ask, and for whom: dracd.allow, hosts_access, `never`, the limits; and
what bad files get, at start, at reload and from -t.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

import rpcraw
from daemon import wait_for
from rpcraw import ADD_PERM, ADD_SUCCESS
from namespace import Namespace

HERE = pathlib.Path(__file__).resolve().parent
EX_CONFIG = 78
NOTICED_S = 5       # changed files are looked at once a second


def add(daemon, source, address="192.0.2.1", transport="udp"):
    """The answer to a version 1 add from a loopback address."""
    with daemon.client(transport, source=source) as client:
        return client.add1(address)


def answers(daemon, source):
    for transport in "udp", "tcp":
        try:
            yield add(daemon, source, transport=transport)
        except rpcraw.Closed:
            yield ADD_PERM


def refused(daemon, source):
    """Whether a caller is refused over UDP and TCP; neither may hang."""
    for _ in range(2):      # a changed file may be noticed between the two
        udp, tcp = answers(daemon, source)
        if udp == tcp:
            break
    assert udp == tcp and udp in (ADD_PERM, ADD_SUCCESS), (udp, tcp)
    return udp == ADD_PERM


# ---- dracd.allow ------------------------------------------------------------

def test_without_a_file_this_host_may(dracd):
    daemon = dracd().start()
    assert not refused(daemon, "127.0.0.1")
    with daemon.client("udp", host="::1") as client:
        assert client.add1("192.0.2.2") == ADD_SUCCESS
    with daemon.client("unix") as client:
        assert client.add1("192.0.2.3") == ADD_SUCCESS


LINES = """\
# every form there is
255.255.255.255 127.0.0.2
host 127.0.0.3   # a comment behind it

127.0.0.16/28
255.255.255.252\t127.0.0.40
::1
127.0.0.60"""


def test_forms_of_a_line(dracd):
    daemon = dracd()
    daemon.allow.write_text(LINES)
    daemon.start()
    allowed = [i for i in range(1, 64)
               if add(daemon, "127.0.0.%d" % i) == ADD_SUCCESS]
    assert allowed == [2, 3, *range(16, 32), *range(40, 44), 60]
    with daemon.client("udp", host="::1") as client:
        assert client.add1("192.0.2.2") == ADD_SUCCESS


def test_empty_list_refuses_everybody(dracd):
    daemon = dracd()
    daemon.allow.write_text("# nobody\n")
    daemon.start()
    assert refused(daemon, "127.0.0.1")
    with daemon.client("unix") as client:      # by credentials, not the list
        assert client.add1("192.0.2.3") == ADD_SUCCESS


def test_refused_caller_changes_nothing(dracd):
    daemon = dracd()
    daemon.allow.write_text("host 127.0.0.2\n")
    daemon.start()
    assert add(daemon, "127.0.0.2", "192.0.2.1") == ADD_SUCCESS
    with daemon.client("udp", source="127.0.0.3") as client:
        assert client.add1("192.0.2.9") == ADD_PERM
        assert client.add2("2001:db8::9") == ADD_PERM
        assert client.add3("192.0.2.9")[0] == rpcraw.PERM
        assert client.remove("192.0.2.1") == rpcraw.PERM
    assert set(daemon.map()) == {b"192.0.2.1"}


def test_refusals_are_logged_but_not_each(dracd):
    daemon = dracd()
    daemon.allow.write_text("host 127.0.0.2\n")
    daemon.start()
    before = daemon.stderr.count("\n")
    for _ in range(500):
        assert add(daemon, "127.0.0.3") == ADD_PERM
    assert "127.0.0.3" in daemon.stderr
    assert daemon.stderr.count("\n") - before < 20


BAD_LINES = ["999.1.1.1 127.0.0.1", "255.0.0.0 127.0.0.1", "nonsense",
             "1" * 83 + " 127.0.0.1", "127.0.0.0/33", "host", "::1/129",
             "host mail.example.org", "255.255.255.0 192.0.2.0 extra"]


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_line(dracd, line):
    """Named at start (78) and by -t; a reload keeps the old list."""
    daemon = dracd()
    daemon.allow.write_text("# one\n%s\nhost 127.0.0.2\n" % line)
    for args in (), ("-t",):
        done = daemon.run(*args)
        assert done.returncode == EX_CONFIG
        assert "%s:2: " % daemon.allow in done.stderr
    daemon.allow.write_text("host 127.0.0.2\n")
    assert daemon.run("-t").returncode == 0
    daemon.start()
    daemon.allow.write_text("host 127.0.0.3\n%s\n" % line)
    daemon.reload()
    assert not refused(daemon, "127.0.0.2") and refused(daemon, "127.0.0.3")
    assert "%s:2: " % daemon.allow in daemon.stderr


def test_reload_and_change_are_noticed(dracd):
    daemon = dracd()
    daemon.allow.write_text("host 127.0.0.2\n")
    daemon.start()
    assert refused(daemon, "127.0.0.3")
    daemon.allow.write_text("host 127.0.0.3\n")
    daemon.reload()
    assert refused(daemon, "127.0.0.2") and not refused(daemon, "127.0.0.3")
    daemon.allow.write_text("host 127.0.0.2\nhost 127.0.0.4\n")
    wait_for(lambda: not refused(daemon, "127.0.0.4"), NOTICED_S,
             "a changed file without a signal")
    assert not refused(daemon, "127.0.0.2") and refused(daemon, "127.0.0.3")


# ---- hosts_access -----------------------------------------------------------

@pytest.mark.skipif(not (os.path.exists("/etc/hosts.allow") and
                         os.path.exists("/etc/hosts.deny")),
                    reason="no /etc/hosts.allow, /etc/hosts.deny to mount on")
def test_hosts_access(dracd, tmp_path):
    """Both lists are needed; a changed file is noticed."""
    allow, deny = tmp_path / "hosts.allow", tmp_path / "hosts.deny"
    allow.write_text("")
    deny.write_text("dracd: 127.0.0.4 [::1]\nsmtpd: ALL\n")
    space = Namespace(["mount"], "mount --bind %s /etc/hosts.allow\n"
                  "mount --bind %s /etc/hosts.deny" % (allow, deny))
    daemon = dracd(hosts_access=True, prefix=space.prefix)
    daemon.allow.write_text("127.0.0.0/29\n::1\n")
    daemon.start()
    assert not refused(daemon, "127.0.0.3")
    assert refused(daemon, "127.0.0.4")
    assert refused(daemon, "127.0.0.9")
    with daemon.client("udp", host="::1") as client:
        assert client.add1("192.0.2.2") == ADD_PERM
    with open(allow, "w") as file:      # in place: it is a mount point
        file.write("dracd: 127.0.0.4\n")
    wait_for(lambda: not refused(daemon, "127.0.0.4"), NOTICED_S,
             "a changed hosts.allow")
    with open(deny, "w") as file:
        file.write("dracd: ALL\n")
    wait_for(lambda: refused(daemon, "127.0.0.3"), NOTICED_S,
             "a changed hosts.deny")
    assert not refused(daemon, "127.0.0.4")
    assert refused(daemon, "127.0.0.9")
    daemon.stop()
    space.close()


# ---- never, max-entries -----------------------------------------------------

def test_never(dracd):
    daemon = dracd(never=["198.51.100.7", "203.0.113.0/24", "2001:db8::/32"])
    daemon.start()
    with daemon.client() as client:
        for address in "198.51.100.7", "203.0.113.200":
            assert client.add1(address) == ADD_PERM
            assert client.add2("::ffff:" + address) == ADD_PERM
            assert client.add3(address)[0] == rpcraw.PERM
        assert client.add2("2001:db8:1::1") == ADD_PERM
        assert client.add1("198.51.100.8") == ADD_SUCCESS
        assert client.add2("2001:db9::1") == ADD_SUCCESS
        assert set(client.table()) == {"198.51.100.8", "2001:db9::1"}


def test_never_after_reload(dracd):
    """What may not relay any more is not authorized on."""
    daemon = dracd().start()
    with daemon.client() as client:
        assert client.add1("198.51.100.7") == ADD_SUCCESS
    daemon.settings["never"] = ["198.51.100.7"]
    daemon.write_config()
    daemon.reload()
    with daemon.client() as client:
        assert client.add1("198.51.100.7") == ADD_PERM
        wait_for(lambda: client.table() == {}, 5, "the entry goes")
    wait_for(lambda: daemon.map() == {}, 5, "its key goes")


def test_max_entries(dracd):
    daemon = dracd(max_entries=100).start()
    with daemon.client() as client:
        answers = [client.add1("198.51.100.%d" % i) for i in range(150)]
        assert answers == [ADD_SUCCESS] * 100 + [rpcraw.ADD_SYSERR] * 50
        assert client.add1("198.51.100.5") == ADD_SUCCESS
        assert client.remove("198.51.100.5") == rpcraw.OK
        assert client.add1("198.51.100.149") == ADD_SUCCESS
        assert len(client.table()) == 100
    assert len(daemon.map()) == 100
    assert "max-entries" in daemon.stderr


# ---- unix callers -----------------------------------------------------------

NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be others")
@pytest.mark.parametrize("gid, uid, answer", [
    (0, 0, "0"), (0, NOBODY, "0"), (NOBODY, NOBODY, "1")],
    ids=["root", "group", "other"])
def test_unix_credentials(dracd, gid, uid, answer):
    """Root, the daemon's user, members of its group; nobody else."""
    with tempfile.TemporaryDirectory() as place:    # pytest's are 0700
        os.chmod(place, 0o755)
        daemon = dracd()
        daemon.settings["listen"].append("unix:%s/rpc.sock" % place)
        daemon.start()
        shutil.copy(HERE / "ask.py", place)
        shutil.copy(HERE / "rpcraw.py", place)
        out = subprocess.run(
            ["setpriv", "--regid", str(gid), "--reuid", str(uid),
             "--clear-groups", sys.executable, place + "/ask.py", "unix",
             place + "/rpc.sock", "0", "192.0.2.1"], text=True,
            stdout=subprocess.PIPE, check=True).stdout
        assert out.strip() == answer
        assert ("deny caller=local uid=%d reason=\"neither root" % uid in
                daemon.stderr) == (answer == str(ADD_PERM)), daemon.stderr
        daemon.stop()


# ---- configuration ----------------------------------------------------------

@pytest.mark.parametrize("line", [
    'lifetime = "soon"', 'durability = "maybe"', "no-such-setting = 1",
    'never = {"10.0.0.0/40"}', 'listen = {"smtp:127.0.0.1"}',
    "max-entries = 0", 'map "dbm:/tmp/x" {}', 'lifetime = "30m'])
def test_bad_configuration(dracd, line):
    daemon = dracd().start()
    good = daemon.conf.read_text()
    daemon.conf.write_text(line + "\n" + good)
    daemon.process.send_signal(1)
    wait_for(lambda: str(daemon.conf) + ":" in daemon.stderr, 2,
             "a message with the file's name")
    with daemon.client() as client:
        assert client.add1("192.0.2.1") == ADD_SUCCESS
    daemon.conf.write_text(good)

    other = dracd("other")
    other.write_config()
    written = other.conf.read_text()
    other.write_config = lambda: other.conf.write_text(line + "\n" + written)
    for args in (), ("-t",):
        done = other.run(*args)
        assert done.returncode == EX_CONFIG, done.stderr
        assert "%s:" % other.conf in done.stderr


def test_check_touches_nothing(dracd):
    daemon = dracd()
    assert daemon.run("-t").returncode == 0
    assert not (daemon.dir / "journal").exists()
    assert not (daemon.dir / "dracd.db").exists()
    daemon.start()
    assert daemon.run("-t").returncode == 0, "while another one serves"
    with daemon.client() as client:
        assert client.add1("192.0.2.1") == ADD_SUCCESS

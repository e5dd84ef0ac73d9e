"""
dracwatch follows the log file of a real Dovecot. dracd listens on its local
socket only: who authorizes has come to it through dracwatch.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

import daemon
import dovecot
import dracwatch
import hooks
import installed
import mailclient
import sendmail
import servers
from hooks import CLIENT6, clients

HERE = pathlib.Path(__file__).parent
SOCKET = "/run/dracd/rpc.sock"
LOG = "/var/log/dovecot.log"
STRANGER = "127.0.0.6"
LIFETIME_S = 1800
SLACK_S = 60
LATE_S = 300
AGED_S = 20             # neither fresh nor late: report.h
MANY = 5000
SOON_S = 2              # long enough for what would come at once


def append(log, age_s, *addresses):
    """Logins that were so long ago."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ",
                          time.gmtime(time.time() - age_s))
    with open(log, "a") as file:
        for address in addresses:
            file.write(f"{stamp} relay dovecot: pop3-login: Login: user=<bob>,"
                       f" method=PLAIN, rip={address}, lip=127.0.0.1\n")


class Host(dracwatch.Host):
    """Dovecot, which logs to a file, dracwatch, which reads it, and dracd."""

    def __init__(self, build, directory):
        self.space = servers.Space()
        self.dracd = installed.Dracd(self.space, build, directory,
                                     listen=[f"unix:{SOCKET}"]).start()
        self.log = self.space.path(LOG)
        self.pop = dovecot.Dovecot(self.space, "", log_path=LOG)
        self.watch = dracwatch.Watch(build, self.space, directory,
                                     f"file:{LOG}")
        self.watch.start()

    def login(self, address=None, password=dovecot.PASSWORD):
        """The address, and the seconds it took."""
        address = address or next(clients)
        return address, hooks.login(self.space, mailclient.pop3, address,
                                    "alice", password)

    def read(self):
        """What is in the log by now has been read and reported."""
        self.dracd.authorized(self.login()[0])

    def reopen(self):
        """Dovecot writes to a new file from now on."""
        self.space.run(["doveadm", "log", "reopen"])
        servers.wait_until(self.log.exists, "a new log")


@pytest.fixture(scope="module")
def the_host(build, tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    made = Host(build, tmp_path_factory.mktemp("d"))
    yield made
    made.close()


@pytest.fixture
def host(the_host):
    yield the_host
    the_host.mend()


# ---- rotation: all of it happens while a log is being followed, or is not


def renamed(host):
    host.log.rename(host.log.with_suffix(".log.1"))
    address = host.login()[0]           # Dovecot still writes to the old file
    host.reopen()
    return address


def copied_and_truncated(host):
    address = host.login()[0]
    shutil.copy(host.log, host.log.with_suffix(".log.1"))
    os.truncate(host.log, 0)
    return address


def not_rotated(host):
    return host.login()[0]


ROTATIONS = [renamed, copied_and_truncated, not_rotated]


# ---- logins


def test_login_opens_relay(host):
    mta = sendmail.Sendmail(host.space, sendmail.mc("FEATURE(`dracd')dnl"))
    address = next(clients)
    assert mta.relay(address) == 550
    host.login(address)
    entry = host.dracd.authorized(address)
    assert (entry.user, entry.service) == ("alice", "pop3")
    assert LIFETIME_S - SLACK_S < entry.expiry - time.time() <= LIFETIME_S
    assert mta.relay(address) == 250
    assert mta.relay(STRANGER) == 550

    assert mta.relay(CLIENT6) == 550
    host.pop.imap(CLIENT6, "alice", dovecot.PASSWORD).logout()
    entry = host.dracd.authorized(CLIENT6)
    assert (entry.user, entry.service) == ("alice", "imap")
    assert mta.relay(CLIENT6) == 250


def test_wrong_password_does_not(host):
    address = next(clients)
    with pytest.raises(hooks.REFUSED):
        host.login(address, "wrong")
    with pytest.raises(hooks.REFUSED):
        host.pop.pop3(address, "x>, method=PLAIN, rip=127.66.6.6, lip=1.1.1.1",
                      "wrong")
    host.read()
    assert "127.66.6.6" in host.log.read_text()
    assert host.dracd.entry(address) is None
    assert host.dracd.entry("127.66.6.6") is None


# ---- files


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_rotation(host, rotate):
    host.read()
    address = rotate(host)
    host.dracd.authorized(address)
    host.read()


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_restart_loses_nothing(host, rotate):
    host.read()
    host.watch.stop()
    before = host.login()[0]
    during = rotate(host)
    after = host.login()[0]
    host.watch.start()
    for address in before, during, after:
        host.dracd.authorized(address)


@pytest.mark.parametrize("rotate", ROTATIONS)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_restart_repeats_nothing(host, end, rotate):
    address = host.login()[0]
    host.dracd.authorized(address)
    host.read()
    host.dracd.remove(address)
    getattr(host.watch, end)()
    rotate(host)
    host.watch.start()
    host.read()
    assert host.dracd.entry(address) is None


def test_first_start_begins_now(host, build, tmp_path):
    """No state: what is in the log already opens nothing."""
    host.watch.stop()
    address = host.login()[0]
    other = dracwatch.Watch(build, host.space, tmp_path, f"file:{LOG}")
    other.start()
    host.read()
    assert host.dracd.entry(address) is None
    other.stop()
    host.watch.start()
    host.dracd.authorized(address)


def test_late_logins_get_the_rest(host):
    old, late, new = (next(clients) for _ in range(3))
    append(host.log, 3 * 3600, old)
    append(host.log, LATE_S, late)
    append(host.log, 0, new)
    host.dracd.authorized(new)
    left = host.dracd.entry(late).expiry - time.time()
    assert LIFETIME_S - LATE_S - SLACK_S < left <= LIFETIME_S - LATE_S
    assert host.dracd.entry(old) is None


# ---- dracd


def test_dracd_is_away(host, figures):
    """Nobody waits for it, and what happened meanwhile is told it later."""
    took = {"up": host.login()[1]}
    before = host.watch.log().count("dracd does not take logins")
    host.dracd.stop()
    absent, took["absent"] = host.login()
    servers.wait_until(
        lambda: host.watch.log().count("dracd does not take logins") ==
        before + 1, "a line about it")
    # all the same if dracwatch is started meanwhile
    host.watch.stop()
    second = host.login()[0]
    host.watch.start()
    host.dracd.start()
    host.dracd.authorized(absent)
    host.dracd.authorized(second)
    servers.wait_until(lambda: "dracd takes logins again" in host.watch.log(),
                       "a line about it")
    with daemon.hanging(host.dracd.process):
        stopped, took["stopped"] = host.login()
    host.dracd.authorized(stopped)
    figures("a login takes " + ", ".join(
        "%.1f ms (dracd %s)" % (took[s] * 1000, s) for s in took))


def test_latency(host, figures):
    """From the answer to the client until it may relay."""
    address = host.login()[0]
    begin = time.monotonic()
    host.dracd.authorized(address)
    figures("authorized %.0f ms after the login" %
            ((time.monotonic() - begin) * 1000))


def test_many_logins(host, figures):
    addresses = [f"10.{n >> 8}.{n & 255}.1" for n in range(MANY)]
    begin = time.monotonic()
    append(host.log, 0, *addresses)
    host.dracd.authorized(addresses[-1])
    figures("%.0f logins a second" % (MANY / (time.monotonic() - begin)))
    with host.dracd.client("unix") as client:
        assert set(addresses) <= {str(each) for each in client.table()}


@pytest.fixture
def peer(build, tmp_path):
    """peer(behaviour) -> a dracwatch, its log, and a line of its server's."""
    servers_made, watches = [], []

    def make(behaviour):
        log = tmp_path / "log"
        log.touch()
        server = subprocess.Popen(
            [sys.executable, HERE / "libdrac_peer.py", behaviour,
             f"unix:{tmp_path}/peer"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        servers_made.append(server)
        assert server.stdout.readline() == "ready\n"
        watch = dracwatch.Watch(build, None, tmp_path, f"file:{log}",
                                server=f"unix:{tmp_path}/peer").start()
        watches.append(watch)
        return watch, log, server.stdout.readline

    yield make
    for watch in watches:
        watch.close()
    for server in servers_made:
        server.terminate()
        server.communicate()


def test_server_is_drac_1_12(peer):
    """It would grant an old login its whole lifetime."""
    _, log, line = peer("versions=1-2")
    append(log, LATE_S, "192.0.2.1")
    append(log, 0, "192.0.2.2")
    assert line() == "add 1 192.0.2.2\n"


def test_server_only_by_udp(dracd, build, tmp_path):
    """It cannot be asked for its lifetime, and takes what is new enough."""
    old, late, new = "192.0.2.1", "192.0.2.2", "192.0.2.3"
    server = dracd()
    server.settings["listen"] = [
        where for where in server.settings["listen"] if "tcp" not in where]
    server.start()
    log = tmp_path / "log"
    log.touch()
    watch = dracwatch.Watch(build, None, tmp_path, f"file:{log}",
                            server="127.0.0.1:%d" % server.port).start()
    try:
        append(log, LATE_S, old)
        append(log, AGED_S, late)
        append(log, 0, new)
        with server.client("unix") as client:
            servers.wait_until(lambda: new in client.table(), "the last one")
            assert set(client.table()) == {late, new}
        server.stop()
        append(log, AGED_S, "192.0.2.4")
        servers.wait_until(lambda: "does not take logins" in watch.log(),
                           "a line about it")
        server.start()
        with server.client("unix") as client:
            servers.wait_until(lambda: "192.0.2.4" in client.table(),
                               "what was kept")
    finally:
        watch.close()


def test_server_refuses(peer):
    watch, log, line = peer("status=1")
    append(log, 0, "192.0.2.1", "192.0.2.2")
    assert "192.0.2.1" in line()
    assert "192.0.2.2" in line()
    assert "not authorized address=192.0.2.1 user=\"bob\": " in watch.log()


def test_server_is_silent(peer):
    """dracwatch waits for it half a second, and ends when it shall."""
    watch, log, _ = peer("silent")
    append(log, 0, "192.0.2.1")
    servers.wait_until(lambda: "does not take logins" in watch.log(),
                       "a line about it")
    watch.stop()
    assert watch.start().log().count("does not take logins") >= 1


# ---- the command


def run(build, *words, **kwargs):
    done = subprocess.run([f"{build}/dracwatch", *map(str, words)], text=True,
                          capture_output=True, timeout=20, check=False,
                          **kwargs)
    assert not daemon.SANITIZER.search(done.stderr), done.stderr
    return done


def test_trial(build, tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "Nov 22 03:47:33 relay popa3d[70]: Session from 192.0.2.5\n"
        "Nov 22 03:47:33 relay popa3d[70]: Authentication passed for bob\n"
        "Nov 22 03:47:33 relay popa3d[70]: 0 messages (0 bytes) loaded\n"
        "junk\n")
    words = ["-p", dracwatch.PATTERNS, "--test"]
    done = run(build, *words, log)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        '2: pattern=popa3d address=192.0.2.5 user="bob" service=pop3\n'
        "lines=4 logins=1 not-of-syslog=1\n")
    assert run(build, *words, "-", input="junk\n").returncode == 1
    assert run(build, *words, tmp_path / "none").returncode == 66


def test_wrong_command_lines(build, tmp_path):
    patterns = tmp_path / "patterns"
    patterns.write_text("pattern x\nprogramm y\n")
    source = f"file:{tmp_path}/log"
    for words, status, message in [
            ([], 64, "no source"),
            (["-x"], 64, 'unknown option: "-x"'),
            (["--what"], 64, 'unknown option: "--what"'),
            (["-p"], 64, 'option without its value: "-p"'),
            (["/var/log/mail.log"], 64, '"/var/log/mail.log": write journal:'),
            (["file:mail.log"], 64, '"file:mail.log": write journal:'),
            (["journal:dovecot"], 64, '"journal:dovecot": write journal:'),
            (["--test", "x", source], 64, "--test reads one file"),
            (["-p", patterns, source], 78, f"{patterns}:2: \"programm\": "),
            (["-p", dracwatch.PATTERNS, "-s", "", source], 69, "option -s: "),
            (["-p", dracwatch.PATTERNS, "-S", tmp_path, source], 69,
             f"state={tmp_path} cannot be read")]:
        done = run(build, *words)
        assert done.returncode == status, words
        assert message in done.stderr
    assert run(build, "--version").stdout.startswith("dracwatch ")
    assert run(build, "--help").stdout.startswith("usage: dracwatch ")


def test_reload(host, build, tmp_path):
    patterns = tmp_path / "patterns"
    patterns.write_text(dracwatch.PATTERNS.read_text())
    host.watch.stop()
    other = dracwatch.Watch(build, host.space, tmp_path, f"file:{LOG}")
    other.argv = lambda *words: [other.build / "dracwatch", "-p", patterns,
                                 *words]
    other.start()
    patterns.write_text("pattern x\n")
    other.process.send_signal(signal.SIGHUP)
    servers.wait_until(lambda: "stay as they were" in other.log(), "a refusal")
    host.read()
    patterns.write_text("pattern x\nprogram x\nlogin (?<address>x)\n")
    other.process.send_signal(signal.SIGHUP)
    servers.wait_until(lambda: "reload: done" in other.log(), "a reload")
    address = host.login()[0]
    time.sleep(SOON_S)
    assert host.dracd.entry(address) is None
    other.stop()

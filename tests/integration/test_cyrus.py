"""
A real Cyrus IMAP tells dracwatch of its logins, dracwatch tells dracd. dracd
listens on its local socket only: who authorizes has come to it that way.
"""

import os
import pathlib
import signal
import socket
import threading
import time

import pytest

import cyrus
import dracwatch
import hooks
import installed
import mailclient
import sendmail
import servers
from hooks import CLIENT6, clients

RPC = "/run/dracd/rpc.sock"
NOTIFY = "/run/dracwatch/cyrus.sock"
QUEUE = "/proc/sys/net/unix/max_dgram_qlen"
INTERVAL_S = 1
SOON_S = 3 * INTERVAL_S     # some refreshes would have come by then
WAITS_S = 3                 # a login that takes so long waits for something
BLOCKED_MAX = 20            # logins that fill the queue of a hung dracwatch
SHORT_QUEUE, LONG_QUEUE = 10, 512   # of Linux, and as systemd sets it


class Host(dracwatch.Host):
    def __init__(self, build, directory):
        self.space = servers.Space("cyrus", "base")
        self.space.path("/run/dracwatch").mkdir()
        self.dracd = installed.Dracd(self.space, build, directory,
                                     listen=[f"unix:{RPC}"]).start()
        self.watch = dracwatch.Watch(build, self.space, directory,
                                     f"cyrus:{NOTIFY},{INTERVAL_S}")
        self.watch.start()
        cyrus.start(self.space)
        self.login()        # Cyrus makes the mailbox

    def imap(self, address, password=cyrus.PASSWORD):
        return mailclient.imap(self.space, address, cyrus.USER, password)

    def pop3(self, address, password=cyrus.PASSWORD):
        return mailclient.pop3(self.space, address, cyrus.USER, password)

    def login(self, address=None):
        """Seconds until the client knew."""
        return hooks.login(self.space, mailclient.pop3,
                           address or next(clients), cyrus.USER,
                           cyrus.PASSWORD)

    def read(self):
        """What Cyrus has told by now has been read and reported."""
        address = next(clients)
        self.login(address)
        self.dracd.authorized(address)

    def datagram(self, json):
        return b"external\0EVENT\0\0\0\x000\0" + json.encode() + b"\0"

    def send(self, datagram):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(datagram, str(self.space.path(NOTIFY)))


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


def test_login_opens_relay(host):
    mta = sendmail.Sendmail(host.space, sendmail.mc("FEATURE(`dracd')dnl"))
    address = next(clients)
    assert mta.relay(address) == 550
    host.pop3(address).quit()
    entry = host.dracd.authorized(address)
    assert (entry.user, entry.service) == (cyrus.USER, "pop3")
    assert mta.relay(address) == 250

    assert mta.relay(CLIENT6) == 550
    host.imap(CLIENT6).logout()
    entry = host.dracd.authorized(CLIENT6)
    assert (entry.user, entry.service) == (cyrus.USER, "imap")
    assert mta.relay(CLIENT6) == 250


def test_wrong_password_does_not(host):
    address = next(clients)
    for login in host.pop3, host.imap:
        with pytest.raises(hooks.REFUSED):
            login(address, "wrong")
    host.read()
    assert host.dracd.entry(address) is None


def test_refreshed_while_open(host):
    """However a session ends: after that it is not refreshed."""
    ends = [lambda session: session.logout(),
            lambda session: session.shutdown(),     # without a word
            lambda session: kill_imapd(host)]       # without one to dracwatch
    sessions = {next(clients): end for end in ends}
    opened = {address: host.imap(address) for address in sessions}
    for _ in range(3):
        for address in sessions:
            host.dracd.authorized(address)
            host.dracd.remove(address)
    for address, end in sessions.items():
        end(opened[address])
    host.read()
    for address in sessions:
        host.dracd.remove(address)
    time.sleep(SOON_S)
    assert [host.dracd.entry(address) for address in sessions] == [None] * 3


def kill_imapd(host):
    host.space.run(["pkill", "-KILL", "imapd"])
    servers.wait_until(
        lambda: host.space.run(["pgrep", "imapd"], check=False).stdout == "",
        "imapd is gone")


# ---- who writes to the socket


def test_socket_is_for_cyrus(host):
    stat = host.space.path(NOTIFY).stat()
    passwd = host.space.path("/etc/passwd").read_text()
    assert f"cyrus:x:{stat.st_uid}:" in passwd
    assert stat.st_mode & 0o777 == 0o600


def test_without_root(host, build, tmp_path):
    """As in our unit: by the group of Cyrus, here as alice."""
    host.watch.stop()
    host.space.run(["chown", "alice", str(pathlib.Path(NOTIFY).parent)])
    other = dracwatch.Watch(
        build, host.space, tmp_path, f"cyrus:{NOTIFY},{INTERVAL_S}",
        prefix=["setpriv", "--reuid=alice", "--regid=alice",
                "--groups=dracd,mail"])
    other.state = f"{NOTIFY}.state"
    other.start()
    assert host.space.path(NOTIFY).stat().st_mode & 0o777 == 0o620
    address = next(clients)
    session = host.imap(address)
    host.dracd.authorized(address)
    host.dracd.remove(address)
    host.dracd.authorized(address)
    session.logout()
    other.stop()
    host.space.run(["chown", "root", str(pathlib.Path(NOTIFY).parent)])


def test_forged_login_opens_nothing(host):
    """By somebody who can write to it all the same."""
    address = next(clients)
    path = host.space.path(NOTIFY)
    login = host.datagram('{"event":"Login","service":"imap",'
                          f'"clientIP":"{address}"}}')
    path.chmod(0o666)
    try:
        pid = os.fork()
        if pid == 0:
            os.chdir(path.parent)
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(login, path.name)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        path.chmod(0o600)
    servers.wait_until(lambda: "from uid=65534" in host.watch.log(),
                       "a line about it")
    assert host.dracd.entry(address) is None
    host.send(login)        # by root it is taken
    host.dracd.authorized(address)


def test_malformed_is_ignored(host):
    for datagram in (b"", b"\0" * 100, b"x" * 20000, host.datagram("{"),
                     host.datagram("[" * 4000),
                     host.datagram('{"event":"Login","clientIP":"::"}x')):
        host.send(datagram)
    host.read()
    assert "cyrus datagram ignored: not what Cyrus sends" in host.watch.log()


# ---- somebody is away


def test_restart(host):
    host.watch.stop()
    assert not host.space.path(NOTIFY).exists()
    host.login()
    host.watch.start()
    host.read()
    host.watch.kill()           # its socket stays
    assert host.space.path(NOTIFY).exists()
    host.watch.start()
    host.read()


def test_login_outlives_everybody(host, figures):
    """And those at a time without dracd are told it later."""
    addresses = []

    def log_in():
        addresses.append(next(clients))
        return host.login(addresses[-1])

    took = hooks.times(host.dracd, log_in, figures)
    for address in addresses:
        host.dracd.authorized(address)
    host.watch.stop()
    took["without dracwatch"] = host.login()
    figures("%.1f ms without dracwatch" % (took["without dracwatch"] * 1000))
    assert max(took.values()) < WAITS_S


def logins_until_one_waits(host):
    """How many went well, the thread of the one that waits or None."""
    for count in range(BLOCKED_MAX):
        thread = threading.Thread(target=host.login, daemon=True)
        thread.start()
        thread.join(WAITS_S)
        if thread.is_alive():
            return count, thread
    return BLOCKED_MAX, None


def hang(host, queue):
    """Stops a new dracwatch with a queue of that length."""
    host.watch.stop()
    with host.space.network():
        pathlib.Path(QUEUE).write_text(str(queue))
    host.watch.start()
    os.kill(host.watch.process.pid, signal.SIGSTOP)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGCONT])
def test_hung_dracwatch(host, figures, end):
    """The queue is short: logins wait in the end, until it goes on or dies."""
    hang(host, SHORT_QUEUE)
    try:
        count, waits = logins_until_one_waits(host)
    finally:
        os.kill(host.watch.process.pid, end)
    figures(f"with a queue of {SHORT_QUEUE}, {count} logins do not wait")
    assert 0 < count < SHORT_QUEUE
    waits.join(servers.READY_TIMEOUT_S)
    assert not waits.is_alive()
    if end == signal.SIGKILL:
        host.watch.process.wait()
        host.watch.start()
    host.read()


def test_hung_dracwatch_with_a_long_queue(host):
    """There is time for systemd's watchdog to end it."""
    hang(host, LONG_QUEUE)
    try:
        assert logins_until_one_waits(host) == (BLOCKED_MAX, None)
    finally:
        host.watch.process.send_signal(signal.SIGCONT)
    host.read()

"""
pam_drac with real servers and the very files of integrations/pam. dracd
listens on its local socket only: who authorizes has come to it as root.
"""

import contextlib
import imaplib
import ipaddress
import itertools
import os
import pathlib
import poplib
import shutil
import signal
import subprocess
import time

import pytest

import accounts
import courier
import daemon
import dovecot
import mailclient
import mailutils
import popa3d
import servers
import solid_pop3d

FILES = servers.TOP / "integrations/pam"
MODULES = next(pathlib.Path("/usr/lib").glob("*/security/pam_unix.so")).parent
SOCKET = "/run/dracd/rpc.sock"
CLIENT6 = "fd00:beef::5"
NEVER = "127.0.2.1"
BUDGET_S = 0.5          # of pam_drac
SLACK_S = 0.5           # of a busy machine
ROUNDS = 3
LINE = "account optional pam_drac.so"
REFUSED = (poplib.error_proto, imaplib.IMAP4.error)
# A new one for each login; NEVER is not among them.
clients = (str(ipaddress.IPv4Address("127.1.0.1") + n)
           for n in itertools.count())


def start_dovecot(space):
    # With sessions, so that there are some.
    dovecot.Dovecot(space, "auth_failure_delay = 0\n",
                    passdb="passdb {\n  driver = pam\n"
                    "  args = session=yes dovecot\n}\n")


# name: sets, how it starts, {protocol: PAM service}, does it speak IPv6?
POP3, IMAP = mailclient.pop3, mailclient.imap
SERVERS = {
    "popa3d": (["popa3d"], popa3d.standalone, {POP3: "popa3d"}, False),
    "popa3d-tcpserver": (["popa3d", "qmail"], popa3d.inetd,
                         {POP3: "popa3d"}, True),
    "courier": (["courier"], courier.start, {POP3: "pop3", IMAP: "imap"},
                True),
    "dovecot": (["base"], start_dovecot, {POP3: "dovecot", IMAP: "dovecot"},
                True),
    "solid-pop3d": (["solid-pop3d"], solid_pop3d.standalone,
                    {POP3: "solid-pop3d"}, True),
    "solid-pop3d-tcpserver": (["solid-pop3d", "qmail"], solid_pop3d.inetd,
                              {POP3: "solid-pop3d"}, True),
    "mailutils-tcpserver": (["mailutils", "qmail"], mailutils.inetd,
                            {POP3: "gnu-pop3d"}, True),
}
# Shows nobody the address of its client.
MAILUTILS_DAEMON = (["mailutils"], mailutils.standalone, {POP3: "gnu-pop3d"},
                    True)


class Host:
    """A POP or IMAP server, its PAM files, and dracd."""

    def __init__(self, build, directory, row):
        sets, start, self.services, self.ipv6 = row
        self.space = servers.Space(*sets)
        module = servers.tool("../pam_drac.so")
        shutil.copy(module, self.space.path(str(MODULES)))
        accounts.make(self.space)
        self.restore()
        self.space.path("/run/dracd").mkdir()
        self.dracd = daemon.Dracd(build, directory,
                                  prefix=self.space.attached(),
                                  listen=[f"unix:{SOCKET}"], never=[NEVER])
        self.dracd.unix = str(self.space.path(SOCKET))
        self.dracd.start()
        start(self.space)

    def close(self):
        try:
            self.dracd.finish()
        finally:
            self.space.close()

    def restore(self):
        for service in set(self.services.values()):
            shutil.copy(FILES / f"{service}.pam", self._file(service))

    def _file(self, service):
        return self.space.path(f"/etc/pam.d/{service}")

    def lines(self, *lines):
        """What stands in the PAM files instead of LINE."""
        self.restore()
        for service in set(self.services.values()):
            text = self._file(service).read_text()
            assert text.count(LINE + "\n") == 1
            self._file(service).write_text(
                text.replace(LINE, "\n".join(lines)))

    def login(self, address=None, password=accounts.PASSWORD, protocol=None):
        """Seconds it took; one of REFUSED when it is."""
        protocol = protocol or next(iter(self.services))
        begin = time.monotonic()
        session = protocol(self.space, address or next(clients),
                           accounts.USER, password)
        took = time.monotonic() - begin
        session.quit() if protocol is POP3 else session.logout()
        return took

    def entry(self, address):
        with self.dracd.client("unix") as client:
            return client.query(address)[1]

    def forget(self, address):
        with self.dracd.client("unix") as client:
            client.remove(address)

    def calls(self):
        with self.dracd.client("unix") as client:
            counters = client.stats()
        return counters["adds"] + counters["refreshes"]

    @contextlib.contextmanager
    def logs(self, pattern):
        """One line that matches is logged meanwhile."""
        before = len(self.space.log.lines)
        yield
        servers.wait_until(lambda: self.space.log.find(pattern, before),
                           f"log: {pattern}")
        assert len(self.space.log.find("pam_drac", before)) == 1


def make_host(build, tmp_path_factory, row):
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    made = Host(build, tmp_path_factory.mktemp("d"), row)
    return made


@pytest.fixture(scope="module", params=SERVERS)
def the_host(request, build, tmp_path_factory):
    made = make_host(build, tmp_path_factory, SERVERS[request.param])
    yield made
    made.close()


@pytest.fixture
def host(the_host):
    yield the_host
    the_host.restore()


only = lambda name: pytest.mark.parametrize("the_host", [name], indirect=True)


def test_login_authorizes(host):
    for protocol, service in host.services.items():
        for address in [next(clients)] + [CLIENT6] * host.ipv6:
            assert host.entry(address) is None
            host.login(address, protocol=protocol)
            entry = host.entry(address)
            assert (entry.user, entry.service) == (accounts.USER, service)
            host.forget(address)


def test_wrong_password_does_not(host):
    address = next(clients)
    with pytest.raises(REFUSED):
        host.login(address, "wrong")
    assert host.entry(address) is None


def test_expired_account_does_not(host):
    """The place of the line: after one that stops."""
    address = next(clients)
    accounts.expire(host.space)
    try:
        with pytest.raises(REFUSED):
            host.login(address)
    finally:
        accounts.unexpire(host.space)
    assert host.entry(address) is None
    host.login(address)
    assert host.entry(address)


def test_login_waits_for_nobody(host, figures):
    """dracd up, absent, and stopped: mail for everybody."""
    def shortest():
        return min(host.login() for _ in range(ROUNDS))

    host.login()
    took = {"up": shortest()}
    os.kill(host.dracd.process.pid, signal.SIGSTOP)
    try:
        took["stopped"] = shortest()
    finally:
        os.kill(host.dracd.process.pid, signal.SIGCONT)
    host.dracd.stop()
    took["absent"] = shortest()
    host.lines()
    plain = shortest()
    host.dracd.start()
    figures("%.1f ms, and with pam_drac %s" % (plain * 1000, ", ".join(
        "%+.1f (dracd %s)" % ((took[s] - plain) * 1000, s) for s in took)))
    assert max(took.values()) < plain + BUDGET_S + SLACK_S


@only("popa3d")
def test_services(host):
    for services, works in (("imap,pop3", False), ("popa3d", True),
                            ("imap,POPA3D", True), ("popa3", False),
                            ("popa3dd,", False), ("", False)):
        host.lines(f"{LINE} services={services}")
        address = next(clients)
        host.login(address)
        assert bool(host.entry(address)) == works, services


@only("popa3d")
def test_server(host):
    host.lines(f"{LINE} server=unix:/nowhere,unix:{SOCKET}")
    address = next(clients)
    host.login(address)
    assert host.entry(address)


@only("popa3d")
@pytest.mark.parametrize("options,address,line", [
    ("sevices=imap", None, r'unknown option "sevices=imap": nobody'),
    ("server=", None, r" is not authorized: "),
    ("server=unix:/nowhere", None, r" is not authorized: unix:/nowhere: "),
    ("", NEVER, rf"{NEVER} is not authorized: Server reports permission"),
])
def test_failure_is_logged(host, options, address, line):
    address = address or next(clients)
    host.lines(f"{LINE} {options}")
    with host.logs(rf"pam_drac\(popa3d:account\): .*{line}"):
        host.login(address)
    assert host.entry(address) is None


@only("dovecot")
def test_session(host):
    """It authorizes in a session, too, but not once more."""
    session = LINE.replace("account", "session")
    for lines in [session], [LINE, session]:
        host.lines(*lines)
        address = next(clients)
        before = host.calls()
        host.login(address)
        assert host.entry(address)
        assert host.calls() == before + 1


@only("popa3d")
def test_setuid_program_forges_nothing(host):
    """Its user has chosen the environment; a program of root's has not."""
    host.space.path("/etc/pam.d/su").write_text(
        f"auth sufficient pam_permit.so\naccount required pam_permit.so\n"
        f"{LINE}\nsession required pam_permit.so\n")
    address = next(clients)
    su = ["env", f"TCPREMOTEIP={address}", "su", accounts.USER, "-c", "true"]
    host.space.run(["setpriv", "--reuid=65534", "--clear-groups", *su],
                   stdin=subprocess.DEVNULL)
    assert host.entry(address) is None
    host.space.run(su, stdin=subprocess.DEVNULL)
    assert host.entry(address)


@only("courier")
def test_module_is_missing(host):
    """A package that has gone keeps nobody from his mail."""
    module = host.space.path(str(MODULES)) / "pam_drac.so"
    module.rename(module.with_suffix(".gone"))
    try:
        host.login()
    finally:
        module.with_suffix(".gone").rename(module)


def test_no_address(build, tmp_path_factory):
    host = make_host(build, tmp_path_factory, MAILUTILS_DAEMON)
    try:
        with host.logs(r"pam_drac\(gnu-pop3d:account\): nobody is authorized"):
            host.login()
        with host.dracd.client("unix") as client:
            assert client.table() == {}
    finally:
        host.close()

"""
pam_drac with real servers and the very files of integrations/pam. dracd
listens on its local socket only: who authorizes has come to it as root.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess

import pytest

import accounts
import courier
import dovecot
import hooks
import installed
import mailclient
import mailutils
import popa3d
import servers
import solid_pop3d
from hooks import CLIENT6, clients

FILES = servers.TOP / "integrations/pam"
MODULES = next(pathlib.Path("/usr/lib").glob("*/security/pam_unix.so")).parent
SOCKET = "/run/dracd/rpc.sock"
NEVER = "127.0.2.1"
BUDGET_S = 0.5          # of pam_drac
SLACK_S = 0.5           # of a busy machine
LINE = "account optional pam_drac.so"


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
        self.dracd = installed.Dracd(
            self.space, build, directory, listen=[f"unix:{SOCKET}"],
            never=[NEVER]).start()
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
        """Seconds it took."""
        return hooks.login(
            self.space, protocol or next(iter(self.services)),
            address or next(clients), accounts.USER, password)

    def calls(self):
        with self.dracd.client("unix") as client:
            counters = client.stats()
        return counters["adds"] + counters["refreshes"]

    @contextlib.contextmanager
    def logs(self, pattern):
        """One line that matches is logged meanwhile."""
        before = len(self.space.log.lines)
        yield
        self.space.log.wait(pattern, before)
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
            assert host.dracd.entry(address) is None
            host.login(address, protocol=protocol)
            entry = host.dracd.entry(address)
            assert (entry.user, entry.service) == (accounts.USER, service)
            host.dracd.remove(address)


def test_wrong_password_does_not(host):
    address = next(clients)
    with pytest.raises(hooks.REFUSED):
        host.login(address, "wrong")
    assert host.dracd.entry(address) is None


def test_expired_account_does_not(host):
    """The place of the line: after one that stops."""
    address = next(clients)
    accounts.expire(host.space)
    try:
        with pytest.raises(hooks.REFUSED):
            host.login(address)
    finally:
        accounts.unexpire(host.space)
    assert host.dracd.entry(address) is None
    host.login(address)
    assert host.dracd.entry(address)


def test_login_waits_for_nobody(host, figures):
    """dracd up, absent, and stopped: mail for everybody."""
    host.login()
    took = hooks.times(host.dracd, host.login, figures)
    host.lines()
    plain = min(host.login() for _ in range(hooks.ROUNDS))
    figures("without pam_drac %.1f ms" % (plain * 1000))
    assert max(took.values()) < plain + BUDGET_S + SLACK_S


@only("popa3d")
def test_services(host):
    for services, works in (("imap,pop3", False), ("popa3d", True),
                            ("imap,POPA3D", True), ("popa3", False),
                            ("popa3dd,", False), ("", False)):
        host.lines(f"{LINE} services={services}")
        address = next(clients)
        host.login(address)
        assert bool(host.dracd.entry(address)) == works, services


@only("popa3d")
def test_server(host):
    host.lines(f"{LINE} server=unix:/nowhere,unix:{SOCKET}")
    address = next(clients)
    host.login(address)
    assert host.dracd.entry(address)


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
    assert host.dracd.entry(address) is None


@only("dovecot")
def test_session(host):
    """It authorizes in a session, too, but not once more."""
    session = LINE.replace("account", "session")
    for lines in [session], [LINE, session]:
        host.lines(*lines)
        address = next(clients)
        before = host.calls()
        host.login(address)
        assert host.dracd.entry(address)
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
    assert host.dracd.entry(address) is None
    host.space.run(su, stdin=subprocess.DEVNULL)
    assert host.dracd.entry(address)


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

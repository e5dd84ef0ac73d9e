"""
dracexec: which address it takes, what becomes of the program after it, and
the servers it is hooked into: a login authorizes, a wrong password does not,
and nobody waits for a dracd that is not there.
"""

import concurrent.futures
import functools
import os
import socket
import sys
import time

import pytest

import daemon
import dovecot
import exec_servers
import hooks
import installed
import mailclient
import servers

CLIENT, CLIENT6, OTHER = "127.0.0.5", hooks.CLIENT6, "127.0.0.6"
ADDRESSES = pytest.mark.parametrize("address", [CLIENT, CLIENT6])
BUDGET_S = 0.5      # dracexec.c
SLACK_S = 1.5       # of a busy machine


@pytest.fixture(scope="module")
def place(build, tmp_path_factory):
    """place(set...) -> a Space with a dracd in it, at its default places."""
    spaces, daemons = [], []

    def make(*sets):
        space = servers.Space(*sets)
        spaces.append(space)
        exec_servers.install(space)
        directory = tmp_path_factory.mktemp("dracd")
        space.dracd = installed.Dracd(space, build, directory / "d")
        daemons.append(space.dracd)
        space.dracd.start()
        return space

    yield make
    try:
        for each in daemons:
            each.finish()
    finally:
        for each in spaces:
            each.close()


# ---- POP and IMAP servers --------------------------------------------------

PROXY_PORT = 1110
HAPROXY = f"""
haproxy_trusted_networks = 127.0.0.1
service pop3-login {{
  inet_listener proxied {{
    haproxy = yes
    port = {PROXY_PORT}
  }}
}}
"""


def start_dovecot(place):
    space = place("base")
    dovecot.Dovecot(space, (servers.TOP / "integrations/exec" /
                            "dovecot-post-login.conf").read_text() + HAPROXY)
    return space


def start_qmail(place):
    space = place("qmail", "base")
    exec_servers.prepare_cvm(space)
    exec_servers.Tcpserver(space, "integrations/exec/qmail-pop3.run", 110)
    return space


def start_courier(place):
    space = place("courier", "base")
    exec_servers.start_courier(space)
    return space


SERVERS = {"dovecot": (start_dovecot, ("pop3", "imap")),
           "qmail": (start_qmail, ("pop3",)),
           "courier": (start_courier, ("pop3", "imap"))}


class Logins:
    """Logins to one server by one protocol."""

    def __init__(self, space, protocol):
        self.space, self.dracd, self.protocol = space, space.dracd, protocol

    def login(self, address, password=exec_servers.PASSWORD):
        return hooks.login(self.space, getattr(mailclient, self.protocol),
                           address, "alice", password)


@pytest.fixture(scope="module")
def started(place):
    """started(name) -> the space of that one of SERVERS."""
    return functools.cache(lambda name: SERVERS[name][0](place))


@pytest.fixture(params=[(name, protocol) for name, (_, protocols)
                        in SERVERS.items() for protocol in protocols],
                ids="-".join)
def logins(request, started):
    name, protocol = request.param
    made = Logins(started(name), protocol)
    # script-login does not say what it stands before.
    made.service = "" if name == "dovecot" else protocol
    for address in (CLIENT, CLIENT6):
        made.dracd.remove(address)
    return made


@ADDRESSES
def test_login_authorizes(logins, address):
    logins.login(address)
    entry = logins.dracd.take(address)
    assert (entry.user, entry.service) == ("alice", logins.service)
    assert logins.dracd.take(OTHER) is None


def test_proxy_is_not_authorized(started):
    """Descriptor 0 leads to it; Dovecot knows better."""
    space = started("dovecot")
    with space.network():
        proxy = socket.create_connection(("127.0.0.1", PROXY_PORT))
    with proxy:
        proxy.sendall(b"PROXY TCP4 192.0.2.99 192.0.2.1 5555 110\r\n"
                      b"USER alice\r\nPASS %s\r\nQUIT\r\n" %
                      exec_servers.PASSWORD.encode())
        while proxy.recv(4096):
            pass
    with space.dracd.client("unix") as client:
        assert list(client.table()) == ["192.0.2.99"]
    space.dracd.remove("192.0.2.99")


@pytest.mark.parametrize("name", SERVERS)
def test_wrong_password_does_not(started, name):
    """By all protocols at once: Courier answers after five seconds."""
    space = started(name)

    def refused(protocol, address):
        with pytest.raises(hooks.REFUSED):
            Logins(space, protocol).login(address, "wrong")
        assert space.dracd.take(address) is None

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(refused, SERVERS[name][1], (CLIENT, CLIENT6)))


def test_login_waits_for_nobody(logins, figures):
    """When dracd cannot be asked, one line in the log tells of it."""
    log = logins.space.log
    start = len(log.lines)
    took = hooks.times(logins.dracd, lambda: logins.login(CLIENT), figures)
    count = hooks.ROUNDS + 1    # a line for each login that was not reported
    log.wait(rf"dracexec\[\d+\]: client={CLIENT}: ", start, count)
    assert len(log.find("dracexec", start)) == count
    assert took["absent"] < took["up"] + SLACK_S
    assert took["stopped"] < took["up"] + BUDGET_S + SLACK_S


# ---- an SMTP server --------------------------------------------------------

@pytest.fixture(scope="module")
def smtp(place):
    space = place("qmail", "base")
    exec_servers.prepare_smtpfront(space)
    made = exec_servers.Tcpserver(space, "mta/qmail-smtp.run", 25)
    made.dracd = space.dracd
    return made


@ADDRESSES
def test_relays_for_listed(smtp, address):
    assert smtp.relay(address) == 550
    smtp.dracd.add(address)
    assert smtp.relay(address) == 250
    assert smtp.relay(OTHER) == 550
    smtp.dracd.remove(address)
    assert smtp.relay(address) == 550
    with smtp.client(address) as client:
        assert client.local() == 250


@ADDRESSES
def test_not_for_expired(smtp, address):
    smtp.dracd.add(address, 1)
    assert smtp.relay(address) == 250
    servers.wait_until(lambda: smtp.relay(address) == 550, "expired")


def test_asks_once_a_session(smtp):
    """What dracexec(1) says about long sessions."""
    smtp.dracd.add(CLIENT)
    with smtp.client(CLIENT) as client:
        assert client.relay() == 250
        smtp.dracd.remove(CLIENT)
        assert client.relay() == 250
    assert smtp.relay(CLIENT) == 550


def test_relays_for_nobody_without_dracd(smtp, figures):
    dracd = smtp.dracd
    dracd.add(CLIENT)
    with daemon.hanging(dracd.process):
        begin = time.monotonic()
        assert smtp.relay(CLIENT) == 550
        stopped_s = time.monotonic() - begin
    assert smtp.relay(CLIENT) == 250
    dracd.stop()
    try:
        assert smtp.relay(CLIENT) == 550
        with smtp.client(CLIENT) as client:
            assert client.local() == 250
    finally:
        dracd.start()
    assert smtp.relay(CLIENT) == 250
    dracd.remove(CLIENT)
    figures(f"a session with dracd stopped: {stopped_s * 1000:.0f} ms")
    assert stopped_s < BUDGET_S + SLACK_S


# ---- by itself -------------------------------------------------------------

@pytest.fixture(scope="module")
def host(place, build):
    """A space with dracd alone; run(environment, *argv) is dracexec's."""
    space = place("base")
    program = os.path.abspath(f"{build}/dracexec")

    def run(environment, *argv, **kwargs):
        return space.run(["env", "-i", "PATH=/usr/bin", "ASAN_OPTIONS="
                          "verify_asan_link_order=0", *environment, program,
                          *argv], check=False, **kwargs)

    space.dracexec = run
    return space


GARBAGE = "TCPREMOTEIP=scanner.test"
FIELDS = "USERDB_KEYS=UID GID HOME "


@pytest.mark.parametrize("environment, address", [
    (["TCPREMOTEIP=192.0.2.1"], "192.0.2.1"),
    (["TCPREMOTEIP=::ffff:192.0.2.1"], "192.0.2.1"),
    (["TCPREMOTEIP=2001:DB8:0::1"], "2001:db8::1"),
    # Dovecot's names count below Dovecot only, where no others do.
    (["IP=192.0.2.1"], None),
    ([FIELDS, "IP=192.0.2.1"], "192.0.2.1"),
    ([FIELDS, "IP=192.0.2.1", "TCPREMOTEIP=192.0.2.2"], "192.0.2.1"),
    ([FIELDS, "TCPREMOTEIP=192.0.2.2"], None),
    # A field of the user database is not the client's address.
    (["USERDB_KEYS=UID IP HOME ", "IP=192.0.2.1"], None),
    (["USERDB_KEYS=IP HOME ", "IP=192.0.2.1"], None),
    (["USERDB_KEYS=UID LOCAL_IP ", "IP=192.0.2.1"], "192.0.2.1"),
    ([GARBAGE], None),
    (["TCPREMOTEIP="], None),
    (["TCPREMOTEIP=fe80::1%lo"], None),
])
def test_whose_address(host, environment, address):
    """Beside one of its own the peer of descriptor 0 never counts."""
    start = len(host.log.lines)
    with host.network(), socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        done = host.dracexec(environment, "true",
                             stdin=theirs if environment != ["IP=192.0.2.1"]
                             else None)
    assert done.returncode == 0 and done.stdout == ""
    with host.dracd.client("unix") as client:
        table = client.table()
        for each in table:
            client.remove(each)
    assert list(table) == ([address] if address else [])
    if address is None:
        servers.wait_until(lambda: host.log.find("address is not known", start),
                           "a line in the log")


@ADDRESSES
def test_peer_of_descriptor_0(host, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.network(), socket.create_server(("::", 0),
                                              family=socket.AF_INET6,
                                              dualstack_ipv6=True) as listener:
        ours = socket.socket(family)
        ours.bind((address, 0))
        ours.connect(("fd00:beef::7" if ":" in address else "127.0.0.1",
                      listener.getsockname()[1]))
        theirs, _ = listener.accept()
    with ours, theirs:
        # Nothing is written to the client but by the program itself.
        host.dracexec(["USER=bob"], "/bin/echo", "imapd", stdin=theirs,
                      stdout=theirs)
        theirs.close()
        assert ours.recv(100) == b"imapd\n" and ours.recv(100) == b""
    assert host.dracd.take(address).user == "bob"


@pytest.mark.parametrize("user, sent", [
    ("m\u00fcller", "m\u00fcller"), ("x" * 255, "x" * 255), ("x" * 256, ""),
    ("a\nb", ""), ("m\udcfcller", "")],   # a newline; a byte of Latin-1
    ids=["utf-8", "longest", "too long", "control", "no utf-8"])
def test_no_name_keeps_out(host, user, sent):
    host.dracexec(["TCPREMOTEIP=192.0.2.1", f"USER={user}"], "true")
    assert host.dracd.take("192.0.2.1").user == sent


PROGRAM = """
import os, re, sys
status = open("/proc/self/status").read()
print(re.findall(r"^Sig(?:Blk|Ign|Cgt):.*", status, re.M), sys.argv[1:],
      [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(
          f"/proc/self/fd/{fd}")], os.environ.get("RELAYCLIENT"))
"""


@pytest.mark.parametrize("options", [[], ["-r"], ["-s", "unix:/nowhere"],
                                     ["-s", "name.invalid"], ["-s", ":::"]])
def test_program_sees_no_difference(host, options):
    """Descriptors, signals, arguments: whatever became of the call."""
    program = [sys.executable, "-I", "-c", PROGRAM, "-r", "--", "-s"]
    plain = host.run(["env", "-i", *program]).stdout
    done = host.dracexec(["TCPREMOTEIP=192.0.2.1"], *options, *program)
    assert (done.returncode, done.stdout) == (0, plain)
    host.dracd.remove("192.0.2.1")


def test_status_of_the_program(host):
    for argv, status in ((["false"], 1), (["--", "sh", "-c", "exit 7"], 7),
                         (["/nowhere/pop3d"], 111), ([], 100), (["-x"], 100),
                         (["-s"], 100), (["--help"], 0), (["--version"], 0)):
        done = host.dracexec(["TCPREMOTEIP=192.0.2.1"], *argv)
        assert done.returncode == status, argv
        assert bool(done.stdout) == (status in (0, 100, 111)), argv
    assert host.log.wait("dracexec.*cannot run /nowhere/pop3d: No such file")
    host.dracd.remove("192.0.2.1")


ASK = ["sh", "-c", "echo \"<${RELAYCLIENT-unset}>\""]
UNSET = "<unset>\n"


@pytest.mark.parametrize("listed, environment, options, answer", [
    (True, [], [], "<>\n"),
    (False, [], [], UNSET),
    (False, ["RELAYCLIENT=@x"], [], "<@x>\n"),
    (True, ["RELAYCLIENT=@x"], [], "<@x>\n"),
    (True, [], ["-s", "unix:/run/dracd/rpc.sock"], "<>\n"),
    (True, [], ["-s", "unix:/run/dracd/missing.sock"], UNSET),
    (True, [], ["-s", "127.0.0.1:1"], UNSET),
    (True, [], ["-s", "[::1]:5901"], "<>\n"),
    (True, [GARBAGE], [], UNSET),
    (True, [FIELDS, "IP=192.0.2.2"], [], UNSET),
])
def test_relayclient(host, listed, environment, options, answer):
    if listed:
        host.dracd.add("192.0.2.1")
    done = host.dracexec(["TCPREMOTEIP=192.0.2.1", *environment], "-r",
                         *options, *ASK)
    assert done.stdout == answer
    host.dracd.remove("192.0.2.1")


@pytest.mark.parametrize("behaviour", ["versions=1-2", "status=1", "status=2",
                                       "status=9", "junk", "short", "silent"])
def test_relayclient_needs_a_clear_yes(host, behaviour):
    """Of an old server, a refusal, nonsense and silence nothing comes."""
    peer = host.start(
        [sys.executable, servers.TOP / "tests/integration/libdrac_peer.py",
         behaviour, "udp:127.0.0.1:9999"], name="peer", ready=lambda: True)
    servers.wait_until(lambda: "ready" in peer.output(), "peer")
    begin = time.monotonic()
    done = host.dracexec(["TCPREMOTEIP=192.0.2.1"], "-r", "-s",
                         "127.0.0.1:9999", *ASK)
    assert time.monotonic() - begin < BUDGET_S + SLACK_S
    assert done.stdout == UNSET
    peer.stop()


@pytest.mark.parametrize("allow", [None, "host 192.0.2.80\n",
                                   "host 127.0.0.1\n"])
def test_who_may_call(host, allow):
    """A user is refused at the local socket, and heard on loopback by UDP."""
    by_udp = allow is None or "127.0.0.1" in allow
    as_alice = ["setpriv", "--reuid", "alice", "--regid", "alice"]
    if allow:
        host.dracd.allow.write_text(allow)
        host.dracd.reload()
    for number, (groups, server, known) in enumerate((
            (["--clear-groups"], "localhost", by_udp),
            (["--clear-groups"], "127.0.0.1:5901", by_udp),
            (["--clear-groups"], "unix:/run/dracd/rpc.sock", False),
            (["--groups", "dracd"], "localhost", True))):
        address = f"192.0.2.{number}"
        done = host.run(["env", f"TCPREMOTEIP={address}", *as_alice, *groups,
                         exec_servers.DRACEXEC, "-s", server, "true"])
        assert done.returncode == 0
        assert (host.dracd.take(address) is not None) == known, server
    host.dracd.allow.unlink(missing_ok=True)
    host.dracd.reload()

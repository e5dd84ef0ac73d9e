"""
Two hosts in network namespaces: a POP host with /etc/mail/drac.key and a mail
host whose dracd.allow demands that key. Programs there know nothing of keys.
"""

import os
import subprocess

import pytest

import rpcraw
import signing
from daemon import wait_for
from namespace import Namespace
from signing import listed
from test_network import CABLE, OTHER_END, SERVER, ask

SERVER6 = "fd00:beef::1"
PORT = 5901
KEY = "%s %s\n" % (signing.NAME, signing.SECRET)
MAIL = """
mkdir -p /etc/mail
mount -t tmpfs -o mode=755 mail /etc/mail
"""


@pytest.fixture
def hosts():
    """(mail host, POP host), each with an /etc/mail of its own."""
    pop = Namespace(["mount", "net"], MAIL)
    mail = Namespace(["mount", "net"], CABLE % pop.pid + MAIL)
    pop.run("sh", "-ec", OTHER_END)
    yield mail, pop
    mail.close()
    pop.close()


def put_key(host, text=KEY, mode=0o600):
    file = host.seen("/etc/mail/drac.key")
    file.write_text(text)
    file.chmod(mode)


@pytest.fixture
def daemon(dracd, hosts):
    mail = hosts[0]
    put_key(mail)
    daemon = dracd(prefix=mail.prefix, listen=None)
    daemon.unix = str(mail.seen("/run/dracd/rpc.sock"))
    signing.give_keys(daemon, pop1="/etc/mail/drac.key")
    daemon.allow.write_text("192.0.2.0/24 key=pop1\n"
                            "fd00:beef::/64 key=pop1 tcp\n")
    return daemon.start()


def add(host, tool, server, address, prefix=()):
    """(exit status, what was said) of a classic program, unchanged."""
    done = subprocess.run(
        host.prefix + [*prefix, tool("draccall"), server, address],
        capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout + done.stderr


def test_with_and_without_the_key(daemon, hosts, tool):
    pop = hosts[1]
    server = "%s:%d" % (SERVER, PORT)
    for host in server, "drac://" + server, "drac://pop1@" + server:
        status, said = add(pop, tool, host, "198.51.100.1")
        if "pop1@" in host:
            assert status == 1 and "drac.key: No such file" in said
        else:
            assert status == 1 and "permission denied" in said
    for transport in "udp", "tcp":
        assert ask(pop, transport, SERVER, PORT, "198.51.100.1") == "1"
    assert "deny caller=192.0.2.2 reason=\"not signed, and dracd.allow " \
        "demands key=\"" in daemon.stderr
    assert listed(daemon) == set()
    put_key(pop)
    for i, host in enumerate((server, SERVER, "drac://pop1@" + server,
                              "[%s]:1,%s" % (SERVER6, server))):
        address = "198.51.100.%d" % (i + 1)
        assert add(pop, tool, host, address) == (
            0, "Server reports add succeeded\n"), host
        assert address in listed(daemon)


def test_ipv6_by_tcp_only(daemon, hosts, tool):
    pop = hosts[1]
    put_key(pop)
    place = "drac://pop1@[%s]:%d" % (SERVER6, PORT)
    assert add(pop, tool, place, "198.51.100.1")[0] == 1
    assert listed(daemon) == set()
    assert add(pop, tool, place + "?tcp", "2001:db8::1")[0] == 0
    assert ask(pop, "tcp", SERVER6, PORT, "198.51.100.2") == "1"
    assert listed(daemon) == {"2001:db8::1"}


def test_default_key_that_is_no_good(daemon, hosts, tool):
    """Not for all to read, and not half a key: said so, and nothing sent."""
    pop = hosts[1]
    server = "%s:%d" % (SERVER, PORT)
    for text, mode, message in [
            (KEY, 0o644, "chmod"), (signing.SECRET, 0o600, "no name"),
            ("pop1 short", 0o600, "5 characters"),
            ("pop2 " + signing.SECRET, 0o600, "Server rejected credential; "
                                              "key pop2")]:
        put_key(pop, text, mode)
        status, said = add(pop, tool, server, "198.51.100.1")
        assert status == 1 and message in said
    assert listed(daemon) == set()


def test_default_key_that_may_not_be_read(daemon, hosts, tool):
    """As without it; a group may be let in."""
    pop = hosts[1]
    server = "%s:%d" % (SERVER, PORT)
    someone = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    put_key(pop)
    status, said = add(pop, tool, server, "198.51.100.1", someone)
    assert status == 1 and "permission denied" in said
    put_key(pop, mode=0o640)
    pop.run("chgrp", "65534", "/etc/mail/drac.key")
    assert add(pop, tool, server, "198.51.100.1", someone)[0] == 0
    assert listed(daemon) == {"198.51.100.1"}


def test_hooks_inherit_it(daemon, hosts, build):
    """dracexec(1), which knows nothing of keys, as pam_drac and the others."""
    mail, pop = hosts
    put_key(pop)
    pop.run("env", "TCPREMOTEIP=198.51.100.7", "USER=joe",
            os.path.abspath("%s/dracexec" % build), "-s",
            "%s:%d" % (SERVER, PORT), "true")
    with daemon.client("unix") as client:
        assert client.query("198.51.100.7")[1].user == "joe"


def test_never_for_the_local_socket(daemon, hosts, tool):
    """A key that nobody knows does no harm there."""
    mail = hosts[0]
    put_key(mail, "pop9 " + signing.SECRET)
    assert add(mail, tool, "localhost", "198.51.100.1")[0] == 0
    assert add(mail, tool, "unix:/run/dracd/rpc.sock", "198.51.100.2")[0] == 0
    put_key(mail, "nonsense", 0o666)
    assert add(mail, tool, "localhost", "198.51.100.3")[0] == 0
    assert len(listed(daemon)) == 3


def test_spoofed_source(daemon, hosts):
    """
    Who can send with the POP host's address, and sees no answer, still needs
    the key: what an allowed address alone was good for before.
    """
    pop = hosts[1]
    spoof = ("import socket, sys; s = socket.socket(2, 2); "
             "s.setsockopt(0, 19, 1); s.bind(('192.0.2.77', 0)); "
             "s.sendto(bytes.fromhex(sys.argv[1]), ('%s', %d))" %
             (SERVER, PORT))
    forged = rpcraw.call(1, 1, rpcraw.v1_args("198.51.100.1"))
    right, _ = signing.call(1, 1, rpcraw.v1_args("198.51.100.2"))
    for message in forged, right:
        pop.run("/usr/bin/python3", "-c", spoof, message.hex())
    # The second one is the mark that the first has been handled.
    wait_for(lambda: listed(daemon), 5, "the signed call")
    assert listed(daemon) == {"198.51.100.2"}

"""
Two hosts in network namespaces, joined by a cable: what dracd listens on and
whom it answers when nothing, or an allow file, says who the others are.
"""

import pathlib
import sys

import pytest

from namespace import Namespace

ASK = str(pathlib.Path(__file__).with_name("ask.py"))
SERVER, CALLER = "192.0.2.1", "192.0.2.2"
PORT = 5901     # the default

CABLE = """\
mount -t tmpfs run /run
mkdir /run/dracd
ip link add cable type veth peer name eth0 netns %d
ip addr add 192.0.2.1/24 dev cable
ip -6 addr add fd00:beef::1/64 dev cable nodad
ip link set cable up
ip link set lo up
"""
OTHER_END = """\
ip link set lo up
ip addr add 192.0.2.2/24 dev eth0
ip -6 addr add fd00:beef::2/64 dev eth0 nodad
ip link set eth0 up
"""


@pytest.fixture
def hosts():
    """(server, caller), two Namespaces; the server has a /run of its own."""
    caller = Namespace(["net"])
    server = Namespace(["mount", "net"], CABLE % caller.pid)
    caller.run("sh", "-ec", OTHER_END)
    yield server, caller
    server.close()
    caller.close()


@pytest.fixture
def daemon(dracd, hosts):
    """It listens where it wants to, by default."""
    daemon = dracd(prefix=hosts[0].prefix, listen=None)
    daemon.unix = str(hosts[0].seen("/run/dracd/rpc.sock"))
    return daemon


def ask(space, *args):
    return space.run(sys.executable, ASK, *map(str, args)).strip()


def bound(space):
    """Addresses that have a UDP and a TCP socket on the default port."""
    found = set()
    for line in space.run("ss", "-Hlntu").splitlines():
        kind, place = line.split()[0], line.split()[4]
        address, _, port = place.rpartition(":")
        assert port == str(PORT)
        found.add((kind, address))
    addresses = {address for _, address in found}
    assert found == {(k, a) for k in ("udp", "tcp") for a in addresses}
    return addresses


def test_without_allow_file(daemon, hosts):
    """Loopback and the unix socket only."""
    server, caller = hosts
    daemon.start()
    assert bound(server) == {"127.0.0.1", "[::1]"}
    assert ask(server, "udp", "127.0.0.1", PORT, "198.51.100.1") == "0"
    assert ask(server, "tcp", "::1", PORT, "198.51.100.2") == "0"
    for transport in "udp", "tcp":
        assert ask(caller, transport, SERVER, PORT, "198.51.100.3") == "closed"
    with daemon.client("unix") as client:
        assert set(client.table()) == {"198.51.100.1", "198.51.100.2"}


def test_allow_file_that_names_another(daemon, hosts):
    """Every address; the caller may, this host may not: it is not listed."""
    server, caller = hosts
    daemon.allow.write_text("host 192.0.2.2\nfd00:beef::2\n")
    daemon.start()
    assert bound(server) >= {"0.0.0.0", "[::]"}
    for transport in "udp", "tcp":
        assert ask(caller, transport, SERVER, PORT, "198.51.100.1") == "0"
        assert ask(caller, transport, "fd00:beef::1", PORT,
                   "198.51.100.2") == "0"
        assert ask(server, transport, SERVER, PORT, "198.51.100.3") != "0"


def test_own_addresses_without_allow_file(daemon, hosts):
    """On all addresses by `listen`: this host may, the other may not."""
    server, caller = hosts
    daemon.settings["listen"] = ["udp:*", "tcp:*", "unix:/run/dracd/rpc.sock"]
    daemon.start()
    for transport in "udp", "tcp":
        assert ask(server, transport, SERVER, PORT, "198.51.100.1") == "0"
        assert ask(caller, transport, SERVER, PORT, "198.51.100.3") in (
            "1", "closed")
        assert ask(caller, transport, "fd00:beef::1", PORT,
                   "198.51.100.3") in ("1", "closed")
    with daemon.client("unix") as client:
        assert set(client.table()) == {"198.51.100.1"}


def test_listen_with_a_port(daemon, hosts):
    server, caller = hosts
    daemon.allow.write_text("192.0.2.0/24\n127.0.0.0/8\n")
    daemon.settings["listen"] = ["udp:192.0.2.1:7001",
                                 "unix:/run/dracd/rpc.sock"]
    daemon.start()
    assert ask(caller, "udp", SERVER, 7001, "198.51.100.1") == "0"
    assert ask(server, "udp", "127.0.0.1", 7001, "198.51.100.2") == "closed"
    assert ask(caller, "tcp", SERVER, 7001, "198.51.100.2") == "closed"

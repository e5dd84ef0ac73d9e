"""dracwatch follows a real journal, with a popa3d that logs to it."""

import os
import pathlib
import poplib
import re
import socket

import pytest

import accounts
import dracwatch
import installed
import journald
import mailclient
import popa3d
import servers
from hooks import CLIENT6, clients

SOCKET = "/run/dracd/rpc.sock"
UNIT = "dovecot.service"
NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
# How the unit file runs it.
DRACWATCH = ["setpriv", "--reuid=alice", "--regid=alice", "--groups=dracd"]
LOGIN = ("pop3-login: Login: user=<alice>, method=PLAIN, rip=%s, "
         "lip=127.0.0.1, mpid=1, session=<a>")


class Host(dracwatch.Host):
    def __init__(self, build, directory):
        self.space = servers.Space("popa3d")
        accounts.make(self.space)
        self.dracd = installed.Dracd(self.space, build, directory,
                                     listen=[f"unix:{SOCKET}"]).start()
        journald.start(self.space)
        popa3d.standalone(self.space)
        # The journal is for root and a group; its state directory its own.
        self.space.run(["chmod", "-R", "a+rX", "/run/log/journal"])
        self.state = self.space.path("/run/dracwatch")
        self.space.run(["install", "-d", "-o", "alice", self.inside("state")])
        self.watch = dracwatch.Watch(
            build, self.space, directory, "journal:/usr/sbin/popa3d",
            f"journal:{UNIT}", prefix=DRACWATCH)
        self.watch.state = pathlib.Path(self.inside("state/state"))
        self.watch.start()

    @staticmethod
    def inside(name):
        return f"/run/dracwatch/{name}"

    def login(self):
        address = next(clients)
        mailclient.pop3(self.space, address, accounts.USER,
                        accounts.PASSWORD).quit()
        return address

    def unit(self, address, prefix=()):
        journald.write(self.space, UNIT, "dovecot", LOGIN % address, prefix)

    def read(self):
        """What is in the journal by now has been read and reported."""
        self.dracd.authorized(self.login())
        address = next(clients)
        self.unit(address)
        self.dracd.authorized(address)


@pytest.fixture(scope="module")
def host(build, tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    if not os.access(journald.PROGRAM, os.X_OK):
        pytest.skip(f"no {journald.PROGRAM} here")
    made = Host(build, tmp_path_factory.mktemp("d"))
    yield made
    made.close()


def test_program(host):
    entry = host.dracd.authorized(host.login())
    assert (entry.user, entry.service) == (accounts.USER, "pop3")
    address = next(clients)
    with pytest.raises(poplib.error_proto):
        mailclient.pop3(host.space, address, accounts.USER, "wrong")
    host.read()
    assert host.dracd.entry(address) is None


def test_unit(host):
    for address in next(clients), CLIENT6:
        host.unit(address)
        entry = host.dracd.authorized(address)
        assert (entry.user, entry.service) == ("alice", "pop3")


def test_nobody_is_not_believed(host):
    """Whatever name he gives himself, and whatever unit."""
    forged = [next(clients) for _ in range(3)]
    tool = [*NOBODY, "logger", "-t"]
    host.space.run([*tool, "popa3d", "--id=4711",
                    f"Session from {forged[0]}"])
    host.space.run([*tool, "popa3d", "--id=4711",
                    "Authentication passed for bob"])
    host.space.run([*tool, "dovecot", LOGIN % forged[1]])
    host.unit(forged[2], NOBODY)
    host.read()
    assert [host.dracd.entry(address) for address in forged] == [None] * 3


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_restart_neither_loses_nor_repeats(host, end):
    before = host.login()
    host.dracd.authorized(before)
    host.read()
    host.dracd.remove(before)
    # The address before the restart, the login after it.
    address = next(clients)
    with host.space.network():
        client = socket.create_connection(("127.0.0.1", popa3d.PORT),
                                          source_address=(address, 0))
    with client, client.makefile("rwb", buffering=0) as session:
        assert session.readline().startswith(b"+OK")
        host.read()
        getattr(host.watch, end)()
        during = host.login()
        for command in f"USER {accounts.USER}", f"PASS {accounts.PASSWORD}":
            session.write(f"{command}\r\n".encode())
            assert session.readline().startswith(b"+OK")
    host.watch.start()
    host.dracd.authorized(during)
    host.dracd.authorized(address)
    host.read()
    assert host.dracd.entry(before) is None


def nonsense(_):
    return "not one"


def just_after(cursor):
    """As if that line had been dropped: no line has this sequence or time."""
    fields = dict(each.split("=") for each in cursor[0].split(";"))
    fields["s"] = "0" * 32
    for name in "mt":
        fields[name] = "%x" % (int(fields[name], 16) + 1)
    return ";".join("=".join(each) for each in fields.items())


@pytest.mark.parametrize("change", [nonsense, just_after])
def test_last_line_is_gone(host, change):
    """The journal has been cut, or is another one: rather twice than never."""
    host.read()
    host.watch.stop()
    state = host.space.path(str(host.watch.state))
    text, count = re.subn(r'(?<="cursor": ")[^"]*', change, state.read_text())
    assert count == 2
    state.write_text(text)
    address, other = next(clients), host.login()
    host.unit(address)
    host.watch.start()
    host.dracd.authorized(address)
    host.dracd.authorized(other)
    if change is nonsense:
        assert "names no line of it" in host.watch.log()
    host.read()

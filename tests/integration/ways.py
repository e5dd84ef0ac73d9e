"""What every MTA has to do with every file of mta/, and in what they differ.

test_postfix.py, test_exim.py and test_opensmtpd.py have a class of Ways each,
with fixtures `world` (a Space with .dracd, of installed.py) and `mta` (with
.way, a Way). dracd-mta(7) says the same in words: what changes here changes there.
"""

import contextlib
import dataclasses
import os
import time

import pytest

import installed
import sendmail_map
import servers

LISTED, STRANGER = "127.0.0.5", "127.0.0.6"
LISTED6, STRANGER6 = "fd00:beef::5", "fd00:beef::6"
SOCKET = "/run/dracd/map.sock"
LOOKUP = [f"unix:{SOCKET}", "tcp:127.0.0.1:5902"]
OK = 250
SHORT_S = 2
FAMILIES = pytest.mark.parametrize("listed, stranger", [
    (LISTED, STRANGER), (LISTED6, STRANGER6)], ids=["IPv4", "IPv6"])


@dataclasses.dataclass
class Way:
    """Replies are codes: to a recipient elsewhere, but for `local'."""

    file: str               # of mta/
    denied: int             # to a stranger
    asks: bool              # dracd itself, by a socket; else reads the map
    missing: int            # to everybody, without the map or the socket
    garbage: int            # to everybody, when it is none
    local: int = OK         # to everybody, without the map or the socket
    garbage_local: int = OK
    map: str = sendmail_map.FILE
    refuses: str = ""       # so, to start without the map or with garbage
    reload: bool = False    # is needed when the map comes after the MTA
    expiry: bool = True     # of an entry is looked at, dracd or not
    follows: bool = True    # a removed or replaced map is noticed
    sees: bool = True       # in a session: what is added and removed meanwhile
    keeps: bool = False     # in a session: the map that is replaced meanwhile
    recovers: bool = True   # a session, when dracd is there again

    def __str__(self):
        return self.file


@contextlib.contextmanager
def stopped(dracd, how=installed.Dracd.stop):
    """In what state ever the map is left, it is whole again after that."""
    how(dracd)
    try:
        yield
    finally:
        if not dracd.alive():
            dracd.start()


def reply(mta, address):
    """To a recipient elsewhere, and to one here."""
    with mta.client(address) as client:
        return client.relay(), client.local()


class Ways:
    @pytest.fixture(autouse=True)
    def clean(self, world):
        if not world.dracd.alive():
            world.dracd.start()
        for address in (LISTED, LISTED6):
            world.dracd.remove(address)

    @FAMILIES
    def test_listed_relays(self, world, mta, listed, stranger):
        """Denied, accepted, removed; local mail from everybody."""
        assert reply(mta, listed) == (mta.way.denied, OK)
        world.dracd.add(listed)
        assert reply(mta, listed) == (OK, OK)
        assert reply(mta, stranger) == (mta.way.denied, OK)
        world.dracd.remove(listed)
        assert reply(mta, listed) == (mta.way.denied, OK)

    @FAMILIES
    def test_session_lives_through_changes(self, world, mta, listed, stranger):
        """A refresh and the others' changes do no harm; its own are seen."""
        sees, denied = mta.way.sees, mta.way.denied
        with mta.client(listed) as client:
            assert client.relay() == denied, client.text
            world.dracd.add(listed)
            assert client.relay() == (OK if sees else denied), client.text
        with mta.client(listed) as client:
            assert client.relay() == OK, client.text
            world.dracd.add(stranger)
            world.dracd.add(listed)
            assert client.relay() == OK, client.text
            world.dracd.remove(stranger)
            world.dracd.remove(listed)
            assert client.relay() == (denied if sees else OK), client.text

    def test_expired(self, world, mta):
        """In new sessions, and in those that live."""
        with mta.client(LISTED) as client, mta.client(LISTED6) as client6:
            world.dracd.add(LISTED, SHORT_S)
            world.dracd.add(LISTED6, SHORT_S)
            assert client.relay() == OK and client6.relay() == OK
            for each in client, client6:
                servers.wait_until(lambda: each.relay() == mta.way.denied,
                                   "denied in the session")
        for address in LISTED, LISTED6:
            assert reply(mta, address) == (mta.way.denied, OK)

    def test_whole_message(self, world, mta):
        """Taken from the listed for elsewhere."""
        world.dracd.add(LISTED)
        with mta.client(LISTED) as client:
            client.sendmail("root@relay.test", ["somebody@foreign.example"],
                            "Subject: test\n\nhello\n")

    def test_without_dracd(self, world, mta):
        """Who asks it gets no answer; who reads keeps what is there."""
        way = mta.way
        inode = world.path(way.map).stat().st_ino
        with mta.client(LISTED) as client:
            for address in LISTED, LISTED6:
                world.dracd.add(address, 0 if way.asks else SHORT_S)
            end = time.monotonic() + SHORT_S
            assert client.relay() == OK
            with stopped(world.dracd, installed.Dracd.kill9):
                if way.asks:
                    answer = way.missing
                elif way.expiry:
                    answer = way.denied
                    servers.wait_until(lambda: mta.relay(LISTED) == answer,
                                       "expired")
                else:
                    answer = OK
                    servers.wait_until(lambda: time.monotonic() > end, "end")
                assert client.relay() == answer, client.text
                for address in LISTED, LISTED6:
                    assert reply(mta, address) == (answer, OK)
                answer = way.missing if way.asks else way.denied
                for address in STRANGER, STRANGER6:
                    assert reply(mta, address) == (answer, OK)
            assert world.path(way.map).stat().st_ino == inode
            world.dracd.add(LISTED)
            assert client.relay() == (OK if way.recovers else way.denied)
            assert reply(mta, LISTED) == (OK, OK)
            assert reply(mta, LISTED6) == (OK if way.asks else way.denied, OK)
            world.dracd.remove(LISTED)
            if way.recovers:
                assert client.relay() == way.denied, client.text

    def test_missing_at_start(self, world, mta):
        """Of the MTA: no relay for anybody, nor forever."""
        way = mta.way
        world.dracd.add(LISTED)
        mta.stop()
        with stopped(world.dracd):
            self.remove(world)
            self.starts(mta, way.missing, way.local)
        if way.refuses:
            mta.start()
        world.dracd.add(LISTED)
        if way.reload:
            assert reply(mta, LISTED) == (way.missing, way.local)
            mta.reload()
        self.serves(mta)

    def test_missing_in_mid_life(self, world, mta):
        way = mta.way
        world.dracd.add(LISTED)
        with mta.client(LISTED) as client:
            assert client.relay() == OK
            with stopped(world.dracd):
                self.remove(world)
                # One that keeps it may have been started anew meanwhile.
                assert client.relay() in (
                    (OK, way.missing) if way.keeps else (way.missing,)), \
                    client.text
                assert mta.relay(STRANGER) in (way.denied, way.missing)
                if not way.follows:
                    mta.reload()
                    servers.wait_until(
                        lambda: mta.relay(LISTED) == way.missing, "missed")
                for address in (LISTED, STRANGER, LISTED6):
                    assert reply(mta, address) == (way.missing, way.local)
            if way.follows:
                assert client.relay() == (OK if way.recovers or not way.asks
                                          else way.denied), client.text
        if way.reload:
            mta.reload()
        self.serves(mta)

    def test_garbage(self, world, mta):
        """In place of the map or the socket: nobody relays."""
        way = mta.way
        world.dracd.add(LISTED)
        mta.stop()
        with stopped(world.dracd):
            self.remove(world)
            path = world.path(SOCKET if way.asks else way.map)
            path.write_bytes(os.urandom(16384))
            try:
                self.starts(mta, way.garbage, way.garbage_local)
            finally:
                self.remove(world)
        mta.start() if way.refuses else mta.reload()
        self.serves(mta)

    def test_rebuilt(self, world, mta):
        """A map that was damaged: the new one is found."""
        way = mta.way
        world.dracd.add(LISTED)
        with mta.client(LISTED) as client:
            assert client.relay() == OK
            world.dracd.kill9()
            path = world.path(way.map)
            broken = path.with_suffix(".broken")
            broken.write_bytes(path.read_bytes()[:4096] + b"\xff" * 8192)
            os.rename(broken, path)
            world.dracd.start()
            code = mta.relay(LISTED)
            if code == way.garbage and way.reload:
                # A process that was just starting has opened the broken one.
                mta.reload()
                code = mta.relay(LISTED)
            assert code == OK
            world.dracd.remove(LISTED)
            if way.follows:
                assert client.relay() == (OK if way.keeps or not way.sees
                                          else way.denied)
        if not way.follows:
            # As long as no other smtpd comes to the same proxymap.
            assert mta.relay(LISTED) in (OK, way.denied)
            mta.reload()
        servers.wait_until(lambda: mta.relay(LISTED) == way.denied,
                           "the new map")

    def test_prefix(self, world, mta):
        """A neighbour relays with ipv6-prefix = 64; maps have no prefixes."""
        dracd = world.dracd
        dracd.stop()
        dracd.settings["ipv6_prefix"] = 64
        dracd.start()
        try:
            assert mta.relay(STRANGER6) == mta.way.denied
            dracd.add(LISTED6)
            assert mta.relay(LISTED6) == OK
            assert mta.relay(STRANGER6) == (
                OK if mta.way.asks else mta.way.denied)
        finally:
            del dracd.settings["ipv6_prefix"]
            dracd.stop()
            dracd.start()
        assert mta.relay(STRANGER6) == mta.way.denied

    @staticmethod
    def serves(mta):
        """As if nothing had been."""
        servers.wait_until(lambda: reply(mta, LISTED) == (OK, OK), "there")
        assert reply(mta, STRANGER) == (mta.way.denied, OK)

    @staticmethod
    def starts(mta, elsewhere, local):
        """And answers that to everybody; or refuses to."""
        if mta.way.refuses:
            with pytest.raises(RuntimeError, match=mta.way.refuses):
                mta.start()
            return
        mta.start()
        for address in (LISTED, STRANGER, LISTED6):
            assert reply(mta, address) == (elsewhere, local)

    @staticmethod
    def remove(world):
        """Maps and socket: the journal stays."""
        maps = [definition.partition(":")[2]
                for definition, _ in world.dracd.maps]
        for path in *maps, SOCKET:
            world.path(path).unlink(missing_ok=True)

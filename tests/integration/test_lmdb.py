"""
A real Postfix that reads an LMDB map, with mta/postfix-lmdb.cf: who may relay,
and that neither disturbs the other while both are busy.
"""

import concurrent.futures
import fcntl
import os
import time

import pytest

import postfix
import rpcraw
import sendmail_map
import servers

FILE = "/var/lib/dracd/dracd.lmdb"
TABLE = "lmdb:/var/lib/dracd/dracd"
LISTED, STRANGER = "127.0.0.5", "127.0.0.6"
LISTED6, STRANGER6 = "fd00:beef::5", "fd00:beef::6"
ALWAYS = "192.0.2.1"            # nobody's, in the map all the time
DENIED = 554
FAMILIES = pytest.mark.parametrize("listed, stranger", [
    (LISTED, STRANGER), (LISTED6, STRANGER6)], ids=["IPv4", "IPv6"])


class LmdbMap(sendmail_map.DaemonMap):
    def __init__(self, space, build, directory):
        super().__init__(space, build, directory, maps=[(f"lmdb:{FILE}", {})])
        self.dracd = self._dracd


@pytest.fixture(scope="module")
def space():
    with servers.Space("postfix", "base") as made:
        yield made


@pytest.fixture(scope="module", params=servers.BUILDS,
                ids=lambda build: build.name)
def relay_map(request, space, tmp_path_factory):
    sendmail_map.clear(space)
    made = LmdbMap(space, request.param, tmp_path_factory.mktemp("lmdb"))
    made.add(ALWAYS)
    yield made
    made.close()


def start_postfix(space, more=""):
    # Accepted recipients would cost it a second each after a while.
    return postfix.Postfix(space, postfix.snippet("postfix-lmdb.cf") +
                           "in_flow_delay = 0\n" + more)


@pytest.fixture(scope="module")
def mta(space, relay_map):
    made = start_postfix(space)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def running(relay_map):
    """Whatever the test before did."""
    if not relay_map.dracd.alive():
        relay_map.dracd.start()
    with relay_map.dracd.client("unix") as client:
        for address in (LISTED, LISTED6):
            client.remove(address)


# ---- with a Postfix of their own: before the others', one at a time --------

def test_missing_map(space, relay_map):
    """Nobody relays, local mail arrives; it is used as soon as it is there."""
    relay_map.dracd.stop()
    os.rename(relay_map.path, relay_map.path.with_suffix(".away"))
    server = start_postfix(space)
    try:
        with server.client(LISTED) as client:
            assert client.relay() == 451
            assert client.local() == 250
        relay_map.dracd.start()
        relay_map.add(LISTED)
        server.reload()
        servers.wait_until(lambda: server.relay(LISTED) == 250, "relays")
        assert server.relay(STRANGER) == DENIED
    finally:
        server.stop()


def test_growth_beyond_what_is_mapped(space, relay_map):
    """A session lives through a file larger than Postfix has made room for."""
    bound = 64 * 1024
    relay_map.remove(ALWAYS)
    with relay_map.dracd.client("unix") as client:
        for address in client.table():
            client.remove(address[0])
    relay_map.rebuild()         # as small as can be
    relay_map.add(ALWAYS)
    assert relay_map.path.stat().st_size < bound
    server = start_postfix(space, f"lmdb_map_size = {bound}\n")
    try:
        with server.client(LISTED) as client:
            assert client.relay() == DENIED
            relay_map.grow()
            while relay_map.path.stat().st_size < 2 * bound:
                relay_map.grow()
            relay_map.add(LISTED)
            assert client.relay() == 250
            assert server.relay(STRANGER) == DENIED
    finally:
        server.stop()


# ---- who may relay --------------------------------------------------------

@FAMILIES
def test_listed_relays(mta, relay_map, listed, stranger):
    """Denied, accepted, removed; in a new session and in one that lives."""
    with mta.client(listed) as client:
        assert client.relay() == DENIED, client.text
        assert client.local() == 250
        relay_map.add(listed)
        assert client.relay() == 250
        assert mta.relay(listed) == 250
        assert mta.relay(stranger) == DENIED
        relay_map.remove(listed)
        assert client.relay() == DENIED
        assert mta.relay(listed) == DENIED


@FAMILIES
def test_expired_does_not_relay(mta, relay_map, listed, stranger):
    with mta.client(listed) as client:
        relay_map.add(listed, lifetime=2)
        assert client.relay() == 250
        servers.wait_until(lambda: client.relay() == DENIED, "expired")
        assert mta.relay(listed) == DENIED
        assert mta.relay(stranger) == DENIED


def test_without_dracd(mta, relay_map):
    """Killed: what is in the map stays. Then it goes on in the same file."""
    relay_map.add(LISTED)
    inode = relay_map.path.stat().st_ino
    with mta.client(LISTED) as client, mta.client(LISTED6) as client6:
        assert client.relay() == 250 and client6.relay() == DENIED
        relay_map.dracd.kill9()
        assert client.relay() == 250
        assert mta.relay(LISTED) == 250
        assert mta.relay(STRANGER) == DENIED
        relay_map.dracd.start()
        assert relay_map.path.stat().st_ino == inode
        assert client.relay() == 250
        relay_map.add(LISTED6)
        relay_map.remove(LISTED)
        assert client.relay() == DENIED and client6.relay() == 250


def test_built_anew(mta, relay_map):
    """A file that was renamed over is seen by the next session."""
    relay_map.add(LISTED)
    with mta.client(LISTED6) as client:
        assert client.relay() == DENIED
        relay_map.rebuild()
        relay_map.add(LISTED6)
        assert client.relay() == DENIED     # it has the old file
    assert mta.relay(LISTED) == 250
    assert mta.relay(LISTED6) == 250
    assert mta.relay(STRANGER) == DENIED


def test_expired_without_dracd(mta, relay_map):
    """Entries that ended while dracd was down are gone when it is back."""
    relay_map.add(LISTED, lifetime=1)
    relay_map.dracd.kill9()
    assert mta.relay(LISTED) == 250
    time.sleep(1.1)
    relay_map.dracd.start()
    assert mta.relay(LISTED) == DENIED


# ---- both at once ---------------------------------------------------------

LOOKUPS = 600000


def look_up(space, keys):
    """The answers of one postmap that looks up keys, LOOKUPS times in all."""
    count = LOOKUPS // len(keys)
    done = space.run(["sh", "-c", f"yes '{chr(10).join(keys)}' | "
                      f"head -n {count * len(keys)} | "
                      f"postmap -q - {TABLE}"], check=False, timeout=120)
    return count, done.stdout.splitlines()


def test_reader_and_writer(space, relay_map, figures):
    """
    Spinning readers of one table, and adds and removals as fast as they can:
    what is there is always found, what is not never.
    """
    relay_map.add(ALWAYS)
    added = 0
    with concurrent.futures.ThreadPoolExecutor() as pool:
        readers = [pool.submit(look_up, space, [ALWAYS, STRANGER])
                   for _ in range(2)]
        begin = time.monotonic()
        with relay_map.dracd.client("unix") as client:
            while not all(reader.done() for reader in readers):
                address = f"10.9.{added // 250 % 250}.{added % 250}"
                assert client.add1(address) == rpcraw.ADD_SUCCESS
                if added % 3:
                    assert client.remove(address) == rpcraw.OK
                added += 1
        elapsed = time.monotonic() - begin
    for reader in readers:
        count, lines = reader.result()
        assert len(lines) == count, lines[-3:]
        assert {line.split("\t")[0] for line in lines} == {ALWAYS}
    assert added > 20
    figures(f"{added / elapsed:.0f} adds/s beside two spinning readers with "
            f"{2 * LOOKUPS / elapsed:.0f} lookups/s")


def test_kept_locked(mta, relay_map):
    """A reader that keeps the lock: an add is refused, then all is well."""
    with open(relay_map.path, "rb") as file:
        fcntl.lockf(file, fcntl.LOCK_SH)
        with relay_map.dracd.client("unix") as client:
            assert client.add1(LISTED) == rpcraw.ADD_SYSERR
        assert mta.relay(LISTED) == DENIED
    relay_map.add(LISTED)
    assert mta.relay(LISTED) == 250

"""
A real Postfix that reads an LMDB map, with mta/postfix-lmdb.cf: neither disturbs
the other while both are busy. Who may relay: test_postfix.py.
"""

import concurrent.futures
import fcntl
import time

import pytest

import postfix
import rpcraw
import sendmail
import sendmail_map
import servers
from ways import LISTED, OK, STRANGER

FILE = "/var/lib/dracd/dracd.lmdb"
TABLE = "lmdb:/var/lib/dracd/dracd"
ALWAYS = "192.0.2.1"            # nobody's, in the map all the time
DENIED = 554


@pytest.fixture(scope="module")
def space():
    with servers.Space("postfix", "base") as made:
        yield made


@pytest.fixture(scope="module", params=servers.BUILDS,
                ids=lambda build: build.name)
def relay_map(request, space, tmp_path_factory):
    sendmail_map.clear(space)
    made = sendmail_map.DaemonMap(
        space, request.param, tmp_path_factory.mktemp("lmdb"),
        maps=[(f"lmdb:{FILE}", {})])
    made.add(ALWAYS)
    yield made
    made.close()


def start_postfix(space, more=""):
    return postfix.Postfix(space, sendmail.snippet("postfix-lmdb.cf") + more)


@pytest.fixture(scope="module")
def mta(space, relay_map):
    made = start_postfix(space)
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def clean(relay_map):
    with relay_map.dracd.client("unix") as client:
        client.remove(LISTED)


# With a Postfix of its own: before the other's.
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
            assert client.relay() == OK
            assert server.relay(STRANGER) == DENIED
    finally:
        server.stop()


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
    assert mta.relay(LISTED) == OK

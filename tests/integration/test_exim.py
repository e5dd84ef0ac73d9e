"""A real Exim with each file of mta/, and a real dracd."""

import time

import pytest

import daemon
import exim
import installed
import sendmail
import sendmail_map
import servers
from ways import LISTED, LOOKUP, OK, STRANGER, Way, Ways

DENIED = 550
FAILS = 451
WAITS_S = 3     # of the snippet
WAYS = [
    Way("exim-dbmnz.conf", DENIED, asks=False, missing=DENIED, garbage=FAILS,
        garbage_local=FAILS, sees=False, recovers=False),
    Way("exim-readsocket.conf", DENIED, asks=True, missing=DENIED,
        garbage=DENIED, recovers=False),
]


@pytest.fixture(scope="module")
def world(build, tmp_path_factory):
    with servers.Space("exim", "base") as space:
        space.dracd = installed.Dracd(
            space, build, tmp_path_factory.mktemp("exim") / "d",
            lookup=LOOKUP).start()
        yield space
        space.dracd.finish()


@pytest.fixture(scope="module", params=WAYS, ids=str)
def mta(request, world):
    made = exim.Exim(world, sendmail.snippet(request.param.file))
    made.way = request.param
    yield made
    made.stop()


# ---- with an Exim of their own: before the others', one at a time -------------

def test_unreadable_map(world):
    """Exim reads it as its own user."""
    world.dracd.add(LISTED)
    path = world.path(sendmail_map.FILE)
    server = exim.Exim(world, sendmail.snippet("exim-dbmnz.conf"))
    try:
        assert server.relay(LISTED) == OK
        path.chmod(0o600)
        for address in LISTED, STRANGER:
            with server.client(address) as client:
                assert client.relay() == FAILS
                assert client.local() == FAILS
    finally:
        path.chmod(0o644)
        server.stop()


def test_split_configuration(world):
    """The same file, where Debian's configuration is many files."""
    world.dracd.add(LISTED)
    server = exim.Exim(world, sendmail.snippet("exim-dbmnz.conf"), split=True)
    try:
        assert server.relay(LISTED) == OK
        assert server.relay(STRANGER) == DENIED
    finally:
        server.stop()


# ---- each way -----------------------------------------------------------------

class TestExim(Ways):
    def test_hanging_dracd(self, world, mta):
        """It is waited for, three seconds; who reads the map does not notice."""
        world.dracd.add(LISTED)
        with daemon.hanging(world.dracd.process):
            if mta.way.asks:
                begin = time.monotonic()
                assert mta.relay(LISTED) == DENIED
                assert WAITS_S - 1 < time.monotonic() - begin
            else:
                assert mta.relay(LISTED) == OK
                assert mta.relay(STRANGER) == DENIED
        assert mta.relay(LISTED) == OK

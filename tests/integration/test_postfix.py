"""A real Postfix with each file of mta/, and a real dracd."""

import pytest

import daemon
import installed
import postfix
import sendmail
import sendmail_map
import servers
from ways import LISTED, LOOKUP, OK, STRANGER, Way, Ways

FAILS = 451
MAP = {"asks": False, "expiry": False, "missing": FAILS, "garbage": FAILS,
       "reload": True, "keeps": True}
SOCKET = {"asks": True, "missing": FAILS, "garbage": FAILS}
LMDB = "/var/lib/dracd/dracd.lmdb"
DENIED, DEFERRED = 554, 454     # 454: Debian's smtpd_relay_restrictions
WAITS_S = 1
WAYS = [
    Way("postfix-mynetworks.cf", DEFERRED, local=FAILS, garbage_local=FAILS,
        **MAP),
    Way("postfix-relay.cf", DENIED, **MAP),
    Way("postfix-proxy.cf", DENIED, follows=False, **MAP),
    Way("postfix-lmdb.cf", DENIED, map=LMDB, **MAP),
    Way("postfix-socketmap.cf", DENIED, **SOCKET),
    Way("postfix-socketmap-inet.cf", DENIED, **SOCKET),
]


@pytest.fixture(scope="module")
def world(build, tmp_path_factory):
    with servers.Space("postfix", "base") as space:
        space.dracd = installed.Dracd(
            space, build, tmp_path_factory.mktemp("postfix") / "d",
            lookup=LOOKUP, maps=[(f"btree:{sendmail_map.FILE}", {}),
                                 (f"lmdb:{LMDB}", {})]).start()
        yield space
        space.dracd.finish()


@pytest.fixture(scope="module", params=WAYS, ids=str)
def mta(request, world):
    made = postfix.Postfix(world, sendmail.snippet(request.param.file))
    made.way = request.param
    yield made
    made.stop()


# ---- with a Postfix of their own: before the others', one at a time ---------

DIRECT = sendmail.snippet("postfix-socketmap.cf").replace("proxy:socketmap",
                                                         "socketmap")


@pytest.fixture(params=[True, False], ids=["chroot", "no chroot"])
def direct(request, world):
    made = postfix.Postfix(world, DIRECT, chroot=request.param)
    made.chroot = request.param
    yield made
    made.stop()


def test_unix_socket_and_chroot(world, direct):
    """Without "proxy:" smtpd looks for the socket in its chroot."""
    world.dracd.add(LISTED)
    if not direct.chroot:
        assert direct.relay(LISTED) == OK
        assert direct.relay(STRANGER) == DENIED
        return
    start = len(world.log.lines)
    for address in LISTED, STRANGER:
        with direct.client(address) as client:
            assert client.relay() == FAILS
            assert client.local() == OK
    assert world.log.wait("smtpd.*connect to /run/dracd/map.sock: No such file",
                          start)


# ---- each way -----------------------------------------------------------------

class TestPostfix(Ways):
    def test_hanging_dracd(self, world, mta):
        """It is waited for; who reads the map does not notice."""
        world.dracd.add(LISTED)
        with mta.client(LISTED) as client, mta.client(STRANGER) as stranger:
            assert client.relay() == OK
            with daemon.hanging(world.dracd.process):
                if mta.way.asks:
                    client.send("RCPT TO:<other@foreign.example>\r\n")
                    client.sock.settimeout(WAITS_S)
                    with pytest.raises(TimeoutError):
                        client.sock.recv(1)
                    client.sock.settimeout(sendmail.TIMEOUT_S)
                else:
                    assert client.relay() == OK
                    assert stranger.relay() == mta.way.denied
            if mta.way.asks:
                assert client.getreply()[0] == OK
            assert client.relay() == OK
            assert stranger.relay() == mta.way.denied

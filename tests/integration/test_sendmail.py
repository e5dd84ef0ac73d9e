"""
What a real sendmail does with FEATURE(`dracd'): who may relay, who may not,
and that everything else stays as it was.
"""

import concurrent.futures
import os
import smtplib
import time

import pytest

import sendmail
import sendmail_map
import servers

LISTED, STRANGER = "127.0.0.5", "127.0.0.6"
NEIGHBOUR = "127.0.1.1"     # by relay-domains, whatever the map says
LISTED6, STRANGER6 = "fd00:beef::5", "fd00:beef::6"

DRACD = "FEATURE(`dracd')dnl"
EXPIRY = "FEATURE(`dracd', `', `expiry')dnl"
DEBIAN = "FEATURE(`drac', `btree -o /etc/mail/dracd')dnl"
CLASSIC = """\
LOCAL_CONFIG
Kdrac btree /etc/mail/dracd
LOCAL_RULESETS
SLocal_check_rcpt
R$*	$: $&{client_addr}
R$+	$: $(drac $1 $: ? $)
R?	$@ ?
R$+	$@ $#OK
divert(0)dnl
"""
FEATURES = pytest.mark.parametrize("feature", [DRACD, EXPIRY, DEBIAN, CLASSIC],
                                   ids=["dracd", "expiry", "debian",
                                        "classic"])
OURS = pytest.mark.parametrize("feature", [DRACD, EXPIRY],
                               ids=["dracd", "expiry"])


@pytest.fixture(scope="module")
def space():
    with servers.Space() as made:
        yield made


@pytest.fixture
def mta(space):
    """mta(lines of an .mc file) -> a running Sendmail."""
    made = []

    def start(more=DRACD):
        made.append(sendmail.Sendmail(space, sendmail.mc(more)))
        return made[-1]

    yield start
    for each in made:
        each.stop()


@pytest.fixture
def hand(space):
    sendmail_map.clear(space)
    return sendmail_map.HandMap(space)


@pytest.fixture(params=["hand", *servers.BUILDS],
                ids=lambda build: getattr(build, "name", build))
def relay_map(request, space, tmp_path):
    """A map made by hand, then by each dracd."""
    if request.param == "hand":
        yield request.getfixturevalue("hand")
        return
    sendmail_map.clear(space)
    made = sendmail_map.DaemonMap(space, request.param, tmp_path / "d")
    yield made
    made.close()


# ---- who may relay --------------------------------------------------------

@OURS
@pytest.mark.parametrize("listed, stranger, port", [
    (LISTED, STRANGER, sendmail.PORT),
    (LISTED, STRANGER, sendmail.PORT6),
    (LISTED6, STRANGER6, sendmail.PORT6),
], ids=["IPv4", "v4-mapped", "IPv6"])
def test_listed_relays(mta, relay_map, feature, listed, stranger, port):
    """Denied, accepted, removed; in a new session and in one that lives."""
    server = mta(feature)
    with server.client(listed, port) as client:
        assert client.relay() == 550 and "Relaying denied" in client.text
        assert client.local() == 250
        relay_map.add(listed)
        assert client.relay() == 250
        assert server.relay(listed, port=port) == 250
        assert server.relay(stranger, port=port) == 550
        relay_map.remove(listed)
        assert client.relay() == 550
        assert server.relay(listed, port=port) == 550


@pytest.mark.parametrize("feature", [DEBIAN, CLASSIC],
                         ids=["debian", "classic"])
@pytest.mark.parametrize("listed, stranger", [
    (LISTED, STRANGER), (LISTED6, STRANGER6)], ids=["IPv4", "IPv6"])
def test_other_rules(mta, relay_map, feature, listed, stranger):
    """Debian's own feature, and the rules of DRAC 1.12, on our map."""
    server = mta(feature)
    assert server.relay(listed) == 550
    relay_map.add(listed)
    assert server.relay(listed) == 250
    assert server.relay(stranger) == 550
    relay_map.remove(listed)
    assert server.relay(listed) == 550


@OURS
def test_ends_with_its_lifetime(mta, relay_map, feature):
    """With dracd the entry goes; by hand only `expiry' can know."""
    server = mta(feature)
    relay_map.add(LISTED, lifetime=2)
    begin = time.monotonic()
    with server.client(LISTED) as client:
        assert client.relay() == 250
        if isinstance(relay_map, sendmail_map.HandMap) and feature == DRACD:
            servers.wait_until(lambda: time.monotonic() > begin + 3, "expiry")
            assert client.relay() == 250
            return
        servers.wait_until(lambda: client.relay() == 550, "550", 5)
    assert time.monotonic() - begin > 1


def test_expiry_is_checked(mta, hand):
    """In every transaction: after RSET and in the second one too (A7)."""
    server = mta(EXPIRY)
    hand.add(LISTED, lifetime=-1)
    with server.client(LISTED) as client:
        for _ in range(3):
            assert client.relay() == 550
        assert client.local() == 250
        hand.add(LISTED)
        for _ in range(3):
            assert client.relay() == 250
        hand.add(LISTED, lifetime=-1)
        assert client.relay() == 550
        hand.mapput("put", LISTED, "4102444800")    # past 2^31
        assert client.relay() == 250


@pytest.mark.parametrize("value", ["", "garbage", "TRUE", "-1", "0", "1 2",
                                   "<TMPF>", "RELAY"])
def test_expiry_is_no_time(mta, hand, value):
    hand.mapput("put", LISTED, value)
    assert mta(EXPIRY).relay(LISTED) == 550


def test_one_key_of_ipv6(mta, hand):
    """sendmail asks for one of the three: the ipv6: one."""
    server = mta()
    hand.mapput("put", "fd00:beef::5", 1, "fd00:beef:0:0:0:0:0:5", 1)
    assert server.relay(LISTED6) == 550
    hand.mapput("put", "ipv6:fd00:beef:0:0:0:0:0:5", 1)
    assert server.relay(LISTED6) == 250


def test_temporary_failure_value_is_refused(space):
    """-T would be an open relay: m4 says so, and nothing is added."""
    sendmail_map.clear(space)
    cf, messages = sendmail.make_cf(space, sendmail.mc(
        "FEATURE(`dracd', `btree -T<TMPF> /etc/mail/dracd')dnl"), "t")
    assert "*** ERROR" in messages and "-T" in messages
    assert "dracd" not in space.path(cf).read_text()


# ---- a session that lives through changes ---------------------------------

def test_session_lives_through_growth(mta, relay_map):
    """Never a 451, whatever happens to the file in the same second."""
    relay_map.add(LISTED)
    with mta().client(LISTED) as client:
        assert client.relay() == 250
        relay_map.grow()
        for i in range(40):
            relay_map.add(f"127.9.0.{i + 1}")
            assert client.relay() == 250, client.text


def test_session_lives_in_a_storm(mta, relay_map, figures):
    """The same while another client's adds make the file grow."""
    relay_map.add(LISTED)
    with mta().client(LISTED) as client, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert client.relay() == 250
        storm = pool.submit(lambda: [relay_map.grow() for _ in range(5)])
        asked = 0
        while not storm.done():
            assert client.relay() == 250, client.text
            asked += 1
        storm.result()
    figures(f"{asked} recipients while the map grew five times")


def test_session_lives_through_rebuild(mta, relay_map):
    """It keeps its map; a new session has the new one."""
    server = mta()
    relay_map.add(LISTED)
    with server.client(LISTED) as client:
        assert client.relay() == 250
        relay_map.rebuild()
        for _ in range(3):
            assert client.relay() == 250, client.text
        assert server.relay(LISTED) == 250
        relay_map.remove(LISTED)
        assert server.relay(LISTED) == 550
        assert client.relay() in (250, 550), client.text


# ---- a map that is not one -------------------------------------------------

def _missing(space):
    sendmail_map.clear(space)


def _empty(space):
    space.path(sendmail_map.FILE).write_bytes(b"")


def _garbage(space):
    space.path(sendmail_map.FILE).write_bytes(os.urandom(16384))


def _text(space):
    space.path(sendmail_map.FILE).write_text(f"{LISTED}\t9999999999\n" * 999)


def _truncated(space):
    os.truncate(space.path(sendmail_map.FILE), 4096)


def _torn(space):
    os.truncate(space.path(sendmail_map.FILE), 5)


def _hash(space):
    sendmail_map.clear(space)
    sendmail_map.HandMap(space, "hash").add(LISTED)


def _directory(space):
    sendmail_map.clear(space)
    space.path(sendmail_map.FILE).mkdir()


@FEATURES
@pytest.mark.parametrize("damage", [_missing, _empty, _garbage, _text,
                                    _truncated, _torn, _hash, _directory],
                         ids=lambda f: f.__name__[1:])
def test_broken_map_denies(space, mta, hand, feature, damage):
    """All but this host and relay-domains; mail for us is taken as ever."""
    hand.add(LISTED)
    server = mta(f"RELAY_DOMAIN(`{NEIGHBOUR}')dnl\n{feature}")
    assert server.relay(LISTED) == 250
    damage(space)
    codes = (451, 550) if damage is _truncated else (550,)
    for client_address in (LISTED, STRANGER, LISTED6):
        with server.client(client_address) as client:
            assert client.relay() in codes, client.text
            # The classic rules ask the map about every recipient.
            if feature is not CLASSIC:
                assert client.local() == 250, client.text
                assert client.relay() in codes, client.text
    # This host and relay-domains; the classic rules ask the map first.
    if feature is not CLASSIC or damage is not _truncated:
        for address in ("127.0.0.1", "::1", NEIGHBOUR):
            assert server.relay(address) == 250, address
    sendmail_map.clear(space)
    sendmail_map.HandMap(space).add(LISTED)
    assert server.relay(LISTED) == 250


@pytest.mark.parametrize("path, mode, code", [
    ("/etc/mail/dracd", 0o755, 250),
    (f"{sendmail_map.DIRECTORY}/dracd", 0o755, 250),
    (f"{sendmail_map.DIRECTORY}/dracd", 0o775, 550),
    (f"{sendmail_map.DIRECTORY}/dracd", 0o777, 550),
], ids=["link", "own", "group", "world"])
def test_directory_of_another_user(space, mta, hand, path, mode, code):
    """A directory of dracd's own is trusted unless others may write to it."""
    hand.add(LISTED)
    owner = int(space.run(["id", "-u", "dracd"]).stdout)
    directory = space.path(sendmail_map.DIRECTORY)
    os.chown(directory, owner, owner)
    os.chown(hand.path, owner, owner)
    directory.chmod(mode)
    try:
        assert mta(f"FEATURE(`dracd', `btree {path}')dnl").relay(
            LISTED) == code
    finally:
        directory.chmod(0o755)
        os.chown(directory, 0, 0)


def test_unreadable_map_denies(space, mta, hand):
    """0600 is nothing to root; a sendmail that is not root is shut out."""
    hand.add(LISTED)
    hand.path.chmod(0o600)
    assert mta().relay(LISTED) == 250


def test_unreadable_map_denies_run_as_user(space, mta, hand):
    hand.add(LISTED)
    space.run(["chown", "-R", "smmta:smmta", "/var/spool/mqueue"])
    try:
        server = mta("define(`confRUN_AS_USER', `smmta:smmta')dnl\n" + DRACD)
        assert server.relay(LISTED) == 250
        hand.path.chmod(0o600)
        with server.client(LISTED) as client:
            assert client.relay() == 550
            assert client.local() == 250
    finally:
        space.run(["chown", "-R", "root:root", "/var/spool/mqueue"])


# ---- everything else stays as it was --------------------------------------

ACCESS = """\
Connect:127.0.0.5	REJECT
Connect:127.0.0.6	RELAY
From:spammer@relay.test	REJECT
To:allowed.example	RELAY
To:nobody@relay.test	REJECT
"""
ACCESS_DB = ("FEATURE(`access_db')dnl\nFEATURE(`blocklist_recipients')dnl\n")


def transcript(server, address):
    """What access_db has a say in, and what was answered."""
    replies = []
    with server.client(address) as client:
        for sender, recipient in (
                (sendmail.SENDER, sendmail.FOREIGN),
                (sendmail.SENDER, sendmail.LOCAL),
                (sendmail.SENDER, "x@allowed.example"),
                (sendmail.SENDER, "nobody@relay.test"),
                ("spammer@relay.test", sendmail.FOREIGN),
                ("spammer@relay.test", sendmail.LOCAL)):
            client.ask("RSET")
            replies.append((client.ask(f"MAIL FROM:<{sender}>"),
                            client.ask(f"RCPT TO:<{recipient}>")))
    return replies


@OURS
@pytest.mark.parametrize("delay", ["", "FEATURE(`delay_checks')dnl\n",
                                   "FEATURE(`delay_checks', `friend')dnl\n"],
                         ids=["early", "delayed", "friend"])
def test_access_db_keeps_its_say(space, mta, hand, feature, delay):
    """A listed client gets what a hand-made RELAY rule for others gets."""
    space.path("/etc/mail/access").write_text(ACCESS)
    space.run(["sh", "-c", "makemap -C /dev/null hash /etc/mail/access <"
                           "/etc/mail/access"])
    before = mta(ACCESS_DB + delay)
    clients = (LISTED, STRANGER, "127.0.0.7")
    was = {address: transcript(before, address) for address in clients}
    before.stop()
    after = mta(ACCESS_DB + delay + feature)
    assert {a: transcript(after, a) for a in clients} == was

    for address in clients:
        hand.add(address)
    # Refused by access_db at connect or later: refused as before.
    assert transcript(after, LISTED) == was[LISTED]
    assert all(mail[1] >= 500 for mail in was[LISTED])
    # Relayed by access_db before: no change. Else: as that one.
    assert transcript(after, STRANGER) == was[STRANGER]
    assert transcript(after, "127.0.0.7") == was[STRANGER]
    assert was["127.0.0.7"][0] == (250, 550)
    assert was[STRANGER][0] == (250, 250)
    assert was[STRANGER][4][1] >= 500


AUTH = """\
define(`confAUTH_MECHANISMS', `CRAM-MD5 PLAIN')dnl
TRUST_AUTH_MECH(`CRAM-MD5 PLAIN')dnl
"""


@OURS
@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "PLAIN"])
def test_smtp_auth_still_relays(space, mta, hand, feature, mechanism):
    """For a client that is not listed; a wrong password does not."""
    sendmail.make_password(space, "alice", "secret")
    server = mta(AUTH + feature)
    with server.client(STRANGER) as client:
        assert client.relay() == 550
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.identify(mechanism, "alice", "wrong")
        assert client.relay() == 550
        client.identify(mechanism, "alice", "secret")
        assert client.relay() == 250
    hand.add(LISTED)
    assert server.relay(LISTED) == 250


@OURS
def test_whole_messages(space, mta, hand, feature):
    """Into the queue: for us from anybody, for others from the listed."""
    server = mta(feature)
    hand.add(LISTED)
    for address, recipient in ((STRANGER, sendmail.LOCAL),
                               (LISTED, sendmail.FOREIGN)):
        with server.client(address) as client:
            client.sendmail(sendmail.SENDER, [recipient],
                            f"Subject: from {address}\n\nhello\n")
        assert any(f"from {address}" in file.read_text(errors="replace") for file in
                   space.path("/var/spool/mqueue").glob("qf*"))


def test_mail_from_this_host(space, mta):
    """No client address at all, no map at all: still no stranger."""
    sendmail_map.clear(space)
    mta()
    with sendmail.PipeClient(space) as client:
        assert client.relay() == 250, client.text

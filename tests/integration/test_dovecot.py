"""The whole way: a login in a real Dovecot opens a real sendmail."""

import imaplib
import poplib
import time

import pytest

import dovecot
import sendmail
import sendmail_map
import servers

CLIENT, CLIENT6, STRANGER = "127.0.0.5", "fd00:beef::5", "127.0.0.6"
BUDGET_S = 2        # of one call of libdrac


@pytest.fixture
def space():
    with servers.Space() as made:
        yield made


@pytest.fixture
def dracd_map(space, build, tmp_path):
    made = sendmail_map.DaemonMap(space, build, tmp_path / "d")
    yield made
    made.close()


@pytest.fixture
def mailhost(space, dracd_map):
    """(sendmail, dovecot) beside dracd."""
    server = f"127.0.0.1:{dracd_map.port}"
    return (sendmail.Sendmail(space, sendmail.mc("FEATURE(`dracd')dnl")),
            dovecot.Dovecot(space, dovecot.post_login(space, server)))


def test_login_opens_relay(mailhost):
    mta, pop = mailhost
    assert mta.relay(CLIENT) == 550
    pop.pop3(CLIENT, "alice", dovecot.PASSWORD).quit()
    assert mta.relay(CLIENT) == 250
    assert mta.relay(STRANGER) == 550

    assert mta.relay(CLIENT6) == 550
    pop.imap(CLIENT6, "alice", dovecot.PASSWORD).logout()
    assert mta.relay(CLIENT6) == 250


def test_wrong_password_opens_nothing(mailhost):
    mta, pop = mailhost
    with pytest.raises(poplib.error_proto):
        pop.pop3(CLIENT, "alice", "wrong")
    with pytest.raises(imaplib.IMAP4.error):
        pop.imap(CLIENT6, "alice", "wrong")
    assert mta.relay(CLIENT) == 550
    assert mta.relay(CLIENT6) == 550


def test_login_outlives_dracd(mailhost, dracd_map):
    """Nobody is kept from his mail by a daemon that is not there."""
    mta, pop = mailhost
    dracd_map.close()
    begin = time.monotonic()
    pop.pop3(CLIENT, "alice", dovecot.PASSWORD).quit()
    assert time.monotonic() - begin < BUDGET_S + 1
    assert mta.relay(CLIENT) == 550

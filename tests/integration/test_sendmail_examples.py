"""The examples of sendmail-cf/: they are made, checked, and run as they are."""

import re
import socket
import ssl

import pytest

import sendmail
import sendmail_map
import servers

LISTED, STRANGER = "127.0.0.5", "127.0.0.6"
EXAMPLES = pytest.mark.parametrize("name", ["small", "submission"])
OUTSIDE = "127.0.0.1"       # the server's address for an IPv4 client
# Only this one: the warning that sendmail-cf/README explains.
EXPECTED_WARNINGS = ["WARNING: Ruleset Relay_ok has multiple definitions"]
ACCESS = "ClientConn:127.0.0\t3\nGreetPause:127.0.0\t0\n"


@pytest.fixture
def space():
    with servers.Space() as made:
        yield made


def make(space, name):
    source = (servers.TOP / f"sendmail-cf/{name}.mc").read_text()
    cf, messages = sendmail.make_cf(space, source, name)
    assert messages == ""
    return cf


def start(space, name):
    """As its first lines tell the administrator to, with all it names."""
    cf = make(space, name)
    mail = space.path("/etc/mail")
    (mail / "aliases").write_text("postmaster: root\n")
    (mail / "access").write_text(ACCESS)
    space.run(["sh", "-c", "makemap -C /dev/null hash /etc/mail/access "
                           "</etc/mail/access"])
    (mail / "helpfile").write_text(
        (servers.TOP / "sendmail-cf/helpfile").read_text())
    (mail / "tls").mkdir()
    space.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
               "-subj", "/CN=relay.test", "-keyout", "/etc/mail/tls/key.pem",
               "-out", "/etc/mail/tls/cert.pem"])
    (mail / "tls/key.pem").chmod(0o600)
    # The host that runs the test need not have any.
    space.run(["install", "-D", "-m", "644", "/etc/mail/tls/cert.pem",
               "/etc/ssl/certs/ca-certificates.crt"])
    sendmail.make_password(space, "alice", "secret")
    space.run([sendmail.PROGRAM, "-C", cf, "-bi"])
    # Not the example's business: how busy the machine of the test is.
    space.start([sendmail.PROGRAM, "-C", cf, "-ORefuseLA=9999",
                 "-OQueueLA=9999", "-bD"], name="sendmail",
                ready=space.answers(OUTSIDE, 25))
    return cf


def greeting(space, source):
    with space.network():
        with socket.create_connection((OUTSIDE, 25), sendmail.TIMEOUT_S,
                                      (source, 0)) as connection:
            return connection.recv(999)


@EXAMPLES
def test_passes_address_test_mode(space, name):
    """m4 and sendmail have nothing to say, and mail goes where it should."""
    cf = make(space, name)
    done = space.run([sendmail.PROGRAM, "-C", cf, "-bt"], check=False,
                     input="3,0 root@example.org\n3,0 x@foreign.example\n")
    head = done.stdout.split("ADDRESS TEST MODE")[0].splitlines()
    assert head == EXPECTED_WARNINGS
    assert re.search(r"^parse +returns: \$# local \$: root$", done.stdout,
                     re.MULTILINE), done.stdout
    assert re.search(r"^parse +returns: \$# esmtp \$@ foreign \. example",
                     done.stdout, re.MULTILINE), done.stdout
    assert not space.log.find("SYSERR|syntax|unsafe|unknown")


@EXAMPLES
def test_relays_for_listed(space, name):
    start(space, name)
    relay_map = sendmail_map.HandMap(space)
    with sendmail.Client(space, LISTED, OUTSIDE, 25) as client:
        assert client.relay() == 550
        relay_map.add(LISTED)
        assert client.relay() == 250
    with sendmail.Client(space, STRANGER, OUTSIDE, 25) as client:
        assert client.relay() == 550
        assert client.try_rcpt("root@example.org") == 250
    relay_map.add("fd00:beef::5")
    with sendmail.Client(space, "fd00:beef::5", "fd00:beef::7",
                         25) as client:
        assert client.relay() == 250


def test_submission_tells_little(space):
    start(space, "submission")
    replies = []
    with sendmail.Client(space, STRANGER, OUTSIDE, 587) as client:
        for command in ("EHLO x", "HELP", "VRFY root", "EXPN postmaster",
                        "VERB", "ETRN example.org", "NOOP"):
            code = client.ask(command)
            replies.append(f"{code} {client.text}")
        text = "\n".join(replies)
        assert not re.search(r"sendmail|8\.\d+\.\d+|debian", text, re.I), text
        assert [r[:3] for r in replies] == ["250", "214", "252", "502",
                                            "502", "502", "250"]
        assert not re.search(r"\b(EXPN|VERB|ETRN)\b", replies[0])
        assert "root" not in replies[2] + replies[3]
        client.sendmail(sendmail.SENDER, ["root@example.org"],
                        "Subject: who are you\n\n")
    assert greeting(space, STRANGER) == b"220 relay.test ESMTP\r\n"
    # No DNS: it waits in the queue, where its trace header can be read.
    queued, = space.path("/var/spool/mqueue").glob("qf*")
    received = re.search(r"^H\?*Received: .*(\n\s.*)*",
                         queued.read_text(errors="replace"),
                         re.MULTILINE)[0]
    assert "by relay.test" in received and "for <root@example.org>" in received
    assert not re.search(r"sendmail|8\.\d+\.\d+|debian", received, re.I)


def test_submission_keeps_users_from_the_queue(space):
    cf = start(space, "submission")
    space.path("/var/spool/mqueue").chmod(0o755)
    user = ["setpriv", "--reuid", "alice", "--regid", "alice",
            "--clear-groups", sendmail.PROGRAM, "-C", cf]
    listed = space.run([*user, "-bp"], check=False)
    assert "You are not permitted to see the queue" in listed.stdout
    ran = space.run([*user, "-q"], check=False)
    assert "You do not have permission to process the queue" in ran.stdout
    expanded = space.run([*user, "-bv", "postmaster"], check=False)
    assert "may give misleading output for non-privileged" in expanded.stdout


def test_submission_programs_get_smrsh(space):
    cf = space.path(make(space, "submission")).read_text()
    assert re.search(r"^Mprog,\s+P=\S*/smrsh,", cf, re.MULTILINE)


def test_submission_bounds_one_client(space):
    """Three sessions at a time by access_db; another client is served."""
    start(space, "submission")
    held = [sendmail.Client(space, LISTED, OUTSIDE, 25) for _ in range(3)]
    assert greeting(space, LISTED).startswith(b"421 ")
    with sendmail.Client(space, STRANGER, OUTSIDE, 25) as client:
        assert client.try_rcpt("root@example.org") == 250
    for client in held:
        client.close()


def test_submission_auth_beside_dracd(space):
    """Each of the two is enough; passwords in the clear only under TLS."""
    start(space, "submission")
    sendmail_map.HandMap(space).add(LISTED)
    with sendmail.Client(space, LISTED, OUTSIDE, 587) as client:
        assert client.relay() == 250
    with sendmail.Client(space, STRANGER, OUTSIDE, 587) as client:
        assert client.esmtp_features["auth"].split() == ["CRAM-MD5"]
        assert client.relay() == 550
        client.identify("CRAM-MD5", "alice", "secret")
        assert client.relay() == 250
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with sendmail.Client(space, STRANGER, OUTSIDE, 587) as client:
        client.starttls(context=trusting)
        client.ehlo()
        assert "PLAIN" in client.esmtp_features["auth"].split()
        assert client.relay() == 550
        client.identify("PLAIN", "alice", "secret")
        assert client.relay() == 250

"""
Signed calls, made by hand: what is taken, what is refused, what is signed in
return; and the keys that dracd reads. Libdrac's own: test_signed_libdrac.py.
"""

import contextlib
import os
import re
import struct
import time

import pytest

import rpcraw
import signing
from daemon import wait_for
from rpcraw import ADD_PERM, ADD_SUCCESS
from signing import BOTH, NAME, PLACES, SECRET, WINDOW_S, keyed, listed

EX_CONFIG = 78
ARGS = rpcraw.v1_args("192.0.2.1")


def carried(daemon, message, transport="udp", host="127.0.0.1", source=None,
            timeout=2.0):
    """The reply's bytes."""
    with daemon.client(transport, host=host, source=source,
                       timeout=timeout) as client:
        return signing.exchange(client.carrier, message)


def why(reply):
    """The auth_stat of a denied reply; None for another one."""
    parsed = rpcraw.parse(reply)
    if not parsed.denied or parsed.stat != rpcraw.AUTH_ERROR:
        return None
    return struct.unpack(">I", parsed.body)[0]


# ---- good ones ----------------------------------------------------------------

@BOTH
@PLACES
def test_versions_and_their_replies(keyed, transport, host):
    """Every procedure is answered, and every answer is signed."""
    v3 = rpcraw.v3_add_args
    rows = [(1, 1, rpcraw.v1_args("192.0.2.1")),
            (2, 1, rpcraw.v2_args("2001:db8::2")),
            (3, 1, v3("192.0.2.3", 60, "joe", "pop3")),
            (3, 1, v3("192.0.2.3", 0, "u" * 255, "s" * 32)),    # a refresh
            (1, 0, b""), (3, 0, b""),
            (3, 2, rpcraw.opaque(rpcraw.packed("192.0.2.3"))),
            (3, 2, rpcraw.opaque(rpcraw.packed("192.0.2.99"))),
            (3, 3, rpcraw.opaque(rpcraw.packed("192.0.2.1"))),
            (3, 4, struct.pack(">QI", 0, 32)),
            (3, 5, b"")]
    for vers, proc, args in rows:
        message, tag = signing.call(vers, proc, args)
        reply = carried(keyed, message, transport, host)
        assert signing.is_signed(reply, tag), (vers, proc)
        assert rpcraw.parse(reply).stat == rpcraw.SUCCESS, (vers, proc)
    assert listed(keyed) == {"192.0.2.1", "2001:db8::2"}


@BOTH
def test_errors_are_signed(keyed, transport):
    for vers, proc, args, stat in [
            (9, 1, b"", rpcraw.PROG_MISMATCH),
            (3, 77, b"", rpcraw.PROC_UNAVAIL),
            (1, 1, b"", rpcraw.GARBAGE_ARGS)]:
        message, tag = signing.call(vers, proc, args)
        reply = carried(keyed, message, transport)
        assert rpcraw.parse(reply).stat == stat
        assert signing.is_signed(reply, tag)


# ---- what dracd.allow says ------------------------------------------------------

@pytest.mark.parametrize("source, key, allowed", [
    ("127.0.0.1", None, ""), ("127.0.0.1", "pop1", "udp tcp"),
    ("127.0.0.1", "other", ""),
    ("127.0.0.2", None, "udp tcp"), ("127.0.0.2", "pop1", "udp tcp"),
    ("127.0.0.3", None, "tcp"), ("127.0.0.3", "pop1", "tcp"),
    ("127.0.0.4", None, ""), ("127.0.0.4", "pop1", "tcp"),
    ("127.0.0.5", "other", "tcp"), ("127.0.0.5", "pop1", ""),
    ("127.0.0.6", None, "tcp"), ("127.0.0.6", "other", "udp tcp"),
    ("127.0.0.7", "pop1", "")])
def test_who_may(keyed, source, key, allowed):
    """A line that permits the call is enough; ADD_PERM is signed as well."""
    for transport in "udp", "tcp":
        if key is None:
            reply = carried(keyed, rpcraw.call(1, 1, ARGS), transport,
                            source=source)
        else:
            secret = SECRET if key == "pop1" else "x" * 40
            message, tag = signing.call(1, 1, ARGS, name=key, secret=secret)
            reply = carried(keyed, message, transport, source=source)
            assert signing.is_signed(reply, tag, secret)
        status = ADD_SUCCESS if transport in allowed.split() else ADD_PERM
        assert rpcraw.parse(reply).body == struct.pack(">I", status)


@pytest.mark.parametrize("source, transport, reason", [
    ("127.0.0.1", "udp", "not signed, and dracd.allow demands key="),
    ("127.0.0.3", "udp", "not by TCP, and dracd.allow demands tcp"),
    ("127.0.0.4", "tcp", "not signed, and dracd.allow demands key="),
    ("127.0.0.9", "udp", "not in dracd.allow or refused by hosts.allow")])
def test_refusals_say_why(keyed, source, transport, reason):
    for _ in range(200):
        carried(keyed, rpcraw.call(1, 1, ARGS), transport, source=source)
    assert 'deny caller=%s reason="%s' % (source, reason) in keyed.stderr
    assert keyed.stderr.count("deny ") == 1     # not each of them
    assert listed(keyed) == set()


def test_refusals_are_events(keyed):
    """Wrong signatures, too: who watches sees whom to ask."""
    wrong = [signing.call(1, 1, ARGS, secret="y" * 40)[0],
             signing.call(1, 1, ARGS, name="nobody")[0],
             signing.call(1, 1, ARGS, time_s=1)[0],
             rpcraw.call(1, 1, cred=(signing.FLAVOR, b"")),
             rpcraw.call(1, 1, ARGS)]
    with keyed.client("unix") as client:
        cookie = client.events()[2]
        for i, message in enumerate(wrong):
            carried(keyed, message, source="127.0.0.9")
            _, events, cookie, lost = client.events(cookie)
            assert [(e.kind, e.entry.address, e.entry.caller)
                    for e in events] == [(rpcraw.DENY, "", "127.0.0.9")], i
            assert lost == 0


def test_refusals_are_short(keyed):
    """Whoever forges a source has nobody sent more than he sends himself."""
    calls = [rpcraw.call(1, 1, ARGS), rpcraw.call(1, 1), rpcraw.call(9, 1),
             rpcraw.call(3, 9), rpcraw.call(1, 1, prog=1 << 20),
             rpcraw.call(1, 1, cred=(signing.FLAVOR, b"")),
             signing.call(1, 1, ARGS, secret="y" * 40)[0],
             signing.call(1, 1, ARGS)[0]]
    for message in calls:
        with contextlib.suppress(rpcraw.NoAnswer):
            assert len(carried(keyed, message, source="127.0.0.9",
                               timeout=0.2)) <= len(message)


# ---- bad ones -------------------------------------------------------------------

def flip(message, at):
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1:]


@BOTH
def test_every_altered_byte(keyed, transport):
    """No byte of a signed call can be another one, or be missing."""
    message, _ = signing.call(1, 1, ARGS)
    for at in range(len(message)):
        with contextlib.suppress(rpcraw.NoAnswer, rpcraw.Closed):
            # Lengths and types may make it no call at all: no answer.
            reply = carried(keyed, flip(message, at), transport,
                            timeout=0.05)
            assert not success(reply), "byte %d" % at
    for size in range(0, len(message), 4):
        with contextlib.suppress(rpcraw.NoAnswer, rpcraw.Closed):
            assert not success(carried(keyed, message[:size], transport,
                                       timeout=0.05)), size
    assert not success(carried(keyed, message + bytes(4), transport))
    assert listed(keyed) == set()
    assert success(carried(keyed, message, transport))


def success(reply):
    parsed = rpcraw.parse(reply)
    return not parsed.denied and parsed.stat == rpcraw.SUCCESS and \
        parsed.body == struct.pack(">I", ADD_SUCCESS)


@BOTH
def test_each_fault_has_its_name(keyed, transport):
    now = int(time.time())
    rows = [(dict(secret="y" * 40), signing.BADVERF,
             "signed with another secret, or altered"),
            (dict(name="nobody"), signing.REJECTEDCRED, "no such key"),
            (dict(name="other"), signing.BADVERF, "another secret"),
            (dict(time_s=now - WINDOW_S - 30), signing.REJECTEDVERF,
             r"its time is \d+ s behind ours"),
            (dict(time_s=now + WINDOW_S + 30), signing.REJECTEDVERF,
             r"its time is \d+ s ahead of ours"),
            (dict(time_s=0), signing.REJECTEDVERF, "behind ours"),
            (dict(time_s=2**63 - 1), signing.REJECTEDVERF, None),
            (dict(time_s=2**63), signing.BADCRED, None),
            (dict(time_s=2**64 - 1), signing.BADCRED, None),
            (dict(scheme=2), signing.BADCRED, "malformed"),
            (dict(name=""), signing.BADCRED, None),
            (dict(name="n" * 65), signing.BADCRED, None),
            (dict(name="a b"), signing.BADCRED, None),
            (dict(cred=signing.credential("abc")[:-1] + b"x"),
             signing.BADCRED, None),
            (dict(cred=signing.credential() + bytes(4)), signing.BADCRED,
             None),
            (dict(cred=b""), signing.BADCRED, None),
            (dict(cred=b"x" * 400), signing.BADCRED, None)]
    for parts, stat, reason in rows:
        if parts.get("cred") == b"":        # which signing.call() replaces
            message = rpcraw.call(1, 1, ARGS, cred=(signing.FLAVOR, b""))
        else:
            message, _ = signing.call(1, 1, ARGS, **parts)
        if reason and transport == "udp":
            keyed.stop()        # each line at once: the limit begins anew
            keyed.start()
        assert why(carried(keyed, message, transport)) == stat, parts
        if reason and transport == "udp":
            assert re.search('deny caller=127.0.0.1 key=.*' + reason,
                             keyed.stderr), keyed.stderr
    assert listed(keyed) == set()


def test_verifier_of_another_kind(keyed):
    for verf in (0, b""), (signing.FLAVOR, b""), (signing.FLAVOR, b"x" * 28), \
            (1, bytes(32)):
        message = rpcraw.call(1, 1, ARGS, verf=verf,
                              cred=(signing.FLAVOR, signing.credential()))
        assert why(carried(keyed, message)) == signing.BADVERF
    assert listed(keyed) == set()


@pytest.mark.parametrize("skew_s", [-WINDOW_S + 20, WINDOW_S - 20])
def test_clocks_may_differ_somewhat(keyed, skew_s):
    message, tag = signing.call(1, 1, ARGS, time_s=int(time.time()) + skew_s)
    reply = carried(keyed, message)
    assert success(reply) and signing.is_signed(reply, tag)


def test_without_keys_signed_calls_are_refused(dracd):
    daemon = dracd().start()
    assert why(carried(daemon, signing.call(1, 1, ARGS)[0])) == \
        signing.REJECTEDCRED
    assert success(carried(daemon, rpcraw.call(1, 1, ARGS)))


# ---- again ----------------------------------------------------------------------

def test_retransmission_is_answered_and_not_executed(keyed):
    """The very bytes of the first answer, and nothing happens twice."""
    add, tag = signing.call(3, 1, rpcraw.v3_add_args("192.0.2.1", 60))
    first = carried(keyed, add)
    assert signing.is_signed(first, tag)
    remove, _ = signing.call(3, 2, rpcraw.opaque(rpcraw.packed("192.0.2.1")))
    removed = carried(keyed, remove)
    assert listed(keyed) == set()
    # From anywhere, as an attacker would who has seen the packet.
    assert carried(keyed, add) == first
    assert carried(keyed, add, source="127.0.0.2") == first
    assert listed(keyed) == set(), "a replayed add was carried out"
    again, _ = signing.call(3, 1, rpcraw.v3_add_args("192.0.2.1", 60))
    carried(keyed, again)
    assert carried(keyed, remove) == removed
    assert listed(keyed) == {"192.0.2.1"}, "a replayed remove was carried out"


def test_retransmission_of_a_reading_call(keyed):
    message, tag = signing.call(3, 3,
                                rpcraw.opaque(rpcraw.packed("192.0.2.1")))
    for _ in range(3):
        assert signing.is_signed(carried(keyed, message), tag)


def test_over_a_connection_nothing_comes_twice(keyed):
    for vers, proc, args in (1, 1, ARGS), (3, 5, b""):
        message, _ = signing.call(vers, proc, args)
        assert why(carried(keyed, message, "tcp")) is None
        assert why(carried(keyed, message, "tcp")) == signing.REJECTEDVERF
    udp, _ = signing.call(1, 1, ARGS)
    assert success(carried(keyed, udp))
    assert why(carried(keyed, udp, "tcp")) == signing.REJECTEDVERF
    assert 'reason="replayed"' in keyed.stderr


def test_nonce_of_another_call(keyed):
    nonce = os.urandom(16)
    assert success(carried(keyed, signing.call(1, 1, ARGS, nonce=nonce)[0]))
    other = signing.call(1, 1, rpcraw.v1_args("192.0.2.2"), nonce=nonce)[0]
    assert why(carried(keyed, other)) == signing.REJECTEDVERF
    assert listed(keyed) == {"192.0.2.1"}


def test_retransmission_while_it_is_held(keyed):
    """A reader locks the map: the call is answered once, when it is done."""
    with keyed.client("udp") as client, \
            keyed.client("udp", timeout=0.3) as other:
        message, tag = signing.call(1, 1, ARGS)
        with keyed.map_locked():
            client.carrier.send(message)
            other.carrier.send(message)
            client.carrier.send(signing.call(1, 0)[0])
            assert len(client.carrier.receive()) == 24 + 32     # the null call
        reply = client.carrier.receive()
        assert signing.is_signed(reply, tag)
        with pytest.raises(rpcraw.NoAnswer):    # it was not made once more
            other.carrier.receive()
        assert carried(keyed, message) == reply


# ---- key files, start and reload --------------------------------------------------

@pytest.mark.parametrize("text, mode, message", [
    (SECRET, 0o644, "chmod"), (SECRET, 0o604, "chmod"),
    (SECRET, 0o660, "chmod"),
    ("short", 0o600, "the secret has 5 characters, not 32 to 512"),
    ("x" * 31, 0o600, "the secret has 31 characters"),
    ("x" * 513, 0o600, "the secret has 513 characters"),
    ("", 0o600, "no secret in it"), ("# " + SECRET, 0o600, "no secret in it"),
    ("other " + SECRET, 0o600, "the name in it is that of another key"),
    ("pop1 " + SECRET[:20] + " " + SECRET, 0o600, "blanks"),
    (SECRET + "\n" + SECRET, 0o600, "more than one line"),
    ("a/b " + SECRET, 0o600, "the name before the secret"),
    (SECRET + "\xe4", 0o600, "not printable ASCII")])
def test_bad_key_files(dracd, tmp_path, text, mode, message):
    file = signing.write_key(tmp_path / "k", text, mode)
    daemon = signing.give_keys(dracd(), pop1=file)
    for args in [], ["-t"]:
        done = daemon.run(*args)
        assert done.returncode == EX_CONFIG
        assert "key=pop1 file=%s: " % file in done.stderr
        assert message in done.stderr
    assert SECRET not in done.stderr


def test_files_that_are_none(dracd, tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    for file, message in [(tmp_path / "none", "No such file"),
                          (tmp_path, "regular file"),
                          (tmp_path / "fifo", "regular file")]:
        done = signing.give_keys(dracd(), pop1=file).run("-t")
        assert done.returncode == EX_CONFIG and message in done.stderr


def test_group_and_owner_of_a_key_file(dracd, tmp_path):
    """The daemon's group may read it, another one may not."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files to others")
    file = signing.write_key(tmp_path / "k", mode=0o640)
    daemon = signing.give_keys(dracd(), pop1=file)
    assert daemon.run("-t").returncode == 0
    os.chown(file, 0, 65534)
    assert "chgrp" in daemon.run("-t").stderr
    os.chown(file, 65534, 0)
    assert "chown" in daemon.run("-t").stderr


@pytest.mark.parametrize("line, message", [
    ('key "a b" { file = "/x" }', "the name of a key is"),
    ('key "a" { }', "no file"), ('key "a" { file = "" }', "file"),
    ('key "a" { files = "/x" }', "no such option"),
    ('key { file = "/x" }', "dracd.conf:1")])
def test_bad_key_settings(dracd, line, message):
    daemon = dracd()
    daemon.conf.write_text(line + "\n")
    daemon.write_config = lambda: None
    done = daemon.run("-t")
    assert done.returncode == EX_CONFIG and message in done.stderr
    assert "dracd.conf:1" in done.stderr


@pytest.mark.parametrize("line, message", [
    ("127.0.0.1 key=nobody", 'there is no key "nobody" in dracd.conf'),
    ("127.0.0.1 key=", 'there is no key ""'),
    ("127.0.0.1 key=pop1 key=pop1", "the same option twice"),
    ("127.0.0.1 tcp tcp", "the same option twice"),
    ("127.0.0.1 udp", "netmask"), ("127.0.0.1 KEY=pop1", "netmask"),
    ("tcp", "no address before"), ("key=pop1 127.0.0.1", "netmask"),
    ("host tcp", "write for example"),
    ("127.0.0.1 tcp key=pop1 more", "too many words")])
def test_bad_options_in_the_allow_file(dracd, tmp_path, line, message):
    daemon = signing.give_keys(dracd(),
                               pop1=signing.write_key(tmp_path / "k"))
    daemon.allow.write_text("127.0.0.1\n%s\n" % line)
    done = daemon.run("-t")
    assert done.returncode == EX_CONFIG
    assert "dracd.allow:2: " in done.stderr and message in done.stderr


def test_reload_reads_new_keys(keyed, tmp_path):
    new = "n" * 32
    assert success(carried(keyed, signing.call(1, 1, ARGS)[0]))
    # Another secret, and another key.
    signing.write_key(tmp_path / "pop1.key", new)
    signing.give_keys(keyed, pop1=tmp_path / "pop1.key",
                      late=signing.write_key(tmp_path / "late", "late " +
                                             "l" * 40))
    keyed.write_config()
    keyed.allow.write_text("127.0.0.1 key=pop1\n127.0.0.1 key=late\n")
    keyed.reload()
    assert why(carried(keyed, signing.call(1, 1, ARGS)[0])) == signing.BADVERF
    for name, secret in (NAME, new), ("late", "l" * 40):
        message, tag = signing.call(1, 1, ARGS, name=name, secret=secret)
        assert signing.is_signed(carried(keyed, message), tag, secret)
    # What has come before is still known.
    replay, _ = signing.call(1, 1, ARGS, secret=new)
    assert success(carried(keyed, replay, "tcp"))
    keyed.reload()
    assert why(carried(keyed, replay, "tcp")) == signing.REJECTEDVERF
    # A key that is gone, with the line that named it.
    signing.give_keys(keyed, pop1=tmp_path / "pop1.key")
    keyed.write_config()
    keyed.allow.write_text("127.0.0.1 key=pop1\n")
    keyed.reload()
    message, _ = signing.call(1, 1, ARGS, name="late", secret="l" * 40)
    assert why(carried(keyed, message)) == signing.REJECTEDCRED


def test_reload_with_errors_keeps_all(keyed, tmp_path):
    signing.write_key(tmp_path / "pop1.key", "short")
    keyed.reload()
    wait_for(lambda: "reload: errors" in keyed.stderr, 5, "a reload")
    assert success(carried(keyed, signing.call(1, 1, ARGS)[0]))
    signing.write_key(tmp_path / "pop1.key", mode=0o644)
    keyed.reload()
    assert success(carried(keyed, signing.call(1, 1, ARGS)[0]))


# ---- figures ----------------------------------------------------------------------

def rate(daemon, messages):
    """Calls a second of one caller over UDP."""
    with daemon.client("udp") as client:
        begin = time.perf_counter()
        for message in messages:
            signing.exchange(client.carrier, message)
        return len(messages) / (time.perf_counter() - begin)


def test_rates(keyed, figures):
    """Made beforehand, so that only the server's part is measured."""
    keyed.allow.write_text("127.0.0.1\n")
    keyed.reload()
    count = 2000
    unsigned = [rpcraw.call(1, 1, ARGS) for _ in range(count)]
    signed = [signing.call(1, 1, ARGS)[0] for _ in range(count)]
    rate(keyed, unsigned)
    plain, proven = rate(keyed, unsigned), rate(keyed, signed)
    figures("%d unsigned, %d signed adds/s" % (plain, proven))
    assert proven > plain / 20

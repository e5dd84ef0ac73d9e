"""
Versions 1 and 2 on the wire, byte for byte as DRAC 1.12, and what bad calls
get. No call here may leave an entry that it does not name.
"""

import random
import signal
import socket
import struct

import pytest

import hostile
import rpcraw
from rpcraw import (ADD, ADD_PERM, ADD_SUCCESS, GARBAGE_ARGS, PROC_UNAVAIL,
                    PROG_MISMATCH, PROG_UNAVAIL, call)

XID = 0x01020304
V1_CALL = bytes.fromhex(
    "01020304 00000000 00000002 000dbc05 00000001 00000001"
    "00000000 00000000 00000000 00000000 c0000201")
V1_ADDRESS = "192.0.2.1"
V2_CALL = bytes.fromhex(
    "01020304 00000000 00000002 000dbc05 00000002 00000001"
    "00000000 00000000 00000000 00000000"
    "00000020 00000001 0000000d ffffffb8 00000000 00000000 00000000 00000000"
    "00000000 00000000 00000000 00000000 fffffffe ffffff80 00000000 00000001")
V2_ADDRESS = "2001:db8::fe80:1"
PIPELINED = 8
CALL_MAX = 1024     # bytes of a datagram that are looked at
VICTIM = "198.51.100.77"


def reply(stat):
    return struct.pack(">7I", XID, 1, 0, 0, 0, 0, stat)


def answers(client, message):
    return hostile.udp_answers(client.carrier, message)


def check_both(daemon, message, check, silence_ok=False):
    """
    check(Reply) of the answer over UDP and TCP. silence_ok: UDP may stay
    silent; TCP never does, unless it closes.
    """
    with daemon.client("udp") as client:
        replies = answers(client, message)
        assert silence_ok or replies, "no answer over UDP"
        assert len(replies) <= 1
        for data in replies:
            check(rpcraw.parse(data))
    with daemon.client("tcp") as client:
        check(client.exchange(message))


def check_dropped(daemon, message):
    """Over UDP silence, over TCP the connection is closed."""
    with daemon.client("udp") as client:
        assert answers(client, message) == []
    with daemon.client("tcp") as client:
        client.carrier.send(message)
        with pytest.raises(rpcraw.Closed):
            client.carrier.receive()


def table(daemon):
    with daemon.client() as client:
        return set(client.table())


@pytest.fixture
def daemon(dracd):
    return dracd().start()


# ---- well-formed ------------------------------------------------------------

@pytest.mark.parametrize("message, address, keys", [
    (V1_CALL, V1_ADDRESS, {b"192.0.2.1"}),
    (V2_CALL, V2_ADDRESS,
     {b"2001:db8::fe80:1", b"2001:db8:0:0:0:0:fe80:1",
      b"ipv6:2001:db8:0:0:0:0:fe80:1"}),
], ids=["v1", "v2"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_published_bytes(daemon, message, address, keys, host):
    with daemon.client("udp", host=host) as client:
        client.carrier.send(message)
        assert client.carrier.receive() == reply(ADD_SUCCESS)
    with daemon.client("tcp", host=host) as client:
        client.carrier.send_raw(rpcraw.record(message))
        client.carrier.sock.settimeout(2)
        assert client.carrier._read(32) == \
            bytes.fromhex("8000001c") + reply(ADD_SUCCESS)
    assert table(daemon) == {address}
    assert set(daemon.map()) == keys


def test_builder_makes_the_published_bytes():
    assert V1_CALL == call(1, ADD, rpcraw.v1_args(V1_ADDRESS), xid=XID)
    assert V2_CALL == call(2, ADD, rpcraw.v2_args(V2_ADDRESS), xid=XID)


def test_v2_takes_both_extensions(daemon):
    with daemon.client() as client:
        assert client.add2("2001:db8::fe80:1", signed=True) == ADD_SUCCESS
        assert client.add2("2001:db8::fe80:2", signed=False) == ADD_SUCCESS
        # 0x120 has the low byte 0x20: DRAC 1.12 took that byte alone.
        args = bytearray(rpcraw.v2_args("2001:db8::fe80:3"))
        args[2] = 1
        assert client.result(2, ADD, bytes(args)).take(">I") == ADD_SUCCESS
        assert set(client.table()) == {"2001:db8::fe80:%d" % i
                                       for i in (1, 2, 3)}


def test_v2_mapped_address_is_ipv4(daemon):
    with daemon.client() as client:
        assert client.add2("::ffff:192.0.2.9") == ADD_SUCCESS
        assert client.add1("192.0.2.9") == ADD_SUCCESS
    assert set(daemon.map()) == {b"192.0.2.9"}


@pytest.mark.parametrize("address", [
    "0.0.0.0", "0.0.0.1", "224.0.0.1", "255.255.255.255", "::", "ff02::1",
    "::ffff:224.0.0.1"])
def test_addresses_that_are_nobody(daemon, address):
    with daemon.client() as client:
        if ":" not in address:
            assert client.add1(address) == ADD_PERM
        assert client.add2(address) == ADD_PERM
        assert client.add3(address)[0] == rpcraw.PERM
    assert table(daemon) == set() and daemon.map() == {}


def test_auth_sys_credential_is_taken(daemon):
    body = struct.pack(">I", 1) + rpcraw.opaque("host") + bytes(8) + \
        struct.pack(">I", 0)
    check_both(daemon, call(1, ADD, rpcraw.v1_args(V1_ADDRESS),
                            cred=(1, body)),
               lambda r: (not r.denied and r.stat == 0) or pytest.fail(str(r)))
    assert table(daemon) == {V1_ADDRESS}


# ---- malformed --------------------------------------------------------------

@pytest.mark.parametrize("message", [
    V1_CALL[:-4], V1_CALL[:-1], V2_CALL[:-64], V2_CALL[:-4], V2_CALL[:-1],
    call(3, ADD, rpcraw.v3_add_args(VICTIM, 60, "user", "pop3")[:-4]),
    call(3, rpcraw.REMOVE, b"\0\0\0\x04\xc0"),
    call(3, rpcraw.LIST, bytes(8)),
], ids=["v1-none", "v1-3-bytes", "v2-none", "v2-15-chars", "v2-63-bytes",
        "v3-add", "v3-remove", "v3-list"])
def test_truncated_arguments(daemon, message):
    """
    Never the bytes that an earlier call left in the same buffer: the slots of
    a batch are first filled with a whole call, then get the short one.
    """
    with daemon.client() as client:
        for _ in range(70):
            client.carrier.send(call(1, ADD, rpcraw.v1_args(VICTIM)))
            client.carrier.send(call(2, ADD, rpcraw.v2_args(VICTIM)))
        for _ in range(140):
            client.carrier.receive()
        assert client.remove(VICTIM) == rpcraw.OK
        for _ in range(70):
            for data in answers(client, message):
                assert rpcraw.parse(data).stat == GARBAGE_ARGS
    with daemon.client("tcp") as client:
        assert client.exchange(message).stat == GARBAGE_ARGS
    assert table(daemon) == set() and daemon.map() == {}


@pytest.mark.parametrize("version", [0, 4, 0xffffffff])
def test_wrong_version(daemon, version):
    def check(answer):
        assert not answer.denied and answer.stat == PROG_MISMATCH
        assert answer.body == struct.pack(">II", 1, 3)

    check_both(daemon, call(version, ADD, rpcraw.v1_args(VICTIM)), check)
    assert table(daemon) == set()


@pytest.mark.parametrize("version, procedure", [(1, 2), (2, 2), (3, 7),
                                                (1, 0xffffffff)])
def test_wrong_procedure(daemon, version, procedure):
    def check(answer):
        assert not answer.denied and answer.stat == PROC_UNAVAIL

    check_both(daemon, call(version, procedure, rpcraw.v1_args(VICTIM)), check)
    assert table(daemon) == set()


def test_wrong_program(daemon):
    def check(answer):
        assert not answer.denied and answer.stat == PROG_UNAVAIL

    check_both(daemon, call(1, ADD, rpcraw.v1_args(VICTIM), prog=100000),
               check, silence_ok=True)
    assert table(daemon) == set()


@pytest.mark.parametrize("message", [
    call(1, ADD, rpcraw.v1_args(VICTIM), rpcvers=3),
    call(1, ADD, rpcraw.v1_args(VICTIM), mtype=1),
    call(1, ADD, rpcraw.v1_args(VICTIM), mtype=7),
    V1_CALL[:12],
    V1_CALL[:3],
    V1_CALL[:38],
    call(1, ADD, rpcraw.v1_args(VICTIM), cred=(0, bytes(404))),
    V1_CALL[:28] + b"\xff\xff\xff\xff" + V1_CALL[32:],
    b"GET / HTTP/1.0\r\n\r\n" + bytes(30),
], ids=["rpcvers-3", "reply", "mtype-7", "short", "3-bytes", "half-header",
        "cred-404", "cred-4G", "http"])
def test_not_a_call(daemon, message):
    check_dropped(daemon, message)
    assert table(daemon) == set()


def test_empty_datagram_and_record(daemon):
    with daemon.client("udp") as client:
        assert answers(client, b"") == []
    with daemon.client("tcp") as client:
        client.carrier.send(b"")
        with pytest.raises(rpcraw.Closed):
            client.carrier.receive()


@pytest.mark.parametrize("flavor", [99, 2])
def test_unknown_credential(daemon, flavor):
    def check(answer):
        # MSG_DENIED, AUTH_ERROR, AUTH_REJECTEDCRED
        assert answer.denied and answer.stat == rpcraw.AUTH_ERROR
        assert answer.body == struct.pack(">I", 2)

    check_both(daemon, call(1, ADD, rpcraw.v1_args(VICTIM),
                            cred=(flavor, b"")), check)
    assert table(daemon) == set()


@pytest.mark.parametrize("message, address", [
    (V1_CALL, V1_ADDRESS), (V2_CALL, V2_ADDRESS)], ids=["v1", "v2"])
def test_trailing_bytes_are_ignored(daemon, message, address):
    def check(answer):
        assert not answer.denied and answer.stat == 0
        assert answer.body == bytes(4)

    check_both(daemon, message + b"trailing bytes..", check)
    assert table(daemon) == {address}


@pytest.mark.parametrize("size", [CALL_MAX + 1, 60000])
def test_oversized_datagram(daemon, size):
    """A whole call and more behind it than any call has: nothing."""
    with daemon.client("udp") as client:
        bad = client.stats()["bad_calls"]
        message = call(1, ADD, rpcraw.v1_args(VICTIM))
        assert answers(client, message.ljust(size, b"\0")) == []
        assert client.stats()["bad_calls"] == bad + 1
        assert len(answers(client, message.ljust(CALL_MAX, b"\0"))) == 1
        assert client.remove(VICTIM) == rpcraw.OK
    assert table(daemon) == set()


@pytest.mark.parametrize("mark", [
    b"\xff\xff\xff\xff", b"\x80\x10\x00\x00", b"\x80\x00\x40\x00",
    b"\x16\x03\x01\x02", b"GET "],
    ids=["2G", "1M", "16k", "tls", "http"])
def test_bad_record_length(daemon, mark):
    with daemon.client("tcp") as client:
        client.carrier.send_raw(mark + V1_CALL)
        with pytest.raises(rpcraw.Closed):
            client.carrier.receive()
    assert table(daemon) == set()


def test_fragmented_record(daemon):
    """libtirpc clients never send one; answered right, or closed."""
    with daemon.client("tcp") as client:
        client.carrier.send_raw(rpcraw.record(V1_CALL[:20], last=False) +
                                rpcraw.record(V1_CALL[20:]))
        try:
            assert client.carrier.receive() == reply(ADD_SUCCESS)
        except rpcraw.Closed:
            assert table(daemon) == set()


def test_record_byte_by_byte(daemon):
    with daemon.client("tcp") as client:
        for byte in rpcraw.record(V1_CALL):
            client.carrier.send_raw(bytes([byte]))
        assert client.carrier.receive() == reply(ADD_SUCCESS)


def test_pipelined_calls_are_all_answered(daemon):
    """By a client that reads: so many on their way, 100 in all."""
    addresses = ["203.0.113.%d" % i for i in range(100)]
    calls = [rpcraw.record(call(1, ADD, rpcraw.v1_args(a), xid=i))
             for i, a in enumerate(addresses)]
    for transport in "tcp", "unix":
        with daemon.client(transport) as client:
            client.carrier.send_raw(b"".join(calls[:PIPELINED]))
            for i in range(100):
                answer = rpcraw.parse(client.carrier.receive())
                assert answer.xid == i and answer.body == bytes(4)
                client.carrier.send_raw(b"".join(
                    calls[i + PIPELINED:i + PIPELINED + 1]))
    assert table(daemon) == set(addresses)


def test_call_and_close(daemon):
    """A client that asks and goes, with FIN or RST, harms nobody."""
    linger = struct.pack("ii", 1, 0)
    for i in range(200):
        with daemon.client("tcp") as client:
            client.carrier.send(call(1, ADD, rpcraw.v1_args(V1_ADDRESS)))
            if i % 2:
                client.carrier.sock.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger)
    with daemon.client("tcp") as client:
        assert client.add1(V1_ADDRESS) == ADD_SUCCESS
    assert table(daemon) == {V1_ADDRESS}


def test_asked_and_gone_fill_no_quota(daemon):
    """Who was served late, because the daemon was busy, is no crowd."""
    daemon.process.send_signal(signal.SIGSTOP)
    for _ in range(400):        # three times max-connections-per-address
        with daemon.client("tcp") as client:
            client.carrier.send(call(1, ADD, rpcraw.v1_args(V1_ADDRESS)))
    with daemon.client("tcp") as client:
        client.carrier.send(call(1, ADD, rpcraw.v1_args(V1_ADDRESS)))
        daemon.process.send_signal(signal.SIGCONT)
        client.carrier.receive()
    assert "max-connections-per-address" not in daemon.stderr


def test_mutated_calls(daemon):
    """3,000 calls with a few bytes changed: it lives and answers."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    models = [V1_CALL, V2_CALL, call(3, ADD, rpcraw.v3_add_args(
        VICTIM, 60, "user", "pop3")), call(3, rpcraw.LIST, bytes(12))]
    with daemon.client("udp") as client:
        for _ in range(3000):
            message = bytearray(chance.choice(models))
            for _ in range(chance.randint(1, 4)):
                message[chance.randrange(4, len(message))] = \
                    chance.randrange(256)
            cut = chance.choice([len(message), chance.randrange(len(message))])
            answers(client, bytes(message[:cut]))
    with daemon.client("tcp") as client:
        assert client.add1(V1_ADDRESS) == ADD_SUCCESS

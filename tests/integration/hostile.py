"""
hostile: calls that no honest client makes, and clients that mean harm, to be
run beside honest ones. Also a program, for callers in another namespace:

    hostile.py sizes HOST PORT      each call over UDP: name, bytes, of answer
    hostile.py syn HOST PORT NET    SYNs from NET.1 to .254, again and again
"""

import contextlib
import itertools
import multiprocessing
import os
import select
import socket
import struct
import sys
import time

import rpcraw
from rpcraw import call, opaque, record

BADCRED, REJECTEDCRED = 1, 2
AUTH_SYS, AUTH_SHORT, AUTH_DH, RPCSEC_GSS, SIGNED = 1, 2, 3, 6, 0x20d7ac01
IP_BIND_ADDRESS_NO_PORT = 24    # linux/in.h; not in Python 3.11
VICTIM = "198.51.100.77"
ANSWERED_S = 10.0       # by a sanitized daemon that others flood, too
V1 = rpcraw.v1_args(VICTIM)


# ---- calls ------------------------------------------------------------------

def auth_sys(host="host", gids=0):
    return struct.pack(">I", 1) + opaque(host) + bytes(8) + \
        struct.pack(">I", gids) + bytes(4 * gids)


def accepted(stat, body=b""):
    return struct.pack(">5I", 1, 0, 0, 0, stat) + body


def denied(why):
    return struct.pack(">4I", 1, 1, 1, why)


def by(flavor, body, **parts):
    return call(1, rpcraw.ADD, V1, cred=(flavor, body), **parts)


NOTHING = None      # over UDP silence, a connection is closed
FILTERED = object()     # over UDP silence, over TCP PROG_UNAVAIL

# name: (message, what follows the xid in its answer)
CALLS = {
    "program": (call(1, 1, V1, prog=100000), FILTERED),
    "version 0": (call(0, 1, V1), accepted(2, struct.pack(">II", 1, 3))),
    "version 4": (call(4, 1, V1), accepted(2, struct.pack(">II", 1, 3))),
    "procedure": (call(1, 2, V1), accepted(3)),
    "no arguments": (call(1, 1), accepted(4)),
    "garbage": (bytes(os.urandom(4)) + bytes(range(1, 97)), NOTHING),
    "rpcvers 3": (call(1, 1, V1, rpcvers=3), NOTHING),
    "a reply": (call(1, 1, V1, mtype=1), NOTHING),
    "3 bytes": (call(1, 1, V1)[:3], NOTHING),
    "12 bytes": (call(1, 1, V1)[:12], NOTHING),
    "38 bytes": (call(1, 1, V1)[:38], NOTHING),
    "credential of 404": (by(0, bytes(404)), NOTHING),
    "verifier of 404": (by(0, b"", verf=(0, bytes(404))), NOTHING),
    "credential of 4 GB": (call(1, 1)[:28] + b"\xff" * 4 + bytes(16), NOTHING),
    "17 groups": (by(AUTH_SYS, auth_sys(gids=17)), denied(BADCRED)),
    "host of 256": (by(AUTH_SYS, auth_sys("h" * 256)), denied(BADCRED)),
    "credential of 0": (by(AUTH_SYS, b""), denied(BADCRED)),
    "credential of 4": (by(AUTH_SYS, bytes(4)), denied(BADCRED)),
    "AUTH_SYS and more": (by(AUTH_SYS, auth_sys() + bytes(4)), denied(BADCRED)),
    "1 group of 2": (by(AUTH_SYS, auth_sys(gids=2)[:-4]), denied(BADCRED)),
    "AUTH_SHORT": (by(AUTH_SHORT, bytes(8)), denied(REJECTEDCRED)),
    "AUTH_DH": (by(AUTH_DH, bytes(20)), denied(REJECTEDCRED)),
    "flavor 99": (by(99, b""), denied(REJECTEDCRED)),
    "GSS init": (by(RPCSEC_GSS, struct.pack(">5I", 1, 1, 0, 1, 0)),
                 denied(REJECTEDCRED)),
    "GSS junk": (by(RPCSEC_GSS, bytes(range(100))), denied(REJECTEDCRED)),
    "signed by nobody": (by(SIGNED, b""), denied(BADCRED)),
}
VALID = {
    "null": call(1, rpcraw.NULL),
    "add": call(1, rpcraw.ADD, V1),
    "add 2": call(2, rpcraw.ADD, rpcraw.v2_args("2001:db8::77")),
    "add 3": call(3, rpcraw.ADD, rpcraw.v3_add_args(VICTIM)),
    "add 3 without arguments": call(3, rpcraw.ADD),
    "remove": call(3, rpcraw.REMOVE, opaque(rpcraw.packed(VICTIM))),
    "remove without arguments": call(3, rpcraw.REMOVE),
    "query": call(3, rpcraw.QUERY, opaque(rpcraw.packed(VICTIM))),
    "query without arguments": call(3, rpcraw.QUERY),
    "list": call(3, rpcraw.LIST, bytes(12)),
    "stats": call(3, rpcraw.STATS),
    "events": call(3, rpcraw.EVENTS, struct.pack(">QI", 1, 32)),
}
# What a connection is closed for at once.
RECORDS = {
    "2 GB": b"\xff\xff\xff\xff" + bytes(8),
    "1 MB": b"\x80\x10\x00\x00" + bytes(8),
    "1 byte too long": struct.pack(">I", 0x80000000 | 1025),
    "HTTP": b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n",
    "TLS": bytes.fromhex("16030101fc010001f80303") + bytes(64),
    "pieces": record(VALID["null"][:20], last=False) +
    record(VALID["null"][20:]),
    "the first piece a call": record(VALID["add"], last=False) + record(b""),
    "empty": record(b""),
}
# The same for who asks for addresses.
LOOKUPS = {
    "HTTP": RECORDS["HTTP"],
    "TLS": RECORDS["TLS"],
    "an RPC call": record(VALID["null"]),
    "leading zero": b"014:drac 192.0.2.1,",
    "no comma": b"14:drac 192.0.2.1;",
    "too long": b"513:" + bytes(8),
    "digits": b"9" * 100,
}
LOOKUP = b"14:drac 192.0.2.1,"


def udp_answers(carrier, message):
    """
    All answers to a datagram. They have come when two null calls, one after
    the other, are answered: an add may be held to the end of its turn.
    """
    carrier.send(message)
    answers = []
    for fence in call(1, rpcraw.NULL), call(1, rpcraw.NULL):
        carrier.send(fence)
        while (data := carrier.receive())[:4] != fence[:4]:
            answers.append(data)
    return answers


# ---- connections -------------------------------------------------------------

def connect(place, source=None, **options):
    """place: a path, or an address and a port."""
    if isinstance(place, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(ANSWERED_S)
        sock.connect(place)
        return sock
    sock = socket.socket(socket.AF_INET6 if ":" in place[0]
                         else socket.AF_INET)
    for name, value in options.items():
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    if source:
        # Or the kernel gives ports that the other side still remembers.
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
    sock.settimeout(ANSWERED_S)
    sock.connect(place)
    return sock


def is_closed(sock, timeout=ANSWERED_S):
    """Whether the other side has closed it, or does within the timeout."""
    sock.settimeout(timeout)
    try:
        return sock.recv(1) == b""
    except (ConnectionResetError, BrokenPipeError):
        return True
    except (socket.timeout, BlockingIOError):
        return False


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))
    sock.close()


# ---- attacks ----------------------------------------------------------------
# Each runs until it is killed, and yields when it has done its harm once more.
# What must become of it is asserted here.

def bad_calls(daemon):
    """Over UDP and TCP; answers are those of the standard."""
    for name, (message, answer) in itertools.cycle(CALLS.items()):
        with contextlib.closing(connect(("127.0.0.1", daemon.port))) as sock:
            sock.sendall(record(message))
            if answer is NOTHING:
                assert is_closed(sock), name
            else:
                body = accepted(1) if answer is FILTERED else answer
                want = record(message[:4] + body)
                assert sock.recv(100) == want, name
        yield


def bad_records(daemon, places=None, junk=None):
    for name, data in itertools.cycle((junk or RECORDS).items()):
        for place in places or (("127.0.0.1", daemon.port),
                                ("::1", daemon.port), daemon.unix):
            with contextlib.closing(connect(place)) as sock:
                sock.sendall(data)
                assert is_closed(sock), name
            yield


def never_reads(places, request):
    """Six that send and do not read, and come back when closed."""
    def attack(place):
        options = {} if isinstance(place, str) else {"SO_RCVBUF": 4096}
        sock = connect(place, **options)
        sock.setblocking(False)
        return sock

    places = list(itertools.islice(itertools.cycle(places), 6))
    socks = [attack(place) for place in places]
    while True:
        for i, sock in enumerate(socks):
            try:
                sock.send(request * 100)
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                sock.close()
                socks[i] = attack(places[i])
                yield
        time.sleep(0.001)   # or this is the flood, not the client


def asks_and_goes(place, request):
    """With FIN and with RST, before the answer."""
    for go in itertools.cycle((socket.socket.close, reset)):
        sock = connect(place)
        sock.sendall(request)
        go(sock)
        yield


def crowd(place, source, allowed):
    """More connections from one address than it may have."""
    while True:
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(contextlib.closing(
                connect(place, source))) for _ in range(allowed + 50)]
            poll = select.poll()
            for sock in socks:
                poll.register(sock, select.POLLIN)
            begin, shut = time.monotonic(), 0
            while shut < 50:
                shut = len(poll.poll(100))
                assert time.monotonic() < begin + ANSWERED_S, shut
        yield       # those of the last time may still be there


def comes_and_goes(place, source):
    while True:
        reset(connect(place, source))
        yield


def drips(place, whole):
    """Fifty, each a byte a second."""
    socks = [connect(place) for _ in range(50)]
    for i in itertools.count():
        for n, sock in enumerate(socks):
            if i % 1000 == n * 20:
                with contextlib.suppress(BrokenPipeError,
                                         ConnectionResetError):
                    sock.send(whole[i // 1000:i // 1000 + 1])
                    yield
        time.sleep(0.001)


def pipelines(place, request, answer_len):
    """A hundred on their way; who is slow to read may be closed for it."""
    while True:
        with contextlib.closing(connect(place)) as sock, \
                contextlib.suppress(BrokenPipeError, ConnectionResetError):
            left = 0
            while left == 0:
                sock.sendall(request * 100)
                left = 100 * answer_len
                while left > 0 and (data := sock.recv(left)):
                    left -= len(data)
                yield


# ---- beside -------------------------------------------------------------------

def _harm(attack, count):
    for _ in attack:
        count.value += 1


@contextlib.contextmanager
def attacked(attack):
    """Meanwhile the attack goes on in a process of its own; its count."""
    fork = multiprocessing.get_context("fork")
    count = fork.Value("L", 0, lock=False)
    process = fork.Process(target=_harm, args=(attack, count))
    process.start()
    try:
        yield count
        assert process.is_alive(), "the attack has failed: see above"
    finally:
        process.kill()
        process.join()


# ---- as a program ----------------------------------------------------------

def sizes(host, port):
    """Each call over UDP, and how long its answers are."""
    messages = {name: message for name, (message, _) in CALLS.items()}
    with contextlib.closing(rpcraw.Udp((host, port), timeout=ANSWERED_S)) as udp:
        for name, message in {**messages, **VALID}.items():
            got = sum(len(data) for data in udp_answers(udp, message))
            print("%s,%d,%d" % (name, len(message), got))


def checksum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def syn_flood(host, port, net):
    """From where nobody answers: each stays half open for a while."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    target = socket.inet_aton(host)
    print("ready", flush=True)
    for number in itertools.count():
        source = socket.inet_aton("%s.%d" % (net, number % 254 + 1))
        head = struct.pack(">HHIIBBHHH", 1024 + number // 254 % 60000, port,
                           number, 0, 5 << 4, 2, 65535, 0, 0)
        total = checksum(source + target +
                         struct.pack(">HH", socket.IPPROTO_TCP, 20) + head)
        head = head[:16] + struct.pack(">HH", total, 0)
        raw.sendto(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64,
                               socket.IPPROTO_TCP, 0, source, target) + head,
                   (host, 0))


if __name__ == "__main__":
    if sys.argv[1] == "sizes":
        sizes(sys.argv[2], int(sys.argv[3]))
    else:
        syn_flood(sys.argv[2], int(sys.argv[3]), sys.argv[4])

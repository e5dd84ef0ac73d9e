"""
rpcraw: an ONC RPC (RFC 5531) client for program 900101 over bare sockets.

It uses no RPC library, so that it can also say what no library would say.
Bytes come first: call() builds a message, Udp and Stream carry it, parse()
takes the answer apart. Client puts the procedures of rpc/drac.x on top.
"""

import collections
import ipaddress
import itertools
import os
import socket
import struct

PROG = 900101
NULL = 0
ADD = 1
REMOVE, QUERY, LIST, STATS, EVENTS = 2, 3, 4, 5, 6

# addstat of versions 1 and 2
ADD_SUCCESS, ADD_PERM, ADD_SYSERR, ADD_UNKOWN = range(4)
# drac3_status
OK, PERM, SYSERR, INVALID, NOTFOUND = range(5)
PAGE_MAX = 32
DATAGRAM_MAX = 1400     # of an answer, which fits everywhere
# drac3_event_kind
AUTHORIZE, REFRESH, REMOVED, EXPIRE, DENY = range(5)

# accept_stat and reject_stat of RFC 5531
SUCCESS, PROG_UNAVAIL, PROG_MISMATCH, PROC_UNAVAIL, GARBAGE_ARGS, SYSTEM_ERR = \
    range(6)
RPC_MISMATCH, AUTH_ERROR = range(2)
LAST_FRAGMENT = 0x80000000

_xid = itertools.count(struct.unpack("=I", os.urandom(4))[0])


class Closed(Exception):
    """The other side closed or reset the connection."""


class NoAnswer(Exception):
    """Nothing came within the timeout."""


class Refused(Exception):
    """An RPC error instead of a result; reply holds it."""

    def __init__(self, reply):
        super().__init__(repr(reply))
        self.reply = reply


# stat: accept_stat, or reject_stat when denied; body: what follows it.
Reply = collections.namedtuple("Reply", "xid denied stat body")
Entry = collections.namedtuple(
    "Entry", "address expiry user service first last adds caller")
Event = collections.namedtuple("Event", "kind time entry")


# ---- bytes ----------------------------------------------------------------

def opaque(data):
    """XDR variable-length opaque or string."""
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def packed(address):
    """4 or 16 bytes in network order of text, bytes, or an ipaddress."""
    if isinstance(address, bytes):
        return address
    return ipaddress.ip_address(address).packed


def v1_args(address):
    return packed(address)


def v2_args(address, signed=True):
    """16 XDR chars, 4 bytes each; signed: sign-extended, as in DRAC 1.12."""
    data = packed(address)
    if len(data) == 4:
        data = bytes(10) + b"\xff\xff" + data
    extend = (lambda b: b - 256 if b > 127 else b) if signed else int
    return struct.pack(">16i", *map(extend, data))


def v3_add_args(address, lifetime=0, user="", service=""):
    return (opaque(packed(address)) + struct.pack(">I", lifetime) +
            opaque(user) + opaque(service))


def call(vers, proc, args=b"", *, xid=None, prog=PROG, rpcvers=2, mtype=0,
         cred=(0, b""), verf=(0, b"")):
    """One call message; args are its bytes after the verifier."""
    xid = next(_xid) & 0xffffffff if xid is None else xid
    head = struct.pack(">IIIIII", xid, mtype, rpcvers, prog, vers, proc)
    for flavor, body in (cred, verf):
        head += struct.pack(">I", flavor) + opaque(body)
    return head + args


def record(message, last=True):
    """The message as one TCP record fragment."""
    mark = len(message) | (LAST_FRAGMENT if last else 0)
    return struct.pack(">I", mark) + message


def parse(data):
    """A reply message as a Reply; ValueError for anything else."""
    if len(data) < 12:
        raise ValueError("short reply %r" % data)
    xid, mtype, denied = struct.unpack_from(">III", data)
    if mtype != 1 or denied > 1:
        raise ValueError("not a reply: %r" % data)
    if denied:
        return Reply(xid, True, struct.unpack_from(">I", data, 12)[0],
                     data[16:])
    length = struct.unpack_from(">I", data, 16)[0]
    at = 20 + length + -length % 4
    return Reply(xid, False, struct.unpack_from(">I", data, at)[0],
                 data[at + 4:])


class Reader:
    """Takes XDR items off a body, in order."""

    def __init__(self, body):
        self.body, self.at = body, 0

    def take(self, form):
        values = struct.unpack_from(form, self.body, self.at)
        self.at += struct.calcsize(form)
        return values[0]

    def opaque(self):
        length = self.take(">I")
        data = self.body[self.at:self.at + length]
        if len(data) < length:
            raise ValueError("opaque runs past the end")
        self.at += length + -length % 4
        return data

    def text(self):
        return self.opaque().decode()

    def entry(self):
        address = self.opaque()
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        text = socket.inet_ntop(family, address) if address else ""
        return Entry(text, self.take(">q"), self.text(), self.text(),
                     self.take(">q"), self.take(">q"), self.take(">Q"),
                     self.text())

    def event(self):
        return Event(self.take(">I"), self.take(">q"), self.entry())


# ---- carriers ---------------------------------------------------------------

class Udp:
    """A connected datagram socket; source: the local address to send from."""

    def __init__(self, address, source=None, timeout=2.0):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        self.sock.settimeout(timeout)

    def send(self, message):
        self.sock.send(message)

    def receive(self):
        try:
            data = self.sock.recv(65536)
            assert len(data) <= DATAGRAM_MAX
            return data
        except socket.timeout:
            raise NoAnswer() from None
        except ConnectionRefusedError:
            raise Closed() from None

    def close(self):
        self.sock.close()


class Stream:
    """A TCP (address = host, port) or unix (address = path) connection."""

    def __init__(self, address, source=None, timeout=2.0):
        if isinstance(address, tuple):
            self.sock = socket.create_connection(
                address, timeout, (source, 0) if source else None)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(address)
        self.rest = b""

    def send(self, message):
        self.send_raw(record(message))

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed() from None

    def _read(self, size):
        while len(self.rest) < size:
            try:
                data = self.sock.recv(65536)
            except socket.timeout:
                raise NoAnswer() from None
            except ConnectionResetError:
                raise Closed() from None
            if not data:
                raise Closed()
            self.rest += data
        data, self.rest = self.rest[:size], self.rest[size:]
        return data

    def receive(self):
        """One record, its fragments put together."""
        message, last = b"", 0
        while not last:
            mark = struct.unpack(">I", self._read(4))[0]
            last = mark & LAST_FRAGMENT
            message += self._read(mark & ~LAST_FRAGMENT)
        return message

    def close(self):
        self.sock.close()


# ---- procedures -------------------------------------------------------------

class Client:
    """The procedures of rpc/drac.x over a carrier."""

    def __init__(self, carrier):
        self.carrier = carrier

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.carrier.close()

    def exchange(self, message):
        """Sends a whole message, returns the Reply that has its xid."""
        self.carrier.send(message)
        while True:
            reply = parse(self.carrier.receive())
            if reply.xid == struct.unpack_from(">I", message)[0]:
                return reply

    def result(self, vers, proc, args=b""):
        reply = self.exchange(call(vers, proc, args))
        if reply.denied or reply.stat != SUCCESS:
            raise Refused(reply)
        return Reader(reply.body)

    def null(self, vers=1):
        return self.result(vers, NULL)

    def add1(self, address):
        return self.result(1, ADD, v1_args(address)).take(">I")

    def add2(self, address, signed=True):
        return self.result(2, ADD, v2_args(address, signed)).take(">I")

    def add3(self, address, lifetime=0, user="", service=""):
        """(status, expiry)"""
        answer = self.result(3, ADD,
                             v3_add_args(address, lifetime, user, service))
        return answer.take(">I"), answer.take(">q")

    def remove(self, address):
        return self.result(3, REMOVE, opaque(packed(address))).take(">I")

    def query(self, address):
        """(status, Entry or None)"""
        answer = self.result(3, QUERY, opaque(packed(address)))
        status = answer.take(">I")
        return status, answer.entry() if status == OK else None

    def page(self, cookie=0, maximum=PAGE_MAX):
        """(status, entries, next cookie)"""
        answer = self.result(3, LIST, struct.pack(">QI", cookie, maximum))
        status = answer.take(">I")
        if status != OK:
            return status, [], 0
        entries = [answer.entry() for _ in range(answer.take(">I"))]
        return status, entries, answer.take(">Q")

    def table(self):
        """All entries: {address text: Entry}"""
        entries, cookie = {}, 0
        while True:
            status, page, cookie = self.page(cookie)
            if status != OK:
                raise RuntimeError("list: status %d" % status)
            entries.update((e.address, e) for e in page)
            if not cookie:
                return entries

    def events(self, cookie=0, maximum=PAGE_MAX):
        """(status, events, next cookie, lost)"""
        answer = self.result(3, EVENTS, struct.pack(">QI", cookie, maximum))
        status = answer.take(">I")
        if status != OK:
            return status, [], 0, 0
        events = [answer.event() for _ in range(answer.take(">I"))]
        return status, events, answer.take(">Q"), answer.take(">Q")

    def stats(self):
        answer = self.result(3, STATS)
        status = answer.take(">I")
        if status != OK:
            raise RuntimeError("stats: status %d" % status)
        return {answer.opaque().decode(): answer.take(">Q")
                for _ in range(answer.take(">I"))}

#!/usr/bin/python3
"""
libdrac_peer: what libdrac may find on the other side: a small server for
program 900101 over bare sockets, with bad manners to choose from.

    libdrac_peer.py BEHAVIOUR ENDPOINT...

ENDPOINT: udp:HOST:PORT, tcp:HOST:PORT or unix:PATH. Prints "ready" when all
are bound, and one line for each call it understood ("add 1 192.0.2.1"), unless
QUIET is in the environment. Ends with its standard input.

BEHAVIOUR, or several joined by `+`:
    answer          as it should be
    versions=L-H    knows only the versions L to H
    status=N        every answer's status is N
    silent          reads and says nothing
    drop=N          the first N calls are not answered
    noise           before each reply: a foreign xid, a call, three bytes
    noise-only      a foreign xid every 20 ms for ever, and no reply
    junk            the right xid, and then not an RPC reply
    denied          AUTH_ERROR, AUTH_TOOWEAK
    nameless        entries have no address
    short           accepted, but the result is missing
    fragments       stream replies in fragments of 7 bytes
    drip            stream replies one byte every 20 ms, and endlessly
    huge            a fragment of 2 GB is announced
    reset           accepted connections are reset
    backlog         a full backlog: nobody is accepted
    portmapper=N    rpcbind of old: knows version 2, and says port N
    rpcbind=TEXT    rpcbind that knows version 3, and says TEXT
    register=N      tells rpcbind of versions 1 and 2 at port N, UDP
    register-tcp    and of TCP there
"""

import ipaddress
import itertools
import os
import socket
import struct
import sys
import threading
import time

PROG, PMAPPROG = 900101, 100000
PAUSE_S = 0.02
EXPIRY = 2000000000
FIRST, LAST_ADD, ADDS, CALLER = EXPIRY - 200, EXPIRY - 100, 2 ** 63 + 1, b"c" * 63
LAST = 0x80000000


def say(*words):
    """One line in one write: threads speak at the same time."""
    if "QUIET" in os.environ and words != ("ready",):
        return
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def opaque(data):
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def take_opaque(data):
    size = struct.unpack_from(">I", data)[0]
    return data[4:4 + size], data[4 + size + (-size % 4):]


def text(address):
    return str(ipaddress.ip_address(address))


class Peer:
    def __init__(self, behaviour):
        self.ways = {}
        for part in behaviour.split("+"):
            name, _, value = part.partition("=")
            self.ways[name] = value
        self.dropped = 0
        self.entries = {}
        self.lock = threading.Lock()

    def says(self, name):
        return name in self.ways

    def register(self, port):
        """PMAPPROC_SET, as DRAC 1.12 does; rpcbind wants it from loopback."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect(("127.0.0.1", 111))
            protos = [socket.IPPROTO_UDP]
            if self.says("register-tcp"):
                protos.append(socket.IPPROTO_TCP)
            for vers, proto in itertools.product((1, 2), protos):
                sock.send(struct.pack(">14I", vers, 0, 2, PMAPPROG, 2, 1, 0, 0,
                                      0, 0, PROG, vers, proto, port))
                answer = sock.recv(100)
                assert answer[-4:] == b"\0\0\0\1", answer.hex()

    # ---- replies

    def status(self, otherwise=0):
        return int(self.ways.get("status", otherwise))

    def reply(self, call):
        """The bytes of the answer, or None."""
        if len(call) < 40:
            return None
        xid, kind, rpc, prog, vers, proc = struct.unpack_from(">6I", call)
        if kind != 0 or rpc != 2:
            return None
        if self.says("silent") or self.says("noise-only"):
            return None
        if self.dropped < int(self.ways.get("drop", 0)):
            self.dropped += 1
            return None
        if self.says("junk"):
            return struct.pack(">3I", xid, 1, 77)
        if self.says("denied"):
            return struct.pack(">5I", xid, 1, 1, 1, 5)
        head = struct.pack(">5I", xid, 1, 0, 0, 0)
        if self.says("short"):
            return head + struct.pack(">I", 0)
        low, high = map(int, self.ways.get("versions", "1-3").split("-"))
        known = PROG
        for way, version in (("portmapper", 2), ("rpcbind", 3)):
            if self.says(way):
                known, low, high = PMAPPROG, version, version
        if prog != known:
            return head + struct.pack(">I", 1)
        if not low <= vers <= high:
            return head + struct.pack(">3I", 2, low, high)
        body = self.run(vers, proc, call[40:])
        if body is None:
            return head + struct.pack(">I", 3)
        return head + struct.pack(">I", 0) + body

    def run(self, vers, proc, args):
        if proc == 0:
            say("null", vers)
            return b""
        if self.says("portmapper"):
            say("getport")
            return struct.pack(">I", int(self.ways["portmapper"]))
        if self.says("rpcbind"):
            return opaque(self.ways["rpcbind"].encode())
        if vers == 1 and proc == 1:
            say("add 1", text(args[:4]))
            return struct.pack(">I", self.status())
        if vers == 2 and proc == 1:
            say("add 2", text(bytes(args[3:64:4])), args[:64].hex())
            return struct.pack(">I", self.status())
        if vers == 3:
            with self.lock:
                return self.run3(proc, args)
        return None

    def entry(self, address):
        user, service = self.entries[address]
        if self.says("nameless"):
            address = b""
        return (opaque(address) + struct.pack(">q", EXPIRY) + opaque(user) +
                opaque(service) + struct.pack(">qqQ", FIRST, LAST_ADD, ADDS) +
                opaque(CALLER))

    def run3(self, proc, args):
        if proc == 1:
            address, args = take_opaque(args)
            lifetime = struct.unpack_from(">I", args)[0]
            user, args = take_opaque(args[4:])
            service, _ = take_opaque(args)
            self.entries[address] = user, service
            say("add 3", text(address), lifetime, user.decode(),
                  service.decode())
            status = self.status()
            return struct.pack(">Iq", status, 0 if status else EXPIRY)
        if proc == 2:
            address, _ = take_opaque(args)
            known = self.entries.pop(address, None) is not None
            return struct.pack(">I", self.status(0 if known else 4))
        if proc == 3:
            address, _ = take_opaque(args)
            status = self.status(0 if address in self.entries else 4)
            body = struct.pack(">I", status)
            return body + self.entry(address) if status == 0 else body
        if proc == 4:
            cookie, most = struct.unpack_from(">QI", args)
            keys = sorted(self.entries)
            page = keys[cookie:cookie + min(most, 32)]
            after = cookie + len(page)
            say("list", cookie, most)
            return (struct.pack(">II", self.status(), len(page)) +
                    b"".join(self.entry(key) for key in page) +
                    struct.pack(">Q", after if after < len(keys) else 0))
        if proc == 6:
            cookie, most = struct.unpack_from(">QI", args)
            events = [(kind, key) for kind, key in
                      enumerate(sorted(self.entries)[:3])] if cookie else []
            events = [struct.pack(">Iq", kind, EXPIRY - kind) +
                      self.entry(key) for kind, key in events][:most]
            if cookie and len(events) < most:   # a denial of no address
                events.append(struct.pack(">IqIqIIqqQI", 4, EXPIRY, 0, 0, 0,
                                          0, 0, 0, 0, 0))
            return (struct.pack(">II", self.status(), len(events)) +
                    b"".join(events) + struct.pack(">QQ", cookie + 7, cookie))
        if proc == 5:
            counters = [(b"entries", len(self.entries)),
                        (b"big", 2 ** 64 - 1)]
            return (struct.pack(">II", self.status(), len(counters)) +
                    b"".join(opaque(name) + struct.pack(">Q", value)
                             for name, value in counters))
        return None

    # ---- transports

    def udp(self, sock):
        while True:
            call, client = sock.recvfrom(65536)
            if self.says("noise-only"):
                threading.Thread(target=self.noise, args=(sock, client),
                                 daemon=True).start()
            answer = self.reply(call)
            if answer is None:
                continue
            if self.says("noise"):
                foreign = bytes([answer[0] ^ 1]) + answer[1:]
                for each in (foreign, call, answer[:3], b""):
                    sock.sendto(each, client)
                with socket.socket(sock.family, sock.type) as other:
                    other.sendto(answer[:-4] + b"\0\0\0\2", client)
            sock.sendto(answer, client)

    def noise(self, sock, client):
        while True:
            sock.sendto(struct.pack(">7I", 1, 1, 0, 0, 0, 0, 0), client)
            time.sleep(PAUSE_S)

    def stream(self, sock):
        keep = []
        while not self.says("backlog"):
            client, _ = sock.accept()
            if self.says("reset"):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                  struct.pack("ii", 1, 0))
                client.close()
                continue
            keep.append(client)
            threading.Thread(target=self.connection, args=(client,),
                             daemon=True).start()

    def connection(self, client):
        try:
            with client, client.makefile("rb") as file:
                while True:
                    mark = file.read(4)
                    if len(mark) < 4:
                        return
                    size = struct.unpack(">I", mark)[0] & ~LAST
                    answer = self.reply(file.read(size))
                    if answer is not None:
                        self.send_record(client, answer)
        except OSError:
            pass            # the client has left

    def send_record(self, client, answer):
        if self.says("huge"):
            client.sendall(struct.pack(">I", 0xffffffff) + answer)
        elif self.says("drip"):
            client.sendall(struct.pack(">I", LAST | 9999))
            while True:
                time.sleep(PAUSE_S)
                client.sendall(b"x")
        elif self.says("fragments"):
            for at in range(0, len(answer), 7):
                part = answer[at:at + 7]
                last = LAST if at + 7 >= len(answer) else 0
                client.sendall(struct.pack(">I", last | len(part)) + part)
        else:
            client.sendall(struct.pack(">I", LAST | len(answer)) + answer)

    def serve(self, endpoint):
        kind, _, where = endpoint.partition(":")
        if kind == "unix":
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            address = where
        else:
            host, _, port = where.rpartition(":")
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = socket.socket(family, socket.SOCK_DGRAM if kind == "udp"
                                 else socket.SOCK_STREAM)
            address = (host.strip("[]"), int(port))
            if kind == "tcp":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        if kind != "udp":
            sock.listen(0 if self.says("backlog") else 128)
        threading.Thread(target=self.udp if kind == "udp" else self.stream,
                         args=(sock,), daemon=True).start()
        return sock


def main():
    peer = Peer(sys.argv[1])
    held = [peer.serve(endpoint) for endpoint in sys.argv[2:]]
    if peer.says("register"):
        peer.register(int(peer.ways["register"]))
    say("ready")
    sys.stdin.read()
    del held
    os._exit(0)


if __name__ == "__main__":
    main()

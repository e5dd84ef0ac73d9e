"""
powerstorm: adds, refreshes and removals, each with the instants it was sent
and answered, and what may be left of them after a power cut at some instant.
"""

import collections
import itertools
import selectors
import socket
import struct
import time

import rpcraw
from rpcraw import OK

CLIENTS, ADDRESSES = 8, 60      # each client has addresses of its own
LIFETIME_S = (3600, 7200)       # nothing expires here
REMOVALS = 0.25                 # of all
NAME, NAME_LEN = "%08d", 255    # padded, so that segments fill soon
ANSWER_S = 10.0
BEFORE = -1                     # the number of what stood at the beginning


class Change:
    """An add or a removal; left: the entry's (user, expiry) after it."""

    __slots__ = ("user", "left", "sent_ns", "answered_ns", "status")

    def __init__(self, user, sent_ns):
        self.user, self.sent_ns = user, sent_ns     # user None: a removal
        self.left = (user, None) if user else None  # expiry not known yet
        self.answered_ns = self.status = None

    def stands_at(self, instant_ns):
        return self.status == OK and self.answered_ns <= instant_ns

    def made(self, found):
        """Whether found may be what it has left."""
        return self.left == found or bool(
            self.left and found and self.left == (found[0], None))

    def may_be_left_at(self, cut_ns, safe_ns):
        """Not known to be refused, or only just."""
        return self.sent_ns <= cut_ns and (
            self.answered_ns is None or self.answered_ns > safe_ns)


NOTHING = Change(None, 0)


def shown(entry):
    return entry.user.rstrip("-"), entry.expiry


class Storm:
    """
    history: {address: its Changes in order}. pause_s: to send less, since each
    change costs time when the trace is read.
    """

    def __init__(self, rng, table=None, pause_s=0.0):
        self.rng, self.count, self.pause_s = rng, 0, pause_s
        self.history = collections.defaultdict(list)
        for address, entry in (table or {}).items():
            change = Change(entry.user, 0)
            change.left, change.status = shown(entry), OK
            change.answered_ns = 0
            self.history[address].append(change)

    def _addresses(self, client):
        """Each in its turn, so that none keeps an old segment by chance."""
        return itertools.cycle("10.%d.0.%d" % (client, number) for number in
                               self.rng.sample(range(ADDRESSES), ADDRESSES))

    def _message(self, address):
        """Another change of address, and the call for it."""
        if self.rng.random() < REMOVALS:
            user, procedure = None, rpcraw.REMOVE
            arguments = rpcraw.opaque(rpcraw.packed(address))
        else:
            user, procedure = NAME % self.count, rpcraw.ADD
            arguments = rpcraw.v3_add_args(
                address, self.rng.randint(*LIFETIME_S),
                user.ljust(NAME_LEN, "-"), "pop3")
        self.count += 1
        message = rpcraw.call(3, procedure, arguments)
        change = Change(user, time.monotonic_ns())
        self.history[address].append(change)
        return change, message

    @staticmethod
    def _answered(change, data):
        change.answered_ns = time.monotonic_ns()
        answer = rpcraw.Reader(rpcraw.parse(data).body)
        change.status = answer.take(">I")
        if change.status == OK and change.user:
            change.left = change.user, answer.take(">q")
        elif change.status == rpcraw.NOTFOUND:
            change.status = OK          # not there, as was asked for

    def run(self, daemon, until, first=0):
        """
        Until until() is true and every address has had its turn; then what is
        under way is dropped. first: the number of the first client, for
        addresses of its own.
        """
        under_way, turns = {}, collections.Counter()
        with selectors.DefaultSelector() as selector:
            def send(sock, addresses):
                turns[sock] += 1
                address = next(addresses)
                change, message = self._message(address)
                under_way[sock] = change, struct.unpack_from(">I", message)[0]
                sock.send(message)

            for client in range(first, first + CLIENTS):
                addresses = self._addresses(client)
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.connect(("127.0.0.1", daemon.port))
                selector.register(sock, selectors.EVENT_READ, addresses)
                send(sock, addresses)
            while not until() or min(turns.values()) <= ADDRESSES:
                time.sleep(self.pause_s)
                ready = selector.select(ANSWER_S)
                assert ready, "no answer for %g s" % ANSWER_S
                for key, _ in ready:
                    data = key.fileobj.recv(65536)
                    change, xid = under_way[key.fileobj]
                    assert struct.unpack_from(">I", data)[0] == xid
                    self._answered(change, data)
                    send(key.fileobj, key.data)
            for key in list(selector.get_map().values()):
                key.fileobj.close()

    def answered(self, status=OK):
        return sum(change.status == status for changes in
                   self.history.values() for change in changes)

    def check(self, table, cut_ns, lost_ns, refused_ns):
        """
        table: what was found after a cut at cut_ns, {address: Entry}; what
        was answered lost_ns before it must be there, what was refused
        refused_ns before it must not. How old the oldest acknowledged change
        is that is not there.
        """
        assert table.keys() <= self.history.keys(), "never asked for: %s" % (
            table.keys() - self.history.keys())
        oldest_ns = 0
        for address, changes in self.history.items():
            found = table.get(address)
            found = shown(found) if found else None
            allowed, sure = [NOTHING], BEFORE
            for number, change in enumerate(changes):
                if change.stands_at(cut_ns - lost_ns):
                    allowed, sure = [change], number
                elif change.may_be_left_at(cut_ns, cut_ns - (
                        lost_ns if change.status == OK else refused_ns)):
                    allowed.append(change)
            assert any(change.made(found) for change in allowed), \
                "%s is %s; it may be %s" % (
                    address, found, [change.left for change in allowed[:5]])
            kept = max((n for n, change in enumerate(changes)
                        if change.made(found)), default=sure)
            oldest_ns = max([oldest_ns] + [
                cut_ns - change.answered_ns for change in changes[kept + 1:]
                if change.stands_at(cut_ns)])
        return oldest_ns

"""
instants: what a daemon is made to do while one of its calls goes wrong, and
what must be true after that. One thing is done after the other, and what
follows an answer (a refresh goes to the map, say) is over before the next
call, so that the daemon makes the same calls each time. No time is waited for:
the preload moves the daemon's clock.
"""

import contextlib
import dataclasses
import shutil
import time

import rpcraw
import sendmail_map
from daemon import POLL_S, START_S, STOP_S, hanging, wait_for
from rpcraw import ADD, REMOVE

LONG_S, LONGER_S, SHORT_S = 6 * 3600, 7 * 3600, 3000
SHORTER_S = 500         # over before the daemon starts again
DOWN_S, LATER_S = 1000, 4000
RETRY_S = 2             # the daemon tries again within a second
KILLED = -9


class Ended(Exception):
    """The daemon is not there any more."""


@dataclasses.dataclass
class Granted:
    """An authorization of which nothing has been seen but the answer."""

    low: int
    high: int


@dataclasses.dataclass
class Call:
    address: str
    lifetime: int = 0
    version: int = 3
    user: str = ""
    service: str = ""
    remove: bool = False

    def message(self):
        if self.remove:
            return rpcraw.call(3, REMOVE,
                               rpcraw.opaque(rpcraw.packed(self.address)))
        if self.version == 3:
            return rpcraw.call(3, ADD, rpcraw.v3_add_args(
                self.address, self.lifetime, self.user, self.service))
        args = rpcraw.v1_args if self.version == 1 else rpcraw.v2_args
        return rpcraw.call(self.version, ADD, args(self.address))

    def after(self, before, begin_s, end_s):
        """What the address has when this call has been carried out."""
        if self.remove:
            return None
        lifetime = self.lifetime or LONG_S
        low = high = 0
        if isinstance(before, Granted):
            low, high = before.low, before.high
        elif before is not None:
            low = high = before.expiry
        return Granted(max(low, begin_s + lifetime),
                       max(high, end_s + lifetime))


def fits(entry, state):
    """Whether the daemon's entry, or None, is what the model has."""
    if isinstance(state, Granted):
        return entry is not None and state.low <= entry.expiry <= state.high
    return entry == state


class Run:
    """A daemon, and what it has acknowledged."""

    def __init__(self, daemon, control, entries=()):
        self.daemon, self.control = daemon, control
        self.entries = dict(entries)    # address: Entry
        self.doubt = {}         # address: [state] a call may have left
        self.connections = []
        self.calls = self.refused = self.struck = 0

    # ---- the daemon

    def launch(self):
        """Starts it; whether it serves. What it said if it does not: said."""
        self.connections.clear()
        path = self.daemon.stderr_path
        size = path.stat().st_size if path.exists() else 0
        self.daemon.launch()
        wait_for(self.daemon.settled, START_S, "start")
        with open(path, errors="replace") as file:
            file.seek(size)
            self.said = file.read()
        return self.daemon.alive()

    def start(self):
        assert self.launch(), "exit status %d: %s" % (
            self.daemon.process.returncode, self.said)

    def stop(self):
        self.daemon.process.terminate()
        status = self.daemon.process.wait(STOP_S)
        self.daemon.ended = True
        if status == KILLED:
            raise Ended
        assert status == 0, "exit status %d" % status

    def now_s(self):
        return int(time.time()) + self.control.ahead_s

    def idle(self):
        """Until the daemon waits for something to happen."""
        deadline = time.monotonic() + START_S
        while not self.control.waiting:
            if not self.daemon.alive():
                raise Ended
            assert time.monotonic() < deadline, "it never rests"
            time.sleep(0)

    def connection(self, index=0):
        """Accepted: else its call would be of a later turn than others."""
        while len(self.connections) <= index:
            try:
                client = self.daemon.client("unix", timeout=START_S)
            except OSError:
                raise Ended from None
            with contextlib.suppress(rpcraw.Closed, OSError):
                client.null()
                self.connections.append(client)
        return self.connections[index]

    def ask(self, question):
        """question(client), by a new connection if the old one was closed."""
        for _ in range(3):
            try:
                return question(self.connection())
            except (rpcraw.Closed, BrokenPipeError):
                self.connections.clear()
                wait_for(lambda: not self.daemon.alive() or
                         self.daemon.answers(), START_S, "end or answer")
                if not self.daemon.alive():
                    raise Ended from None
        raise AssertionError("it closes each connection")

    def pass_time(self, seconds):
        self.control.pass_time(seconds)
        self.ask(lambda client: client.null())
        self.idle()

    # ---- calls

    def expected(self, address):
        entry = self.entries.get(address)
        return entry if entry and entry.expiry > self.now_s() else None

    def _exchange(self, calls):
        """True, False or, where there was no answer, None, for each."""
        for index in range(len(calls)):
            self.connection(index)
        if len(calls) > 1:
            with hanging(self.daemon.process):  # then all are of one turn
                wait_for(lambda: self.daemon.state() in ("T", ""), START_S,
                         "stop")
                messages = self._send(calls)
        else:
            messages = self._send(calls)
        return [self._answer(call, message, self.connections[index].carrier)
                for index, (call, message) in enumerate(zip(calls, messages))]

    def _send(self, calls):
        messages = [call.message() for call in calls]
        for message, client in zip(messages, self.connections):
            try:
                client.carrier.send(message)
            except (rpcraw.Closed, OSError):
                pass            # it will not be answered
        return messages

    def _answer(self, call, message, carrier):
        try:
            reply = rpcraw.parse(carrier.receive())
        except (rpcraw.Closed, OSError):
            return None
        assert message.startswith(reply.xid.to_bytes(4, "big"))
        if reply.denied or reply.stat == rpcraw.SYSTEM_ERR:
            return False
        assert reply.stat == rpcraw.SUCCESS, "%s: %r" % (call, reply)
        status = rpcraw.Reader(reply.body).take(">I")
        # SYSERR is the same number in all versions.
        assert status in (rpcraw.OK, rpcraw.SYSERR) or (
            call.remove and status == rpcraw.NOTFOUND and
            self.expected(call.address) is None), "%s: %d" % (call, status)
        return status != rpcraw.SYSERR

    def call(self, *calls):
        """These calls in one turn; what they leave is looked at."""
        # A pass begins with a look at the clock, and may hear of this later.
        begin_s = self.now_s() - 1
        try:
            answers = self._exchange(calls)
        except Ended:
            answers = [None] * len(calls)
        end_s = self.now_s() + 1
        states = {}     # address: [what it may have now]
        for call in calls:
            states[call.address] = [self.expected(call.address)]
        for call, answer in sorted(zip(calls, answers),
                                   key=lambda pair: not pair[1]):
            old = states[call.address]
            new = [call.after(state, begin_s, end_s) for state in old]
            if answer:
                states[call.address] = new
            elif answer is None:
                states[call.address] = old + new
        self.calls += len(calls)
        self.refused += answers.count(False)
        self.doubt = states
        if None in answers:
            assert self.control.struck > self.struck, "no answer"
            self.connections.clear()
        if False in answers:
            assert self.control.struck > self.struck, "refused"
        self.idle()
        if all(answers) and self.control.struck > self.struck and \
                self.control.shared.span == 1:
            self.check_shown()      # something failed, and it did not matter
        self.struck = self.control.struck
        for address, allowed in states.items():
            self._see(address, self.ask(lambda c: c.query(address))[1],
                      allowed)
        self.doubt = {}

    def _see(self, address, entry, allowed):
        assert any(fits(entry, state) for state in allowed), \
            "%s: %s instead of %s" % (address, entry, allowed)
        if entry is None:
            self.entries.pop(address, None)
        else:
            self.entries[address] = entry

    # ---- looking

    def table(self):
        entries = self.ask(lambda client: client.table())
        return {a: e for a, e in entries.items() if e.expiry > self.now_s()}

    def check_table(self):
        """As acknowledged, but for calls without an answer: these are so now."""
        table = self.table()
        for address in {*table, *self.entries, *self.doubt}:
            self._see(address, table.get(address), self.doubt.get(
                address, [self.expected(address)]))
        self.doubt = {}

    def check_maps(self):
        """Sound, and the same as the table, when chores had their time."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                pairs = {key: entry.expiry
                         for address, entry in self.table().items()
                         for key in sendmail_map.keys(address)}
                for index, (definition, options) in enumerate(
                        self.daemon.maps):
                    end = b"\0" * options.get("nul", False)
                    shown = self.daemon.map(index)
                    wanted = {key.encode() + end: b"%d" % value + end
                              for key, value in pairs.items()}
                    assert shown == wanted, (definition, shown, wanted)
                return
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            self.pass_time(RETRY_S)
            time.sleep(POLL_S)

    def check_shown(self):
        """The map is sound, and nobody is left out."""
        shown = self.daemon.map()
        for address in self.table():
            for key in sendmail_map.keys(address):
                assert key.encode() in shown, "%s is not in the map" % key

    def check(self):
        self.check_table()
        self.check_maps()

    def recover(self):
        """Nothing goes wrong any more: it works, and owes nothing."""
        self.control.disarm()
        self.struck = -1        # the first may still be refused

        def accepted():
            self.pass_time(RETRY_S)
            refused = self.refused
            self.call(Call("192.0.2.254", LONG_S))
            return self.refused == refused

        wait_for(accepted, START_S, "adds succeed again")
        self.struck = self.control.struck
        self.call(Call("192.0.2.253", LONG_S, user="again"))


def restore(source, target):
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)

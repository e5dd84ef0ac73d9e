"""
The wall clock is set, back and forth, and the host sleeps. Nobody may relay
for longer than he was granted, nor for less: in the table, in the maps, and as
far as an MTA that asks can tell. Time does not pass here, it is set (clocks.py).

TORTURE=1 is the long form: restarts after every step end in both ways, there
are more of them, and much more in any order (DRACD_SEED repeats that).
"""

import collections
import contextlib
import math
import os
import pathlib
import threading

import pytest

import rpcraw
import signing
from clocks import Clock
from daemon import wait_for
from rpcraw import ADD_SYSERR, NOTFOUND, OK
from socketmap import NOTFOUND as NO_ENTRY
from socketmap import Mta

HOUR, DAY = 3600, 86400
# From when it is to when it has been seen: once a second, on a busy machine.
SOON_S = 10
# An expiry is in whole seconds, and what was granted in this one began before.
ROUNDING_S = 1.2
UNSEEN_S = 1            # by so much the clock must be set to be followed
SHORT, LONG = 300, 1200
V4, V6 = "192.0.2.1", "2001:db8::1"
UNTOUCHED = "192.0.2.99"
ANY = [V4, V6] + ["192.0.2.%d" % n for n in range(2, 8)]
TORTURE = bool(os.environ.get("TORTURE"))
KEY = {V6: "2001:db8:0:0:0:0:0:1"}  # one of its keys in the maps


@pytest.fixture
def clock(tmp_path):
    first = os.environ.get("DRACD_TOOLS") or os.environ.get(
        "DRACD_BUILD", "build").split(":")[0]
    preload = pathlib.Path(first).resolve() / "preload" / "clock.so"
    assert preload.exists(), "make tests-build makes it"
    return Clock(tmp_path, preload)


class Host:
    """A daemon with all kinds of map, and what it has granted."""

    def __init__(self, made, clock):
        self.daemon, self.clock = made, clock
        self.ends = {}      # address: when it ends, in running time
        self.apart_s = 0    # by how much the clock may not be followed
        made.env.update(clock.env)
        clock.before_set = self.rest
        made.settings["lookup"] = ["unix:" + made.lookup]
        made.settings["ipv6_prefix"] = 64
        made.maps = [("btree:%s" % (made.dir / "dracd.db"), {"capacity": 64}),
                     ("hash:%s" % (made.dir / "hash.db"), {"nul": True}),
                     ("lmdb:%s" % (made.dir / "dracd.lmdb"), {})]

    def rest(self):
        """Till it waits: what is under way goes on at the time it began."""
        wait_for(lambda: self.daemon.state() in ("S", ""), SOON_S, "rest")

    def add(self, address, lifetime, status=OK):
        begin = self.clock.running()
        with self.daemon.client("unix", timeout=SOON_S) as client:
            answer, expiry = client.add3(address, lifetime, "joe", "imap")
        assert answer == status
        if status == OK:
            self.ends[address] = begin + lifetime
            assert self.is_right(address, expiry), "%s: %g s, not %g" % (
                address, expiry - self.clock.now(), self.left(address))

    @contextlib.contextmanager
    def unheard(self):
        """What passes within is not known to a start whose clock is behind."""
        begin = self.clock.running()
        yield
        self.apart_s += self.clock.running() - begin

    def left(self, address):
        return self.ends[address] - self.clock.running()

    def is_right(self, address, expiry):
        """Seconds of the wall clock, as it is now."""
        return abs(expiry - self.clock.now() - self.left(address)) <= \
            ROUNDING_S + self.apart_s

    def told(self):
        """What each of them says: (who, address, an expiry or None)."""
        with self.daemon.client("unix", timeout=SOON_S) as client, \
                Mta(self.daemon.lookup) as mta:
            table = client.table()
            for address in self.ends:
                status, entry = client.query(address)
                assert status in (OK, NOTFOUND)
                yield "query", address, entry.expiry if entry else None
                entry = table.get(address)
                yield "list", address, entry.expiry if entry else None
                answer = mta.ask(address)
                yield "socketmap", address, None if answer == NO_ENTRY \
                    else int(answer.split(b" ")[1][:-1])
        for index, (definition, options) in enumerate(self.daemon.maps):
            pairs = self.daemon.map(index)
            nul = b"\0" if options.get("nul") else b""
            for address in self.ends:
                value = pairs.get(KEY.get(address, address).encode() + nul)
                yield definition, address, None if value is None else int(
                    value.rstrip(b"\0"))

    def wrong(self):
        """What is wrong, [] if nothing is."""
        found = []
        for who, address, expiry in self.told():
            left = self.left(address)
            if expiry is None and left > ROUNDING_S:
                found.append("%s: %s has gone, %g s early" % (
                    who, address, left))
            elif expiry is not None and left < -ROUNDING_S:
                found.append("%s: %s is there, %g s late" % (
                    who, address, -left))
            elif expiry is not None and not self.is_right(address, expiry):
                found.append("%s: %s ends in %g s instead of %g s" % (
                    who, address, expiry - self.clock.now(), left))
        return found

    def check(self):
        """Soon all is right."""
        last = []

        def right():
            last[:] = self.wrong()
            return not last

        try:
            wait_for(right, SOON_S, "all is right")
        except AssertionError:
            raise AssertionError("\n".join(last)) from None

    def ends_as_granted(self):
        """Nothing is gone before its time, nothing is there after it."""
        for address in sorted(self.ends, key=self.ends.get):
            left = self.left(address)
            if left > 2 * ROUNDING_S + SOON_S:
                self.clock.sleep(left - ROUNDING_S - SOON_S)
                self.check()
            self.clock.sleep(max(0, self.left(address)) + ROUNDING_S)
            self.check()


@pytest.fixture
def host(dracd, clock):
    return Host(dracd(), clock)


def started(host):
    host.daemon.start()
    host.add(V4, SHORT)
    host.add(V6, LONG)
    return host


@pytest.mark.parametrize("steps", [(3 * HOUR,), (-3 * HOUR,),
                                   (HOUR, -2 * HOUR, 5 * HOUR, -30 * DAY)])
def test_steps(host, steps):
    started(host)
    for step in steps:
        host.clock.step(step)
        host.check()
        host.clock.sleep(20)
        host.check()
    host.add(UNTOUCHED, SHORT)
    host.ends_as_granted()
    assert host.daemon.stderr.count("clock stepped by") >= 1


def test_many_steps_in_a_row(host, seed):
    """Faster than anybody can follow; and some of less than a second."""
    started(host)
    host.apart_s = UNSEEN_S
    for _ in range(200):
        host.clock.step(seed.choice([0.3, -0.3, 0.9, 7, -7, 5000, -5000]))
        with host.daemon.client("unix", timeout=SOON_S) as client:
            client.null()
    host.check()
    host.ends_as_granted()


def test_adds_between_steps(host):
    """A refresh as well; each is granted what it asked for."""
    started(host)
    for step in (HOUR, -HOUR, -HOUR, 2 * HOUR):
        host.clock.step(step)
        host.add(V4, SHORT)
        host.add("192.0.2.%d" % (10 + len(host.ends)), LONG)
        host.clock.sleep(30)
    host.check()
    host.ends_as_granted()


def test_sleep(host):
    """Both clocks go on: who has slept for longer than he may is out."""
    started(host)
    host.clock.sleep(SHORT + 10)
    host.check()
    assert "clock stepped" not in host.daemon.stderr
    host.clock.sleep(HOUR)
    host.check()


def test_a_start_in_1970(host):
    """No battery, and later NTP finds out what year it is."""
    host.clock.step(30 - host.clock.now())
    started(host)
    host.check()
    host.clock.step(1.8e9)
    host.check()
    host.daemon.kill9()
    host.daemon.start()
    host.check()
    host.ends_as_granted()


ENDS = ("stop", "kill9")
# Steps before the daemon ends, while it does not run, and after its start.
RESTARTS = [
    (-2 * HOUR, 0, 0), (2 * HOUR, 0, 0), (0, 2 * HOUR, 0), (0, -2 * HOUR, 0),
    (HOUR, -3 * HOUR, HOUR), (-3 * HOUR, HOUR, 4 * HOUR)]


@pytest.mark.parametrize("end, before, meanwhile, after", [
    (end, *steps) for n, steps in enumerate(RESTARTS)
    for m, end in enumerate(ENDS) if TORTURE or n % 2 == m])
def test_restart(host, end, before, meanwhile, after):
    """The system goes on, so that a step is seen whenever it comes."""
    started(host)
    if before:
        host.clock.step(before)
        host.check()
        host.add("192.0.2.2", LONG)
    getattr(host.daemon, end)()
    host.clock.step(meanwhile)
    host.clock.sleep(30)
    host.daemon.start()
    if after:
        host.clock.step(after)
    host.check()
    host.add("192.0.2.3", LONG)
    getattr(host.daemon, end)()
    host.daemon.start()
    host.ends_as_granted()


def test_kill_between_steps(host):
    """Again and again; the journal follows through all of it."""
    started(host)
    for step in (HOUR, -HOUR, 7 * HOUR, -9 * HOUR):
        host.clock.step(step)
        host.check()
        host.clock.step(-step / 3)      # who knows whether it was seen
        host.daemon.kill9()
        host.clock.step(step / 5)
        host.daemon.start()
        host.add("192.0.2.%d" % (10 + len(host.ends)), SHORT)
        host.clock.sleep(15)
    host.check()
    host.ends_as_granted()


def test_any_order(host, seed, figures):
    """Steps, sleep, adds and restarts, while the system goes on."""
    def step():
        limit = seed.choice((10, HOUR, 30 * DAY))
        host.clock.step(seed.choice((1, -1)) * seed.randrange(2, limit))

    def sleep():
        host.clock.sleep(seed.randrange(SHORT))

    def add():
        address = seed.choice(ANY)
        left = host.left(address) if address in host.ends else 0
        host.add(address, max(0, math.ceil(left)) + seed.randrange(1, SHORT))

    def restart():
        getattr(host.daemon, seed.choice(ENDS))()
        for meanwhile in seed.sample((step, sleep), seed.randrange(3)):
            meanwhile()
        host.daemon.start()

    started(host)
    done = collections.Counter()
    for _ in range(500 if TORTURE else 10):
        action = seed.choice((step, step, sleep, add, add, restart))
        action()
        done[action.__name__] += 1
        if seed.random() < 0.5:     # or before anybody has seen it
            host.check()
    host.ends_as_granted()
    figures(", ".join("%s %d" % item for item in done.items()))


@pytest.mark.parametrize("end", ENDS)
def test_another_start_of_the_system(host, end):
    """
    What the clock did meanwhile nobody knows. When it was set back, entries
    have what they had when something was heard of the time last.
    """
    started(host)
    ends = dict(host.ends)
    for _ in range(4 if TORTURE else 2):
        host.clock.sleep(60)
        with host.unheard():
            host.add(UNTOUCHED, LONG)   # so that the time is known
            getattr(host.daemon, end)()
            host.clock.reboot()
            host.clock.step(-HOUR)
            host.daemon.start()
        assert "behind the journal" in host.daemon.stderr
        host.ends.update(ends)
        host.check()
    # that time is over; and it is known to the next one, whose clock is right
    host.clock.step(2 * HOUR)
    host.check()
    host.clock.reboot()
    host.daemon.kill9()
    host.daemon.start()
    host.ends_as_granted()


def test_no_start_makes_it_immortal(host):
    """A host without a clock that is started again and again."""
    host.clock.step(30 - host.clock.now())
    started(host)
    starts = 8 if TORTURE else 4
    for _ in range(starts):
        host.clock.sleep(1.6 * SHORT / starts)
        with host.unheard():
            host.daemon.stop()
            host.clock.reboot()
            host.clock.step(30 - host.clock.now())
            host.daemon.start()
    host.check()
    assert host.left(V4) < 0 < host.left(V6)
    host.ends_as_granted()


def test_a_clock_ahead_at_the_start(host):
    """What has run out by then has gone; the rest is not longer."""
    started(host)
    host.daemon.stop()
    host.clock.reboot()
    host.clock.step(LONG - 300)
    host.daemon.start()
    host.ends = {V6: host.ends[V6] - LONG + 300}
    host.check()
    with host.daemon.client("unix") as client:
        assert set(client.table()) == {V6}
    host.clock.step(300 - LONG)
    host.check()
    host.ends_as_granted()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@pytest.mark.parametrize("in_time", [True, False])
def test_while_a_turn_is_held(host, step, in_time):
    """It is answered, or taken back, on the clock of then."""
    started(host)
    host.add("192.0.2.3", 20)       # its refresh needs the maps
    held = {"192.0.2.2": SHORT, "192.0.2.3": LONG}
    answers = []

    def add(address, lifetime):
        with host.daemon.client("tcp", timeout=SOON_S) as client:
            answers.append((address, client.add3(address, lifetime)))

    threads = [threading.Thread(target=add, args=item)
               for item in held.items()]
    begin = host.clock.running()
    with host.daemon.map_locked():
        for thread in threads:
            thread.start()
        with host.daemon.client("unix") as client:
            wait_for(lambda: stat(client, "turns_held") or len(answers) == 2,
                     SOON_S, "a turn that is held")
        host.clock.step(step)
        if not in_time:
            wait_for(lambda: len(answers) == 2, SOON_S, "answers")
    for thread in threads:
        thread.join()
    for address, (status, _) in answers:
        if in_time and status == OK:
            host.ends[address] = begin + held[address]
        else:
            assert status == ADD_SYSERR
    assert in_time or not any(status == OK for _, (status, _) in answers)
    host.check()
    host.daemon.kill9()
    host.daemon.start()
    host.check()


def stat(client, name):
    return client.stats()[name]


def test_a_thousand_entries(host):
    """All values in the maps follow, and adds go on meanwhile."""
    started(host)
    with host.daemon.client("unix", timeout=SOON_S) as client:
        for i in range(1000):
            assert client.add3("10.0.%d.%d" % divmod(i, 256), LONG)[0] == OK
        host.clock.step(-2 * HOUR)
        host.add("192.0.2.2", LONG)
        now = host.clock.now()

        def followed():
            values = host.daemon.map(0).values()
            assert len(values) >= 1000
            return max(map(int, values)) <= now + LONG + SOON_S

        wait_for(followed, 2 * SOON_S, "values of the new clock")
    host.check()


def times(client):
    """Of all events; a cookie of another life begins with the oldest."""
    status, events, *_ = client.events(1)
    assert status == OK
    return [event.time for event in events]


def test_history_and_uptime(host):
    """An event keeps its time; an entry says how long ago."""
    started(host)
    with host.daemon.client("unix") as client:
        then = times(client)
        before = host.clock.now()
        host.clock.step(-HOUR)
        assert len(then) == 2 and times(client) == then
        _, entry = client.query(V4)
        assert abs(entry.last - (before - HOUR)) < SOON_S
        assert abs(entry.first - (before - HOUR)) < SOON_S
        host.clock.step(-40 * 365 * DAY)
        wait_for(lambda: stat(client, "uptime_s") < HOUR, SOON_S, "uptime")


def test_no_replay_by_a_step(dracd, clock, tmp_path):
    """A signed call is carried out once, whatever the clock says later."""
    daemon = dracd(env=clock.env)
    signing.give_keys(daemon, pop1=signing.write_key(tmp_path / "pop1.key"))
    daemon.allow.write_text("127.0.0.1 key=pop1\n")
    daemon.start()

    def call(address):
        return signing.call(1, 1, rpcraw.v1_args(address),
                            time_s=int(clock.now()))[0]

    def taken(message):
        with daemon.client() as client:
            reply = rpcraw.parse(signing.exchange(client.carrier, message))
        return not reply.denied

    kept = call("192.0.2.1")
    assert taken(kept)
    for step in (HOUR, -HOUR, -2 * HOUR, 2 * HOUR):
        clock.step(step)
        taken(call("192.0.2.2"))
        with daemon.client("unix") as client:
            client.remove("192.0.2.1")
        taken(kept)
        with daemon.client("unix") as client:
            assert client.query("192.0.2.1")[0] == NOTFOUND

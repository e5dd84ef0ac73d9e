"""
A crash, and an error, at each instant: at every call that writes and at every
allocation of a run of adds, refreshes, removals and expiries, with its start
and its stop. instants.py has what must be true then.

TORTURE=1 is the long form, but for errors at some of the pages of a map that
is made or grows (it is killed at each of them); the short one takes a few calls
by chance.
DRACD_SEED repeats a run.
"""

import collections
import os
import shutil
import struct
import subprocess
import zlib

import pytest

import fault
from daemon import SANITIZER
from instants import (Call, DOWN_S, Ended, KILLED, LATER_S, LONG_S, LONGER_S,
                      Run, SHORT_S, SHORTER_S, restore)

TORTURE = bool(os.environ.get("TORTURE"))
BUILDS = os.environ.get("DRACD_TOOLS", os.environ.get(
    "DRACD_BUILD", "build")).split(":")
# Some more than the daemon wants to keep: it writes what is in them anew.
SEGMENTS = 36
SEGMENT_VERSION = 2
TORN = b"\x5a" * 40
CAPACITY = 1024
CROWD = 70              # more than arrays have room for at first
SOME, SLOW = 3, 10       # in the short form, of the long one with sanitizers
PAGES = 100             # of hundreds that a map writes, one like the other
MAY_MISS = [(fault.ASIDE, fault.SYNC), (fault.LOOP, fault.NEW_TIME),
            (fault.LOOP, fault.ALLOCATION)]
TRIES, FEW = 3, 2       # until they are made again; of them missed
# These do not look whether they were given memory when a daemon starts.
CARELESS = ("libconfuse.so", "libdb-5.3.so")

V4 = ["198.51.100.%d" % n for n in range(1, 40)]
V6 = ["2001:db8:%x::1" % n for n in range(1, 20)]


def empty_segment(journal, number):
    head = struct.pack("<8sII", b"DRACDJNL", SEGMENT_VERSION, number)
    (journal / ("%010d.journal" % number)).write_bytes(
        head + struct.pack("<II", zlib.crc32(head, number), 0))


# ---- what the daemon begins with ----------------------------------------------

def prepare(run, state):
    """
    What the daemon finds when it starts: entries, some of which have expired
    meanwhile; a journal in many segments, whose newest ends in a torn record;
    a map that says what was true some calls ago.
    """
    run.start()
    for address in V4[:12]:
        run.call(Call(address, version=1))
    for address in V6[:5]:
        run.call(Call(address, version=2))
    for address in V4[12:18] + V6[5:7]:
        run.call(Call(address, SHORT_S, user="short", service="imap"))
    for address in V4[18:22]:
        run.call(Call(address, SHORTER_S))
    run.check_maps()
    run.daemon.kill9()
    old = state.with_name("old")
    restore(state, old)
    empty_segment(state / "journal", SEGMENTS)
    run.start()
    for address in V4[22:25]:
        run.call(Call(address, LONG_S, user="alice", service="pop3"))
    run.call(Call(V4[0], LONGER_S))
    run.call(Call(V4[1], remove=True))
    run.call(Call(V6[1], remove=True))
    run.daemon.kill9()
    for path in old.iterdir():
        if path.is_file():
            shutil.copy2(path, state)
    for number in range(2, SEGMENTS):
        empty_segment(state / "journal", number)
    newest = max((state / "journal").iterdir())
    with open(newest, "ab") as file:
        file.write(TORN)
    run.control.pass_time(DOWN_S)


def prepare_full(run, state):
    """A map without a free page, of which it knows nothing but good."""
    run.start()
    for address in V4[:12] + V6[:3]:
        run.call(Call(address))
    run.daemon.kill9()
    path = state / "dracd.db"
    dump = subprocess.run(["db5.3_dump", str(path)], capture_output=True,
                          check=True).stdout
    path.unlink()
    subprocess.run(["db5.3_load", str(path)], input=dump, check=True)


def prepare_lost(run, state):
    """No map: it is built beside, and renamed."""
    prepare(run, state)
    for path in state.glob("dracd.*"):
        path.unlink()


def prepare_nothing(run, state):
    """The first start of all."""
    (state / "journal").rmdir()


# ---- what it is made to do ----------------------------------------------------

def script(run):
    run.call(Call(V4[25], version=1))
    run.call(Call(V4[26], LONG_S, user="bob", service="imap"))
    run.call(Call(V6[8], version=2))
    run.call(Call(V4[0], LONGER_S + 100, user="carol"))         # refreshes
    run.call(Call(V6[0], LONGER_S))
    run.call(Call(V4[2], SHORTER_S))                            # not shorter
    run.call(Call(V4[3], remove=True))
    run.call(Call(V6[8], remove=True))
    run.call(Call(V4[3], LONG_S))
    run.call(Call(V4[27], SHORT_S), Call(V4[27], LONGER_S), Call(V6[9]),
             Call(V4[28], LONG_S, user="dave"), Call(V4[4], LONGER_S),
             Call(V4[5], remove=True))
    run.call(Call(V6[10], SHORT_S))
    run.pass_time(LATER_S)                                      # expiries
    run.call(Call(V4[12], LONG_S, user="again"))
    run.call(Call(V6[10]))
    run.call(Call(V4[12], remove=True), Call(V4[29]), Call(V4[30]))


def script_and_crowd(run):
    script(run)
    for lifetime in LONG_S, LONGER_S:
        run.call(*(Call("203.0.113.%d" % n, lifetime, user="user%d" % n)
                   for n in range(1, CROWD + 1)))


def one_turn(run):
    """Of which some is answered before the maps have it."""
    run.call(Call(V6[9]), Call(V4[0], LONGER_S), Call(V4[1], remove=True))


def grow(run):
    run.call(Call(V4[25]))
    run.call(Call(V6[8]))
    run.call(Call(V4[0], LONGER_S))
    run.call(Call(V4[1], remove=True))


# ---- what goes wrong ------------------------------------------------------------


# A fault, at which of the calls of this thread and sort.
Point = collections.namedtuple("Point", "what at thread sort")


class World:
    """A daemon whose calls go wrong, and the state it begins with."""

    def __init__(self, daemon, preload, tmp_path, act=script,
                 begin=prepare):
        self.state, self.begin = tmp_path / "state", tmp_path / "begin"
        self.state.mkdir()
        (self.state / "journal").mkdir(mode=0o700)
        self.daemon, self.act = daemon, act
        self.control = fault.Control(tmp_path / "control", preload, self.state)
        daemon.env = self.control.environment()
        first = Run(daemon, self.control)
        begin(first, self.state)
        self.entries, self.ahead_s = first.entries, self.control.ahead_s
        restore(self.state, self.begin)
        self.tally = collections.Counter()

    def reset(self):
        if self.daemon.alive():
            self.daemon.kill9()
        restore(self.begin, self.state)
        self.control.shared.ahead_s = self.ahead_s
        return Run(self.daemon, self.control, self.entries)

    def count(self, counting, serving=False):
        """
        The calls of each thread in the whole run, or in what follows the
        start.
        """
        return {thread: self.count_of(thread, counting, serving)
                for thread in (fault.LOOP, fault.ASIDE)}

    def count_of(self, thread, counting, serving):
        run = self.reset()
        self.control.arm(counting, 0, thread)
        run.start()
        if serving:
            run.idle()
            self.control.arm(counting, 0, thread)
        self.act(run)
        run.check()
        run.stop()
        return self.control.calls()

    def strike(self, point, serving=False):
        """The whole story of one call that goes wrong; whether it did."""
        run = self.reset()
        if not serving:
            self.control.arm(*point)
        try:
            self.live(run, point, serving)
        except Ended:
            self.daemon.process.wait()
            self.daemon.ended = True
            assert point.what.kills
            assert self.daemon.process.returncode == KILLED
        struck = self.control.struck
        self.control.disarm()
        # The second start hears what the first one has made of the journal.
        for _ in range(2):
            if self.daemon.alive():
                self.daemon.kill9()
            run.start()
            run.check()
        assert not SANITIZER.search(self.daemon.stderr)
        self.tally["calls"] += run.calls
        self.tally["refused"] += run.refused
        return struck > 0

    def live(self, run, point, serving):
        if not run.launch():
            if self.daemon.process.returncode == KILLED:
                raise Ended
            self.refuses_to_start(run)
        if serving:
            run.idle()
            self.control.arm(*point)
        self.act(run)
        if self.control.struck and not point.what.kills:
            if point.what is fault.DISK_FULL:
                run.check_shown()
            run.recover()
        run.check()
        run.stop()

    def refuses_to_start(self, run):
        self.daemon.ended = True
        assert self.control.struck
        if self.daemon.process.returncode > 0 and \
                not SANITIZER.search(run.said):
            assert run.said.strip(), "exit status %d without a word" % \
                self.daemon.process.returncode
            self.tally["starts refused"] += 1
        else:
            assert self.control.by.startswith(CARELESS) or \
                "libConfuse" in run.said, "died in %s" % self.control.by
            self.tally["died of a careless library"] += 1
            os.truncate(self.daemon.stderr_path, 0)
        self.control.disarm()
        run.start()

    def strike_all(self, points, serving=False):
        """
        Each at least once. But a flush, or a new time of a map, may be left
        out where less time has passed, and what is read at once takes less
        memory.
        """
        failures, missed = [], []
        for point in points:
            name = "%s at %s %d of the %s" % (
                point.what.name, fault.SORTS[point.sort], point.at,
                point.thread)
            try:
                if any(self.strike(point, serving) for _ in range(TRIES)):
                    self.tally["strikes"] += 1
                else:
                    missed.append(point)
            except AssertionError as error:
                failures.append("%s: %s\n%s" % (
                    name, error, self.daemon.stderr[-1500:]))
                if self.daemon.alive():
                    self.daemon.kill9()
            os.truncate(self.daemon.stderr_path, 0)
        assert not failures, "\n".join(failures)
        self.tally["calls not made again"] += len(missed)
        assert all((p.thread, p.sort) in MAY_MISS for p in missed), missed
        assert len(missed) <= FEW + len(points) // 20, missed


@pytest.fixture
def world(dracd, preload, tmp_path, figures):
    worlds = []

    def make(kind, capacity=CAPACITY, durability="os", **story):
        state = tmp_path / "state"
        maps = [("btree:%s/dracd.db" % state, {"capacity": capacity}),
                ("hash:%s/hash.db" % state, {"nul": True})]
        if kind == "lmdb":
            maps = [("lmdb:%s/dracd.lmdb" % state, {})]
        daemon = dracd(maps=maps if kind == "both" else maps[:1],
                       journal=state / "journal", lifetime="%ds" % LONG_S,
                       durability=durability)
        worlds.append(World(daemon, preload("fault"), tmp_path, **story))
        return worlds[-1]

    yield make
    for each in worlds:
        figures(", ".join("%d %s" % (n, what)
                          for what, n in each.tally.items()))


def summary(calls):
    return "; ".join(
        "%s: %d (%s)" % (thread, len(sorts), ", ".join(
            "%d %s" % (n, fault.SORTS[sort])
            for sort, n in collections.Counter(sorts).items()))
        for thread, sorts in calls.items())


@pytest.fixture
def choose(seed, build):
    """
    choose(calls, faults): which fault at which call of which thread; all, but
    in the short form a few of different sorts, and some where sanitizers make
    it slow. Of a map's pages, errors at some by chance.
    """
    def points(calls, faults):
        groups = collections.defaultdict(list)
        for thread, sorts in calls.items():
            for call, count in collections.Counter(sorts).items():
                for what in filter(lambda w: w.strikes(call), faults):
                    groups[what.name, call] += [
                        Point(what, at, thread, call)
                        for at in range(1, count + 1)]
        if not TORTURE:
            return [seed.choice(groups[name]) for name in seed.sample(
                sorted(groups), min(SOME, len(groups)))]
        for (_, call), group in groups.items():
            if call == fault.PAGE and len(group) > PAGES and \
                    not group[0].what.kills:
                group[:] = sorted(seed.sample(group, PAGES),
                                  key=lambda point: point.at)
        every = sum(groups.values(), [])
        return every if build == BUILDS[0] else seed.sample(
            every, len(every) // SLOW)

    return points


WRITES = [fault.KILLED, fault.TORN, *fault.ERRORS]


@pytest.mark.parametrize("kind, durability", [
    ("btree", "os"), ("btree", "disk"), ("lmdb", "os"), ("both", "disk")])
def test_every_write(world, choose, figures, kind, durability):
    made = world(kind, durability=durability)
    calls = made.count(fault.COUNT_WRITES)
    figures("calls that write: " + summary(calls))
    made.strike_all(choose(calls, WRITES))


@pytest.mark.parametrize("kind, capacity, begin", [
    ("btree", 1, prepare_full), ("btree", CAPACITY, prepare_lost),
    ("lmdb", CAPACITY, prepare_lost), ("btree", CAPACITY, prepare_nothing)],
    ids=["growing", "new", "new-lmdb", "first"])
def test_every_write_of_a_map(world, choose, figures, kind, capacity, begin):
    """
    The first add makes it grow; or it is not there at start, and perhaps
    nothing is.
    """
    made = world(kind, capacity=capacity, act=grow, begin=begin)
    calls = made.count(fault.COUNT_WRITES)
    figures("calls that write: " + summary(calls))
    made.strike_all(choose(calls, WRITES))


@pytest.mark.parametrize("kind", ["btree", "lmdb"])
def test_every_allocation(world, choose, figures, kind):
    """While it serves. It goes on, and refuses what it has no memory for."""
    made = world(kind, act=script_and_crowd)
    calls = made.count(fault.COUNT_ALLOCATIONS, serving=True)
    figures("allocations: " + summary(calls))
    made.strike_all(choose(calls, fault.NO_MEMORY), serving=True)


@pytest.mark.parametrize("kind", ["btree", "lmdb"])
def test_every_allocation_of_a_turn(world, figures, kind):
    """And those after it: what it refuses it takes back without any."""
    made = world(kind, act=one_turn)
    calls = made.count(fault.COUNT_ALLOCATIONS, serving=True)
    figures("allocations: " + summary(calls))
    made.strike_all([Point(fault.NO_MEMORY[-1], at, fault.LOOP, sort)
                     for at, sort in enumerate(calls[fault.LOOP], 1)],
                    serving=True)


@pytest.mark.parametrize("kind", ["btree", "lmdb"])
def test_every_allocation_at_start(world, choose, figures, kind):
    """It starts, or says why it does not."""
    made = world(kind)
    calls = made.count(fault.COUNT_ALLOCATIONS)
    figures("allocations: " + summary(calls))
    made.strike_all(choose(calls, fault.NO_MEMORY[:1]))

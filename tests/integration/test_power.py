"""
Power loss. A storm of adds, refreshes and removals runs on a daemon whose
every write, flush and rename is written down (powercut.py says why so); then,
for many instants of it, a directory is made that holds no more than what a
disk had to hold at that instant, and dracd is started on it. What must be
there afterwards:

	durability = disk	all that was answered
	durability = os		all that was answered 0.9 s ago, and the time
				that a flush takes: so often the flush thread
				begins a round, at whose end all that was
				answered before it began is on the disk

Nothing else is there than what was asked for. What was removed comes back no
later than that, what was refused no later than with "os", once flushes
succeed. Each map, of which nothing is ever flushed, agrees with the table,
whatever was left of it.

TORTURE=1 is the long form. DRACD_SEED repeats a run: the storm is the same but
for time, the cuts are at the same places of it.
"""

import itertools
import os
import pathlib
import shutil
import time

import pytest

from namespace import Namespace
from powercut import ALL, NOTHING, PAGE, Disk, read_trace
from powerstorm import CLIENTS, Storm
from rpcraw import SYSERR

TORTURE = bool(os.environ.get("TORTURE"))
GENERATIONS = 3 if TORTURE else 1
CUTS = 100 if TORTURE else 10       # a generation
SLOWER = 3 if TORTURE else 1        # storms
PAUSE_S = 0.0 if TORTURE else 0.004
FLUSH_US = {"os": 30000, "disk": 200}
ROUND_NS = 9 * 10**8
BUSY_NS = 10**9                     # a thread that does not get the processor
VERSIONS = 5                        # of the map, that may be mixed after a cut
KINDS = [("btree", "os"), ("lmdb", "disk")] + (
    [("btree", "disk"), ("lmdb", "os")] if TORTURE else [])


def lost_ns(durability):
    """How old an answered change may be and still be lost."""
    return 0 if durability == "disk" else \
        ROUND_NS + 3 * FLUSH_US["os"] * 1000 + BUSY_NS


class Recorded:
    """A daemon under powertrace; its state is in a directory of its own."""

    def __init__(self, dracd, name, preload, rng, kind, durability):
        self.preload, self.rng, self.durability = preload, rng, durability
        self.daemon = dracd(name, durability=durability)
        self.state = self.daemon.dir / "state"
        self.state.mkdir()
        self.daemon.settings["journal"] = self.state / "journal"
        self.daemon.maps = [("%s:%s" % (kind, self.state / "dracd.db"),
                             {"capacity": 64})]
        self.traces, self.disk = [], None

    def start(self, failing="0-0"):
        if self.disk is None:
            self.disk = Disk(self.state, self.state / "dracd.db", self.rng)
        self.traces.append(self.daemon.dir / ("trace%d" % len(self.traces)))
        self.daemon.env = {
            "LD_PRELOAD": self.preload("powertrace"),
            "POWERTRACE_ROOT": str(self.state),
            "POWERTRACE_LOG": str(self.traces[-1]),
            "POWERTRACE_SYNC_US": str(FLUSH_US[self.durability]),
            "POWERTRACE_FAIL": failing}
        self.daemon.start()

    def events(self):
        return itertools.chain.from_iterable(map(read_trace, self.traces))


class Restarted:
    """The daemon after the cut."""

    def __init__(self, dracd, name, recorded):
        self.daemon = dracd(name, durability=recorded.durability)
        self.state = self.daemon.dir / "state"
        self.daemon.settings["journal"] = self.state / "journal"
        kind = recorded.daemon.maps[0][0].partition(":")[0]
        self.daemon.maps = [("%s:%s" % (kind, self.state / "dracd.db"),
                             {"capacity": 64})]

    def table(self, disk, fates=None):
        """Cut, started, looked at, and ended: its table."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir()
        how = disk.put(self.state, fates)
        self.daemon.start()
        with self.daemon.client("tcp", timeout=10) as client:
            table = client.table()
        shown = {key.decode(): int(value)
                 for key, value in self.daemon.map().items()}
        assert shown == {address: entry.expiry
                         for address, entry in table.items()}, how
        self.daemon.kill9()
        return table, how


def cut_at(rng, events, count):
    """
    Numbers of events: any; half of them right after a change of names or so;
    the last, and each removal.
    """
    rare = [n for n, event in enumerate(events) if event.what in "CDRLEF"]
    return set(rng.sample(range(len(events)), count // 2) +
               rng.sample(rare, min(len(rare), count - count // 2)) +
               [n for n, event in enumerate(events) if event.what == "U"] +
               [len(events) - 1])


def cut(recorded, restarted, storm, limit_ns):
    """
    Cuts, restarts and checks. limit_ns(disk, event): how old what is lost
    may be, at most. Returns figures: cuts, and the age of the oldest answered
    change that was lost.
    """
    disk, rng, events = recorded.disk, recorded.rng, list(recorded.events())
    cuts, oldest_ns, failed_ns = cut_at(rng, events, CUTS), 0, 0
    versions = set(rng.sample(range(len(events)), VERSIONS))
    for number, event in enumerate(events):
        disk.apply(event)
        if event.what == "F":
            failed_ns = event.stamp_ns
        allowed_ns = limit_ns(disk, event)
        if number in versions:
            disk.remember()
        if number not in cuts:
            continue
        # A removal that was early: it is done, and what it waited for not.
        table, how = restarted.table(
            disk, (ALL, NOTHING) if event.what == "U" else None)
        try:
            # What was cut off in vain stays cut off when a flush succeeds.
            refused_ns = lost_ns("os") \
                if event.stamp_ns - failed_ns > lost_ns("os") \
                else event.stamp_ns
            oldest_ns = max(oldest_ns, storm.check(
                table, event.stamp_ns, allowed_ns, refused_ns))
        except AssertionError as error:
            raise AssertionError("cut after event %d of %d, %s: %s" % (
                number, len(events), how, error)) from None
    return len(cuts), oldest_ns


def passed(seconds):
    end = time.monotonic() + seconds * SLOWER
    return lambda: time.monotonic() > end


@pytest.mark.parametrize("kind, durability", KINDS)
def test_cut(dracd, preload, seed, figures, kind, durability):
    """
    In a storm; after a kill -9, whose successor has to flush what it finds;
    while old segments go; after a stop. The next generation begins with what
    one cut has left.
    """
    cuts = oldest_ns = answered = removed = 0
    table, left = {}, None
    for generation in range(GENERATIONS):
        recorded = Recorded(dracd, "d%d" % generation, preload, seed,
                            kind, durability)
        restarted = Restarted(dracd, "cut%d" % generation, recorded)
        if left is not None:
            shutil.copytree(left, recorded.state, dirs_exist_ok=True)
        storm = Storm(seed, table, PAUSE_S)
        recorded.start()
        storm.run(recorded.daemon, passed(0.7))
        recorded.daemon.kill9()
        recorded.start()
        if durability == "os":      # long enough to see what is not flushed
            storm.run(recorded.daemon, passed(2.3), first=CLIENTS // 2)
        storm.run(recorded.daemon, passed(0.8))
        recorded.daemon.stop()
        assert storm.answered(SYSERR) == 0
        done = cut(recorded, restarted, storm,
                   lambda disk, event: lost_ns(durability))
        cuts, oldest_ns = cuts + done[0], max(oldest_ns, done[1])
        answered += storm.answered()
        removed += recorded.disk.counts["U"]
        left = restarted.state
        table, _ = restarted.table(recorded.disk)
    figures("%d cuts, %d changes answered, %d files removed, "
            "oldest change lost: %.2f s" % (cuts, answered, removed,
                                            oldest_ns / 1e9))
    assert answered > 1000 and removed > 0


def test_failed_flush(dracd, preload, seed, figures):
    """
    One round of the flush thread fails, so that what it had to flush never
    gets to the disk by itself: nothing old is removed until all of it has been
    written anew.
    """
    recorded = Recorded(dracd, "d", preload, seed, "btree", "os")
    restarted = Restarted(dracd, "cut", recorded)
    storm = Storm(seed, pause_s=PAUSE_S)
    recorded.start()
    storm.run(recorded.daemon, passed(0.5))
    recorded.daemon.stop()
    stopped_ns = time.monotonic_ns()    # all before is on the disk
    # At once it flushes what it found, and perhaps some of the next segment.
    recorded.start(failing="3-3")
    storm.run(recorded.daemon, passed(0))   # the old segment may go now
    storm.run(recorded.daemon, passed(0.2), first=CLIENTS)
    storm.run(recorded.daemon, passed(2.2))
    recorded.daemon.stop()
    removals = []       # until the failure

    def limit_ns(disk, event):
        if event.what == "F":
            removals.append(disk.counts["U"])
        if event.stamp_ns < stopped_ns:
            return lost_ns("os")
        mended = not removals or disk.counts["U"] > removals[-1]
        return min(event.stamp_ns - stopped_ns,
                   lost_ns("os") if mended else event.stamp_ns)

    cuts, oldest_ns = cut(recorded, restarted, storm, limit_ns)
    assert recorded.disk.agrees(), "the model has missed something"
    assert len(removals) == 1, "no flush has failed"
    assert recorded.disk.counts["U"] > removals[-1], "not mended"
    assert "written anew" in recorded.daemon.stderr
    figures("%d cuts, %d changes answered, oldest change lost: %.2f s" %
            (cuts, storm.answered(), oldest_ns / 1e9))


def test_refused(dracd, preload, seed, figures):
    """Flushes of the loop fail: what it refused then does not come back."""
    recorded = Recorded(dracd, "d", preload, seed, "btree", "disk")
    restarted = Restarted(dracd, "cut", recorded)
    storm = Storm(seed, pause_s=PAUSE_S)
    for failing in ("40-60", "2-100000") if TORTURE else ("40-60",):
        recorded.start(failing)
        storm.run(recorded.daemon, passed(0.5))
        recorded.daemon.kill9()
    recorded.start()
    storm.run(recorded.daemon, passed(2.5))
    recorded.daemon.stop()
    cuts, _ = cut(recorded, restarted, storm,
                  lambda disk, event: lost_ns("disk"))
    refused = storm.answered(SYSERR)
    assert refused > 20
    figures("%d cuts, %d changes answered, %d refused" %
            (cuts, storm.answered(), refused))


BOOT_ID = "/proc/sys/kernel/random/boot_id"


@pytest.mark.parametrize("kind", ["btree", "lmdb"])
def test_cut_after_a_clean_stop(dracd, tmp_path, seed, kind):
    """
    The journal says that all is in good order, and the map has its size and
    time, but not all of its pages. Only the system's boot tells.
    """
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(str(seed.random()))
    namespace = Namespace(["mount"], "mount --bind %s %s" % (boot_id, BOOT_ID))
    try:
        daemon = dracd(prefix=namespace.prefix, maps=[
            ("%s:%s" % (kind, tmp_path / "d" / "dracd.db"), {"capacity": 64})])
        path = pathlib.Path(daemon.map_path)
        daemon.start()
        held = set()
        for again in range(10 if TORTURE else 3):
            before = path.read_bytes()
            addresses = {"10.%d.%d.1" % (again, n) for n in range(200)}
            with daemon.client("tcp") as client:
                for address in addresses:
                    client.add3(address, 3600)
            held |= addresses
            daemon.stop()
            lose_pages(path, before, seed)
            boot_id.write_text(str(seed.random()))
            daemon.start()
            assert {key.decode() for key in daemon.map()} == held
    finally:
        namespace.close()


def lose_pages(path, before, rng):
    """Some pages are as they were, or were never written."""
    stat, now = path.stat(), path.read_bytes()
    with path.open("r+b") as file:
        for at in range(0, len(now), PAGE):
            if rng.random() < 0.3:
                file.seek(at)
                file.write(before[at:at + PAGE].ljust(PAGE, b"\0"))
        file.truncate(len(now))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

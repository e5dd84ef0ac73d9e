"""
million: what a million entries cost: the longest add while they stand and
while they expire, starts, memory. Each has a user and a service. Beside the
longest add stands the longest null call of an empty dracd in the same
minutes: what the machine does by itself.
"""

import contextlib
import os
import pathlib
import statistics
import time

import table
from bed import (FEW_REPS, MILLION, PATIENCE_S, checked, command, daemon,
                 load, pick, places, rpcraw, run, say, wait_for)

FILL_CLIENTS = 8
PACE = 1000             # adds a second of the client whose longest is told
PACED_S = pick(4, 0.3)
EXPIRING_S = 1          # before the first is gone
GONE_S = 1 + 4e-6 * MILLION     # what is wanted
STORM_S = 0.2

# milliseconds: p99.9, longest
STANDING_MS, EXPIRING_MS = (0.5, 1.5), (1, 5)
START_S = {"clean stop": 0.7, "crash": 1.2, "map missing": 1.5}
IDLE_MB, MILLION_MB = 4, 100


def fill(server, base, count, **options):
    """Adds with a user each; many clients, since that is the fastest."""
    return run(server, "add", c=FILL_CLIENTS, n=count, b=base, v=3, u="user",
               **options)


def paced(server, operation, **options):
    return run(server, operation, p=PACE, **{"d": PACED_S, **options})


def say_latency(name, runs):
    """[median p99.9, longest of all runs] in ms, which it prints too."""
    p999 = statistics.median(r["p999_us"] for r in runs) / 1e3
    longest = [r["max_us"] / 1e3 for r in runs]
    say("%-44s p50 %4.0f us  p99.9 %6.2f ms  longest %6.2f ms (of a run "
        "%.2f)", name, statistics.median(r["p50_us"] for r in runs), p999,
        max(longest), statistics.median(longest))
    return p999, max(longest)


def latency_row(part, name, adds, nulls, targets):
    """The longest of all runs counts, and the median of their p99.9."""
    say("\n%s, 1 client, %d adds/s, %d runs", name, PACE, len(adds))
    own = say_latency("null calls, empty dracd, same minutes", nulls)
    figures = say_latency("new addresses", adds)
    for what, value, machine, target in zip(("p99.9", "longest"), figures,
                                            own, targets):
        table.row(part, "%s, %s" % (name, what), [
            "%.2f ms (null call of an empty dracd: %.2f ms)" % (
                value, machine)], "<= %g ms" % target,
            [table.verdict(value, target, False)])


def memory_mb(server):
    """{"VmRSS": MB, "RssAnon": MB}"""
    with open("/proc/%d/status" % server.process.pid) as status:
        values = dict(line.split(":") for line in status)
    return {name: int(values[name].split()[0]) / 1e3
            for name in ("VmRSS", "RssAnon")}


def megabytes(path):
    path = pathlib.Path(path)
    files = path.iterdir() if path.is_dir() else [path]
    return sum(f.stat().st_size for f in files) / 1e6


def memory_row(name, memory, target):
    """All that is resident counts; RssAnon is what no other program has."""
    table.row("million", "memory, " + name, ["%.1f MB (RssAnon %.1f)" % (
        memory["VmRSS"], memory["RssAnon"])], "<= %g MB" % target,
        [table.verdict(memory["VmRSS"], target, False)])


def start_s(server, address):
    """Seconds from the exec until an add has been answered with success."""
    begin = time.monotonic()
    server.launch()
    with server.client("udp", timeout=0.002) as client:
        while time.monotonic() - begin < PATIENCE_S:
            assert server.alive(), server.stderr
            try:
                if client.add1(address) == rpcraw.ADD_SUCCESS:
                    return time.monotonic() - begin
            except rpcraw.NoAnswer:
                pass
            except (rpcraw.Closed, ConnectionRefusedError):
                time.sleep(0.001)   # or we take a processor from it
    raise AssertionError("no answer after a start:\n" + server.stderr)


def crash(server, numbers):
    with load.running(command(server, "add", c=4, d=PATIENCE_S, x=True, r=20,
                              b=numbers.block())) as storm:
        time.sleep(STORM_S)         # that much of it
        server.kill9()
        storm.process.wait()


def unlink_map(server):
    server.stop()
    os.unlink(server.map_path)


def starts(server, numbers):
    prepare = {"clean stop": server.stop,
               "crash": lambda: crash(server, numbers),
               "map missing": lambda: unlink_map(server)}
    took = {name: [] for name in prepare}
    for _ in range(FEW_REPS):
        for name, end in prepare.items():
            end()
            took[name].append(start_s(server, load.address(numbers.block(1))))
    say()
    for name, seconds in took.items():
        say("start after %-12s %.2f s [%.2f-%.2f]", name,
            statistics.median(seconds), min(seconds), max(seconds))
    medians = {name: statistics.median(s) for name, s in took.items()}
    table.row("million", "start with a million live entries, until the first "
              "answer: " + " / ".join(prepare),
              ["%.2f s" % s for s in medians.values()],
              "<= %s s" % " / ".join("%g" % s for s in START_S.values()),
              [table.verdict(medians[n], START_S[n], False) for n in prepare])


def standing(numbers):
    adds, nulls = [], []
    with places() as found, contextlib.ExitStack() as stack:
        place = found.get("disk") or found["tmpfs"]
        empty = stack.enter_context(daemon(place, capacity=None))
        empty.start()
        idle = memory_mb(empty)
        server = stack.enter_context(daemon(place, capacity=MILLION,
                                            max_entries=2 * MILLION))
        server.start()
        filled = fill(server, numbers.block(MILLION), MILLION, l=86400)
        say("\n%d entries by %d clients: %.0f/s, longest %.1f ms", MILLION,
            FILL_CLIENTS, filled["rate"], filled["max_us"] / 1e3)
        full = memory_mb(server)
        say("map %.1f MB, journal %.1f MB", megabytes(server.map_path),
            megabytes(server.settings["journal"]))
        for _ in range(FEW_REPS):
            nulls.append(paced(empty, "null"))
            adds.append(paced(server, "add", b=numbers.block()))
        latency_row("million", "a million entries stand", adds, nulls,
                    STANDING_MS)
        starts(server, numbers)
        memory_row("idle", idle, IDLE_MB)
        memory_row("a million entries with users and services", full,
                   MILLION_MB)
        memory_row("the same after a start", memory_mb(server), MILLION_MB)


def expire_once(server, empty, numbers, fill_s):
    """(adds, nulls, seconds until the last was gone) or None: too slow."""
    with server.client("unix") as client:
        before = client.stats()["expiries"]
    end = int(time.time() + fill_s)
    filled = fill(server, numbers.block(MILLION), MILLION, e=end,
                  d=fill_s - 4)
    nulls = paced(empty, "null", d=PACED_S / 2)
    wait_for(lambda: time.time() > end - EXPIRING_S, fill_s,
             "their last second")
    base = numbers.block()
    with load.running(command(server, "add", p=PACE, d=EXPIRING_S + GONE_S,
                              b=base)) as adder, \
            server.client("unix") as client:
        wait_for(lambda: client.stats()["expiries"] - before >=
                 filled["calls"], PATIENCE_S, "all gone")
        gone_s = time.time() - end
        adds = checked(adder.result())
    return (adds, nulls, gone_s) if filled["calls"] == MILLION else None


def expiring(numbers):
    rounds = []
    with places() as found, contextlib.ExitStack() as stack:
        place = found.get("disk") or found["tmpfs"]
        empty = stack.enter_context(daemon(place, capacity=None))
        server = stack.enter_context(daemon(place, capacity=MILLION,
                                            max_entries=2 * MILLION))
        empty.start()
        server.start()
        # As fast as that a million will be there again.
        trial = fill(server, numbers.block(MILLION // 10), MILLION // 10,
                     l=86400)
        fill_s = 5 + 1.5 * MILLION / trial["rate"]
        while len(rounds) < FEW_REPS:
            got = expire_once(server, empty, numbers, fill_s)
            if got is None:
                fill_s *= 1.5
                say("a million took longer than expected: again, within "
                    "%.0f s", fill_s)
                assert fill_s < 600
                continue
            rounds.append(got)
    adds, nulls, gone = zip(*rounds)
    latency_row("expiry", "a million expire in one second", adds, nulls,
                EXPIRING_MS)
    late = statistics.median(gone)
    table.row("expiry", "the same, the last of them gone",
              ["%.1f s late" % late], "<= %g s" % GONE_S,
              [table.verdict(late, GONE_S, False)])

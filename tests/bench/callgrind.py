"""
callgrind: instructions a call, which no other load of the machine moves: in
user space, of one UDP client, on a small table. Two daemons are counted, to
show how far the figures can be repeated. callgrind.txt says where they go.

Refreshes come at a pace, so that each reaches the map by itself. What happens
so many times a second is left out, since valgrind is slow: lines of the log,
and looking for addresses of this host.
"""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import time

import bed
import table
from bed import daemon, next_second, pick, places, run, say, wait_for

CALLS = pick(5000, 200)
PACE = 400
UNCOUNTED = ("write_grant*", "read_own*")       # of audit.c, access.c
WARM_UP = 200
CAPACITY = 16384
RUNS = 2
REPEATABLE = 0.001
QUIET_S, START_S = 0.2, 120
TOP_FUNCTIONS = 15
# Before the work that this bench was made for, gcc 12, glibc 2.36.
BEFORE = {"new address": 13234, "refresh": 12835, "null call": 1732}

LINE = re.compile(r"\s*([\d,]+) \(\s*[\d.]+%\)\s+(\S+?):(.+?)(?: \[(.*)\])?$")


def ticks(server):
    with open("/proc/%d/stat" % server.process.pid) as stat:
        return stat.read().rpartition(")")[2].split()[11]


def quiet(server):
    """Waits until what it had put off is done."""
    seen = [ticks(server), time.monotonic()]

    def unchanged():
        if ticks(server) != seen[0]:
            seen[:] = [ticks(server), time.monotonic()]
        return time.monotonic() - seen[1] > QUIET_S
    wait_for(unchanged, START_S, "an idle dracd")


def control(server, *what):
    subprocess.run(["callgrind_control", *what, str(server.process.pid)],
                   check=True, capture_output=True)


def count_phase(server, name, *args, **options):
    """The profile of CALLS calls, as a file of callgrind."""
    quiet(server)
    control(server, "-z")
    run(server, *args, n=CALLS, **options)
    quiet(server)
    known = set(pathlib.Path(server.dir).glob("profile.*"))
    control(server, "--dump=" + name)
    return (set(pathlib.Path(server.dir).glob("profile.*")) - known).pop()


def room(path, binary):
    """A room of the daemon, or a library."""
    if binary and os.path.basename(binary) != "dracd":
        return os.path.basename(binary).split(".so")[0]
    if path.startswith("./"):
        return "libc"
    return os.path.basename(path).partition(".")[0]


def costs(profile):
    """({function: instructions}, {room: instructions}) a call."""
    out = subprocess.run(["callgrind_annotate", "--threshold=100",
                          "--auto=no", profile], check=True, text=True,
                         capture_output=True).stdout
    total = int(re.search(r"^([\d,]+) .*PROGRAM TOTALS", out, re.M)[1]
                .replace(",", ""))
    functions, rooms = collections.Counter(), collections.Counter()
    for line in out.splitlines():
        found = LINE.match(line)
        if not found:
            continue
        count = int(found[1].replace(",", ""))
        if count > 0.9 * total:
            continue        # main() and its kind: what they call is in them
        where = room(found[2], found[4])
        functions["%s: %s" % (where, found[3])] += count
        rooms[where] += count
    assert 0.95 * total < sum(rooms.values()) < 1.05 * total, \
        "the profile does not add up"
    return total / CALLS, functions, rooms


def breakdown(file, name, cost):
    total, functions, rooms = cost
    file.write("%s: %.0f instructions a call\n\n" % (name, total))
    for title, counts, limit in (("room or library", rooms, None),
                                 ("function", functions, TOP_FUNCTIONS)):
        file.write("%8s  %5s  %s\n" % ("", "", title))
        for what, count in counts.most_common(limit):
            if count / CALLS >= 0.5:
                file.write("%8.0f  %4.1f%%  %s\n" % (
                    count / CALLS, 100 * count / CALLS / total, what))
        file.write("\n")


def one_run(place, numbers):
    """{name: costs()}, of a daemon that is new."""
    with daemon(place, capacity=CAPACITY) as server:
        server.prefix = ["valgrind", "-q", "--tool=callgrind",
                         *("--toggle-collect=" + f for f in UNCOUNTED),
                         "--collect-atstart=yes",
                         "--callgrind-out-file=%s/profile" % server.dir]
        server.launch()
        wait_for(server.settled, START_S, "an answer under valgrind")
        run(server, "add", n=WARM_UP, b=numbers.block())
        base = numbers.block()
        profiles = {
            "null call": count_phase(server, "null", "null"),
            "new address": count_phase(server, "new", "add", b=base)}
        next_second()
        profiles["refresh"] = count_phase(server, "refresh", "add", b=base,
                                          p=PACE)
        return {name: costs(profile) for name, profile in profiles.items()}


def instructions(_):
    if not shutil.which("valgrind"):
        say("\ninstructions: left out, there is no valgrind")
        return
    with places() as found:
        # The same numbers each time: the same addresses.
        runs = [one_run(found.get("disk") or found["tmpfs"], bed.Numbers())
                for _ in range(RUNS)]
    say("\ninstructions a call (user space), of %d calls, %d runs", CALLS,
        RUNS)
    with open(bed.OUT / "callgrind.txt", "w", encoding="utf-8") as file:
        for name, before in BEFORE.items():
            totals = [one[name][0] for one in runs]
            apart = (max(totals) - min(totals)) / min(totals)
            say("%-12s %s  apart by %.2f per mille", name,
                " ".join("%8.0f" % t for t in totals), 1000 * apart)
            breakdown(file, name, runs[0][name])
            table.row("callgrind", "instructions, " + name, [
                "%.0f (repeated within %.1f per mille)" % (
                    totals[0], 1000 * apart)], "< %d" % before,
                [table.verdict(totals[0], before - 1, False) + (
                    "" if apart <= REPEATABLE else
                    ", MISSED: not within 1 per mille")])
    say("where they go: callgrind.txt")

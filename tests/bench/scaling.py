"""
scaling: adds a second and the longest add, against entries and against
callers, as plots and as text. Beside them null calls of the same server.
"""

import contextlib
import statistics

import plots
from bed import (FEW_REPS, OUT, RUN_S, daemon, pick, places,
                 remove, run, say, slowed)
from million import FILL_CLIENTS, PACE

ENTRIES = pick((1000, 3000, 10000, 30000, 100000, 300000, 1000000, 3000000,
                10000000), (1000, 3000, 10000))
CALLERS = pick((1, 2, 4, 8, 16, 32, 64, 128, 256), (1, 8, 256))
RATE_CALLS, RATE_CLIENTS = 20000, 4
PACED_CALLS = pick(3000, 200)


class Figures:
    """Named figures of repetitions at each x; medians in the end."""

    def __init__(self):
        self.names, self.values = [], {}

    def add(self, name, x, value):
        if name not in self.names:
            self.names.append(name)
        self.values.setdefault((name, x), []).append(value)

    def points(self, name, best=statistics.median):
        return [(x, best(values)) for (n, x), values in self.values.items()
                if n == name]

    def say(self, x_name, form):
        say("%10s" + "  %s" * len(self.names), x_name, *self.names)
        for x in sorted({x for _, x in self.values}):
            say("%10d" + "  %s" * len(self.names), x, *(
                (form % statistics.median(self.values[n, x])).rjust(len(n))
                if (n, x) in self.values else " " * len(n)
                for n in self.names))

    def plot(self, file, title, x_name, y_name):
        plots.chart(OUT / file, title, x_name, y_name,
                    {name: self.points(name) for name in self.names})


def add_latency(figures, name, x, result):
    figures.add(name + ", p99.9", x, result["p999_us"] / 1e3)
    figures.add(name + ", longest", x, result["max_us"] / 1e3)


def measure_entries(server, count, numbers, rates, latencies):
    """Adds few beside what there is, and takes them back."""
    calls = min(RATE_CALLS, count)
    for _ in range(FEW_REPS):
        base = numbers.block()
        null = run(server, "null", c=RATE_CLIENTS, n=calls)
        new = run(server, "add", c=RATE_CLIENTS, n=calls, b=base)
        remove(server, base, new)
        rates.add("null calls", count, null["rate"])
        rates.add("new addresses", count, new["rate"])
        base = numbers.block()
        paced = {"p": PACE, "n": min(PACED_CALLS, count)}
        null = run(server, "null", **paced)
        new = run(server, "add", b=base, **paced)
        remove(server, base, new)
        add_latency(latencies, "null calls", count, null)
        add_latency(latencies, "new addresses", count, new)


def entries(numbers):
    rates, latencies, standing = Figures(), Figures(), 0
    with places() as found, daemon(
            found.get("disk") or found["tmpfs"],
            max_entries=2 * max(ENTRIES)) as server:
        server.start()
        for count in ENTRIES:
            run(server, "add", c=FILL_CLIENTS, n=count - standing, v=3,
                l=86400, b=numbers.block(count - standing))
            standing = count
            measure_entries(server, count, numbers, rates, latencies)
    say("\nentries: calls/s of %d UDP clients", RATE_CLIENTS)
    rates.say("entries", "%.0f")
    say("\nentries: milliseconds, 1 client, %d calls/s, medians of %d runs",
        PACE, FEW_REPS)
    latencies.say("entries", "%.3f")
    rates.plot("entries-rate.svg", "Rate, %d UDP clients" % RATE_CLIENTS,
               "entries that stand", "calls/s")
    latencies.plot("entries-latency.svg",
                   "Latency, 1 UDP client, %d calls/s" % PACE,
                   "entries that stand", "milliseconds")
    say("plots: entries-rate.svg, entries-latency.svg")


def callers(numbers):
    rates, latencies = Figures(), Figures()
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(places())
        place = found.get("disk") or found["tmpfs"]
        server = stack.enter_context(daemon(place))
        slow = stack.enter_context(daemon(place, durability="disk",
                                          env=slowed()))
        server.start()
        slow.start()
        for count in CALLERS:
            for _ in range(FEW_REPS):
                null = run(server, "null", c=count, d=RUN_S)
                rates.add("null calls, UDP", count, null["rate"])
                for name, which, transport in (
                        ("new addresses, UDP", server, "udp"),
                        ("new addresses, TCP", server, "tcp"),
                        ("new, disk, fdatasync 1 ms", slow, "udp")):
                    base = numbers.block()
                    new = run(which, "add", transport, c=count, b=base,
                              d=RUN_S)
                    remove(which, base, new)
                    rates.add(name, count, new["rate"])
                    if which is server and transport == "udp":
                        add_latency(latencies, "null calls", count, null)
                        add_latency(latencies, "new addresses", count, new)
    say("\ncallers: calls/s")
    rates.say("callers", "%.0f")
    say("\ncallers: milliseconds, UDP, each as fast as it can, medians of %d "
        "runs", FEW_REPS)
    latencies.say("callers", "%.3f")
    rates.plot("callers-rate.svg", "Rate", "callers at once", "calls/s")
    latencies.plot("callers-latency.svg",
                   "Latency over UDP, each caller as fast as it can",
                   "callers at once", "milliseconds")
    say("plots: callers-rate.svg, callers-latency.svg")

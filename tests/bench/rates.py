"""rates: how many calls a second dracd answers."""

import contextlib
import resource
import socket
import statistics

from bed import (FEW_REPS, REPS, Refreshable, daemon, once, one_round,
                 pick, places, remove, run, say, slowed, spread)
import table

ROWS = (("udp", 1), ("udp", 4), ("tcp", 4), ("unix", 4), ("udp", 64))
NEW_RATIO, NEW_ABOVE_US, REFRESH_RATIO = 0.75, 6, 0.92
NEW_RATE_4 = {"udp": 120000, "tcp": 100000}
SLOWED_CLIENTS, SLOWED_RATE, SLOWED_US = 64, 30000, 1000
SLOWED_S = pick(0.5, 0.05)
ONCE_RATE, ONCE_S = 30000, pick(0.5, 0.05)
IDLE_CONNECTIONS, IDLE_RATIO = pick(5000, 200), 0.97


def kilo(rate):
    return "%.0f k" % (rate / 1000)


def ratio(parts, wholes):
    return statistics.median(p / w for p, w in zip(parts, wholes))


class Row:
    """What repetitions of one_round() gave."""

    def __init__(self, rounds):
        self.null, self.new, self.refresh = list(zip(*rounds))[:3]

    @property
    def above_us(self):
        return statistics.median(1e6 / new - 1e6 / null for new, null in
                                 zip(self.new, self.null))

    def say(self, transport, clients):
        say("%-5s%3d  %-22s %-22s %-22s %8.2f %8.2f %8.1f", transport,
            clients, spread(self.null), spread(self.new),
            spread(self.refresh), ratio(self.new, self.null),
            ratio(self.refresh, self.null), self.above_us)


def say_head(title):
    say("\n%s: calls/s, median [min-max] of %d", title, REPS)
    say("%-5s%3s  %-22s %-22s %-22s %8s %8s %8s", "", "", "null",
        "new address", "refresh", "new/null", "ref/null", "new-null")


def alone(rows):
    """The rows of the table of one client over UDP; rows: by place."""
    ratios = [ratio(r.new, r.null) for r in rows]
    table.row("rates", "new addresses, one UDP client, part of null calls",
              ["%.2f" % r for r in ratios], ">= %g" % NEW_RATIO,
              [table.verdict(r, NEW_RATIO) for r in ratios])
    table.row("rates", "the same, time above a null call",
              ["%.1f us" % r.above_us for r in rows],
              "<= %g us" % NEW_ABOVE_US,
              [table.verdict(r.above_us, NEW_ABOVE_US, False) for r in rows])
    ratios = [ratio(r.refresh, r.null) for r in rows]
    table.row("rates", "refreshes, same client, part of null calls",
              ["%.2f" % r for r in ratios], ">= %g" % REFRESH_RATIO,
              [table.verdict(r, REFRESH_RATIO) for r in ratios])


def four(transport, rows):
    """Where null calls do not get so far, adds cannot."""
    target = NEW_RATE_4[transport]
    nulls = [statistics.median(r.null) for r in rows]
    news = [statistics.median(r.new) for r in rows]
    table.row("rates", "new addresses, 4 %s clients" % transport.upper(),
              ["%s/s (%.2f of null)" % (kilo(new), ratio(r.new, r.null))
               for new, r in zip(news, rows)], ">= %s/s" % kilo(target),
              [table.verdict(new, target) + (
                  " (null calls reach %s)" % kilo(null) if null < target
                  else "") for new, null in zip(news, nulls)])


def rates(numbers):
    """
    Repetitions outermost: what disturbs the machine disturbs all rows. Every
    daemon stands while the others are measured.
    """
    with contextlib.ExitStack() as stack:
        servers = {}
        found = stack.enter_context(places())
        for name, place in found.items():
            servers[name, "os"] = stack.enter_context(daemon(place))
        if "disk" in found:
            servers["disk", "disk"] = stack.enter_context(
                daemon(found["disk"], durability="disk"))
        rounds, standing = {}, {}
        for key, server in servers.items():
            server.start()
            standing[key] = Refreshable(server, numbers)
        for _ in range(REPS):
            for key, server in servers.items():
                for row in ROWS:
                    *figures, (base, new) = one_round(
                        server, numbers, standing[key], *row)
                    rounds.setdefault((key, row), []).append(figures)
                    remove(server, base, new)
    rows = {where: Row(figures) for where, figures in rounds.items()}
    for key in servers:
        say_head('on %s, durability = "%s"' % key)
        for row in ROWS:
            rows[key, row].say(*row)
    os_keys = [key for key in servers if key[1] == "os"]
    alone([rows[key, ("udp", 1)] for key in os_keys])
    for transport in "udp", "tcp":
        four(transport, [rows[key, (transport, 4)] for key in os_keys])


def slow(numbers):
    """Callers share a slow fdatasync, or they wait for one each."""
    with places() as found, daemon(
            found.get("disk") or found["tmpfs"], durability="disk",
            env=slowed(SLOWED_US)) as server:
        server.start()
        rounds = []
        for _ in range(FEW_REPS):
            base = numbers.block()
            null = run(server, "null", c=SLOWED_CLIENTS, d=SLOWED_S)
            new = run(server, "add", c=SLOWED_CLIENTS, d=SLOWED_S, b=base)
            assert new["p50_us"] >= SLOWED_US, "fdatasync is not slow"
            rounds.append((null["rate"], new["rate"]))
            remove(server, base, new)
    null, new = zip(*rounds)
    say("\nfdatasync of %d us, %d UDP clients: null %s, new %s", SLOWED_US,
        SLOWED_CLIENTS, spread(null), spread(new))
    rate = statistics.median(new)
    table.row("slow", '64 callers, durability = "disk", fdatasync of 1 ms',
              [kilo(rate) + "/s"], ">= %s/s" % kilo(SLOWED_RATE),
              [table.verdict(rate, SLOWED_RATE)])


def one_shot(numbers):
    ways = [(t, p) for t in ("unix", "udp") for p in (1, 4)]
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(daemon(place)) for name, place in
                   stack.enter_context(places()).items()}
        results = {}
        for server in servers.values():
            server.start()
        for _ in range(FEW_REPS):
            for name, server in servers.items():
                for way in ways:
                    results.setdefault((name, way), []).append(
                        once(server, *way, ONCE_S, numbers))
    say("\none-shot dracauth(), a connection each: calls/s, latency")
    for (name, way), runs in results.items():
        middle = [statistics.median(r[figure] for r in runs)
                  for figure in ("p50_us", "p99_us", "max_us")]
        say("%-6s%-5s%2d  %s  p50 %.0f us  p99 %.0f us  max %.0f us", name,
            *way, spread([r["rate"] for r in runs]), *middle)
    rates_1 = [statistics.median(r["rate"] for r in results[n, ("unix", 1)])
               for n in servers]
    table.row("once", "one-shot dracauth(), local socket, one process",
              [kilo(r) + "/s" for r in rates_1], ">= %s/s" % kilo(ONCE_RATE),
              [table.verdict(r, ONCE_RATE) for r in rates_1])


def enough_descriptors(need):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < need:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))
    return True


@contextlib.contextmanager
def connections(server, count):
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(contextlib.closing(socket.create_connection(
                ("127.0.0.1", server.port), 5)))
        yield


def idle_at(place, numbers):
    """(without, with them), in turns."""
    need = 2 * IDLE_CONNECTIONS
    with daemon(place, max_connections=need, idle_timeout="10m",
                max_connections_per_address=need) as server:
        server.start()
        standing = Refreshable(server, numbers)
        rounds = ([], [])
        for _ in range(REPS):
            for busy in 0, 1:
                with connections(server, busy * IDLE_CONNECTIONS):
                    *figures, (base, new) = one_round(
                        server, numbers, standing, "udp", 1)
                    rounds[busy].append(figures)
                    remove(server, base, new)
    return map(Row, rounds)


def idle(numbers):
    """What idle connections leave of a UDP caller's rate."""
    if not enough_descriptors(3 * IDLE_CONNECTIONS):
        say("\nidle connections: left out, too few descriptors allowed")
        return
    left = []
    with places() as found:
        for name, place in found.items():
            without, with_them = idle_at(place, numbers)
            say_head("on %s, without and with %d idle connections" % (
                name, IDLE_CONNECTIONS))
            without.say("udp", 1)
            with_them.say("udp", 1)
            left.append(ratio(with_them.new, without.new))
            say("left: null %.3f, new %.3f, refresh %.3f",
                ratio(with_them.null, without.null), left[-1],
                ratio(with_them.refresh, without.refresh))
    table.row("idle", "new addresses of a UDP client, part that %d idle TCP "
              "connections leave" % IDLE_CONNECTIONS,
              ["%.2f" % part for part in left], ">= %g" % IDLE_RATIO,
              [table.verdict(part, IDLE_RATIO) for part in left])

"""
bed: what all parts of the bench lie on: how much is measured, servers to
measure and where their files are, runs of the load generators, and what is
printed.
"""

import contextlib
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/integration"))

import load                             # noqa: E402  (needs the path above)
import rpcraw                           # noqa: E402, F401  (for the parts)
from daemon import Dracd, wait_for      # noqa: E402, F401

BUILD = (TOP / os.environ.get("DRACD_BUILD", "build").split(":")[0]).resolve()
OUT = BUILD / "bench"
QUICK = bool(os.environ.get("BENCH_QUICK"))
TMPFS = pathlib.Path("/dev/shm")


def pick(full, quick):
    """BENCH_QUICK=1 shows that the bench works, not how fast dracd is."""
    return quick if QUICK else full


REPS = pick(9, 2)               # of runs that take part of a second
FEW_REPS = pick(5, 2)           # of longer ones
RUN_S = pick(0.2, 0.03)
MILLION = pick(1000000, 20000)
SETS, SET_SIZE = pick(8, 3), pick(6000, 500)    # of entries to be refreshed
BLOCK = 1 << 18                 # address numbers of one run, and more
PATIENCE_S = 900                # for the longest run of a generator
CAPACITY = 131072               # no file grows in the rates
CONNECTIONS = 512
MANY = 64                       # clients: they share an fdatasync


# ---- printing ---------------------------------------------------------------

class Transcript:
    """What is printed goes to the terminal and to a file of this run."""
    file = None


def transcribe(name):
    OUT.mkdir(exist_ok=True)
    Transcript.file = open(OUT / name, "w", encoding="utf-8")


def say(form="", *values):
    for file in sys.stdout, Transcript.file:
        print(form % values if values else form, file=file, flush=True)


def spread(values):
    return "%7.0f [%.0f-%.0f]" % (statistics.median(values), min(values),
                                  max(values))


# ---- servers ----------------------------------------------------------------

class Numbers:
    """Blocks of address numbers, no block twice in a run of the bench."""

    def __init__(self, first=0):
        self.next = first
        self.next_once = 0

    def block(self, size=BLOCK):
        self.next += size
        return self.next - size

    def once(self, size):
        """Those of draconce, which lie elsewhere."""
        self.next_once += size
        return self.next_once - size


class Peer:
    """Another server of version 1, at host:port."""

    def __init__(self, place):
        host, _, port = place.rpartition(":")
        self.address = "%s:%d" % (socket.gethostbyname(host), int(port))


def tool(name):
    return str(BUILD / "tools" / name)


@contextlib.contextmanager
def daemon(place, capacity=CAPACITY, prefix=(), env=None, **settings):
    """A dracd with its files in a directory of its own in place; not started"""
    settings.setdefault("max_connections_per_address", CONNECTIONS)
    with tempfile.TemporaryDirectory(dir=place) as directory:
        server = Dracd(BUILD, directory, prefix=prefix, env=env, **settings)
        server.maps[0][1].clear()
        if capacity:
            server.maps[0][1]["capacity"] = capacity
        try:
            yield server
            server.finish()
        finally:
            if server.alive():  # what went wrong is told, not its end
                server.kill9()


def kind_of(place):
    """What file system it is, as stat(1) calls it."""
    return subprocess.run(["stat", "-f", "-c", "%T", place], check=True,
                          capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def places():
    """{"disk": directory, "tmpfs": directory}, as far as there are such."""
    found = {}
    with contextlib.ExitStack() as stack:
        for name, parent in ("disk", BUILD), ("tmpfs", TMPFS):
            if not parent.is_dir() or (kind_of(parent) == "tmpfs") != (
                    name == "tmpfs"):
                say("%s: left out, %s is none", name, parent)
                continue
            found[name] = stack.enter_context(tempfile.TemporaryDirectory(
                prefix="bench-", dir=parent))
        yield found


def slowed(us=1000):
    """The environment of a daemon whose fdatasync takes so long."""
    return {"LD_PRELOAD": str(BUILD / "preload/slowsync.so"),
            "SLOWSYNC_US": str(us)}


# ---- runs -------------------------------------------------------------------

def command(server, operation, transport="udp", **options):
    if isinstance(server, Peer):
        return [tool("dracload"), "-t", transport] + [
            word for letter, value in options.items()
            for word in ("-" + letter, str(value))] + [
            operation, server.address]
    return load.command(tool, server, operation, transport, **options)


def checked(result):
    assert result["failures"] == 0, result
    assert result["status"][0] == result["calls"], result
    return result


def run(server, operation, transport="udp", **options):
    """A run of dracload in which nothing failed."""
    with load.running(command(server, operation, transport,
                              **options)) as generator:
        return checked(generator.result(PATIENCE_S))


def remove(server, base, result):
    """Takes back what a run of adds from base has added."""
    with load.running(command(server, "remove", "unix", c=MANY, b=base,
                              n=max(result["acked"]) * result["clients"]
                              )) as generator:
        generator.result(PATIENCE_S)    # some clients added less: not found


def once(server, transport, processes, seconds, numbers):
    """dracauth() of programs that link libdrac, a connection each call."""
    if transport == "unix":
        place = "unix:" + server.unix
    elif isinstance(server, Peer):
        place = server.address
    else:
        place = load.server(server, "udp")
    with load.running([tool("draconce"), str(processes), str(seconds), place,
                       str(numbers.once(processes << 20))]) as generator:
        result = generator.result()
    assert result["failures"] == 0, result["message"]
    return result


def next_second():
    """Waits for it: an add changes nothing in the second of the last one."""
    now = int(time.time())
    wait_for(lambda: time.time() >= now + 1, 2, "the next second")


class Refreshable:
    """
    Entries that stand, for refreshes: sets taken in turn, so that none is
    refreshed twice in a second, which would change nothing.
    """

    def __init__(self, server, numbers):
        self.bases = [numbers.block() for _ in range(SETS)]
        for base in self.bases:
            run(server, "add", c=MANY, b=base, n=SET_SIZE)
        self.turn = 0
        next_second()

    def next(self):
        self.turn += 1
        return self.bases[self.turn % SETS]


def one_round(server, numbers, standing, transport, clients):
    """(null, new, refresh) calls a second, one after the other."""
    base = numbers.block()
    null = run(server, "null", transport, c=clients, d=RUN_S)
    new = run(server, "add", transport, c=clients, b=base, d=RUN_S)
    refresh = run(server, "add", transport, c=clients, b=standing.next(),
                  n=SET_SIZE, d=5 * RUN_S)
    return null["rate"], new["rate"], refresh["rate"], (base, new)

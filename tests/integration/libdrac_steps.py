"""
libdrac_steps: what the tests of libdrac share: fixtures that run its tools in a
World, and what they say of each step: return code, milliseconds, text.
"""

import concurrent.futures
import os
import pathlib
import subprocess

import pytest

from libdrac_world import ROOT, SERVERS, World

BUDGET_MS = 2000
SLACK_MS = 1000         # of a busy machine, under sanitizers
FAST_MS = 700           # "at once", on the same
ADDRESS, ADDRESS6 = "192.0.2.1", "2001:db8::fe80:1"


@pytest.fixture(scope="module")
def the_world():
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces")
    world = World()
    yield world
    world.close()


@pytest.fixture
def world(the_world):
    yield the_world
    the_world.stop_all()
    the_world.nameserver("127.0.0.1")


@pytest.fixture(scope="module")
def rpcbind_there():
    fetch = subprocess.run([ROOT / "tests/servers/fetch", "-d", SERVERS, "base"],
                           capture_output=True, text=True)
    if fetch.returncode != 0:
        pytest.skip("no rpcbind: %s" % fetch.stderr.strip())


@pytest.fixture
def classic(world, build):
    """classic(step, ...) -> [(return code, milliseconds, message), ...]"""
    def run(*steps):
        return parse(execute(world, build, "libdrac_classic", *steps))
    return run


@pytest.fixture
def classics(classic):
    """classics([step, ...], ...): several programs at the same time."""
    def run(*programs):
        with concurrent.futures.ThreadPoolExecutor(len(programs)) as pool:
            return list(pool.map(lambda steps: classic(*steps), programs))
    return run


@pytest.fixture
def calls(world, build):
    """calls(server, step, ...): the same for drac(3), default budget."""
    def run(server, *steps, budget=0):
        return parse(execute(world, build, "libdrac_calls", server, budget,
                             *steps))
    return run


@pytest.fixture
def stress(world, build):
    def run(*args):
        return execute(world, build, "libdrac_stress", *args)
    return run


def environment():
    env = dict(os.environ)
    env.setdefault("ASAN_OPTIONS", "verify_asan_link_order=0")
    return env


def tool(build, name):
    return pathlib.Path(build).resolve() / "tools" / name


def execute(world, build, name, *args):
    done = subprocess.run(world.inside([tool(build, name), *args]),
                          capture_output=True, text=True, timeout=120,
                          env=environment())
    assert done.returncode == 0, "%d\n%s%s" % (done.returncode, done.stdout,
                                               done.stderr)
    assert done.stderr == ""
    return done.stdout


def parse(output):
    rows = [line.split("\t") for line in output.splitlines()]
    return [(int(code), float(ms), text) for code, ms, text in rows]


shown = []              # the rows that the test has looked at


@pytest.fixture
def table(figures):
    """Puts every row of the test, with its time, into the summary."""
    shown.clear()
    yield
    for row in shown:
        figures(row)


def within(row, code, text, low_ms, high_ms):
    shown.append("%d %.1f ms %s" % row)
    assert (row[0], row[2]) == (code, text)
    assert low_ms <= row[1] <= high_ms


def at_once(row, code, text):
    within(row, code, text, 0, FAST_MS)


def after_budget(row, code, text):
    # A millisecond early would be a clock's; half of it would be a fault.
    within(row, code, text, BUDGET_MS * 0.9, BUDGET_MS + SLACK_MS)


SUCCESS = "Server reports add succeeded"
TIMED_OUT = "call failed: RPC: Timed out"
REFUSED = "call failed: RPC: Unable to receive; errno = Connection refused"


def expect(process, word):
    assert process.stdout.readline() == word + "\n"

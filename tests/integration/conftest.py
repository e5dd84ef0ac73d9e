"""
Every test that asks for `dracd` runs once for each build in DRACD_BUILD
("build:build/asan"). The last line of a session is "N passed, N failed".
"""

import os
import pathlib
import random
import resource
import shutil
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

import daemon  # noqa: E402  (needs the path above)

BUILDS = os.environ.get("DRACD_BUILD", str(ROOT / "build")).split(":")


# Not pytest_generate_tests: pytest 7 then loses the order that fixtures of a
# whole module need, and makes them again and again.
@pytest.fixture(scope="session", params=BUILDS, ids=os.path.basename)
def build(request):
    return request.param


@pytest.fixture
def dracd(build, tmp_path):
    """dracd(directory name, **settings of Dracd) -> a Dracd, not started."""
    made = []

    def make(name="d", **settings):
        made.append(daemon.Dracd(build, tmp_path / name, **settings))
        return made[-1]

    yield make
    failures = []
    for each in made:
        try:
            each.finish()
        except AssertionError as error:
            failures.append(str(error))
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)


@pytest.fixture
def open_dir():
    """A directory that any user can enter; pytest's own he cannot."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="dracd-open."))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def tool(build):
    """The path of a program of tests/tools; never a sanitized one."""
    tools = pathlib.Path(os.environ.get("DRACD_TOOLS", BUILDS[0])).resolve()
    return lambda name: str(tools / "tools" / name)


@pytest.fixture
def preload(tool):
    """The path of a library of tests/preload; never a sanitized one."""
    def path(name):
        path = pathlib.Path(tool("")).parent / "preload" / (name + ".so")
        assert path.exists(), "make tests-build makes it"
        return str(path)

    return path


@pytest.fixture
def seed(figures):
    """What is random in a test; DRACD_SEED repeats it."""
    seed = int(os.environ.get("DRACD_SEED") or random.randrange(1 << 32))
    if os.environ.get("TORTURE"):
        figures("DRACD_SEED=%d" % seed)
    print("DRACD_SEED=%d" % seed)
    return random.Random(seed)


@pytest.fixture
def descriptors():
    """descriptors(n): room for n descriptors here and in what is started."""
    old = resource.getrlimit(resource.RLIMIT_NOFILE)

    def need(count):
        if old[1] != resource.RLIM_INFINITY and old[1] < count:
            pytest.skip("needs %d descriptors, the hard limit is %d" %
                        (count, old[1]))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(old[0], count),
                                                    old[1]))

    yield need
    resource.setrlimit(resource.RLIMIT_NOFILE, old)


@pytest.fixture
def figures(request):
    """figures(text): a measured figure for the summary."""
    return lambda text: request.config.stash[FIGURES].append(
        "%s: %s" % (request.node.name, text))


# ---- the last line ------------------------------------------------------

FIGURES = pytest.StashKey()


def pytest_configure(config):
    config.stash[FIGURES] = []
    config.pluginmanager.register(Tally(config), "tally")


class Tally:
    """Counts each test once; the worst of its phases is its outcome."""

    RANK = ("passed", "skipped", "failed")

    def __init__(self, config):
        self.config, self.outcomes, self.skips = config, {}, []

    def note(self, nodeid, outcome):
        worst = max(self.outcomes.get(nodeid, "passed"), outcome,
                    key=self.RANK.index)
        self.outcomes[nodeid] = worst

    def pytest_runtest_logreport(self, report):
        self.note(report.nodeid, report.outcome)
        if report.skipped:
            self.skips.append((report.nodeid, report.longrepr[2]))

    def pytest_collectreport(self, report):
        if report.outcome != "passed":
            self.note(report.nodeid, report.outcome)
            if report.skipped:
                self.skips.append((report.nodeid, report.longrepr[2]))

    def pytest_terminal_summary(self, terminalreporter):
        for line in self.config.stash[FIGURES]:
            terminalreporter.write_line(line)
        for nodeid, reason in self.skips:
            terminalreporter.write_line("skipped %s: %s" % (nodeid, reason))

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config):
        count = [list(self.outcomes.values()).count(r) for r in self.RANK]
        line = "%d passed, %d failed" % (count[0], count[2])
        if count[1]:
            line += ", %d skipped" % count[1]
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter:
            reporter.write_line(line)

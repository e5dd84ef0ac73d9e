"""
dracctl list of a million entries: bounded memory on both sides, while adds go
on undisturbed. With sanitizers, where everything is slower and bigger, it is
a fifth of that, and memory is not judged.
"""

import json
import pathlib
import subprocess
import time

import pytest

import dracctl
import load
import rpcraw

MILLION = 1000000
LIFETIME_S = 3600
CTL_MB = 16             # 8 measured; the entries alone are 60
DAEMON_MB = 4           # what one list may cost the daemon
PAUSE_S = 0.005
P99_S = 0.1             # of a busy machine; a list in one go takes a second
RESET_HWM = "5"         # proc(5), clear_refs


def memory_mb(pid, name):
    """VmRSS: now; VmHWM: the most there ever was. None: it has ended."""
    try:
        status = pathlib.Path("/proc/%d/status" % pid).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    values = [line.split()[1] for line in status.splitlines()
              if line.startswith(name + ":")]
    return int(values[0]) / 1024 if values else None


def is_sanitized(build):
    return b"__asan_init" in (pathlib.Path(build) / "dracctl").read_bytes()


def make_map(path, count):
    """One for dracd to take over: faster than so many adds."""
    expiry = int(time.time()) + LIFETIME_S
    keys = sorted(load.text(number) for number in range(count))
    text = "".join("%s\n%d\n" % (key, expiry + at % 1000)
                   for at, key in enumerate(keys))
    subprocess.run(["db5.3_load", "-T", "-t", "btree", str(path)],
                   input=text, text=True, check=True)


@pytest.fixture
def full(build, dracd):
    """(a daemon with so many entries, how many)"""
    count = MILLION // 5 if is_sanitized(build) else MILLION
    daemon = dracd(max_entries=2 * MILLION)
    make_map(daemon.map_path, count)
    daemon.start()
    return daemon, count


def watched(ctl, out, *args):
    """Runs it; its largest memory."""
    largest = 0
    with open(out, "w") as file, subprocess.Popen(
            ctl.command(*args), stdout=file) as process:
        while process.poll() is None:
            largest = max(largest, memory_mb(process.pid, "VmHWM") or 0)
            time.sleep(0.01)
    assert process.returncode == 0
    return largest


def expiries(path):
    with open(path) as file:
        return [json.loads(line)["expiry"] for line in file]


class Adds(load.Beside):
    """New addresses, one after the other, each with what it took."""

    def __init__(self, daemon):
        super().__init__()
        self.client = daemon.client("unix", timeout=5.0)
        self.took_s, self.refused = [], 0

    def run(self):
        with self.client as client:
            while not self.over.wait(PAUSE_S):
                address = "10.%d.%d.%d" % (len(self.took_s) >> 16,
                                           len(self.took_s) >> 8 & 255,
                                           len(self.took_s) & 255)
                begin = time.monotonic()
                self.refused += client.add3(address, 60)[0] != rpcraw.OK
                self.took_s.append(time.monotonic() - begin)


def test_list_of_a_million(build, full, tmp_path, figures):
    daemon, count = full
    ctl = dracctl.Ctl(build, "unix:" + daemon.unix)
    out = tmp_path / "out"
    pid = daemon.process.pid
    before = memory_mb(pid, "VmRSS")
    pathlib.Path("/proc/%d/clear_refs" % pid).write_text(RESET_HWM)
    with Adds(daemon) as adds:
        for args in (["list"], ["list", "--json"], ["export"]):
            begin = time.monotonic()
            largest = watched(ctl, out, *args)
            figures("%s of %d: %.1f s, %.1f MB" % (
                " ".join(args), count, time.monotonic() - begin, largest))
            with open(out) as file:
                lines = sum(1 for _ in file)
            assert lines >= count
            assert largest < CTL_MB or is_sanitized(build)
            if "--json" in args:
                times = expiries(out)
                assert times == sorted(times)
    grown = memory_mb(pid, "VmHWM") - before
    took = sorted(adds.took_s)
    figures("meanwhile %d adds, p50 %.1f ms, p99 %.1f ms, longest %.1f ms; "
            "dracd %.1f MB, %.1f more than before" % (
                len(took), took[len(took) // 2] * 1000,
                took[len(took) * 99 // 100] * 1000, took[-1] * 1000,
                before + grown, grown))
    assert adds.refused == 0 and len(took) > 100
    assert took[len(took) * 99 // 100] < P99_S
    assert grown < DAEMON_MB or is_sanitized(build)

"""dracctl: every verb, as table, as JSON, and by its exit status."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from prometheus_client.openmetrics import parser as openmetrics

import dracctl
from daemon import wait_for
from dracctl import NOPERM, USAGE, ctl, daemon, three

DEFAULT_S = 1800
KEYS = ["address", "expiry", "user", "service", "first", "last", "adds",
        "caller"]
ME = "local uid=%d" % os.geteuid()


def near(expiry, lifetime):
    return abs(expiry - time.time() - lifetime) < 5


# ---- reading -----------------------------------------------------------------

def test_list(three):
    header, *rows = three.rows("list")
    assert header == ["ADDRESS", "LEFT", "USER", "SERVICE", "CALLER", "ADDS",
                      "FIRST", "LAST"]
    assert [row[0] for row in rows] == ["192.0.2.130", "2001:db8::1",
                                        "192.0.2.7"]
    assert re.fullmatch(r"1m[23]\ds", rows[0][1])
    assert rows[2][2:7] == ["alice", "b", "imap", "local", ME[6:]]
    assert three.rows("list", "-H") == rows
    lines = three.well("list").splitlines()
    at = lines[0].index("SERVICE")
    assert [line[at:at + 4] for line in lines[1:]] == ["-   ", "-   ", "imap"]


def test_list_json(three):
    objects = three.objects("list", "--json")
    assert [list(each) for each in objects] == [KEYS] * 3
    last = objects[2]
    assert near(last["expiry"], 7200) and near(last["first"], 0)
    assert last["last"] == last["first"]
    assert {k: last[k] for k in ("address", "user", "service", "adds",
                                 "caller")} == {
        "address": "192.0.2.7", "user": "alice b", "service": "imap",
        "adds": 1, "caller": ME}
    assert objects[0]["user"] == "Zoë"
    three.well("add", "192.0.2.7")
    assert three.objects("list", "--json")[2]["adds"] == 2


@pytest.mark.parametrize("filters, expected", [
    (["192.0.2.7"], ["192.0.2.7"]),
    (["192.0.2.0/24"], ["192.0.2.130", "192.0.2.7"]),
    (["192.0.2.128/25"], ["192.0.2.130"]),
    (["2001:db8::/32"], ["2001:db8::1"]),
    (["::/0"], ["2001:db8::1"]),
    (["10.0.0.0/8"], []),
    (["--user", "alice b"], ["192.0.2.7"]),
    (["--user", "alice"], []),
    (["--user=Zoë", "192.0.2.0/24"], ["192.0.2.130"]),
    (["--service", "imap"], ["192.0.2.7"]),
    (["--service", ""], ["192.0.2.130", "2001:db8::1"]),
    (["--caller", ME, "--service", "imap"], ["192.0.2.7"]),
    (["--caller", "192.0.2.1"], [])])
def test_list_filters(three, filters, expected):
    assert [row[0] for row in three.rows("list", "-H", *filters)] == expected


@pytest.mark.parametrize("width", [40, 60, 80, 300])
def test_list_fits_the_terminal(three, width):
    three.well("add", "192.0.2.9", "--user", "漢字" * 40)
    status, shown = three.on_terminal("list", width=width)
    assert status == 0
    lines = shown.splitlines()
    assert len(lines) == 5
    # Each of these characters is two columns wide.
    assert max(len(line) + sum(c > "\u2fff" for c in line)
               for line in lines) <= width
    assert "192.0.2.130" in shown and ("~" in shown) == (width < 300)
    assert ("FIRST" in lines[0]) == (width > 60)
    assert "漢字" * 40 in three.well("list")


def test_query(three):
    header, row = three.rows("query", "192.0.2.7")
    assert header[0] == "ADDRESS" and row[0] == "192.0.2.7"
    (again,) = three.rows("query", "-H", "::ffff:192.0.2.7")
    assert (again[0], again[2:]) == (row[0], row[2:])   # less time is left
    assert three.objects("query", "--json", "192.0.2.7")[0]["user"] == "alice b"
    assert three.well("query", "-q", "192.0.2.7") == ""
    done = three("query", "192.0.2.8")
    assert (done.returncode, done.stdout) == (1, "")
    assert "192.0.2.8" in done.stderr
    done = three("query", "-q", "192.0.2.8")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_stats(three):
    table = {name: int(value) for name, value in three.rows("stats")}
    objects = three.objects("stats", "--json")
    assert table["adds"] == objects[0]["adds"] == 3
    assert table["entries"] == 3 and table["lifetime_s"] == DEFAULT_S
    assert objects[0].keys() == table.keys()


def test_openmetrics(three):
    text = three.well("stats", "--openmetrics")
    assert text.endswith("# EOF\n")
    families = {f.name: f for f in
                openmetrics.text_string_to_metric_families(text)}
    counters = three.objects("stats", "--json")[0]
    assert len(families) == len(counters)
    assert families["dracd_adds"].type == "counter"
    assert families["dracd_adds"].samples[0].name == "dracd_adds_total"
    assert families["dracd_adds"].samples[0].value == 3
    assert families["dracd_entries"].type == "gauge"
    assert families["dracd_lifetime_seconds"].unit == "seconds"
    assert families["dracd_lifetime_seconds"].samples[0].value == DEFAULT_S
    assert [f.name for f in families.values() if f.type == "unknown"] == []


def test_ping(ctl):
    assert re.fullmatch(r"unix:\S+ answers: \d+\.\d\d ms\n", ctl.well("ping"))


# ---- changing ----------------------------------------------------------------

@pytest.mark.parametrize("lifetime, seconds", [
    ("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), ("366d", 31622400)])
def test_add(ctl, daemon, lifetime, seconds):
    assert ctl.well("add", "192.0.2.1", "--for", lifetime).startswith(
        "192.0.2.1 may relay until 2")
    with daemon.client() as client:
        assert near(client.query("192.0.2.1")[1].expiry, seconds)


def test_add_by_another_server_name(build, daemon):
    ctl = dracctl.Ctl(build, "127.0.0.1:%d" % daemon.port)
    ctl.well("add", "192.0.2.1")
    assert ctl.objects("query", "--json", "192.0.2.1")[0]["caller"] == \
        "127.0.0.1"
    # -s may also stand after the verb.
    assert subprocess.run([ctl.program, "list", "-H", "-s", ctl.server],
                          capture_output=True).stdout[:9] == b"192.0.2.1"


def test_remove(three, daemon):
    assert three.well("remove", "192.0.2.7", "2001:db8::1") == \
        "192.0.2.7 removed\n2001:db8::1 removed\n"
    done = three("remove", "192.0.2.7", "192.0.2.130")
    assert done.returncode == 1 and "192.0.2.7" in done.stderr
    assert done.stdout == "192.0.2.130 removed\n"
    assert daemon.map() == {}


def test_remove_by_user(three, daemon):
    for i in range(100):
        three.well("add", "198.51.100.%d" % i, "--user", "alice")
    assert three.well("remove", "--user", "alice") == "removed 100\n"
    done = three("remove", "--user", "alice")
    assert (done.returncode, done.stdout) == (1, "removed 0\n")
    assert "alice" in done.stderr
    assert len(three.rows("list", "-H")) == 3


def test_flush(three, daemon):
    assert three("flush").returncode == USAGE
    status, shown = three.on_terminal("flush", typed="n\n")
    assert status == 1 and "[y/N]" in shown
    assert len(three.rows("list", "-H")) == 3
    status, shown = three.on_terminal("flush", typed="y\n")
    assert status == 0 and "removed 3" in shown
    assert daemon.map() == {}
    assert three.well("flush", "--yes") == "removed 0\n"


# ---- watch --------------------------------------------------------------------

class Watch:
    def __init__(self, ctl, path, *args):
        self.path = path
        with open(path, "w") as out:
            self.process = subprocess.Popen(
                ctl.command("watch", *args), stdout=out,
                stderr=subprocess.PIPE, text=True)

    def lines(self):
        """Those that are whole."""
        return self.path.read_text().split("\n")[:-1]

    def wait(self, word):
        wait_for(lambda: any(word in line for line in self.lines()), 10, word)

    def end(self):
        """SIGINT is how it ends well: its lines."""
        self.process.send_signal(signal.SIGINT)
        errors = self.process.communicate(timeout=10)[1]
        assert (self.process.returncode, errors) == (0, "")
        return self.lines()


@pytest.fixture
def watch(ctl, tmp_path):
    """watch(args) -> a Watch that is past its beginning."""
    made = []

    def start(*args):
        made.append(Watch(ctl, tmp_path / ("watch%d" % len(made)), *args))

        def is_past():      # it shows what happens after its first call
            ctl.well("add", "203.0.113.1", "--user", "marker")
            return made[-1].lines()

        wait_for(is_past, 10, "watch")
        return made[-1]

    yield start
    for each in made:
        each.process.kill()
        each.process.communicate()


def test_watch(ctl, watch):
    seen = watch()
    ctl.well("add", "192.0.2.1", "--user", 'al "x"', "--service", "imap")
    ctl.well("add", "192.0.2.1", "--user", "bob")
    ctl.well("remove", "192.0.2.1")
    assert ctl("add", "224.0.0.1").returncode == NOPERM
    ctl.well("add", "192.0.2.2", "--for", "1s")
    seen.wait("expire")
    lines = [line for line in seen.end() if "marker" not in line]
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    caller = ' caller="%s"' % ME
    expected = [
        r'authorize 192.0.2.1 user="al \"x\"" service=imap' + caller,
        "refresh   192.0.2.1 user=bob", "remove    192.0.2.1",
        "deny      224.0.0.1", "authorize 192.0.2.2",
        "expire    192.0.2.2"]
    assert len(lines) == len(expected), lines
    for line, start in zip(lines, expected):
        assert re.match(when + re.escape(start), line), line
    assert " left=30m00s" in lines[0] or " left=29m59s" in lines[0]


def test_watch_json(ctl, watch):
    seen = watch("--json")
    ctl.well("add", "192.0.2.1", "--user", "alice", "--service", "imap")
    ctl.well("remove", "192.0.2.1")
    seen.wait('"remove"')
    events = [json.loads(line) for line in seen.end()]
    events = [each for each in events if each["user"] != "marker"]
    assert [each["event"] for each in events] == ["authorize", "remove"]
    assert list(events[0]) == ["event", "time"] + KEYS
    assert near(events[0]["time"], 0) and near(events[0]["expiry"], DEFAULT_S)
    assert (events[0]["user"], events[0]["caller"]) == ("alice", ME)


def test_watch_says_what_was_lost(ctl, daemon, watch):
    seen = watch("--json")
    seen.process.send_signal(signal.SIGSTOP)
    with daemon.client("unix") as client:
        for i in range(10000):
            client.add3("198.51.%d.%d" % (i >> 8, i & 255), 60)
    seen.process.send_signal(signal.SIGCONT)
    seen.wait('"lost"')
    ctl.well("add", "192.0.2.1", "--user", "alice")
    seen.wait("alice")
    events = [json.loads(line) for line in seen.end()]
    lost = [each["count"] for each in events if each["event"] == "lost"]
    shown = [each for each in events if each.get("address", "").startswith(
        "198.51.")]
    assert sum(lost) >= 10000 - len(shown) and len(shown) < 10000


def test_watch_outlives_its_server(ctl, daemon, watch):
    """What the new one tells is shown; a line on standard error for each."""
    seen = watch()
    daemon.stop()
    line = seen.process.stderr.readline()
    assert line.startswith("dracctl: watch: " + ctl.server), line
    daemon.start()
    ctl.well("add", "192.0.2.1", "--user", "later")
    assert "answers again" in seen.process.stderr.readline()
    seen.wait("later")
    seen.end()


# ---- help and completion -----------------------------------------------------

VERBS = ["list", "query", "add", "remove", "flush", "stats", "watch", "ping",
         "export", "import"]
COMPLETION = os.path.join(os.path.dirname(__file__), "../../dracctl/completion.")


def test_help(ctl):
    version = subprocess.run([ctl.program, "--version"], capture_output=True,
                             text=True, check=True).stdout
    assert re.fullmatch(r"dracctl \d+\.\d+\n", version)
    everything = subprocess.run([ctl.program, "--help"], capture_output=True,
                                text=True, check=True).stdout
    for verb in VERBS:
        assert "\n  %s " % verb in everything
        assert "] %s" % verb in ctl.well(verb, "--help")
        assert ctl.well(verb, "--version") == version


@pytest.mark.parametrize("line, expected", [
    ("dracctl ", set(VERBS) | {"-s", "--help", "--version"}),
    ("dracctl -s host re", {"remove"}),
    ("dracctl stats --", {"--json", "--openmetrics", "--help"}),
    ("dracctl add --for ", {"30m", "2h", "1d"})])
def test_bash_completion(line, expected):
    words = line.split(" ")
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); ' \
        '_dracctl; printf "%s\\n" "${COMPREPLY[@]}"'
    out = subprocess.run(["bash", "-c", script, "-", COMPLETION + "bash",
                          *words], capture_output=True, text=True, check=True)
    assert (set(out.stdout.split()), out.stderr) == (expected, "")


def test_completion_knows_every_option(ctl):
    """What --help names, both complete."""
    for shell in "bash", "zsh":
        with open(COMPLETION + shell, encoding="utf-8") as file:
            text = file.read()
        for verb in VERBS:
            for option in re.findall(r"--?[a-zH]+\b",
                                     ctl.well(verb, "--help").splitlines()[0]):
                if option != "-Hq":
                    assert option in text, (shell, verb, option)

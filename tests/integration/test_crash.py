"""
kill -9 in a storm and at every write to a map. After a restart every
acknowledged add that has not expired is in the table and in the map, the map is
sound, and nothing stands in it that was not asked for.
"""

import contextlib
import os
import shutil
import socket
import time

import pytest

import fault
import load
import rpcraw
from daemon import wait_for

KILLS = 200
KILLS_A_DIRECTORY = 5      # then a fresh one: looking costs by the entry
STORM_S = (0.002, 0.05)
KINDS = pytest.mark.parametrize("kind, page_writes",
                                [("btree", 100), ("lmdb", 60)])
SHORT_S = 1
# Numbers of addresses (see load.py), a round: long-lived and short-lived.
ROUND, SHORT_BASE = 1 << 16, 1 << 26
NEVER = -1


def look(daemon, long_lived, requested):
    """
    long_lived: addresses that must be there; requested(number): whether an
    address was ever asked for.
    """
    with daemon.client("tcp", timeout=10) as client:
        table = set(client.table())
    shown = {key.decode(): int(value) for key, value in daemon.map().items()}
    assert long_lived <= table, "acknowledged, but not in the table"
    assert long_lived <= shown.keys(), "acknowledged, but not in the map"
    for address in (table | shown.keys()) - long_lived:
        assert requested(number_of(address)), "never asked for: " + address
    assert min(shown.values(), default=time.time()) > \
        time.time() - SHORT_S - 1, "expired, in the map"


UNSCRAMBLE = pow(load.SCRAMBLE, -1, load.ADDRESS_MASK + 1)


def number_of(address):
    """The number whose address it is, or NEVER."""
    offset = int.from_bytes(socket.inet_aton(address), "big") - \
        load.ADDRESS_BASE
    if not 0 <= offset <= load.ADDRESS_MASK:
        return NEVER
    return offset * UNSCRAMBLE & load.ADDRESS_MASK


class Storm:
    """
    Two UDP clients and one TCP client that add long-lived addresses, and one
    TCP client that adds some for a second, until they are stopped by failure.
    """

    def __init__(self, tool, daemon):
        self.tool, self.daemon, self.round = tool, daemon, 0
        self.acked, self.highest = set(), {}    # as text; by base

    def runs(self):
        base = self.round * ROUND
        until_failure = {"x": True, "r": 20, "d": 10}
        return [(base, load.command(self.tool, self.daemon, "add", "udp", c=2,
                                    b=base, **until_failure)),
                (base + ROUND // 2, load.command(
                    self.tool, self.daemon, "add", "tcp",
                    b=base + ROUND // 2, **until_failure)),
                (base + SHORT_BASE, load.command(
                    self.tool, self.daemon, "add", "tcp", v=3, l=SHORT_S,
                    b=base + SHORT_BASE, **until_failure))]

    def strike(self, end):
        """Storms until end() has killed the daemon; notes what was acked."""
        with contextlib.ExitStack() as stack:
            runs = [(base, stack.enter_context(load.running(line)))
                    for base, line in self.runs()]
            end()
            self.daemon.process.wait(20)
            for base, run in runs:
                # One that started too late to connect has nothing to say.
                out, _ = run.process.communicate(timeout=30)
                result = load.parse(out) if out else None
                if result is None:
                    continue
                numbers = load.acked(result, base)
                assert result["calls"] < ROUND // 2
                self.highest[base] = base + result["clients"] * (
                    max(result["acked"]) + 1)
                if base < SHORT_BASE:
                    self.acked.update(map(load.text, numbers))
        self.round += 1

    def requested(self, number):
        base = number - number % (ROUND // 2)
        return base <= number < self.highest.get(base, NEVER)


def test_random_instants(dracd, tool, seed, figures):
    acknowledged, latest = 0, 0
    for directory in range(KILLS // KILLS_A_DIRECTORY):
        daemon = dracd("d%d" % directory)
        storm = Storm(tool, daemon)
        daemon.start()
        for _ in range(KILLS_A_DIRECTORY):

            def end():
                time.sleep(seed.uniform(*STORM_S))  # the random instant
                daemon.kill9()

            storm.strike(end)
            begin = time.monotonic()
            daemon.start()
            latest = max(latest, time.monotonic() - begin)
            look(daemon, storm.acked, storm.requested)
        daemon.stop()
        acknowledged += len(storm.acked)
        shutil.rmtree(daemon.dir / "journal")
    figures("%d kills, %d acknowledged adds, 0 lost; longest restart %.2f s" %
            (KILLS, acknowledged, latest))
    assert acknowledged > 10 * KILLS


def make(dracd, name, kind, tmp_path):
    return dracd(name, maps=[(f"{kind}:{tmp_path / name}/dracd.db",
                              {"capacity": 1024})])


@pytest.fixture
def striking(preload, tmp_path):
    """striking(daemon): the Control of writes to its map."""
    return lambda daemon: fault.Control(tmp_path / "control", preload("fault"),
                                        daemon.map_path)


@KINDS
def test_every_page_write(dracd, tool, striking, figures, tmp_path, kind,
                          page_writes):
    """Killed before, or within, write N of a storm on 200 entries."""
    model = make(dracd, "model", kind, tmp_path)
    model.start()
    held = set(range(SHORT_BASE - 200, SHORT_BASE))
    load.run(tool, model, "add", n=200, b=SHORT_BASE - 200)
    model.stop()
    daemon = make(dracd, "d", kind, tmp_path)
    control, total = striking(daemon), 0
    for number in range(1, page_writes + 1):
        for name in ("journal", "dracd.db"):
            restore(model.dir / name, daemon.dir / name)
        daemon.env = control.environment()
        control.arm(fault.TORN if number % 2 else fault.KILLED, number)
        daemon.launch()
        storm = Storm(tool, daemon)
        wait_for(daemon.settled, 10, "start")
        if daemon.alive():
            storm.strike(lambda: None)
        assert daemon.process.returncode == -9
        daemon.env = {}
        daemon.start()
        look(daemon, storm.acked | set(map(load.text, held)),
             lambda n: n in held or storm.requested(n))
        daemon.kill9()
        total += len(storm.acked)
    figures("%d page writes, %d acknowledged adds, 0 lost" %
            (page_writes, total))
    assert total > page_writes


@pytest.mark.parametrize("kind", ["btree", "lmdb"])
def test_every_page_write_of_a_new_map(dracd, tool, striking, tmp_path, kind):
    """Killed while the map is built beside from the journal."""
    daemon = make(dracd, "d", kind, tmp_path)
    daemon.start()
    load.run(tool, daemon, "add", n=500)
    held = set(range(500))
    control, number = striking(daemon), 0
    while True:
        number += 1 if number < 20 else 13      # it makes hundreds
        if daemon.alive():
            daemon.kill9()
        os.unlink(daemon.map_path)
        daemon.env = control.environment()
        control.arm(fault.KILLED, number)
        daemon.launch()
        wait_for(daemon.settled, 10, "start")
        if daemon.alive():      # the map was ready before write `number`
            break
        assert daemon.process.returncode == -9
        daemon.env = {}
        daemon.start()
        look(daemon, set(map(load.text, held)), lambda n: False)
    assert number > 2


def test_killed_before_a_new_map_has_its_name(dracd):
    """Berkeley DB makes it under another one, which then must not be there."""
    daemon = dracd()
    (daemon.dir / "__db.dracd.db.new").write_bytes(b"")
    daemon.start()
    with daemon.client() as client:
        client.add3("192.0.2.1")
    assert set(daemon.map()) == {b"192.0.2.1"}
    assert not list(daemon.dir.glob("__db.*"))


def test_refresh_and_removal_survive(dracd):
    """A refreshed expiry and a removal outlive kill -9, each at once."""
    daemon = dracd().start()
    with daemon.client() as client:
        client.add3("192.0.2.1", 100, "alice", "pop3")
        client.add3("192.0.2.2", 100)
        _, expiry = client.add3("192.0.2.1", 5000, "alice", "imap")
        daemon.kill9()
    daemon.start()
    with daemon.client() as client:
        status, entry = client.query("192.0.2.1")
        assert status == rpcraw.OK and entry[:4] == (
            "192.0.2.1", expiry, "alice", "imap")
        assert daemon.map()[b"192.0.2.1"] == b"%d" % expiry
        assert client.remove("192.0.2.1") == rpcraw.OK
        daemon.kill9()
    daemon.start()
    with daemon.client() as client:
        assert set(client.table()) == {"192.0.2.2"}
    assert set(daemon.map()) == {b"192.0.2.2"}


def restore(source, target):
    if target.is_dir():
        shutil.rmtree(target)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)

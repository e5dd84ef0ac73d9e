"""
Long random sequences through all versions and transports against the model in
model.py, while readers that behave like sendmail, Postfix and Exim, and one by
socketmap, check every answer (tests/tools/mapread.c): no wrong answer, and no
error, which would be a 451.

TORTURE=1: until a million lookups; otherwise some ten thousand. DRACD_SEED
repeats the requests and events, not their instants.
"""

import contextlib
import fcntl
import ipaddress
import json
import os
import struct
import subprocess
import time

import pytest

import rpcraw
import sendmail_map
from daemon import wait_for
from model import SLACK_S, Model, Truth

LONG = os.environ.get("TORTURE") == "1"
LOOKUPS = 1000000 if LONG else 20000
PAUSE_US = 100 if LONG else 300         # between two of a reader
ROUNDS = 8 if LONG else 1               # of all events, at least
BATCHES = 30                            # between two events

LIFETIMES_S = (0, 1, 2, 3, 5, 60, 3600)     # 0: the configuration's
CONFIGURED_S = (2, 4, 1800)
LONG_S = 7200           # of those that are authorized throughout
BATCH_MAX = 24
FLOOD, FLOOD_BATCH = 6144, 64           # more than a file has room for
HOLDS_S = (0.05, 0.1, 2.5 if LONG else 0.8)
REFUSED_AFTER_S = 0.4   # of a held lock: commit.c says 500 ms
SETTLED_S = 15
ANSWER_S = 30
GONE_S = 0.05           # what a dead daemon has sent is there

NETWORKS = 10
ALWAYS = ["10.1.%d.3" % n for n in range(NETWORKS)] + \
    ["2001:db8:0:%x::3" % n for n in range(1, NETWORKS)]
NEVER = ["10.1.%d.33" % n for n in range(NETWORKS)] + \
    ["2001:db8:0:%x::33" % n for n in range(1, 2 * NETWORKS)]
CHURN = ["10.1.%d.%d" % (n, host) for n in range(NETWORKS)
         for host in (30, 130, 131, 132)] + \
    [str(ipaddress.ip_address("2001:db8:0:%x:%s" % (n, host)))
     for n in range(2 * NETWORKS) for host in (":1", "5:6:7:8")]
CROWD = ["2001:db8:f:%x:1:2:3:4" % n for n in range(FLOOD)]

CHANGES = ("add1", "add2", "add3", "remove")
KINDS = CHANGES + ("query", "lookup")


class Operation:
    """One request about one address, from the question to its answer."""

    def __init__(self, world, address, kind, lifetime=None):
        """lifetime: of an add3; None: any."""
        self.world, self.address, self.kind = world, address, kind
        self.adds, data = kind.startswith("add"), rpcraw.packed(address)
        if kind == "add3" and lifetime is None:
            lifetime = world.rng.choice(LIFETIMES_S)
        self.lifetime = lifetime or world.lifetime
        self.message = {
            "add1": lambda: rpcraw.call(1, rpcraw.ADD, data),
            "add2": lambda: rpcraw.call(2, rpcraw.ADD, rpcraw.v2_args(
                data, world.rng.random() < 0.5)),
            "add3": lambda: rpcraw.call(3, rpcraw.ADD, rpcraw.v3_add_args(
                self.mapped(data), lifetime, "alice", "imap")),
            "remove": lambda: rpcraw.call(3, rpcraw.REMOVE,
                                          rpcraw.opaque(self.mapped(data))),
            "query": lambda: rpcraw.call(3, rpcraw.QUERY,
                                         rpcraw.opaque(self.mapped(data))),
            "lookup": lambda: b"%d:drac %s," % (5 + len(address),
                                                address.encode()),
        }[kind]()

    def mapped(self, data):
        """An IPv4 address now and then as IPv6."""
        if len(data) == 4 and self.world.rng.random() < 0.5:
            return bytes(10) + b"\xff\xff" + data
        return data

    def ask(self):
        if self.kind in CHANGES:
            self.before = self.world.model.asks(self.address, self.adds)

    def settle(self, body, begin, end):
        """body: of the answer; None: there was none."""
        if self.kind == "lookup":
            if body is not None:
                self.looked_up(body, begin, end)
        elif body is None:
            if self.kind in CHANGES:
                self.world.model.lost(self.address, self.before,
                                      self.adds and self.lifetime, end)
        else:
            answer = rpcraw.Reader(body)
            self.answered(answer.take(">I"), answer, begin, end)

    def looked_up(self, text, begin, end):
        slot = self.world.truth.slots[self.address]
        low, high = slot.shared_low, slot.shared_high
        if text == b"NOTFOUND ":
            good = low <= end
        else:
            word, expiry = text.split(b" ")
            good = word == b"OK" and low <= int(expiry) <= high and \
                int(expiry) > begin - SLACK_S
        assert good, "%s: %s, ends %d..%d, now %d..%d" % (
            self.address, text, low, high, begin, end)

    def answered(self, status, answer, begin, end):
        model, address = self.world.model, self.address
        if self.kind == "query":
            assert status in (rpcraw.OK, rpcraw.NOTFOUND)
            expiry = answer.entry().expiry if status == rpcraw.OK else None
            model.seen(address, expiry, begin, end)
        elif status == rpcraw.SYSERR:
            assert self.world.locked, "refused, but nobody has the lock"
            model.refused(address, self.before)
        elif self.adds:
            assert status == rpcraw.OK
            self.world.acknowledged["add"] += 1
            model.added(address, self.before, self.lifetime, begin, end,
                        answer.take(">q") if self.kind == "add3" else None)
        elif status == rpcraw.OK:
            self.world.acknowledged["remove"] += 1
            model.removed(address, self.before, begin)
        else:
            assert status == rpcraw.NOTFOUND
            model.refused(address, self.before)
            model.seen(address, None, begin, end)


class Line:
    """A connection and what has been asked on it."""

    def __init__(self, carrier, lookups):
        self.carrier, self.lookups, self.asked = carrier, lookups, {}

    def send(self, operation):
        if self.lookups:
            self.carrier.send_raw(operation.message)
            self.asked[len(self.asked)] = operation
        else:
            self.carrier.send(operation.message)
            self.asked[struct.unpack_from(">I", operation.message)[0]] = \
                operation

    def netstring(self):
        text = b""
        while not text.endswith(b","):
            text += self.carrier._read(1)
        return text[text.index(b":") + 1:-1]

    def collect(self):
        """(operation, body) of everything asked; None once it is closed."""
        answered = []
        with contextlib.suppress(rpcraw.Closed, rpcraw.NoAnswer):
            while len(answered) < len(self.asked):
                if self.lookups:
                    body = self.netstring()
                    operation = self.asked[len(answered)]
                else:
                    reply = rpcraw.parse(self.carrier.receive())
                    assert not reply.denied and reply.stat == rpcraw.SUCCESS
                    operation, body = self.asked[reply.xid], reply.body
                answered.append((operation, body))
        heard = {operation for operation, _ in answered}
        rest = [(o, None) for o in self.asked.values() if o not in heard]
        self.asked = {}
        return answered + rest


class World:
    def __init__(self, daemon, rng, truth, mapput):
        self.daemon, self.rng, self.truth = daemon, rng, truth
        self.mapput = mapput
        self.model = Model(lambda address: truth.show(
            address, *self.model.ends[address]))
        self.lines, self.locked, self.crowded = [], False, False
        self.operations, self.grown, self.lifetime = 0, 0, 0
        daemon.settings["lookup"] = ["unix:" + daemon.lookup]
        self.configure()
        daemon.start()
        truth.head.down = 1
        self.up()

    # ---- coming and going

    def configure(self):
        self.lifetime = self.rng.choice([s for s in CONFIGURED_S
                                         if s != self.lifetime])
        self.daemon.settings["lifetime"] = "%ds" % self.lifetime
        self.daemon.write_config()

    def up(self):
        self.acknowledged = {"add": 0, "remove": 0}
        self.truth.head.up_since = int(time.time())
        self.truth.head.down += 1
        self.lines = [
            Line(self.daemon.client(transport, host=host,
                                    timeout=ANSWER_S).carrier, False)
            for transport, host in (("udp", "127.0.0.1"), ("udp", "::1"),
                                    ("tcp", "127.0.0.1"), ("tcp", "::1"),
                                    ("unix", None))
            for _ in range(2)]
        self.lines.append(Line(rpcraw.Stream(self.daemon.lookup,
                                             timeout=ANSWER_S), True))

    def down(self):
        for line in self.lines:
            line.carrier.close()
        self.lines = []

    @contextlib.contextmanager
    def spoiling(self):
        self.truth.head.spoilt += 1
        yield
        self.truth.head.spoilt += 1

    # ---- requests

    def draw(self, address, calm):
        kinds = [k for k in KINDS if not (
            (k == "add1" and ":" in address) or
            (k == "remove" and (calm or address in ALWAYS)) or
            (k.startswith("add") and address in NEVER))]
        return Operation(self, address, self.rng.choice(kinds))

    def addresses(self):
        """Of random kind, none twice."""
        count = self.rng.randrange(1, BATCH_MAX)
        return self.rng.sample(ALWAYS + NEVER + 2 * CHURN, count)

    def batch(self, operations=None, meanwhile=None, calm=False):
        """All asked before the first answer is read."""
        if operations is None:
            operations = [self.draw(a, calm)
                          for a in sorted(set(self.addresses()))]
        self.operations += len(operations)
        begin = int(time.time())
        for operation in operations:
            operation.ask()
        for operation in operations:
            lookup = operation.kind == "lookup"
            self.rng.choice([line for line in self.lines
                             if line.lookups == lookup]).send(operation)
        if meanwhile:
            meanwhile()
        answers = [a for line in self.lines for a in line.collect()]
        end = int(time.time())
        # What was read first: it may have been before or after a change.
        answers.sort(key=lambda a: a[0].kind != "lookup")
        for operation, body in answers:
            assert body is not None or not self.daemon.alive(), "no answer"
            operation.settle(body, begin, end)

    def batches(self, count=BATCHES):
        for _ in range(count):
            self.batch()

    # ---- events

    def restart(self):
        self.down()
        self.truth.head.down += 1
        self.daemon.stop()
        self.daemon.start()
        self.up()

    def kill(self):
        """In the middle; the maps say the same unless they had to be built."""
        def strike():
            time.sleep(self.rng.uniform(0, 0.003))      # the random instant
            self.daemon.kill9()
            for line in self.lines:
                line.carrier.sock.settimeout(GONE_S)

        maps = [i for i, style in enumerate(READERS) if style != "socketmap"]
        before = self.truth.counts("excused", maps)
        with self.spoiling():
            self.truth.head.down += 1
            self.batch(meanwhile=strike)
            self.down()
            builds = self.builds()
            self.daemon.start()
            self.up()
            whole = self.builds() == builds
        self.look()
        assert not whole or self.truth.counts("excused", maps) == before

    def reload(self):
        self.configure()
        self.daemon.reload()

    def maps(self):
        return [definition.partition(":")[2]
                for definition, _ in self.daemon.maps]

    def builds(self):
        return self.daemon.stderr.count(" built entries=")

    def disturb(self, replace):
        """Somebody takes a map away, or puts another in its place."""
        before = self.builds()
        path = self.rng.choice(self.maps())
        other = path + ".other"
        if replace:
            subprocess.run([self.mapput, other, "create", "btree"], check=True)
        with self.spoiling():
            os.rename(other, path) if replace else os.unlink(path)
            if self.rng.random() < 0.5:     # it is seen by writing, or by itself
                self.batches(3)
            wait_for(lambda: self.builds() == before + len(self.daemon.maps),
                     SETTLED_S, "maps built anew")

    def hold(self, seconds):
        with open(self.rng.choice(self.maps()), "rb") as file:
            def wait():
                time.sleep(seconds)
                fcntl.flock(file, fcntl.LOCK_UN)
                self.locked = time.monotonic() - begin > REFUSED_AFTER_S

            fcntl.flock(file, fcntl.LOCK_SH)
            begin = time.monotonic()
            self.batch(meanwhile=wait)
        self.locked = False

    def flood(self):
        """All of the crowd come, or go; the second map has to grow."""
        size = os.stat(self.maps()[1]).st_size
        for i in range(0, FLOOD, FLOOD_BATCH):
            self.batch([Operation(self, a, "remove" if self.crowded else
                                  "add3", 3600)
                        for a in CROWD[i:i + FLOOD_BATCH]])
        self.crowded = not self.crowded
        self.grown += os.stat(self.maps()[1]).st_size > size

    def always(self):
        self.batch([Operation(self, a, "add3", LONG_S) for a in ALWAYS])

    # ---- looking

    def pages(self, client):
        """Those that stand all the while are listed once."""
        stood, _ = self.model.live(time.time())
        listed, cookie = [], 0
        while cookie or not listed:
            status, page, cookie = client.page(cookie,
                                               self.rng.randrange(1, 40))
            assert status == rpcraw.OK
            listed += [entry.address for entry in page]
            if len(listed) < 100:       # a batch a page costs too much
                self.batch(calm=True)
        stood &= self.model.live(time.time())[0]
        once = [a for a in listed if a in stood]
        assert sorted(once) == sorted(stood)

    def published(self, client):
        """Whether all maps say what the table says."""
        table = {key.encode(): b"%d" % entry.expiry
                 for entry in client.table().values()
                 for key in sendmail_map.keys(entry.address)}
        nul = {key + b"\0": value + b"\0" for key, value in table.items()}
        return all(self.daemon.map(i) == (nul if options.get("nul") else table)
                   for i, (_, options) in enumerate(self.daemon.maps))

    def look(self):
        with self.daemon.client("unix", timeout=ANSWER_S) as client:
            begin = int(time.time())
            table = client.table()
            end = int(time.time())
            must, may = self.model.live(end)[0], self.model.live(begin)[1]
            assert not must - table.keys(), "should be in the table"
            assert not table.keys() - may, "should not be in the table"
            for address in self.model.ends:
                entry = table.get(address)
                self.model.seen(address, entry and entry.expiry, begin, end)
            wait_for(lambda: self.published(client), SETTLED_S,
                     "maps as the table")
            self.pages(client)
            stats = client.stats()
            assert stats["adds"] + stats["refreshes"] == \
                self.acknowledged["add"]
            assert stats["removes"] == self.acknowledged["remove"]
            now = time.time()
            assert len(self.model.live(now)[0]) <= stats["entries"] <= \
                len(self.model.live(now - SETTLED_S)[1])


# What each reads stands in readers().
READERS = ("sendmail", "sendmail", "postfix", "exim", "socketmap")


@contextlib.contextmanager
def readers(tool, world, seed):
    """Running; at the end they must have found nothing wrong."""
    pregrown, grows, hashed = world.maps()
    places = (grows, hashed, pregrown, pregrown, world.daemon.lookup)
    process = subprocess.Popen(
        [tool("mapread"), world.truth.path, str(PAUSE_US), str(seed),
         *map("%s:%s".__mod__, zip(READERS, places))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
        world.truth.head.stop = 1
        out, errors = process.communicate(timeout=ANSWER_S)
        assert process.returncode == 0, "%s\n%s" % (errors, out)
        world.counts = json.loads(out)
    finally:
        world.truth.head.stop = 1
        process.kill()
        process.communicate()


@pytest.fixture
def world(dracd, tool, seed, tmp_path):
    place = tmp_path / "d"
    daemon = dracd("d", maps=[
        ("btree:%s/dracd.db" % place, {"capacity": 65536}),
        ("btree:%s/grows.db" % place, {"capacity": 1}),
        ("hash:%s/hash.db" % place, {"nul": True})],
        ipv6_prefix=seed.choice([64, 64, 128]))
    addresses = ALWAYS + NEVER + CHURN + CROWD
    truth = Truth(tmp_path / "truth", addresses, len(addresses) - FLOOD,
                  daemon.settings["ipv6_prefix"])
    world = World(daemon, seed, truth, tool("mapput"))
    yield world
    world.down()


def test_model(world, tool, seed, figures):
    events = [world.restart, world.kill, world.reload,
              lambda: world.disturb(True), lambda: world.disturb(False),
              *(lambda s=s: world.hold(s) for s in HOLDS_S)]
    rounds = 0
    with readers(tool, world, seed.randrange(1 << 31)) as running:
        while rounds < ROUNDS or world.truth.counts("lookups") < LOOKUPS:
            world.always()
            world.flood()
            for event in seed.sample(events, len(events)):
                world.batches()
                event()
                assert running.poll() is None, "the readers have ended"
            world.batches()
            world.look()
            rounds += 1
    assert world.grown, "the second map should have grown under its readers"
    for name, counts in world.counts.items():
        style, _, place = name.partition(":")
        figures("%s %s: %s" % (style, os.path.basename(place), ", ".join(
            "%s %d" % item for item in counts.items() if item[1])))
    figures("%d requests, %d rounds" % (world.operations, rounds))

"""
model: what dracd should say, as short as it can be said, and the truth that
tests/tools/mapread.c checks its readers' answers against.
"""

import collections
import ctypes
import ipaddress
import mmap

import sendmail_map

SLACK_S = 1             # the daemon reads the clock once a pass
FOREVER = 1 << 40
NONE = (0, 0)


class Model:
    """
    address -> (low, high): the seconds between which its authorization ends;
    NONE: it has none. Wherever both are the same nothing is in doubt. An add
    never shortens. show(address) is called after each change.
    """

    def __init__(self, show):
        self.ends, self.show = collections.defaultdict(lambda: NONE), show

    def set(self, address, low, high):
        self.ends[address] = low, high
        self.show(address)

    # Asked, and not answered: all that may be true. Returns what was before.

    def asks(self, address, adds):
        low, high = before = self.ends[address]
        self.set(address, *(low, FOREVER) if adds else (0, high))
        return before

    # Answered.

    def added(self, address, before, lifetime, begin, end, expiry=None):
        low = max(before[0], begin - SLACK_S + lifetime)
        high = max(before[1], end + lifetime)
        assert expiry is None or low <= expiry <= high, \
            "%s: added until %d, not %d..%d" % (address, expiry, low, high)
        self.set(address, expiry or low, expiry or high)

    def removed(self, address, before, begin):
        assert before[1] > begin - SLACK_S, address + ": removed, was none"
        self.set(address, *NONE)

    def refused(self, address, before):
        self.set(address, *before)

    # Never answered: the daemon died meanwhile.

    def lost(self, address, before, lifetime, end):
        low, high = before
        self.set(address, *(low, max(high, end + lifetime)) if lifetime
                 else (0, high))

    def seen(self, address, expiry, begin, end):
        """Something says that it ends at expiry; None: that it has none."""
        low, high = self.ends[address]
        if expiry is None:
            assert low <= end, "%s: not found, ends %d..%d, now %d" % (
                address, low, high, end)
            self.set(address, min(low, end), min(high, end))
            return
        assert low <= expiry <= high and expiry > begin - SLACK_S, \
            "%s: ends at %d, not %d..%d, now %d" % (address, expiry, low, high,
                                                    begin)
        self.set(address, expiry, expiry)

    def live(self, now):
        """(what must be there, what may be there), at a time."""
        return ({a for a, (low, _) in self.ends.items() if low > now},
                {a for a, (_, high) in self.ends.items()
                 if high > now - SLACK_S})


# ---- the truth: struct truth and struct slot of mapread.c ---------------------

READERS_MAX = 8
TEXT_MAX = 48
COUNTS = ("lookups", "found", "missed", "unknown", "excused", "torn", "wrong",
          "errors", "sessions", "reopened")


class _Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in COUNTS]


class _Slot(ctypes.Structure):
    _fields_ = [("sequence", ctypes.c_uint32), ("unused", ctypes.c_uint32),
                ("low", ctypes.c_int64), ("high", ctypes.c_int64),
                ("shared_low", ctypes.c_int64),
                ("shared_high", ctypes.c_int64),
                ("text", ctypes.c_char * TEXT_MAX),
                ("full", ctypes.c_char * TEXT_MAX)]


class _Head(ctypes.Structure):
    _fields_ = [("stop", ctypes.c_uint32), ("spoilt", ctypes.c_uint32),
                ("down", ctypes.c_uint32), ("slots", ctypes.c_uint32),
                ("hot", ctypes.c_uint32), ("unused", ctypes.c_uint32),
                ("up_since", ctypes.c_int64), ("counts", _Counts * READERS_MAX)]


class Truth:
    """The file; addresses: the first `hot` of them are asked for often."""

    def __init__(self, path, addresses, hot, prefix):
        size = ctypes.sizeof(_Head) + len(addresses) * ctypes.sizeof(_Slot)
        path.write_bytes(bytes(size))
        with open(path, "r+b") as file:
            memory = mmap.mmap(file.fileno(), size)
        self.path = path
        self.head = _Head.from_buffer(memory)
        self.head.slots, self.head.hot = len(addresses), hot
        slots = (_Slot * len(addresses)).from_buffer(memory,
                                                     ctypes.sizeof(_Head))
        self.slots, self.near = dict(zip(addresses, slots)), {}
        groups = collections.defaultdict(list)
        for address, slot in self.slots.items():
            slot.text = address.encode()
            slot.full = sendmail_map.keys(address)[-1].removeprefix(
                "ipv6:").encode()
            # Those that socketmap lookups take for one client.
            length = prefix if ":" in address else 32
            self.near[address] = groups[ipaddress.ip_network(
                (address, length), strict=False)]
            self.near[address].append(slot)

    def show(self, address, low, high):
        near = self.near[address]
        for slot in near:
            slot.sequence += 1
        self.slots[address].low, self.slots[address].high = low, high
        low, high = max(s.low for s in near), max(s.high for s in near)
        for slot in near:
            slot.shared_low, slot.shared_high = low, high
            slot.sequence += 1

    def counts(self, name, readers=range(READERS_MAX)):
        return sum(getattr(self.head.counts[i], name) for i in readers)

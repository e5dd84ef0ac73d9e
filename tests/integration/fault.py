"""
fault: the preload of tests/preload/fault.c, from outside. A Control says which
call of a daemon goes wrong, and how; it may be changed while the daemon runs.
"""

import ctypes
import errno
import mmap

CALLS_MAX = 65536
WRITES, ALLOCATIONS = 1, 2
KILL, KILL_HALF, SHORT, FAIL = 1, 2, 3, 4
FOR_EVER = 1 << 62
LOOP, ASIDE = "loop", "other thread"    # whose calls are counted


class _Shared(ctypes.Structure):
    _fields_ = [("target", ctypes.c_uint32), ("what", ctypes.c_uint32),
                ("error", ctypes.c_uint32), ("waiting", ctypes.c_uint32),
                ("aside", ctypes.c_uint32), ("sort", ctypes.c_uint32),
                ("at", ctypes.c_uint64), ("span", ctypes.c_uint64),
                ("count", ctypes.c_uint64), ("struck", ctypes.c_uint64),
                ("ahead_s", ctypes.c_int64),
                ("by", ctypes.c_char * 64), ("only", ctypes.c_char * 16),
                ("call", ctypes.c_char * CALLS_MAX)]


# By the letter that fault.c has for it.
SORTS = {"o": "new file", "w": "write", "p": "overwrite",
         "a": "fallocate", "t": "ftruncate",
         "s": "sync", "m": "new time", "c": "chmod", "d": "mkdir",
         "u": "unlink", "r": "rename", "l": "link", "h": "allocation"}
ALLOCATION, PAGE, SYNC, NEW_TIME = "h", "p", "s", "m"
ALL, WRITE, TAKES_ROOM, MAY_WAIT = "owpatsmcdurl", "wp", "owadl", "owpats"


class Fault:
    """What goes wrong with calls of these sorts, at how many in a row."""

    def __init__(self, name, what, error=0, sorts=ALL, span=1):
        self.name, self.what, self.error = name, what, error
        self.sorts, self.span = sorts, span

    @property
    def target(self):
        return ALLOCATIONS if self.sorts == ALLOCATION else WRITES

    def strikes(self, call):
        """Whether it does anything to a call of this sort."""
        return call in WRITE if self.what in (KILL_HALF, SHORT) \
            else call in self.sorts

    @property
    def kills(self):
        return self.what in (KILL, KILL_HALF)


KILLED = Fault("kill", KILL)
TORN = Fault("torn write, kill", KILL_HALF, sorts=WRITE, span=FOR_EVER)
DISK_FULL = Fault("ENOSPC on", FAIL, errno.ENOSPC, TAKES_ROOM, FOR_EVER)
ERRORS = [
    Fault("short write", SHORT, sorts=WRITE),
    Fault("short write, EIO on", SHORT, errno.EIO, span=FOR_EVER),
    Fault("EINTR", FAIL, errno.EINTR, MAY_WAIT),
    Fault("EIO", FAIL, errno.EIO),
    Fault("EIO on", FAIL, errno.EIO, span=FOR_EVER),
    DISK_FULL,
]
NO_MEMORY = [
    Fault("ENOMEM", FAIL, errno.ENOMEM, ALLOCATION),
    Fault("ENOMEM, 3 calls", FAIL, errno.ENOMEM, ALLOCATION, 3),
]
COUNT_WRITES, COUNT_ALLOCATIONS = Fault("", FAIL), NO_MEMORY[0]


class Control:
    """
    For the daemons that get environment(): calls that write to what begins
    with `under` count.
    """

    def __init__(self, path, preload, under):
        self.path, self.preload, self.under = path, preload, under
        with open(path, "w+b") as file:
            file.truncate(ctypes.sizeof(_Shared))
            self.map = mmap.mmap(file.fileno(), 0)
        self.shared = _Shared.from_buffer(self.map)

    def environment(self):
        return {"LD_PRELOAD": str(self.preload),
                "FAULT_CONTROL": str(self.path),
                "FAULT_UNDER": str(self.under)}

    def arm(self, fault, at, thread=LOOP, sort=""):
        """
        From now on, call number `at` of this thread and sort ("": of all
        sorts) goes wrong; 0: they are counted.
        """
        shared = self.shared
        shared.at = 0
        shared.target, shared.what = fault.target, fault.what
        shared.error, shared.span = fault.error, fault.span
        shared.only = fault.sorts.encode()
        shared.aside, shared.sort = thread == ASIDE, ord(sort or "\0")
        shared.count = shared.struck = 0
        shared.at = at

    def disarm(self):
        self.shared.target = self.shared.at = 0

    @property
    def struck(self):
        return self.shared.struck

    @property
    def by(self):
        """The library whose allocation failed."""
        return self.shared.by.decode()

    @property
    def count(self):
        return self.shared.count

    @property
    def waiting(self):
        return self.shared.waiting

    def calls(self):
        """The sorts of those that were counted."""
        assert self.count <= CALLS_MAX
        at = _Shared.call.offset
        return self.map[at:at + self.count].decode()

    def pass_time(self, seconds):
        self.shared.ahead_s += seconds

    @property
    def ahead_s(self):
        return self.shared.ahead_s

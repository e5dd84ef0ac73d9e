"""
clocks: the clocks of a daemon under test (tests/preload/clock.c), not those
of the host.
"""

import os
import pathlib
import struct
import time

NS = 1000000000


class Clock:
    """
    For the environment of a Dracd (env). step() sets the wall clock, sleep()
    lets time pass without anybody waiting for it, as if the host had slept;
    reboot() is another start of the system.
    """

    def __init__(self, directory, preload):
        directory = pathlib.Path(directory)
        self.file, self.boot = directory / "clock", directory / "boot_id"
        self.wall_ns = self.slept_ns = self.boots = 0
        # Written in place: the daemon maps the file.
        self.file.write_bytes(bytes(16))
        self.before_set = lambda: None
        self.reboot()
        self.env = {"LD_PRELOAD": str(preload), "CLOCK_FILE": str(self.file),
                    "CLOCK_BOOT": str(self.boot)}

    def _set(self):
        self.before_set()
        with open(self.file, "r+b", buffering=0) as file:
            os.pwrite(file.fileno(),
                      struct.pack("=qq", self.wall_ns, self.slept_ns), 0)

    def step(self, seconds):
        self.wall_ns += round(seconds * NS)
        self._set()

    def sleep(self, seconds):
        self.slept_ns += round(seconds * NS)
        self._set()

    def reboot(self):
        self.boots += 1
        self.boot.write_text("start-number-%d\n" % self.boots)

    def now(self):
        """What the wall clock shows the daemon."""
        return time.time() + (self.wall_ns + self.slept_ns) / NS

    def running(self):
        """Seconds that nobody can set."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self.slept_ns / NS

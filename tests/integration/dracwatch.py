"""A dracwatch under test, in a Space, with the patterns that we ship.

    watch = Watch(build, space, directory, "file:/var/log/mail.log")
    watch.start()
    ...
    watch.stop()                # with status 0
"""

import os
import pathlib
import signal
import subprocess

import servers
from daemon import LSAN_SUPPRESSIONS, SANITIZER

PATTERNS = servers.TOP / "integrations/watch/patterns"
STOP_S = 10


class Watch:
    def __init__(self, build, space, directory, *sources, prefix=(), server=None):
        """space: None for none."""
        self.build = pathlib.Path(build).resolve()
        self.space, self.sources, self.prefix = space, sources, prefix
        self.directory = pathlib.Path(directory)
        self.stderr_path = self.directory / "watch.stderr"
        self.state = self.directory / "state"
        self.server = server or "unix:/run/dracd/rpc.sock"
        self.process = None

    def argv(self, *words):
        return [self.build / "dracwatch", "-p", PATTERNS, *words]

    def start(self):
        before = self.log().count("watches: sources=")
        env = dict(os.environ, LSAN_OPTIONS="print_suppressions=0:"
                   f"suppressions={LSAN_SUPPRESSIONS}")
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(
                [*(self.space.attached() if self.space else ()), *self.prefix,
                 *map(str, self.argv("-s", self.server, "-S", self.state,
                                     *self.sources))],
                stdin=subprocess.DEVNULL, stderr=stderr, env=env)
        servers.wait_until(
            lambda: self.alive() and
            self.log().count("watches: sources=") > before, "dracwatch watches")
        return self

    def alive(self):
        assert self.process.poll() is None, self.log()
        return True

    def log(self):
        if not self.stderr_path.exists():
            return ""
        text = self.stderr_path.read_text(errors="replace")
        assert not SANITIZER.search(text), text
        return text

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(STOP_S) == 0, self.log()
        self.log()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.stop()


class Host:
    """What tests of a dracwatch begin with; subclasses make it."""

    space = dracd = watch = None

    def close(self):
        try:
            self.watch.close()
            self.dracd.finish()
        finally:
            self.space.close()

    def mend(self):
        """Whatever a test has ended runs again."""
        if self.watch.process.poll() is not None:
            self.watch.start()
        if not self.dracd.alive():
            self.dracd.start()

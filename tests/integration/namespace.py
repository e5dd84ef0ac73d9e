"""
namespace: private mount and network namespaces that live as long as an object
of it, for tests that need a small disk, a second host, or other files in /etc.
Nothing in them reaches the host.
"""

import pathlib
import subprocess

import pytest

HELD = "\nexec cat"     # the holder: ends when its standard input does


class Namespace:
    """
    kinds: "mount", "net"; setup: shell commands to run inside first. Skips
    the test where the system gives no namespaces.
    """

    def __init__(self, kinds, setup=":"):
        self.holder = subprocess.Popen(
            ["unshare", *("--" + k for k in kinds), *(
                ("--propagation", "private") if "mount" in kinds else ()),
             "sh", "-c", "set -e\n%s\necho ready%s" % (setup, HELD)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        if self.holder.stdout.readline() != b"ready\n":
            pytest.skip("no private namespace here: %s" %
                        self.holder.communicate()[1].decode().strip())
        self.pid = self.holder.pid
        self.root = pathlib.Path("/proc/%d/root" % self.pid)
        self.prefix = ["nsenter", "--target", str(self.pid),
                       *("--" + k for k in kinds), "--"]

    def seen(self, path):
        """A path in it, as it is seen from outside."""
        return self.root / str(path).lstrip("/")

    def run(self, *command, **options):
        """Runs a command inside; its output."""
        done = subprocess.run(self.prefix + list(command), text=True,
                              capture_output=True, timeout=30, **options)
        assert done.returncode == 0, "%s: %s" % (command, done.stderr)
        return done.stdout

    def close(self):
        self.holder.communicate()

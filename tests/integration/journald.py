"""A real systemd-journald in a Space, in place of its log.

    journald.start(space)
    journald.write(space, "dovecot.service", "dovecot", "pop3-login: ...")
"""

import subprocess
import sys

PROGRAM = "/lib/systemd/systemd-journald"

# The protocol of sd_journal_stream_fd(3): whoever is root, as systemd is, says
# which unit the stream belongs to.
_WRITE = """
import socket, sys
stream = socket.socket(socket.AF_UNIX)
stream.connect("/run/systemd/journal/stdout")
unit, name, line = sys.argv[1:]
stream.sendall(f"{name}\\n{unit}\\n6\\n0\\n0\\n0\\n0\\n{line}\\n".encode())
"""


def start(space):
    socket = space.path("/run/systemd/journal/dev-log")
    socket.parent.mkdir(parents=True)
    space.path("/run/log/journal").mkdir(parents=True)
    space.path("/dev/log").unlink()
    space.path("/dev/log").symlink_to("/run/systemd/journal/dev-log")
    return space.start([PROGRAM], name="journald", ready=socket.exists)


def write(space, unit, name, line, prefix=()):
    """A line on the standard output of a unit, or of who pretends to be it."""
    space.run([*prefix, sys.executable, "-c", _WRITE, unit, name, line],
              stdout=subprocess.DEVNULL)

"""A real popa3d in a Space (set popa3d), on port 110; it asks PAM, "popa3d"."""

import subprocess

import servers
import tcpserver

PORT = 110


def standalone(space):
    """On IPv4 only."""
    _prepare(space)
    # It goes to the background with its output open.
    space.run(["/usr/sbin/popa3d", "-D"], stdout=subprocess.DEVNULL)
    servers.wait_until(space.answers("127.0.0.1", PORT), "popa3d answers")


def inetd(space):
    """With the set qmail, too."""
    _prepare(space)
    tcpserver.start(space, PORT, "/usr/sbin/popa3d")


def _prepare(space):
    space.path("/var/lib/popa3d").mkdir(exist_ok=True)      # its chroot

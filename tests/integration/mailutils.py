"""
A real pop3d of GNU Mailutils in a Space (set mailutils), on port 110, IPv4 and
IPv6; it asks PAM, "gnu-pop3d", since it is told to.
"""

import subprocess

import servers
import tcpserver

PORT = 110
_PROGRAM = "/usr/sbin/pop3d"

_CONF = f"""\
auth {{
  authentication clear;
  authentication pam;
}}
pam {{
  service gnu-pop3d;
}}
server 127.0.0.1:{PORT} {{}}
server "inet6://[fd00:beef::7]:{PORT}" {{}}
"""


def standalone(space):
    _prepare(space)
    space.run([_PROGRAM, "--daemon"], stdout=subprocess.DEVNULL)
    servers.wait_until(space.answers("127.0.0.1", PORT), "pop3d answers")


def inetd(space):
    """With the set qmail, too."""
    _prepare(space)
    tcpserver.start(space, PORT, _PROGRAM, "--inetd")


def _prepare(space):
    space.path("/etc/mailutils.conf").write_text(_CONF)

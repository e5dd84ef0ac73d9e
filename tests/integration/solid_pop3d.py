"""
A real solid-pop3d in a Space (set solid-pop3d), on port 110, IPv4 and IPv6; it
asks PAM, "solid-pop3d". Mailboxes are ~/Maildir.
"""

import subprocess

import servers
import tcpserver

PORT = 110
_PROGRAM = "/usr/sbin/solid-pop3d"

_CONF = """\
<Global>
	MailDropName	"Maildir"
	MailDropType	maildir
</Global>
"""


def standalone(space):
    _prepare(space)
    space.run([_PROGRAM], stdout=subprocess.DEVNULL)
    servers.wait_until(space.answers("127.0.0.1", PORT), "solid-pop3d answers")


def inetd(space):
    """With the set qmail, too."""
    _prepare(space)
    tcpserver.start(space, PORT, _PROGRAM)


def _prepare(space):
    space.path("/etc/spop3d.conf").write_text(_CONF)
    space.path("/var/lib/solid-pop3d/bulletins").mkdir(parents=True,
                                                       exist_ok=True)

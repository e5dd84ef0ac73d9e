"""
A real Courier in a Space (set courier), POP3 on port 110 and IMAP on 143, each
on IPv4 and IPv6, started by its own scripts and with Debian's configuration:
it asks PAM, "pop3" or "imap", in the processes of authdaemond. Mailboxes are
~/Maildir.
"""

import subprocess

import servers

PORTS = (110, 143)


def start(space):
    space.path("/run/courier/authdaemon").mkdir(parents=True)
    for script in ("/usr/sbin/authdaemond", "/usr/lib/courier/pop3d",
                   "/usr/lib/courier/imapd"):
        # What it starts keeps its output open.
        space.run([script, "start"], stdin=subprocess.DEVNULL,
                  stdout=subprocess.DEVNULL)
    for port in PORTS:
        servers.wait_until(space.answers("127.0.0.1", port),
                           f"courier answers on port {port}")

"""A real Cyrus IMAP 3.6 in a Space (set cyrus), with POP3 and IMAP.

Debian's imapd.conf with the settings of integrations/watch/cyrus-imapd.conf in
place of those with the same names. Passwords are in SASL's own database.

    cyrus.start(space)
    mailclient.imap(space, "127.0.0.5", cyrus.USER, cyrus.PASSWORD).logout()
"""

import mailclient
import servers

USER, PASSWORD = "joe", "sesame"
SNIPPET = servers.TOP / "integrations/watch/cyrus-imapd.conf"

_CONF = """\
START {
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -r"
}
SERVICES {
  imap cmd="/usr/lib/cyrus/bin/imapd" listen="imap"
  pop3 cmd="/usr/lib/cyrus/bin/pop3d" listen="pop3"
}
"""
# Debian wants a minute between two logins to POP3, and three seconds after a
# wrong password.
_MORE = ["popminpoll: 0", "failedloginpause: 0"]

# What the package's installation would have done; Debian's group is mail.
_PREPARE = f"""
usermod -g mail cyrus
for dir in /var/lib/cyrus /var/spool/cyrus /var/spool/sieve /run/cyrus; do
	install -d -o cyrus -g mail -m 750 $dir
done
for dir in /run/cyrus/socket /run/cyrus/proc /run/cyrus/lock \\
    /var/lib/cyrus/db /var/lib/cyrus/socket /var/spool/cyrus/mail; do
	install -d -o cyrus -g mail -m 750 $dir
done
saslpasswd2 -c -p -u relay.test {USER}
chown cyrus /etc/sasldb2
"""


def _name_of(line):
    return line.partition(":")[0]


def start(space):
    space.run(["sh", "-ec", _PREPARE], input=PASSWORD)
    ours = SNIPPET.read_text().splitlines() + _MORE
    names = {_name_of(line) for line in ours if not line.startswith("#")}
    conf = space.path("/etc/imapd.conf")
    theirs = [line for line in conf.read_text().splitlines()
              if _name_of(line) not in names]
    conf.write_text("\n".join(theirs + ours) + "\n")
    space.path("/etc/cyrus.conf").write_text(_CONF)
    return space.start(
        ["/usr/lib/cyrus/bin/master", "-D"], name="cyrus",
        ready=lambda: space.answers("127.0.0.1", mailclient.POP3_PORT)() and
        space.answers("fd00:beef::7", mailclient.IMAP_PORT)())

"""A real OpenSMTPD in a Space, with what Debian's package sets up.

    with Space("opensmtpd", "base") as space:
        smtpd = OpenSmtpd(space, sendmail.snippet("opensmtpd.conf"))
        assert smtpd.relay("127.0.0.5") == 250
"""

import sendmail

PORT = 25       # IPv4 and IPv6
CONF = "/etc/smtpd.conf"

# No "match from local": to OpenSMTPD every address of the host is local, and
# the clients of the tests have such addresses.
_CONF = """\
listen on 127.0.0.1 port {port}
listen on {server6} port {port}
action "local" maildir
action "relay" relay
match from any for domain "{domain}" action "local"
{more}
"""


class OpenSmtpd(sendmail.Mta):
    def __init__(self, space, more):
        self.space, self.port = space, PORT
        self.server = None
        for directory, mode in (("/var/lib/opensmtpd/empty", 0o755),
                                ("/var/spool/smtpd", 0o711)):
            space.path(directory).mkdir(mode, parents=True, exist_ok=True)
        space.path(CONF).write_text(_CONF.format(
            port=PORT, server6=sendmail.SERVER6, domain=sendmail.DOMAIN,
            more=more))
        self.start()

    def start(self):
        self.server = self.space.start(
            ["smtpd", "-d"], name="smtpd",
            ready=self.space.answers("127.0.0.1", PORT))

    def reload(self):
        """Nothing: it looks after the file by itself."""

    def stop(self):
        if self.server:
            self.server.stop()
        self.server = None

"""A real OpenSMTPD in a Space, with what Debian's package sets up.

    with Space("opensmtpd", "base") as space:
        smtpd = OpenSmtpd(space, snippet("opensmtpd.conf"))
        assert smtpd.relay("127.0.0.5") == 250
"""

import sendmail
import servers

PORT = 25       # IPv4 and IPv6
CONF = "/etc/smtpd.conf"
SERVER6 = "fd00:beef::7"

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


def snippet(name):
    """The text of a file of mta/."""
    return (servers.TOP / "mta" / name).read_text()


class OpenSmtpd:
    def __init__(self, space, more):
        self.space = space
        self.server = None
        for directory, mode in (("/var/lib/opensmtpd/empty", 0o755),
                                ("/var/spool/smtpd", 0o711)):
            space.path(directory).mkdir(mode, parents=True, exist_ok=True)
        space.path(CONF).write_text(_CONF.format(
            port=PORT, server6=SERVER6, domain=sendmail.DOMAIN, more=more))
        self.start()

    def start(self):
        self.server = self.space.start(
            ["smtpd", "-d"], name="smtpd",
            ready=self.space.answers("127.0.0.1", PORT))

    def reload(self):
        """Nothing: it looks after the file by itself."""

    def client(self, address):
        """A session from address."""
        server = SERVER6 if ":" in address else "127.0.0.1"
        return sendmail.Client(self.space, address, server, PORT)

    def relay(self, address):
        """The reply to a foreign recipient in a session of its own."""
        with self.client(address) as client:
            return client.relay()

    def stop(self):
        if self.server:
            self.server.stop()
        self.server = None

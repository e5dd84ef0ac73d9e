"""A real Dovecot 2.3 in a Space that tells dracd who has logged in.

Each login runs a post-login script, which calls the tool draccall: a user of
the classic library. alice's password is PASSWORD.

    dovecot = Dovecot(space, server="127.0.0.1:5901")
    dovecot.pop3("127.0.0.5", "alice", dovecot.PASSWORD).quit()
"""

import imaplib
import poplib
import shutil
import socket

import servers

POP3_PORT = 110
IMAP_PORT = 143
PASSWORD = "sesame"
TIMEOUT_S = 20
HOME = "/var/spool/mail/alice"
SCRIPT = "/usr/lib/dracd/post-login"

_CONF = """\
protocols = pop3 imap
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=alice gid=alice home={home}
}}
service pop3 {{
  executable = pop3 drac-postlogin
}}
service imap {{
  executable = imap drac-postlogin
}}
service drac-postlogin {{
  executable = script-login {script}
  user = $default_internal_user
  unix_listener drac-postlogin {{
  }}
}}
"""

# Standard output is the client's connection. Whatever becomes of the call,
# the user gets his mail: without the exec the login would be refused.
_SCRIPT = """\
#!/bin/sh
/usr/lib/dracd/draccall {server} "$IP" >/dev/null </dev/null
exec "$@"
"""


class Dovecot:
    def __init__(self, space, server):
        self.space = space
        space.path("/usr/lib/dracd").mkdir(exist_ok=True)
        shutil.copy(servers.tool("draccall"), space.path("/usr/lib/dracd/draccall"))
        space.path(SCRIPT).write_text(_SCRIPT.format(server=server))
        space.path(SCRIPT).chmod(0o755)
        space.path("/etc/dovecot/dovecot.conf").write_text(
            _CONF.format(password=PASSWORD, home=HOME, script=SCRIPT))
        space.run(["install", "-d", "-o", "alice", "-g", "alice", HOME])
        self.server = space.start(
            ["/usr/sbin/dovecot", "-F"], name="dovecot",
            ready=lambda: space.answers("127.0.0.1", POP3_PORT)() and
            space.answers("127.0.0.1", IMAP_PORT)())

    def pop3(self, address, user, password):
        """A session that has logged in; poplib.error_proto when it may not."""
        session = _Pop3(self.space, address)
        try:
            session.user(user)
            session.welcome = session.pass_(password)
        except poplib.error_proto:
            session.close()
            raise
        return session

    def imap(self, address, user, password):
        """The same; imaplib.IMAP4.error when it may not."""
        session = _Imap(self.space, address)
        try:
            session.login(user, password)
        except imaplib.IMAP4.error:
            session.shutdown()
            raise
        return session

    def stop(self):
        self.server.stop()


def _connect(space, address, port):
    to = "fd00:beef::7" if ":" in address else "127.0.0.1"
    with space.network():
        return socket.create_connection((to, port), TIMEOUT_S, (address, 0))


class _Pop3(poplib.POP3):
    def __init__(self, space, address):
        self._create_socket = lambda _: _connect(space, address, POP3_PORT)
        super().__init__("dovecot", timeout=TIMEOUT_S)


class _Imap(imaplib.IMAP4):
    def __init__(self, space, address):
        self._create_socket = lambda _: _connect(space, address, IMAP_PORT)
        super().__init__("dovecot", timeout=TIMEOUT_S)

"""A real Dovecot 2.3 in a Space, and what hooks it to dracd.

The hook is a piece of configuration, which becomes conf.d/99-drac.conf; its
programs and modules are put into the space by whoever needs them. alice's
password is PASSWORD.

    pop = Dovecot(space, plugin(space, drac_interval="1s"))
    pop.pop3("127.0.0.5", "alice", dovecot.PASSWORD).quit()
"""

import pathlib
import shutil

import mailclient
import servers
from mailclient import IMAP_PORT, POP3_PORT

PASSWORD = "sesame"
HOME = "/var/spool/mail/alice"
PLUGIN = "/usr/lib/dovecot/modules/lib99_drac_plugin.so"
SCRIPT = "/usr/lib/dracd/post-login"

PASSDB = f"""\
passdb {{
  driver = static
  args = password={PASSWORD}
}}
"""

_CONF = """\
protocols = pop3 imap
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
service anvil {{
  # No penalty for the address of a wrong password.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
mail_location = maildir:~/Maildir
{passdb}
userdb {{
  driver = static
  args = uid=alice gid=alice home={home}
}}
{log}
!include conf.d/*.conf
"""

_POST_LOGIN = """\
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


def post_login(space, server):
    """The snippet for a post-login script that calls the tool draccall."""
    space.path("/usr/lib/dracd").mkdir(exist_ok=True)
    shutil.copy(servers.tool("draccall"), space.path("/usr/lib/dracd/draccall"))
    space.path(SCRIPT).write_text(_SCRIPT.format(server=server))
    space.path(SCRIPT).chmod(0o755)
    return _POST_LOGIN.format(script=SCRIPT)


def plugin(space, **settings):
    """Installs the plugin; the snippet that we ship, with settings changed."""
    build = servers.tool("").parent
    shutil.copy(build / "dovecot" / pathlib.Path(PLUGIN).name,
                space.path(PLUGIN))
    snippet = servers.TOP / "integrations/dovecot/99-drac.conf"
    lines = "".join(f"  {name} = {value}\n"
                    for name, value in settings.items())
    return f"{snippet.read_text()}\nplugin {{\n{lines}}}\n"


class Dovecot:
    def __init__(self, space, snippet, passdb=PASSDB, log_path=None):
        """Logs to syslog (space.log), or to the file log_path of the space."""
        self.space = space
        conf = space.path("/etc/dovecot")
        (conf / "conf.d").mkdir(exist_ok=True)
        (conf / "conf.d/99-drac.conf").write_text(snippet)
        (conf / "dovecot.conf").write_text(_CONF.format(
            passdb=passdb, home=HOME,
            log=f"log_path = {log_path}" if log_path else ""))
        space.run(["install", "-d", "-o", "alice", "-g", "alice", HOME])
        self.server = space.start(
            ["/usr/sbin/dovecot", "-F"], name="dovecot",
            ready=lambda: space.answers("127.0.0.1", POP3_PORT)() and
            space.answers("127.0.0.1", IMAP_PORT)())

    def pop3(self, address, user, password):
        return mailclient.pop3(self.space, address, user, password)

    def imap(self, address, user, password):
        return mailclient.imap(self.space, address, user, password)

    def stop(self):
        self.server.stop()

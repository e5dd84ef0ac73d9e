"""A real sendmail in a Space, and a mail client that talks to it.

    sendmail = Sendmail(space, mc("FEATURE(`dracd')dnl"))
    with sendmail.client("127.0.0.5") as client:
        assert client.relay() == 250
"""

import contextlib
import smtplib
import subprocess

import servers

CF = "/usr/share/sendmail/cf"
PROGRAM = "/usr/libexec/sendmail/sendmail"
PORT = 25        # IPv4 sockets
PORT6 = 26       # IPv6 sockets, where IPv4 clients are v4-mapped
SERVER6 = "fd00:beef::7"
DOMAIN = "relay.test"
FOREIGN = "somebody@foreign.example"
LOCAL = f"root@{DOMAIN}"
SENDER = LOCAL      # its domain needs no DNS to exist
TIMEOUT_S = 20

_MC = """\
include(`{cf}/m4/cf.m4')dnl
OSTYPE(`debian')dnl
undefine(`ALIAS_FILE')dnl
define(`confREFUSE_LA', `999')dnl
define(`confQUEUE_LA', `999')dnl
define(`confDELAY_LA', `0')dnl
define(`confTO_IDENT', `0')dnl
define(`confDELIVERY_MODE', `queueonly')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
DAEMON_OPTIONS(`Name=MTA, Family=inet, Port={port}')dnl
DAEMON_OPTIONS(`Name=MTA6, Family=inet6, Port={port6}')dnl
LOCAL_DOMAIN(`{domain}')dnl
{more}
MAILER(`local')dnl
MAILER(`smtp')dnl
"""


def mc(more):
    """A complete .mc file with the lines of more in it."""
    return _MC.format(cf=CF, port=PORT, port6=PORT6, domain=DOMAIN, more=more)


def prepare(space):
    """What a package's installation would have left, and our feature."""
    for directory in ("/run/sendmail/mta", "/var/lib/sendmail/host_status"):
        space.path(directory).mkdir(parents=True, exist_ok=True)
    for name in ("local-host-names", "relay-domains", "trusted-users"):
        space.path(f"/etc/mail/{name}").touch()
    feature = servers.TOP / "sendmail-cf/feature/dracd.m4"
    space.path(f"{CF}/feature/dracd.m4").write_text(feature.read_text())


def make_cf(space, source, name="test"):
    """Runs m4 over source; returns the path of the .cf and m4's messages."""
    prepare(space)
    space.path(f"/etc/mail/{name}.mc").write_text(source)
    done = space.run(["sh", "-c", f"cd /etc/mail && m4 {name}.mc 2>&1 >{name}.cf"],
                     check=False)
    return f"/etc/mail/{name}.cf", done.stdout


def snippet(name):
    """The text of a file of mta/."""
    return (servers.TOP / "mta" / name).read_text()


def make_password(space, user, password):
    """An account for SMTP AUTH, in SASL's own database."""
    space.path("/etc/sasl2").mkdir(exist_ok=True)
    space.path("/etc/sasl2/Sendmail.conf").write_text(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
        "mech_list: CRAM-MD5 PLAIN\n")
    space.run(["saslpasswd2", "-c", "-p", "-u", DOMAIN, user], input=password)


class Mta:
    """What answers in a space at a port of 127.0.0.1 and SERVER6."""

    space = port = None

    def client(self, address, server=None):
        """A session from address."""
        server = server or (SERVER6 if ":" in address else "127.0.0.1")
        return Client(self.space, address, server, self.port)

    def relay(self, address, **kwargs):
        """The reply to a foreign recipient in a session of its own."""
        with self.client(address, **kwargs) as client:
            return client.relay()


class Sendmail(Mta):
    def __init__(self, space, source):
        self.space = space
        cf, messages = make_cf(space, source)
        assert messages == "", messages
        self.server = space.start([PROGRAM, "-C", cf, "-bD"], name="sendmail",
                                  ready=space.answers("127.0.0.1", PORT))

    def client(self, address, port=None, server=None):
        """A session from address; to IPv6 sockets if address is of IPv6."""
        self.port = port or (PORT6 if ":" in address else PORT)
        return super().client(address, server)

    def stop(self):
        if self.server:
            self.server.stop()
        self.server = None


class Session:
    """What a test asks in a session; subclasses give ask()."""

    text = ""       # of the last reply

    def try_rcpt(self, recipient):
        """The code that refuses recipient, or that of RCPT, in a new turn."""
        self.ask("RSET")
        code = self.ask(f"MAIL FROM:<{SENDER}>")
        return self.ask(f"RCPT TO:<{recipient}>") if code == 250 else code

    def relay(self):
        return self.try_rcpt(FOREIGN)

    def local(self):
        return self.try_rcpt(LOCAL)


class Client(smtplib.SMTP, Session):
    def __init__(self, space, address, server, port):
        with space.network():
            super().__init__(server, port, "client.test", TIMEOUT_S,
                             source_address=(address, 0))
        self.ehlo()

    def __exit__(self, *_):
        with contextlib.suppress(smtplib.SMTPException, OSError):
            self.quit()
        self.close()

    def ask(self, command):
        code, text = self.docmd(command)
        self.text = text.decode()
        return code

    def identify(self, mechanism, user, password):
        """SMTP AUTH; SMTPAuthenticationError when it is refused."""
        self.ask("RSET")    # or AUTH is not permitted: a 503
        self.user, self.password = user, password
        self.auth(mechanism, getattr(self, "auth_" +
                                     mechanism.lower().replace("-", "_")))


class PipeClient(Session):
    """A program on the mail host that runs `sendmail -bs'."""

    def __init__(self, space, cf="/etc/mail/test.cf"):
        self._process = subprocess.Popen(
            space.command([PROGRAM, "-C", cf, "-bs"]), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._reply() == 220, self.text
        self.ask("HELO localhost")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate("QUIT\r\n", timeout=TIMEOUT_S)

    def _reply(self):
        self.text = self._process.stdout.readline()
        while self.text[3:4] == "-":
            self.text = self._process.stdout.readline()
        return int(self.text[:3])

    def ask(self, command):
        self._process.stdin.write(command + "\r\n")
        self._process.stdin.flush()
        return self._reply()

"""Servers that dracexec is hooked into, with the files of integrations/exec.

    with Space("qmail", "base") as space:
        install(space)
        Tcpserver(space, "integrations/exec/qmail-pop3.run", 110)

dracexec is that of the plain build: Courier's imapd limits the memory of what
it starts. alice's password is PASSWORD.
"""

import os
import shutil
import subprocess

import courier
import sendmail
import servers

PASSWORD = "sesame"
HOME = "/var/spool/mail/alice"
DRACEXEC = "/usr/local/bin/dracexec"
COURIER = ("/usr/lib/courier/courier/courierpop3d", "/usr/bin/imapd")


def install(space):
    """What `make install' leaves, and a mailbox for alice."""
    plain = servers.TOP / os.environ.get("DRACD_TOOLS", servers.BUILDS[0])
    shutil.copy(plain / "dracexec", space.path(DRACEXEC))
    for directory in (HOME, *(f"{HOME}/Maildir/{d}" for d in
                              ("cur", "new", "tmp"))):
        space.run(["install", "-d", "-o", "alice", "-g", "alice", directory])
    space.run(["chown", "-R", "alice:alice", HOME])


def crypt(password):
    return subprocess.run(["openssl", "passwd", "-6", password], check=True,
                          capture_output=True, text=True).stdout.strip()


class Tcpserver(sendmail.Mta):
    """A run script, just as it is."""

    def __init__(self, space, script, port):
        self.space = space
        self.port = port
        self.server = space.start([servers.TOP / script], name="tcpserver",
                                  ready=space.answers("127.0.0.1", port))


def prepare_cvm(space):
    """cvm-unix asks the accounts of the system."""
    space.run(["sed", "-i", f"/^alice:/s|/var/lib/nobody|{HOME}|",
               "/etc/passwd"])
    with space.path("/etc/shadow").open("a") as shadow:
        shadow.write(f"alice:{crypt(PASSWORD)}:19000::::::\n")


def prepare_smtpfront(space):
    space.path("/var/lib/qmail/control").mkdir(parents=True)
    space.path("/var/lib/qmail/control/rcpthosts").write_text(
        sendmail.DOMAIN + "\n")


def start_courier(space):
    """With authuserdb: there is no PAM that could be used instead."""
    etc = space.path("/etc/courier")
    rc = (etc / "authdaemonrc").read_text()
    assert 'authmodulelist="authpam"' in rc
    (etc / "authdaemonrc").write_text(rc.replace(
        'authmodulelist="authpam"', 'authmodulelist="authuserdb"'))
    uid = space.run(["id", "-u", "alice"]).stdout.strip()
    (etc / "userdb").write_text(f"alice\thome={HOME}|uid={uid}|gid={uid}|"
                                f"systempw={crypt(PASSWORD)}\n")
    (etc / "userdb").chmod(0o600)
    space.run(["makeuserdb"])
    for program in COURIER:
        # What dpkg-divert(1) does, and the file in its place.
        space.path(program).rename(space.path(program + ".real"))
        shutil.copy(servers.TOP / "integrations/exec/courier-stand-in",
                    space.path(program))
    courier.start(space)

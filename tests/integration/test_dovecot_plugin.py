"""The plugin of integrations/dovecot in a real Dovecot 2.3."""

import socket
import sys
import time

import pytest

import dovecot
import hooks
import installed
import mailclient
import sendmail_map
import servers

CLIENT, CLIENT6 = "127.0.0.5", hooks.CLIENT6
LOCAL_SOCKET = "unix:/run/dracd/rpc.sock"
UDP = "udp:127.0.0.1:5901"
LIFETIME_S = 60
HIBERNATION_S = 1800    # what the plugin asks for a session that falls asleep
BUDGET_S = 0.5
SLACK_S = 1.0           # a loaded machine

HIBERNATE = """
protocol imap {
  imap_hibernate_timeout = 1s
}
service imap {
  extra_groups = alice
  unix_listener imap-master {
    user = $default_internal_user
  }
}
service imap-hibernate {
  unix_listener imap-hibernate {
    group = alice
    mode = 0660
  }
}
"""


@pytest.fixture(scope="module")
def space():
    with servers.Space() as made:
        yield made


@pytest.fixture
def start(space, build, tmp_path):
    """start(listen...) -> a dracd without entries."""
    made = []

    def run(*listen):
        sendmail_map.clear(space)
        made.append(installed.Dracd(space, build, tmp_path / "d",
                                    listen=listen, lifetime=f"{LIFETIME_S}s"))
        return made[-1].start()

    yield run
    for each in made:
        each.finish()


@pytest.fixture
def dracd(start):
    return start(LOCAL_SOCKET)


@pytest.fixture
def pop(space):
    """pop(more configuration, settings of the plugin) -> a Dovecot."""
    made = []

    def run(more="", **settings):
        made.append(dovecot.Dovecot(
            space, dovecot.plugin(space, **settings) + more))
        return made[-1]

    yield run
    for each in made:
        each.stop()


def warnings(space, start=0):
    return space.log.find(r"drac: ", start)


def first_warnings(space, start):
    """Those there are when there is one: Dovecot logs by another process."""
    return space.log.wait(r"drac: ", start)


def idle(imap):
    imap.send(b"i IDLE\r\n")
    assert imap.readline().startswith(b"+ ")


def later(dracd, entry):
    """The entry when it ends later than that one."""
    def moved():
        now = dracd.entry(CLIENT)
        return now if now.expiry > entry.expiry else None
    return servers.wait_until(moved, "expiry moves on")


def test_login(dracd, pop):
    server = pop()
    for login, service in (server.pop3, "pop3"), (server.imap, "imap"):
        for address in CLIENT, CLIENT6:
            with pytest.raises(hooks.REFUSED):
                login(address, "alice", "wrong")
            assert dracd.entry(address) is None
            now = int(time.time())
            login(address, "alice", dovecot.PASSWORD)
            entry = dracd.entry(address)
            assert (entry.user, entry.service) == ("alice", service)
            assert (now + LIFETIME_S <= entry.expiry <=
                    time.time() + LIFETIME_S)
            dracd.remove(address)


def processes(space):
    return space.run(["pgrep", "-x", "imap"], check=False).stdout.split()


def answer(imap):
    """The next line that is no untagged one: of those any may come."""
    while (line := imap.readline()).startswith(b"* "):
        pass
    return line


def test_refresh(space, dracd, pop):
    """As long as an IMAP session lasts, and no longer; it keeps no connection."""
    imap = pop(drac_interval="1s").imap(CLIENT, "alice", dovecot.PASSWORD)
    imap.select()
    idle(imap)
    entry = dracd.entry(CLIENT)
    entry = later(dracd, later(dracd, entry))
    with dracd.client("unix") as client:
        # Ours; a refresh may be under way.
        servers.wait_until(lambda: client.stats()["connections"] == 1,
                           "the plugin's connection is closed")
    imap.shutdown()
    servers.wait_until(lambda: not processes(space), "the session is over")


def test_hibernation(space, dracd, pop):
    """While it sleeps the entry stays; when it wakes the timer runs again."""
    imap = pop(HIBERNATE, drac_interval="1s").imap(
        CLIENT, "alice", dovecot.PASSWORD)
    imap.select()
    idle(imap)
    assert processes(space)
    servers.wait_until(lambda: not processes(space), "hibernation")
    entry = dracd.entry(CLIENT)
    left = entry.expiry - time.time()
    assert HIBERNATION_S - 10 < left <= HIBERNATION_S
    assert (entry.user, entry.service) == ("alice", "imap")

    # In one packet this does not wake it. It is still among doveadm's sessions.
    dracd.remove(CLIENT)
    imap.send(b"DONE\r\nj IDLE\r\n")
    assert answer(imap).startswith(b"i OK")
    assert answer(imap).startswith(b"+ ")
    assert not processes(space) and dracd.entry(CLIENT) is None
    space.run(["env", f"PATH={servers.tool('').parent}:/usr/bin:/bin",
               servers.TOP / "integrations/dovecot/drac-hibernated"])
    assert dracd.entry(CLIENT).user == "alice"

    dracd.remove(CLIENT)
    imap.send(b"DONE\r\n")
    assert answer(imap).startswith(b"j OK")
    entry = dracd.entry(CLIENT)
    assert entry.expiry <= time.time() + LIFETIME_S
    later(dracd, entry)
    imap.logout()


def test_other_plugins(space, dracd, pop):
    """What a site has for all protocols stays."""
    site = space.path("/etc/dovecot/conf.d/10-mail.conf")
    site.parent.mkdir(exist_ok=True)
    site.write_text("mail_plugins = quota\nmail_access_groups = mail\n")
    pop().pop3(CLIENT, "alice", dovecot.PASSWORD)
    assert dracd.entry(CLIENT)
    output = space.run(["doveconf", "-f", "protocol=pop3", "mail_plugins",
                        "mail_access_groups"]).stdout
    assert output == ("mail_plugins = quota drac\n"
                      "mail_access_groups = mail dracd\n")
    site.unlink()


def test_time(space, dracd, pop, figures):
    """Whatever becomes of dracd, a login works, and hardly later."""
    pop()
    took = hooks.times(
        dracd, lambda: hooks.login(space, mailclient.pop3, CLIENT, "alice",
                                   dovecot.PASSWORD), figures)
    assert max(took["up"], took["absent"]) < SLACK_S
    assert took["stopped"] < BUDGET_S + SLACK_S


def test_one_warning(space, start, pop):
    """A session complains once, and is authorized when dracd comes back."""
    seen = len(space.log.lines)
    imap = pop(drac_interval="1s").imap(CLIENT, "alice", dovecot.PASSWORD)
    idle(imap)
    time.sleep(2.5)         # the timer has gone off twice
    lines = first_warnings(space, seen)
    assert len(lines) == 1
    assert "imap(alice)" in lines[0] and CLIENT in lines[0]
    dracd = start(LOCAL_SOCKET)
    dracd.authorized(CLIENT)
    imap.shutdown()


def anonymous(space):
    """The reply to an IMAP login of nobody in particular."""
    with space.network(), socket.create_connection(
            ("127.0.0.1", dovecot.IMAP_PORT), 20, (CLIENT, 0)) as client:
        client.sendall(b"a AUTHENTICATE ANONYMOUS dHJhY2U=\r\n")
        with client.makefile("rb") as lines:
            return next(line for line in lines if line.startswith(b"a "))


def test_not_a_login(space, dracd, pop):
    """What has the plugin, and no client that has proved who he is."""
    server = pop("mail_plugins = drac\nauth_mechanisms = plain anonymous\n")
    for command in (["doveadm", "-D", "mailbox", "status", "-u", "alice",
                     "messages", "INBOX"],
                    ["sh", "-c", "echo a logout | "
                     "doveadm -D exec imap -u alice"],
                    ["sh", "-c", "echo | /usr/lib/dovecot/dovecot-lda "
                     "-d alice -o mail_debug=yes -o log_path=/dev/stderr"]):
        output = space.run(command).stdout
        assert "lib99_drac_plugin.so" in output and "drac: " not in output
    assert anonymous(space).startswith(b"a OK")
    with dracd.client("unix") as client:
        assert client.table() == {}
    assert server.imap(CLIENT, "alice", dovecot.PASSWORD)
    assert dracd.entry(CLIENT)


@pytest.mark.parametrize("listen", [[LOCAL_SOCKET], [LOCAL_SOCKET, UDP]],
                         ids=["socket", "socket and UDP"])
def test_without_group(space, start, pop, listen):
    """The local socket refuses; `localhost` then tries UDP on loopback."""
    dracd = start(*listen)
    seen = len(space.log.lines)
    pop("mail_access_groups =\n").pop3(CLIENT, "alice", dovecot.PASSWORD)
    if UDP in listen:
        assert dracd.entry(CLIENT).user == "alice"
        assert warnings(space, seen) == []
    else:
        assert dracd.entry(CLIENT) is None
        assert len(first_warnings(space, seen)) == 1


def test_old_names_and_old_server(space, pop):
    """A site with DRAC 1.12, its settings, and its daemon elsewhere."""
    # It lives until its standard input ends: never.
    peer = space.start(
        ["sh", "-c", "mkfifo /run/peer && exec "
         f"{sys.executable} tests/integration/libdrac_peer.py "
         "answer+versions=1-2 udp:127.0.0.1:5902 tcp:127.0.0.1:5902 "
         "<>/run/peer"],
        ready=space.answers("127.0.0.1", 5902), name="peer")
    # Empty: not set.
    server = pop(drac_server="", drac_interval="",
                 dracdserver="127.0.0.1:5902", dracdtimeout="1")
    imap = server.imap(CLIENT, "alice", dovecot.PASSWORD)
    server.pop3(CLIENT6, "alice", dovecot.PASSWORD)
    servers.wait_until(lambda: peer.output().count(f"add 1 {CLIENT}") >= 3,
                       "refresh")
    assert f"add 2 {CLIENT6}" in peer.output()
    imap.shutdown()
    peer.stop()


def test_long_name(dracd, pop):
    """A user whom the protocol cannot name is authorized without his name."""
    pop().pop3(CLIENT, "u" * 300, dovecot.PASSWORD)
    entry = dracd.entry(CLIENT)
    assert (entry.user, entry.service) == ("", "pop3")


@pytest.mark.parametrize("interval", ["0", "2 days", "ten"])
def test_bad_interval(space, dracd, pop, interval):
    seen = len(space.log.lines)
    pop(drac_interval=interval).imap(CLIENT, "alice", dovecot.PASSWORD)
    assert dracd.entry(CLIENT)
    line, = first_warnings(space, seen)
    assert "drac_interval" in line and "using 600 s" in line


def test_chroot(space, start, pop):
    """With an address for a server nothing is needed in a chroot."""
    dracd = start(LOCAL_SOCKET, UDP)
    server = pop("mail_chroot = /var/spool/mail\n"
                 "valid_chroot_dirs = /var/spool/mail\n"
                 "mail_location = maildir:/alice/Maildir\n",
                 drac_server="127.0.0.1:5901")
    session = server.pop3(CLIENT, "alice", dovecot.PASSWORD)
    pid = space.run(["pgrep", "-x", "pop3"]).stdout.strip()
    assert space.run(["readlink", f"/proc/{pid}/root"]).stdout.strip() == \
        "/var/spool/mail"
    assert dracd.entry(CLIENT).user == "alice"
    session.quit()

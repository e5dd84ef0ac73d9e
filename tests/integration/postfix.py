"""A real Postfix in a Space, with Debian's own master.cf: smtpd in its chroot.

    with Space("postfix", "base") as space:
        postfix = Postfix(space, sendmail.snippet("postfix-proxy.cf"))
        assert postfix.relay("127.0.0.5") == 250
"""

import sendmail
import servers

PORT = 25       # IPv4 and IPv6
SHARE = "/usr/share/postfix"

# What Debian's installation asks for or sets. Neither DNS nor other hosts; no
# second's rest for each accepted recipient when there are many.
_MAIN_CF = """\
myhostname = {domain}
mydestination = {domain}, localhost
mynetworks = 127.0.0.1, [::1]
alias_maps =
alias_database =
inet_protocols = all
default_transport = defer:test
in_flow_delay = 0
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
"""


class Postfix(sendmail.Mta):
    def __init__(self, space, more, port=PORT, chroot=True):
        """
        more: lines of main.cf, which win over the ones before them. chroot:
        as Debian has it, or no service in one.
        """
        self.space, self.port = space, port
        self._prepare(more, chroot)
        self.start()

    def _prepare(self, more, chroot):
        def share(name):
            return self.space.path(f"{SHARE}/{name}").read_text()

        etc = self.space.path("/etc/postfix")
        master = share("master.cf.dist").replace(
            "\nsmtp      inet  n", f"\n{self.port}  inet  n")
        assert f"\n{self.port}  inet" in master
        if not chroot:
            master = master.replace("       y       ", "       n       ")
        etc.joinpath("master.cf").write_text(master)
        etc.joinpath("dynamicmaps.cf").write_text(share("dynamicmaps.cf"))
        etc.joinpath("main.cf").write_text(
            share("main.cf.debian") +
            _MAIN_CF.format(domain=sendmail.DOMAIN) + more)
        if self.space.path("/var/spool/postfix/active").exists():
            return
        # As the package does, once. It misses files of the documentation, after it
        # has done the queue.
        for directory in ("/var/spool/postfix", "/var/lib/postfix"):
            self.space.path(directory).mkdir()
        self.space.run(["postfix", "set-permissions"], check=False)
        # As the unit does at each start: /etc/hosts and others in the chroot.
        self.space.run(["/usr/lib/postfix/configure-instance.sh", "-"])

    def start(self):
        self.space.run(["postfix", "start"])
        servers.wait_until(self.space.answers("127.0.0.1", self.port),
                           "Postfix is ready")

    def reload(self):
        """smtpd processes and proxymaps are new ones for new sessions."""
        self.space.run(["postfix", "reload"])

    def stop(self):
        # As `postfix stop', which looks only once a second.
        self.space.run(["sh", "-c",
                        "kill $(cat /var/spool/postfix/pid/master.pid)"])
        servers.wait_until(lambda: self.space.run(
            ["/usr/lib/postfix/sbin/master", "-t"], check=False
        ).returncode == 0, "Postfix has stopped")

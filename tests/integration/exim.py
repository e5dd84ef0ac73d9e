"""A real Exim in a Space, with the configuration that Debian makes for it.

    with Space("exim", "base") as space:
        exim = Exim(space, sendmail.snippet("exim-dbmnz.conf"))
        assert exim.relay("127.0.0.5") == 250
"""

import sendmail
import servers

PORT = 25       # IPv4 and IPv6
PID_FILE = "/run/exim.pid"

# What Debian's installation asks for: a host on the Internet, and, among the
# "machines to relay mail for", the list of the snippet. A session may have any
# number of RSETs.
_ANSWERS = """\
dc_eximconfig_configtype='internet'
dc_other_hostnames='{domain}'
dc_relay_nets='+dracd_clients'
dc_minimaldns='true'
dc_use_split_config='{split}'
dc_localdelivery='mail_spool'
dc_mailname_in_oh='true'
CFILEMODE='644'
MAIN_SMTP_ACCEPT_MAX_NOMAIL_HOSTS='192.0.2.1'
"""


class Exim(sendmail.Mta):
    def __init__(self, space, more, port=PORT, split=False):
        """more: what defines dracd_clients; split: Debian's many files."""
        self.space, self.port = space, port
        etc = space.path("/etc/exim4")
        space.path("/etc/mailname").write_text(f"{sendmail.DOMAIN}\n")
        etc.joinpath("update-exim4.conf.conf").write_text(_ANSWERS.format(
            domain=sendmail.DOMAIN, split=str(split).lower()))
        local = {True: "conf.d/main/000_dracd",
                 False: "exim4.conf.localmacros"}
        etc.joinpath(local[not split]).unlink(missing_ok=True)
        etc.joinpath(local[split]).write_text(more)
        space.run(["sh", "-ec", """
            mkdir -p /var/lib/exim4 /var/spool/exim4 /var/log/exim4
            chown Debian-exim: /var/spool/exim4 /var/log/exim4
            touch /etc/aliases
            update-exim4.conf
        """])
        self.start()

    def start(self):
        # -odq: into the queue only.
        self.space.run(["exim4", "-bd", "-odq", "-oX", str(self.port), "-oP",
                        PID_FILE])
        servers.wait_until(self.space.answers("127.0.0.1", self.port),
                           "Exim is ready")

    def reload(self):
        """Nothing: each session is a process that opens everything itself."""

    def stop(self):
        answers = self.space.answers("127.0.0.1", self.port)
        self.space.run(["pkill", "-F", PID_FILE])
        servers.wait_until(lambda: not answers(), "Exim has stopped")

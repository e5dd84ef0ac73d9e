"""A dracd in a Space as an installation has it: user dracd, default places.

    with Space() as space:
        dracd = Dracd(space, build, directory).start()
"""

import rpcraw
import sendmail_map
import servers


class Dracd(sendmail_map._InSpace):
    """directory: for its configuration and its messages, outside the space."""

    def __init__(self, space, build, directory, **settings):
        space.run(["install", "-d", "-o", "dracd", "-g", "dracd",
                   "/run/dracd", "/var/lib/dracd"])
        super().__init__(build, directory, prefix=space.attached(),
                         **{"maps": [(f"btree:{sendmail_map.FILE}", {})],
                            "listen": None, "lookup": None, "user": "dracd",
                            "allow_file": None,
                            "journal": "/var/lib/dracd/journal", **settings})
        self.space = space
        self.root = str(space.path("/"))
        self.port = 5901
        self.allow = space.path("/etc/mail/dracd.allow")
        self.unix = str(space.path("/run/dracd/rpc.sock"))
        self.lookup = str(space.path("/run/dracd/map.sock"))

    def entry(self, address):
        """What it has for an address; None: nothing."""
        with self.client("unix") as client:
            return client.query(address)[1]

    def take(self, address):
        """The same, and then it goes."""
        entry = self.entry(address)
        self.remove(address)
        return entry

    def authorized(self, address):
        """Its entry, as soon as there is one."""
        return servers.wait_until(lambda: self.entry(address),
                                  f"{address} is authorized")

    def add(self, address, lifetime=0):
        with self.client("unix") as client:
            status, _ = client.add3(address, lifetime)
        assert status == rpcraw.OK

    def remove(self, address):
        with self.client("unix") as client:
            assert client.remove(address) in (rpcraw.OK, rpcraw.NOTFOUND)

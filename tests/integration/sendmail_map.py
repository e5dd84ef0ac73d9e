"""The two makers of a map for sendmail: a tool by hand, and the real dracd.

Both offer add(), remove(), grow() and rebuild(), so that one test runs with
either. The map is /var/lib/dracd/dracd.db in the space, where an installation
has it, with the link in /etc/mail.
"""

import ipaddress
import os
import shutil
import subprocess
import time

import daemon
import rpcraw
import servers

DIRECTORY = "/var/lib/dracd"
FILE = f"{DIRECTORY}/dracd.db"
LIFETIME_S = 1800
GROW_MAX = 50000
FILLER = int(ipaddress.IPv6Address("2001:db8::"))


def keys(address):
    """The keys of an address: dracd(8), FILES."""
    ip = ipaddress.ip_address(address)
    if ip.version == 4:
        return [str(ip)]
    long = ":".join(f"{int(group, 16):x}" for group in ip.exploded.split(":"))
    return sorted({ip.compressed, long, f"ipv6:{long}"})


def clear(space):
    """No map at all: as before the first start."""
    for entry in space.path(DIRECTORY).iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


class HandMap:
    def __init__(self, space, kind="btree"):
        self.path = space.path(FILE)
        self._fillers = 0
        self.mapput("create", kind)

    def mapput(self, *words):
        subprocess.run([servers.tool("mapput"), self.path, *map(str, words)],
                       check=True)

    def add(self, address, lifetime=LIFETIME_S):
        expiry = int(time.time()) + lifetime
        self.mapput("put", *(word for key in keys(address)
                             for word in (key, expiry)))

    def remove(self, address):
        self.mapput("del", *keys(address))

    def grow(self):
        self._fillers += 1
        self.mapput("grow", f"10.{self._fillers}.", 2000)

    def rebuild(self):
        """A repaired map takes the place of this one."""
        copy = self.path.with_suffix(".new")
        shutil.copy(self.path, copy)
        os.rename(copy, self.path)

    def close(self):
        pass


class _InSpace(daemon.Dracd):
    """Clients are made in the network of the space."""

    space = None

    def client(self, *args, **kwargs):
        with self.space.network():
            return super().client(*args, **kwargs)


class DaemonMap:
    def __init__(self, space, build, directory, maps=None, **settings):
        maps = maps or [(f"btree:{FILE}", {"capacity": 16})]
        self.path = space.path(maps[0][0].partition(":")[2])
        self.dracd = _InSpace(
            build, directory, prefix=space.attached(), maps=maps, **settings)
        self.dracd.space = space
        self.dracd.root = str(space.path("/"))
        self._fillers = 0
        self.port = self.dracd.port
        self.dracd.start()

    def add(self, address, lifetime=None):
        with self.dracd.client("udp") as client:
            if lifetime is not None:
                status, _ = client.add3(address, lifetime)
            elif ":" in address:
                status = client.add2(address)
            else:
                status = client.add1(address)
        assert status == rpcraw.ADD_SUCCESS

    def remove(self, address):
        with self.dracd.client("unix") as client:
            assert client.remove(address) == rpcraw.OK

    def grow(self):
        """New entries until the file has grown: it does so in large steps."""
        size = self.path.stat().st_size
        with self.dracd.client("unix") as client:
            for _ in range(GROW_MAX):
                self._fillers += 1
                address = ipaddress.IPv6Address(FILLER + self._fillers)
                assert client.add2(str(address)) == rpcraw.ADD_SUCCESS
                if self.path.stat().st_size > size:
                    return
        raise AssertionError(f"no growth in {GROW_MAX} entries")

    def rebuild(self):
        """The daemon dies, its map is damaged, and the next one mends it."""
        inode = self.path.stat().st_ino
        self.dracd.kill9()
        # A second file, so that a running reader keeps a whole one.
        broken = self.path.with_suffix(".broken")
        broken.write_bytes(self.path.read_bytes()[:4096] + b"\xff" * 8192)
        os.rename(broken, self.path)
        self.dracd.start()
        assert self.path.stat().st_ino != inode

    def close(self):
        self.dracd.finish()

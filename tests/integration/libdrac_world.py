"""
libdrac_world: a private network and mount namespace for the tests of libdrac:
its own /run, rpcbind and names; a host that swallows packets; nothing in it
reaches the machine's own network.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEER = HERE / "libdrac_peer.py"
SERVERS = ROOT / "build" / "servers"
LOCAL_SOCKET = "/run/dracd/rpc.sock"
DEAD = "192.0.2.66"         # answers nothing, refuses nothing
UNROUTED = "203.0.113.9"
START_S = 20

SETUP = """
set -e
mount -t tmpfs -o mode=755 run /run
mkdir /run/dracd /run/etc
ip link set lo up
ip addr add 192.0.2.1/32 dev lo
ip route add %(dead)s/32 dev lo
sed '/^_rpc:/d' /etc/passwd >/run/etc/passwd
echo '_rpc:x:64999:65534::/run/rpcbind:/usr/sbin/nologin' >>/run/etc/passwd
echo 'hosts: files dns' >/run/etc/nsswitch.conf
cat >/run/etc/hosts <<HOSTS
127.0.0.1 live.test
%(dead)s dead.test
%(dead)s two.test
127.0.0.1 two.test
HOSTS
echo 'nameserver 127.0.0.1' >/run/etc/resolv.conf
for file in passwd nsswitch.conf hosts resolv.conf; do
	mount --bind /run/etc/$file /etc/$file
done
echo ready
exec cat
""" % {"dead": DEAD}


def expect_ready(process, what):
    line = process.stdout.readline()
    assert line == "ready\n", "%s: %r, exit status %s" % (
        what, line, process.poll())


class World:
    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private",
             "sh", "-c", SETUP],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.started = []
        self.rpcbind_process = None
        expect_ready(self.holder, "namespace")

    def inside(self, command):
        return ["nsenter", "--target", str(self.holder.pid), "--mount",
                "--net", "--"] + [str(word) for word in command]

    def close(self):
        self.stop_all()
        self.holder.stdin.close()
        self.holder.wait(START_S)
        self.holder.stdout.close()

    # ---- processes inside

    def start(self, command, **options):
        process = subprocess.Popen(self.inside(command), text=True,
                                   stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, **options)
        self.started.append(process)
        return process

    def stop(self, process):
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        self.started.remove(process)

    def stop_all(self):
        self.stop_but(None)

    def stop_but(self, survivor):
        for process in list(self.started):
            if process is not survivor:
                self.stop(process)
        self.rpcbind_process = None
        # Sockets of the dead: a new one cannot be bound over them.
        subprocess.run(self.inside(["sh", "-c", "rm -f /run/*.sock "
                                    "/run/rpcbind.lock /run/dracd/*"]),
                       check=True)

    def peer(self, behaviour, *endpoints, quiet=False):
        """quiet: for more calls than a pipe has room to tell of."""
        env = dict(os.environ, **({"QUIET": "1"} if quiet else {}))
        process = self.start([sys.executable, PEER, behaviour, *endpoints],
                             env=env)
        expect_ready(process, "%s %s" % (behaviour, endpoints))
        return process

    def calls_seen(self, peer):
        """What a peer has printed since ready; ends it."""
        peer.stdin.close()
        peer.wait(START_S)
        lines = peer.stdout.read().splitlines()
        peer.stdout.close()
        self.started.remove(peer)
        return lines

    def rpcbind(self):
        """The real one; ready when it answers a null call."""
        process = self.start([SERVERS / "base/root/usr/sbin/rpcbind", "-f"])
        self.rpcbind_process = process
        probe = ("import socket; s = socket.socket(2, 2); s.settimeout(1); "
                 "s.connect(('127.0.0.1', 111)); s.send(bytes.fromhex("
                 "'00000009 00000000 00000002 000186a0 00000002' + 20*'00')); "
                 "s.recv(99)")
        deadline = time.monotonic() + START_S
        while subprocess.run(self.inside([sys.executable, "-c", probe]),
                             stderr=subprocess.DEVNULL).returncode != 0:
            assert process.poll() is None, "rpcbind has ended"
            assert time.monotonic() < deadline, "rpcbind does not answer"
        return process

    def freeze(self, process):
        """Stopped, and seen to be."""
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    def nameserver(self, address):
        """Asked once, given up after 3 s: longer than a call may take."""
        # In place: it is the file that is mounted over /etc/resolv.conf.
        subprocess.run(
            self.inside(["sh", "-c", "printf 'nameserver %s\\noptions "
                         "timeout:3 attempts:1\\n' >/etc/resolv.conf" %
                         address]), check=True)

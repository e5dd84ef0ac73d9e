"""
daemon: a dracd under test. Dracd writes a configuration into a directory of
its own, runs `BUILD/dracd -f -c` on it, talks to it, kills it, and reads its
map as an MTA would: under a shared flock, from outside.
"""

import contextlib
import fcntl
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import time

import lmdb_map
import rpcraw

START_S = 10.0          # a sanitized daemon on a busy machine
STOP_S = 5.0
POLL_S = 0.005
SANITIZER = re.compile(r"(ERROR|WARNING): \w+Sanitizer|: runtime error: ")
# Below the ephemeral ports, so that no client socket has it by chance.
PORTS = range(20000, 32000)


def wait_for(condition, timeout, what):
    """The first true value of condition(); AssertionError after timeout."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "%s: not within %g s" % (
            what, timeout)
        time.sleep(POLL_S)


@contextlib.contextmanager
def hanging(process):
    """It is there, and does nothing."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def free_port():
    """A port that no IPv4 or IPv6 loopback socket, UDP or TCP, holds."""
    while True:
        port = random.choice(PORTS)
        held = []
        try:
            for family, host in ((socket.AF_INET, "127.0.0.1"),
                                 (socket.AF_INET6, "::1")):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    held.append(socket.socket(family, kind))
                    held[-1].bind((host, port))
            return port
        except OSError:
            continue
        finally:
            for sock in held:
                sock.close()


def config_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "{%s}" % ", ".join(config_value(v) for v in value)
    return '"%s"' % value


def unescape(line):
    """A line of `db_dump -p`: one blank, then text with \\xx."""
    return re.sub(rb"\\([0-9a-f]{2}|\\)",
                  lambda m: b"\\" if m[1] == b"\\" else bytes.fromhex(
                      m[1].decode()), line[1:])


def read_map(path, scratch):
    """
    {key: value} in bytes. The file is copied under the lock that readers
    take, verified, and dumped from the copy.
    """
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with open(scratch, "wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
    verify = subprocess.run(["db5.3_verify", "-q", scratch],
                            capture_output=True)
    assert verify.returncode == 0, "%s: db5.3_verify: %s" % (
        path, verify.stderr.decode())
    dump = subprocess.run(["db5.3_dump", "-p", scratch], capture_output=True,
                          check=True).stdout
    lines = dump[dump.index(b"HEADER=END\n") + 11:].split(b"\n")
    data = lines[:lines.index(b"DATA=END")]
    if b"\\" in dump:
        data = [unescape(line) for line in data]
    else:
        data = [line[1:] for line in data]
    return dict(zip(data[::2], data[1::2]))


LSAN_SUPPRESSIONS = pathlib.Path(__file__).parent / "lsan.supp"


class Dracd:
    """
    settings: names of dracd.conf(5) with `_` for `-`; maps: a list of
    (definition, {setting: value}). prefix: a command to run the daemon
    under; env: more environment; root: where its / is seen from here.
    Nothing runs before start().
    """

    root = ""

    def __init__(self, build, directory, maps=None, prefix=(), env=None,
                 **settings):
        self.build = pathlib.Path(build).resolve()
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(exist_ok=True)
        self.dir.chmod(0o755)
        self.port = free_port()
        self.unix = str(self.dir / "rpc.sock")
        self.lookup = str(self.dir / "map.sock")    # where `lookup` has it
        self.conf = self.dir / "dracd.conf"
        self.allow = self.dir / "dracd.allow"
        self.stderr_path = self.dir / "stderr"
        self.prefix, self.env, self.args = list(prefix), env or {}, []
        self.maps = maps or [("btree:%s" % (self.dir / "dracd.db"),
                              {"capacity": 1024})]
        self.settings = {
            "listen": ["udp:127.0.0.1:%d" % self.port,
                       "tcp:127.0.0.1:%d" % self.port,
                       "udp:[::1]:%d" % self.port,
                       "tcp:[::1]:%d" % self.port,
                       "unix:%s" % self.unix],
            "lookup": [],       # the default is one for the whole host
            "journal": self.dir / "journal",
            "allow_file": self.allow,
            "hosts_access": False,
            "rpcbind": False,
            "user": "",
        }
        self.settings.update(settings)
        self.process = None
        self.ended = True       # because we wanted it to

    # ---- running it

    def write_config(self):
        lines = ["%s = %s" % (name.replace("_", "-"), config_value(value))
                 for name, value in self.settings.items()
                 if value is not None]
        for definition, options in self.maps:
            lines.append('map "%s" {' % definition)
            lines += ["\t%s = %s" % (name, config_value(value))
                      for name, value in options.items()]
            lines.append("}")
        self.conf.write_text("\n".join(lines) + "\n")

    def environment(self):
        env = dict(os.environ, **self.env)
        env.setdefault("ASAN_OPTIONS", "verify_asan_link_order=0")
        # Berkeley DB forgets memory when it verifies a file of garbage.
        env.setdefault("LSAN_OPTIONS", "print_suppressions=0:suppressions=" +
                       str(LSAN_SUPPRESSIONS))
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        return env

    def command(self, *args):
        return self.prefix + [str(self.build / "dracd"), "-f",
                              "-c", str(self.conf), *args]

    def run(self, *args):
        """Runs it to its end, as for -t: the CompletedProcess."""
        self.write_config()
        done = subprocess.run(self.command(*args), env=self.environment(),
                              capture_output=True, text=True,
                              timeout=START_S)
        assert not SANITIZER.search(done.stderr), done.stderr
        return done

    def launch(self, *args):
        """Starts it and does not wait for anything."""
        assert not self.alive()
        self.write_config()
        with open(self.stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(
                self.command(*(args or self.args)), stderr=stderr,
                stdin=subprocess.DEVNULL, env=self.environment())
        self.ended = False
        return self

    def start(self, *args):
        """Starts it and waits until it answers a null call."""
        self.launch(*args)
        wait_for(self.settled, START_S, "answer from %s" % self.build)
        assert self.alive(), "dracd exit status %s:\n%s" % (
            self.process.returncode, self.stderr)
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def answers(self):
        try:
            with self.client("unix", timeout=1.0) as client:
                client.null()
                return True
        except (OSError, rpcraw.Closed, rpcraw.NoAnswer):
            return False

    def settled(self):
        """Whether it answers or has ended: the end of a doubtful start."""
        return not self.alive() or self.answers()

    def stop(self):
        """SIGTERM, which must end it with status 0; seconds it took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError("ignored SIGTERM for %g s" % STOP_S) from None
        self.ended = True
        assert status == 0, "exit status %d:\n%s" % (status, self.stderr)
        return time.monotonic() - begin

    def kill9(self):
        self.process.kill()
        self.process.wait()
        self.ended = True

    def reload(self):
        """SIGHUP, and what it says when it has reloaded."""
        before = self.stderr.count("reload: ")
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.stderr.count("reload: ") > before, STOP_S,
                 "reload")

    # ---- looking at it

    @property
    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    @property
    def map_path(self):
        return self.maps[0][0].partition(":")[2]

    def map(self, index=0):
        kind, _, path = self.maps[index][0].partition(":")
        if kind == "lmdb":
            return lmdb_map.read(self.root + path)
        return read_map(self.root + path, str(self.dir / "map.copy"))

    def client(self, transport="udp", source=None, host="127.0.0.1",
               timeout=2.0):
        if transport == "unix":
            carrier = rpcraw.Stream(self.unix, timeout=timeout)
        elif transport == "tcp":
            carrier = rpcraw.Stream((host, self.port), source, timeout)
        else:
            carrier = rpcraw.Udp((host, self.port), source, timeout)
        return rpcraw.Client(carrier)

    def finish(self):
        """What every test ends with: it stops, and was never ill."""
        if self.process is None:
            return
        try:
            if self.alive():
                self.stop()
        finally:
            if self.alive():
                self.kill9()
        assert self.ended or self.process.returncode == 0, \
            "died by itself: %d\n%s" % (self.process.returncode, self.stderr)
        assert not SANITIZER.search(self.stderr), self.stderr

"""A place for real servers: namespaces, processes, their log.

A Space holds private mount, network and PID namespaces with the servers of
some sets (tests/servers/sets) in /usr; tests/servers/space says what else is
its own. Everything started
in it dies with it, and it dies with this process, whatever becomes of us. This
module knows no server in particular; sendmail.py and dovecot.py do.

    with Space() as space:
        server = space.start(["/usr/sbin/rpcbind", "-f", "-w"],
                             ready=space.answers("127.0.0.1", 111))
        with space.network():
            ...sockets that are made here belong to the space...
"""

import contextlib
import ctypes
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILDS = [TOP / b for b in os.environ.get("DRACD_BUILD", "build").split(":")]
SERVERS = TOP / "build" / "servers"
CLONE_NEWNET = 0x40000000
READY_TIMEOUT_S = 20
POLL_S = 0.02

_libc = ctypes.CDLL(None, use_errno=True)


def wait_until(condition, what, timeout_s=READY_TIMEOUT_S):
    """Returns the first true value of condition(); AssertionError after that."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout_s} s: {what}"
        time.sleep(POLL_S)


def fetch(*sets):
    """Sees to it that the sets are in build/servers (needs the network once)."""
    done = subprocess.run([TOP / "tests/servers/fetch", "-d", SERVERS, *sets],
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


def tool(name):
    """A program of tests/tools: one of the plain build will do for all."""
    return TOP / os.environ.get("DRACD_TOOLS", BUILDS[0]) / "tools" / name


class Space:
    """Not for several threads at once, but for Log, which is its own."""

    def __init__(self, *sets):
        """The sets of servers in it; the first wins. Default: base."""
        sets = sets or ("base",)
        fetch(*sets)
        self._keeper = subprocess.Popen(
            [TOP / "tests/servers/space", "-d", SERVERS,
             *(word for name in sets for word in ("-s", name))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._keeper.stdout.readline() != "ready\n":
            self._keeper.wait()
            raise RuntimeError("tests/servers/space failed, see above")
        tasks = f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children"
        self.pid = int(pathlib.Path(tasks).read_text().split()[0])
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._net = os.open(f"/proc/{self.pid}/ns/net",
                            os.O_RDONLY | os.O_CLOEXEC)
        self.log = Log(self.path("/dev/log"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._keeper.kill()
        self._keeper.wait()
        self._keeper.stdin.close()
        self._keeper.stdout.close()
        self.log.close()
        os.close(self._home)
        os.close(self._net)

    def path(self, inside):
        """Where a path of the space is found from here."""
        return pathlib.Path(f"/proc/{self.pid}/root{inside}")

    def command(self, argv):
        """The argv that runs argv in the space, in the top directory."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-u", "-p",
                f"--wd={TOP}", "--", *map(str, argv)]

    def attached(self):
        """
        A prefix for a command that is to be this process's own child, with
        its signals and its PID, but in the mounts and the network of the
        space. It dies with this process; end it before the space.
        """
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-u",
                f"--wd={TOP}", "--",
                # /proc has to know it, for LeakSanitizer among others.
                "unshare", "--mount-proc", "--",
                "setpriv", "--pdeathsig", "KILL", "--"]

    def run(self, argv, check=True, timeout=60, **kwargs):
        """subprocess.run() in the space; output as text, with stderr in it."""
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.STDOUT)
        done = subprocess.run(self.command(argv), text=True, check=False,
                              timeout=timeout, **kwargs)
        if check and done.returncode != 0:
            raise RuntimeError(f"{argv}: exit {done.returncode}\n{done.stdout}")
        return done

    def start(self, argv, ready, name=None, **kwargs):
        """Starts a server in the foreground; returns it when ready() is true."""
        server = Server(name or pathlib.Path(argv[0]).name,
                        subprocess.Popen(
                            self.command(argv), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            **kwargs))
        try:
            wait_until(lambda: server.check() and ready(), f"{name} is ready")
        except Exception:
            server.stop()
            print(f"--- {server.name}:\n{server.output()}"
                  f"--- log:\n" + "\n".join(self.log.lines))
            raise
        return server

    @contextlib.contextmanager
    def network(self):
        """Sockets this thread makes inside belong to the space's network."""
        self._setns(self._net)
        try:
            yield
        finally:
            self._setns(self._home)

    @staticmethod
    def _setns(fd):
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def answers(self, address, port):
        """A condition for start(): a TCP connection is accepted."""
        def probe():
            with self.network(), contextlib.suppress(OSError):
                socket.create_connection((address, port), 1).close()
                return True
            return False
        return probe


class Server:
    """One process of a space, and what it has written so far."""

    def __init__(self, name, process):
        self.name = name
        self.process = process
        self._output = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._output.append(line.decode(errors="replace"))

    def output(self):
        return "".join(self._output)

    def check(self):
        status = self.process.poll()
        if status is not None:
            raise RuntimeError(f"{self.name} ended: {status}\n{self.output()}")
        return True

    @property
    def pid(self):
        """Of the server itself: nsenter has forked to enter the PIDs."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return int(pathlib.Path(path).read_text().split()[0])

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)
        if number == signal.SIGCONT:    # nsenter stops with its child
            self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout=10):
        """Ends it, by force if it must; returns the exit status."""
        with contextlib.suppress(OSError, IndexError):
            self.kill(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError, IndexError):
                self.kill()
            return self.process.wait(timeout)
        finally:
            self._reader.join(timeout)
            self.process.stdout.close()


class Log:
    """What the servers of a space send to syslog, line by line."""

    def __init__(self, path):
        self.lines = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o666)
        self._end = os.eventfd(0)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while self._socket in select.select([self._socket, self._end],
                                            [], [])[0]:
            self.lines.append(
                self._socket.recv(65536).decode(errors="replace"))

    def find(self, pattern, start=0):
        """The lines from number start on in which pattern is found."""
        return [l for l in self.lines[start:] if re.search(pattern, l)]

    def wait(self, pattern, start=0, count=1):
        """The same, when there are so many: they come a moment later."""
        return wait_until(
            lambda: len(found := self.find(pattern, start)) >= count and found,
            f"{count} lines: {pattern}")

    def close(self):
        os.eventfd_write(self._end, 1)
        self._reader.join()
        self._socket.close()
        os.close(self._end)

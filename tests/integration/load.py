"""
load: runs the load generators of tests/tools and reads their JSON; and threads
that do something all the while.
"""

import contextlib
import json
import subprocess
import threading

ADDRESS_BASE = 0x40000000
ADDRESS_MASK = 0x7ffffff
SCRAMBLE = 2654435761


def address(number):
    """dracload's address of that number, as 4 bytes."""
    return (ADDRESS_BASE + (number * SCRAMBLE & ADDRESS_MASK)).to_bytes(
        4, "big")


def text(number):
    """The same as a dotted quad."""
    return "%d.%d.%d.%d" % tuple(address(number))


def acked(result, base=0):
    """Numbers of the addresses that a dracload run had acknowledged."""
    clients = result["clients"]
    return {base + k * clients + c
            for c, count in enumerate(result["acked"]) for k in range(count)}


def server(daemon, transport):
    return daemon.unix if transport == "unix" else \
        "127.0.0.1:%d" % daemon.port


def command(tool, daemon, operation, transport="udp", **options):
    """options: the letters of dracload; x=True for one without a value."""
    line = [tool("dracload"), "-t", transport]
    for letter, value in options.items():
        line += ["-" + letter] + ([] if value is True else [str(value)])
    return line + [operation, server(daemon, transport)]


def parse(out):
    return json.loads(out)


class Running:
    """A generator in the background; result() waits for its JSON."""

    def __init__(self, line):
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def result(self, timeout=60):
        out, errors = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, errors
        return parse(out)


@contextlib.contextmanager
def running(line):
    generator = Running(line)
    try:
        yield generator
    finally:
        generator.process.kill()
        generator.process.communicate()


def run(*args, **options):
    with running(command(*args, **options)) as generator:
        return generator.result()


class Beside(threading.Thread):
    """Runs beside a `with` block, until `over` is set at its end."""

    def __init__(self):
        super().__init__()
        self.over = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.join()

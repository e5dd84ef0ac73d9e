"""
peer: dracd and another server of version 1 side by side, in one run. The peer
keeps what it is told, and needs its TCP at the same port; where it has none,
those rows are left out.
"""

import os
import random
import socket

from bed import (FEW_REPS, REPS, Numbers, Peer, Refreshable, daemon, once,
                 one_round, pick, places, say)
import table

PEER = os.environ.get("PEER")
ONCE_S = pick(0.5, 0.05)


def has_tcp(server):
    host, _, port = server.address.partition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
        return True
    except OSError as error:
        say("rows of TCP are left out: %s: %s", server.address, error)
        return False


def peer(_):
    """Addresses from anywhere: it may remember those of the last run."""
    numbers = Numbers(random.randrange(1 << 27))
    numbers.once(random.randrange(1 << 20))
    other = Peer(PEER)
    say("\n%s side by side with dracd, addresses from number %d, %d",
        other.address, numbers.next, numbers.next_once)
    rows = [(t, c) for t in ("udp", "tcp") for c in (1, 4)
            if t == "udp" or has_tcp(other)]
    rounds, shots = {}, {}
    with places() as found, daemon(
            found.get("disk") or found["tmpfs"]) as ours:
        ours.start()
        servers = (ours, other)
        standing = [Refreshable(server, numbers) for server in servers]
        for _ in range(REPS):
            for row in rows:
                for server, entries in zip(servers, standing):
                    *figures, _ = one_round(server, numbers, entries, *row)
                    rounds.setdefault((row, server), []).append(figures)
        for _ in range(FEW_REPS):
            for processes in 1, 4:
                for server in servers:
                    result = once(server, "udp", processes, ONCE_S, numbers)
                    shots.setdefault((processes, server), []).append(
                        result["rate"])
    for row in rows:
        for column, what in enumerate(("null call", "new address",
                                       "refresh")):
            table.peer("%s, %d %s client%s" % (
                what, row[1], row[0].upper(), "s" * (row[1] > 1)), *(
                    [r[column] for r in rounds[row, server]]
                    for server in servers))
    for processes in 1, 4:
        table.peer("one-shot dracauth(), UDP, %d process%s" % (
            processes, "es" * (processes > 1)), *(
                shots[processes, server] for server in servers))

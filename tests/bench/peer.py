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


def transports(server):
    host, _, port = server.address.partition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
        return "udp", "tcp"
    except OSError as error:
        say("rows of TCP are left out: %s: %s", server.address, error)
        return "udp",


def in_turn(servers, i):
    """Neither is always the first one."""
    return servers[::-1] if i % 2 else servers


def peer(_):
    """Addresses from anywhere: it may remember those of the last run."""
    numbers = Numbers(random.randrange(1 << 27))
    numbers.once(random.randrange(1 << 20))
    other = Peer(PEER)
    say("\n%s side by side with dracd, addresses from number %d, %d",
        other.address, numbers.next, numbers.next_once)
    rows = [(t, c) for t in transports(other) for c in (1, 4)]
    rounds, shots = {}, {}
    with places() as found, daemon(
            found.get("disk") or found["tmpfs"]) as ours:
        ours.start()
        servers = [ours, other]
        standing = {s: Refreshable(s, numbers) for s in servers}
        for i in range(REPS):
            for row in rows:
                for server in in_turn(servers, i):
                    *figures, _ = one_round(server, numbers,
                                            standing[server], *row)
                    rounds.setdefault((row, server), []).append(figures)
        for i in range(FEW_REPS):
            for processes in 1, 4:
                for server in in_turn(servers, i):
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

"""
ask: one version 1 add from wherever this runs, as a program of its own:

    ask.py udp|tcp HOST PORT ADDRESS      ask.py unix PATH 0 ADDRESS

or, with "list" in place of the address, a list. Prints the number of the
answer, "silent" or "closed".
"""

import sys

import rpcraw

TIMEOUT_S = 1.0


def ask(transport, place, port, address):
    if transport == "udp":
        carrier = rpcraw.Udp((place, port), timeout=TIMEOUT_S)
    else:
        carrier = rpcraw.Stream((place, port) if transport == "tcp" else place,
                                timeout=TIMEOUT_S)
    with rpcraw.Client(carrier) as client:
        return client.page()[0] if address == "list" else client.add1(address)


if __name__ == "__main__":
    try:
        print(ask(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    except rpcraw.NoAnswer:
        print("silent")
    except (rpcraw.Closed, ConnectionRefusedError, PermissionError):
        print("closed")

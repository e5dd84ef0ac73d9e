"""A real tcpserver in a Space (set qmail), on IPv4 and IPv6.

    tcpserver.start(space, 110, "/usr/sbin/popa3d")

runs the program for each client, which is its descriptors 0 and 1; its
environment says TCPREMOTEIP.
"""


def start(space, port, *program):
    return space.start(["/usr/bin/tcpserver", "-H", "-R", "-l", "relay.test",
                        "0", str(port), *program], name="tcpserver",
                       ready=space.answers("127.0.0.1", port))

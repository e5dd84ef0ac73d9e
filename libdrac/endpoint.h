/*
 * endpoint: a socket that is connected to a server, its port found out first
 * where that is needed.
 */
#ifndef LIBDRAC_ENDPOINT_H
#define LIBDRAC_ENDPOINT_H

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Where dracd listens when rpcbind is not there to be asked (UDP and TCP). */
enum { DRAC_PORT = 5901 };

struct drac_endpoint {
	int fd; /* non-blocking, close-on-exec */
	bool stream;
};

/*
 * address: AF_UNIX, AF_INET or AF_INET6; with port 0, rpcbind there is asked
 * for program 900101 in this version, for half of the time. When it does not
 * know, DRAC_PORT is tried, and taken when dracd answers. stream: TCP instead
 * of UDP. Returns false with *error filled; a failure of DRAC_PORT leaves
 * rpcbind's error there.
 */
bool drac_endpoint_open(struct drac_endpoint *endpoint,
			const struct sockaddr_storage *address, bool stream,
			uint32_t version, int64_t deadline_ns,
			struct rpc_err *error);
void drac_endpoint_close(struct drac_endpoint *endpoint);
/* AF_INET or AF_INET6. */
void drac_endpoint_set_port(struct sockaddr_storage *address, uint16_t port);

#endif

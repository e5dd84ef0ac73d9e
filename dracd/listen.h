/*
 * listen: the sockets callers and MTAs come to: made and bound by the
 * configuration, before rights are dropped. When it does not say where: the
 * local socket, and loopback, or every address if access_names_others().
 * Serving them is udp.c's and stream.c's.
 */
#ifndef DRACD_LISTEN_H
#define DRACD_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "access.h"
#include "config.h"

#define LISTEN_UNIX_DEFAULT "/run/dracd/rpc.sock"

struct bound {
	int fd; /* given away by the one who serves it: set to -1 */
	enum listen_transport transport;
	bool lookup; /* for socketmap, not for RPC */
	bool wildcard;
	struct sockaddr_storage address; /* UDP and TCP: as bound */
	char *path;                      /* unix; NULL: nothing to remove */
};

struct bounds {
	struct bound *bound;
	size_t count;
};

/*
 * Binds everything, or nothing: false after logging what and why. uid, gid:
 * who shall own unix sockets. The config must outlive the sockets.
 */
bool listen_open(const struct config *config, const struct access *access,
		 uid_t uid, gid_t gid, struct bounds *bounds);
/* Closes what was not given away, removes the unix sockets' names. */
void listen_close(struct bounds *bounds);

#endif

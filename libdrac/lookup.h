/*
 * lookup: from a host's name to its addresses, within a deadline.
 */
#ifndef LIBDRAC_LOOKUP_H
#define LIBDRAC_LOOKUP_H

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { DRAC_ADDRESSES_MAX = 8 };

struct drac_addresses {
	size_t count;
	struct sockaddr_storage address[DRAC_ADDRESSES_MAX]; /* port 0 */
};

/*
 * IPv4 addresses come first: the caller's IPv4 address is the one that stands
 * in the allow files of sites that ran DRAC. Returns false with *error filled.
 */
bool drac_lookup(const char *host, int64_t deadline_ns,
		 struct drac_addresses *found, struct rpc_err *error);

#endif

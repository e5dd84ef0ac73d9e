/*
 * origin: where a call came from and where its answer goes. A transport fills
 * it, everybody else only passes it on; every origin given out with a call
 * that is held must be answered exactly once, with origin->send().
 */
#ifndef DRACD_ORIGIN_H
#define DRACD_ORIGIN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "address.h"
#include "sign.h"

struct key;

enum { ORIGIN_CONTROL_MAX = 64 }; /* one IP_PKTINFO or IPV6_PKTINFO */

struct origin {
	/* reply: a whole RPC message without a record mark */
	void (*send)(const struct origin *origin, const void *reply,
		     size_t len);
	void *transport;
	size_t reply_max; /* bytes that fit */
	uint32_t xid;
	bool local;            /* by a unix socket */
	bool datagram;         /* UDP */
	bool allowed;          /* the verdict of access.h, to change entries */
	const char *denial;    /* why not */
	struct address caller; /* see caller.h */
	/* of a signed call; NULL: it was not */
	struct key *key;
	uint8_t nonce[DRAC_SIGN_NONCE];
	uint8_t reply_key[DRAC_SIGN_MAC];
	/* UDP */
	socklen_t peer_len;
	size_t control_len;
	struct sockaddr_in6 peer; /* or a sockaddr_in */
	_Alignas(struct cmsghdr) char control[ORIGIN_CONTROL_MAX];
};

#endif

/*
 * rpc: one ONC RPC message (RFC 5531) in, at most one out. It reads the
 * header, answers what the standard answers, and calls the service for the
 * rest. The bytes are libtirpc's business (xdr_callmsg, xdr_replymsg); where
 * they come from is a transport's.
 */
#ifndef DRACD_RPC_H
#define DRACD_RPC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "origin.h"

enum {
	RPC_CALL_MAX = 1024, /* bytes of a call that are looked at */
	RPC_REPLY_MAX = 16384,
	RPC_DATAGRAM_MAX = 1400, /* bytes of a reply that fit everywhere */
	RPC_CALL_MIN = 40,       /* of a call without arguments */
};

struct service;

/*
 * Handles a call of len bytes. Returns the length of the reply put into out
 * (room for RPC_REPLY_MAX); 0: none now, since it is held or deserves none;
 * -1: this is no call at all, and a connection it came by must be closed.
 * Sets origin->xid.
 */
ssize_t rpc_handle(struct service *service, const void *call, size_t len,
		   struct origin *origin, void *out);

/*
 * The header of a successful reply, for answers to held calls: its length,
 * which is another one for signed calls. rpc_reply_end() signs when the
 * results, up to len, are there.
 */
enum { RPC_REPLY_HEADER_MAX = 24 + DRAC_SIGN_MAC };
size_t rpc_reply_begin(uint8_t out[RPC_REPLY_HEADER_MAX],
		       const struct origin *origin);
void rpc_reply_end(const struct origin *origin, uint8_t *reply, size_t len);

#endif

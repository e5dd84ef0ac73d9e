/*
 * proof: signed calls (libdrac/sign.h): whether one is what it says, whether
 * it has come before, and the signature of its answer. Whether the key may
 * call from there is access.h's.
 */
#ifndef DRACD_PROOF_H
#define DRACD_PROOF_H

#include <rpc/rpc.h>
#include <stddef.h>
#include <stdint.h>

#include "origin.h"
#include "seen.h"

struct service;

/* A call of len bytes whose arguments begin at arguments_at. */
struct proof_call {
	const struct rpc_msg *message;
	const void *data;
	size_t len;
	size_t arguments_at;
};

/*
 * AUTH_OK: *origin says who has signed it, and *seen is SEEN_NEW, SEEN_READ,
 * SEEN_HELD or, with *reply and *reply_len, SEEN_ANSWERED. Otherwise what
 * RFC 5531 calls the fault: counted, and logged now and then.
 */
enum auth_stat proof_check(struct service *service,
			   const struct proof_call *call, struct origin *origin,
			   enum seen_verdict *seen, const void **reply,
			   size_t *reply_len);

/* Signs an accepted reply in place, if its call was signed. */
void proof_sign(const struct origin *origin, void *reply, size_t len);

/* The call of this origin waits; and it is answered, by a signed reply. */
void proof_held(const struct origin *origin);
void proof_answered(const struct origin *origin, const void *reply, size_t len);

#endif

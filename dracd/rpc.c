/*
 * rpc: see rpc.h. No state; the XDR streams it makes end exactly where the
 * message ends, so nothing behind it can be decoded.
 */
#include "rpc.h"

#include <string.h>

#include "drac_prot.h"
#include "proof.h"
#include "service.h"

enum {
	VERSION_LOW = DRACVERS,
	VERSION_HIGH = DRACVERS3,
	/* Bytes of the longest error: a version mismatch, signed. */
	ERROR_MAX = 32 + DRAC_SIGN_MAC,
};

size_t rpc_reply_begin(uint8_t out[RPC_REPLY_HEADER_MAX],
		       const struct origin *origin)
{
	/* xid, REPLY, MSG_ACCEPTED, the verifier's flavor and length */
	uint32_t words[] = {htonl(origin->xid), htonl(REPLY), 0, 0, 0};
	size_t len = sizeof(words);
	if (origin->key != NULL) {
		words[3] = htonl(DRAC_SIGN_FLAVOR);
		words[4] = htonl(DRAC_SIGN_MAC);
		memset(out + len, 0, DRAC_SIGN_MAC);
		len += DRAC_SIGN_MAC;
	}
	memcpy(out, words, sizeof(words));
	memset(out + len, 0, sizeof(uint32_t)); /* SUCCESS */
	return len + sizeof(uint32_t);
}

void rpc_reply_end(const struct origin *origin, uint8_t *reply, size_t len)
{
	proof_sign(origin, reply, len);
}

static ssize_t encode(struct rpc_msg *reply, void *out)
{
	XDR xdr;
	xdrmem_create(&xdr, out, ERROR_MAX, XDR_ENCODE);
	return xdr_replymsg(&xdr, reply) ? (ssize_t)xdr_getpos(&xdr) : 0;
}

static ssize_t reject_auth(uint32_t xid, enum auth_stat why, void *out)
{
	struct rpc_msg reply = {.rm_xid = xid, .rm_direction = REPLY};
	reply.rm_reply.rp_stat = MSG_DENIED;
	reply.rjcted_rply.rj_stat = AUTH_ERROR;
	reply.rjcted_rply.rj_why = why;
	return encode(&reply, out);
}

static ssize_t accept_error(const struct origin *origin, enum accept_stat stat,
			    void *out)
{
	static const uint8_t no_mac[DRAC_SIGN_MAC];
	struct rpc_msg reply = {.rm_xid = origin->xid, .rm_direction = REPLY};
	reply.rm_reply.rp_stat = MSG_ACCEPTED;
	reply.acpted_rply.ar_verf = _null_auth;
	if (origin->key != NULL)
		reply.acpted_rply.ar_verf = (struct opaque_auth){
		    .oa_flavor = DRAC_SIGN_FLAVOR,
		    .oa_base = (char *)(uintptr_t)no_mac,
		    .oa_length = DRAC_SIGN_MAC,
		};
	reply.acpted_rply.ar_stat = stat;
	reply.acpted_rply.ar_vers.low = VERSION_LOW;
	reply.acpted_rply.ar_vers.high = VERSION_HIGH;
	ssize_t len = encode(&reply, out);
	if (len > 0)
		rpc_reply_end(origin, out, (size_t)len);
	return len;
}

/* AUTH_SYS says nothing that is believed, but it must be well formed. */
static enum auth_stat check_auth(struct opaque_auth *cred)
{
	if (cred->oa_flavor == AUTH_NONE)
		return AUTH_OK;
	if (cred->oa_flavor != AUTH_SYS)
		return AUTH_REJECTEDCRED;
	char machine[MAX_MACHINE_NAME + 1];
	gid_t gids[NGRPS];
	struct authunix_parms parms = {.aup_machname = machine,
				       .aup_gids = gids};
	XDR xdr;
	xdrmem_create(&xdr, cred->oa_base, cred->oa_length, XDR_DECODE);
	return xdr_authunix_parms(&xdr, &parms) &&
		       xdr_getpos(&xdr) == cred->oa_length
		   ? AUTH_OK
		   : AUTH_BADCRED;
}

static ssize_t call_service(struct service *service, XDR *in,
			    const struct rpc_msg *call, struct origin *origin,
			    void *out)
{
	XDR results;
	size_t len = rpc_reply_begin(out, origin);
	xdrmem_create(&results, (char *)out + len,
		      (u_int)(origin->reply_max - len), XDR_ENCODE);
	switch (service_call(service, (uint32_t)call->rm_call.cb_vers,
			     (uint32_t)call->rm_call.cb_proc, in, &results,
			     origin)) {
	case SERVICE_REPLIED:
		len += xdr_getpos(&results);
		rpc_reply_end(origin, out, len);
		return (ssize_t)len;
	case SERVICE_HELD:
		proof_held(origin);
		return 0;
	case SERVICE_NO_VERSION:
		return accept_error(origin, PROG_MISMATCH, out);
	case SERVICE_NO_PROCEDURE:
		return accept_error(origin, PROC_UNAVAIL, out);
	case SERVICE_BAD_ARGUMENTS:
		return accept_error(origin, GARBAGE_ARGS, out);
	case SERVICE_FAILED:
		break;
	}
	return accept_error(origin, SYSTEM_ERR, out);
}

/* A signed one. *done: this is the end of it, with a reply of that length. */
static ssize_t check_proof(struct service *service,
			   const struct proof_call *call, struct origin *origin,
			   void *out, bool *done)
{
	const void *reply = NULL;
	size_t reply_len = 0;
	enum seen_verdict seen;
	enum auth_stat auth =
	    proof_check(service, call, origin, &seen, &reply, &reply_len);
	*done = true;
	if (auth != AUTH_OK)
		return reject_auth(origin->xid, auth, out);
	if (seen == SEEN_HELD)
		return 0; /* it will be answered once */
	if (seen == SEEN_ANSWERED) {
		memcpy(out, reply, reply_len);
		return (ssize_t)reply_len;
	}
	access_signed(service->access, origin);
	*done = false;
	return 0;
}

ssize_t rpc_handle(struct service *service, const void *call, size_t len,
		   struct origin *origin, void *out)
{
	char cred[MAX_AUTH_BYTES], verf[MAX_AUTH_BYTES];
	struct rpc_msg message = {0};
	message.rm_call.cb_cred.oa_base = cred;
	message.rm_call.cb_verf.oa_base = verf;
	XDR in;
	/* XDR streams are not const; a decoding one does not write. */
	xdrmem_create(&in, (char *)(uintptr_t)call, (u_int)len, XDR_DECODE);
	if (!xdr_callmsg(&in, &message))
		return -1;
	origin->xid = (uint32_t)message.rm_xid;
	origin->key = NULL;
	if (message.rm_call.cb_cred.oa_flavor == DRAC_SIGN_FLAVOR) {
		struct proof_call proof = {&message, call, len,
					   xdr_getpos(&in)};
		bool done;
		ssize_t reply =
		    check_proof(service, &proof, origin, out, &done);
		if (done)
			return reply;
	} else {
		enum auth_stat auth = check_auth(&message.rm_call.cb_cred);
		if (auth != AUTH_OK)
			return reject_auth(origin->xid, auth, out);
	}
	if (message.rm_call.cb_prog != DRACPROG)
		return accept_error(origin, PROG_UNAVAIL, out);
	return call_service(service, &in, &message, origin, out);
}

/*
 * rpc: see rpc.h. No state; the XDR streams it makes end exactly where the
 * message ends, so nothing behind it can be decoded.
 */
#include "rpc.h"

#include <string.h>

#include "drac_prot.h"
#include "service.h"

enum {
	VERSION_LOW = DRACVERS,
	VERSION_HIGH = DRACVERS3,
	ERROR_MAX = 32, /* bytes of the longest error: a version mismatch */
};

void rpc_reply_header(uint8_t out[RPC_REPLY_HEADER], uint32_t xid)
{
	/* xid, REPLY, MSG_ACCEPTED, AUTH_NONE, length 0, SUCCESS */
	const uint32_t words[] = {htonl(xid), htonl(REPLY), 0, 0, 0, 0};
	memcpy(out, words, RPC_REPLY_HEADER);
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

static ssize_t accept_error(uint32_t xid, enum accept_stat stat, void *out)
{
	struct rpc_msg reply = {.rm_xid = xid, .rm_direction = REPLY};
	reply.rm_reply.rp_stat = MSG_ACCEPTED;
	reply.acpted_rply.ar_verf = _null_auth;
	reply.acpted_rply.ar_stat = stat;
	reply.acpted_rply.ar_vers.low = VERSION_LOW;
	reply.acpted_rply.ar_vers.high = VERSION_HIGH;
	return encode(&reply, out);
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
	xdrmem_create(&results, (char *)out + RPC_REPLY_HEADER,
		      (u_int)(origin->reply_max - RPC_REPLY_HEADER),
		      XDR_ENCODE);
	switch (service_call(service, (uint32_t)call->rm_call.cb_vers,
			     (uint32_t)call->rm_call.cb_proc, in, &results,
			     origin)) {
	case SERVICE_REPLIED:
		rpc_reply_header(out, origin->xid);
		return RPC_REPLY_HEADER + (ssize_t)xdr_getpos(&results);
	case SERVICE_HELD:
		return 0;
	case SERVICE_NO_VERSION:
		return accept_error(origin->xid, PROG_MISMATCH, out);
	case SERVICE_NO_PROCEDURE:
		return accept_error(origin->xid, PROC_UNAVAIL, out);
	case SERVICE_BAD_ARGUMENTS:
		return accept_error(origin->xid, GARBAGE_ARGS, out);
	case SERVICE_FAILED:
		break;
	}
	return accept_error(origin->xid, SYSTEM_ERR, out);
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
	enum auth_stat auth = check_auth(&message.rm_call.cb_cred);
	if (auth != AUTH_OK)
		return reject_auth(origin->xid, auth, out);
	if (message.rm_call.cb_prog != DRACPROG)
		return accept_error(origin->xid, PROG_UNAVAIL, out);
	return call_service(service, &in, &message, origin, out);
}

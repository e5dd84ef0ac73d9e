/*
 * service: see service.h. Strings and addresses from outside are checked here
 * and nowhere else.
 */
#include "service.h"

#include <stdlib.h>
#include <string.h>

#include "drac_prot.h"
#include "proof.h"
#include "reading.h"
#include "text.h"

/* What classic callers hear; the numbers of version 3 are the same. */
static addstat classic_status(enum outcome outcome)
{
	return outcome == OUTCOME_OK ? ADD_SUCCESS : ADD_SYSERR;
}

/* ---- who may, and whom ------------------------------------------------- */

void service_deny_caller(struct service *service, const struct origin *origin,
			 const char *reason)
{
	service->stats->denied++;
	audit_deny(service->audit, &origin->caller, NULL, reason);
}

/* False: may not change anything, and has been counted. */
static bool may_write(struct service *service, const struct origin *origin)
{
	if (!origin->allowed)
		service_deny_caller(service, origin, origin->denial);
	return origin->allowed;
}

static bool deny_address(struct service *service, const struct origin *origin,
			 const struct address *address)
{
	if (config_may_relay(service->config, address))
		return false;
	service->stats->denied++;
	audit_deny(service->audit, &origin->caller, address,
		   "may never be authorized");
	return true;
}

/* ---- versions 1 and 2 ---------------------------------------------------- */

static bool classic_address(uint32_t version, XDR *in, struct address *address)
{
	if (version == DRACVERS) {
		drac_add_parm parm;
		if (!xdr_drac_add_parm(in, &parm))
			return false;
		*address = address_from_v4((uint32_t)parm.ip_addr);
		return true;
	}
	drac_add_parm6 parm6;
	return xdr_drac_add_parm6(in, &parm6) &&
	       address_from_bytes(address, parm6.ip_addr6,
				  sizeof(parm6.ip_addr6));
}

static enum service_result classic_add(struct service *service,
				       uint32_t version, XDR *in, XDR *out,
				       struct origin *origin)
{
	struct request request = {
	    .kind = REQUEST_ADD,
	    .version = version,
	    .lifetime_s = service->config->lifetime_s,
	};
	addstat status = ADD_PERM;
	if (!may_write(service, origin))
		return xdr_addstat(out, &status) ? SERVICE_REPLIED
						 : SERVICE_FAILED;
	if (!classic_address(version, in, &request.address))
		return SERVICE_BAD_ARGUMENTS;
	if (deny_address(service, origin, &request.address))
		return xdr_addstat(out, &status) ? SERVICE_REPLIED
						 : SERVICE_FAILED;
	request.origin = *origin;
	turn_request(service->turn, &request, service->now_s);
	return SERVICE_HELD;
}

/* ---- version 3: changing --------------------------------------------------
 */

/* A string in a caller's buffer, with its length on the wire. */
static bool decode_string(XDR *in, char *buf, u_int max, size_t *len)
{
	u_int at = xdr_getpos(in), wire;
	if (!xdr_u_int(in, &wire) || !xdr_setpos(in, at))
		return false;
	*len = wire;
	return xdr_string(in, &buf, max);
}

bool service_address(XDR *in, uint8_t byte[16], u_int *len)
{
	char *into = (char *)byte;
	return xdr_bytes(in, &into, len, 16);
}

static enum service_result reply_status(XDR *out, drac3_status status)
{
	return xdr_drac3_status(out, &status) ? SERVICE_REPLIED
					      : SERVICE_FAILED;
}

static enum service_result reply_add(XDR *out, drac3_status status,
				     int64_t expiry_s)
{
	drac3_add_res res = {.status = status, .expiry = expiry_s};
	return xdr_drac3_add_res(out, &res) ? SERVICE_REPLIED : SERVICE_FAILED;
}

static enum service_result add(struct service *service, XDR *in, XDR *out,
			       struct origin *origin)
{
	struct request request = {.kind = REQUEST_ADD, .version = DRACVERS3};
	uint8_t byte[16];
	char user[DRAC3_USER_MAX + 1], name[DRAC3_SERVICE_MAX + 1];
	u_int len, lifetime;
	size_t user_len, name_len;
	if (!may_write(service, origin))
		return reply_add(out, DRAC3_PERM, 0);
	if (!service_address(in, byte, &len) || !xdr_u_int(in, &lifetime) ||
	    !decode_string(in, user, DRAC3_USER_MAX, &user_len) ||
	    !decode_string(in, name, DRAC3_SERVICE_MAX, &name_len))
		return SERVICE_BAD_ARGUMENTS;
	if (!address_from_bytes(&request.address, byte, len) ||
	    lifetime > CONFIG_LIFETIME_MAX_S ||
	    !text_is_clean(user, user_len) || !text_is_clean(name, name_len))
		return reply_add(out, DRAC3_INVALID, 0);
	if (deny_address(service, origin, &request.address))
		return reply_add(out, DRAC3_PERM, 0);
	if (!who_create(&request.who, user, user_len, name, name_len))
		return reply_add(out, DRAC3_SYSERR, 0);
	request.lifetime_s = lifetime ? lifetime : service->config->lifetime_s;
	request.origin = *origin;
	turn_request(service->turn, &request, service->now_s);
	return SERVICE_HELD;
}

static enum service_result remove_entry(struct service *service, XDR *in,
					XDR *out, struct origin *origin)
{
	struct request request = {.kind = REQUEST_REMOVE, .version = DRACVERS3};
	uint8_t byte[16];
	u_int len;
	if (!may_write(service, origin))
		return reply_status(out, DRAC3_PERM);
	if (!service_address(in, byte, &len))
		return SERVICE_BAD_ARGUMENTS;
	if (!address_from_bytes(&request.address, byte, len))
		return reply_status(out, DRAC3_INVALID);
	request.origin = *origin;
	turn_request(service->turn, &request, service->now_s);
	return SERVICE_HELD;
}

void service_answer(const struct request *request, enum outcome outcome,
		    int64_t expiry_s)
{
	uint8_t reply[RPC_REPLY_HEADER_MAX + 16];
	size_t len = rpc_reply_begin(reply, &request->origin);
	XDR out;
	static const drac3_status status3[] = {
	    [OUTCOME_OK] = DRAC3_OK,
	    [OUTCOME_SYSERR] = DRAC3_SYSERR,
	    [OUTCOME_NOTFOUND] = DRAC3_NOTFOUND,
	    [OUTCOME_PERM] = DRAC3_PERM,
	};
	xdrmem_create(&out, (char *)reply + len, (u_int)(sizeof(reply) - len),
		      XDR_ENCODE);
	if (request->version != DRACVERS3) {
		addstat status = classic_status(outcome);
		xdr_addstat(&out, &status);
	} else if (request->kind == REQUEST_ADD) {
		reply_add(&out, status3[outcome], expiry_s);
	} else {
		reply_status(&out, status3[outcome]);
	}
	len += xdr_getpos(&out);
	rpc_reply_end(&request->origin, reply, len);
	proof_answered(&request->origin, reply, len);
	request->origin.send(&request->origin, reply, len);
}

/* ---- dispatch --------------------------------------------------------------
 */

static enum service_result call_version3(struct service *service,
					 uint32_t procedure, XDR *in, XDR *out,
					 struct origin *origin)
{
	switch (procedure) {
	case DRAC3_ADD:
		return add(service, in, out, origin);
	case DRAC3_REMOVE:
		return remove_entry(service, in, out, origin);
	default:
		return reading_call(service, procedure, in, out, origin);
	}
}

enum service_result service_call(struct service *service, uint32_t version,
				 uint32_t procedure, XDR *in, XDR *out,
				 struct origin *origin)
{
	if (version < DRACVERS || version > DRACVERS3)
		return SERVICE_NO_VERSION;
	service->calls++;
	if (procedure == NULLPROC)
		return SERVICE_REPLIED;
	if (version == DRACVERS3)
		return call_version3(service, procedure, in, out, origin);
	if (procedure == DRACPROC_ADD)
		return classic_add(service, version, in, out, origin);
	return SERVICE_NO_PROCEDURE;
}

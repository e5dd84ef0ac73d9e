/*
 * service: see service.h. Strings and addresses from outside are checked here
 * and nowhere else.
 */
#include "service.h"

#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "drac_prot.h"
#include "log.h"
#include "proof.h"
#include "record.h"
#include "text.h"

enum {
	/* Bytes of a page besides its entries, and of its largest entry. */
	PAGE_FIXED = RPC_REPLY_HEADER_MAX + 4 + 4 + 8,
	ENTRY_MAX = 4 + 16 + 8 + 4 + 256 + 4 + 32,
};

/* What classic callers hear; the numbers of version 3 are the same. */
static addstat classic_status(enum outcome outcome)
{
	return outcome == OUTCOME_OK ? ADD_SUCCESS : ADD_SYSERR;
}

/* ---- who may, and whom ------------------------------------------------- */

void service_deny_caller(struct service *service, const struct origin *origin)
{
	static struct log_limit limit;
	char caller[ADDRESS_TEXT_MAX];
	service->stats->denied++;
	if (log_allowed(&limit))
		log_write(LOG_WARNING, "deny caller=%s reason=\"%s\"",
			  audit_caller(origin, caller),
			  origin->denial ? origin->denial : ACCESS_NOT_LISTED);
}

static bool is_never(const struct config *config, const struct address *address)
{
	for (size_t i = 0; i < config->never_count; i++)
		if (prefix_contains(&config->never[i], address))
			return true;
	return false;
}

bool service_may_relay(const struct config *config,
		       const struct address *address)
{
	return address_is_client(address) && !is_never(config, address);
}

static bool deny_address(struct service *service, const struct origin *origin,
			 const struct address *address)
{
	static struct log_limit limit;
	char text[ADDRESS_TEXT_MAX], caller[ADDRESS_TEXT_MAX];
	if (service_may_relay(service->config, address))
		return false;
	service->stats->denied++;
	if (log_allowed(&limit))
		log_write(LOG_WARNING,
			  "deny address=%s caller=%s reason=\"may never be "
			  "authorized\"",
			  address_text(address, text),
			  audit_caller(origin, caller));
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
	if (!origin->allowed) {
		service_deny_caller(service, origin);
		return xdr_addstat(out, &status) ? SERVICE_REPLIED
						 : SERVICE_FAILED;
	}
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

static bool decode_address(XDR *in, uint8_t byte[16], u_int *len)
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
	if (!origin->allowed) {
		service_deny_caller(service, origin);
		return reply_add(out, DRAC3_PERM, 0);
	}
	if (!decode_address(in, byte, &len) || !xdr_u_int(in, &lifetime) ||
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
	if (!origin->allowed) {
		service_deny_caller(service, origin);
		return reply_status(out, DRAC3_PERM);
	}
	if (!decode_address(in, byte, &len))
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

/* ---- version 3: reading ---------------------------------------------------
 */

/* Only what MTAs see: published, not on its way out, not expired. */
static bool is_live(const struct entry *entry, int64_t now_s)
{
	return entry != NULL && (entry->flags & ENTRY_IN_MAP) &&
	       !(entry->flags & ENTRY_REMOVING) && entry->expiry_s > now_s;
}

/* The strings and bytes stay the entry's. */
static drac3_entry entry_result(struct entry *entry)
{
	bool v4 = address_is_v4(&entry->address);
	return (drac3_entry){
	    .address = {.drac3_address_len = v4 ? 4 : 16,
			.drac3_address_val =
			    (char *)entry->address.byte + (v4 ? 12 : 0)},
	    .expiry = entry->expiry_s,
	    .user = (char *)(uintptr_t)who_user(entry->who),
	    .service = (char *)(uintptr_t)who_service(entry->who),
	};
}

static enum service_result query(struct service *service, XDR *in, XDR *out,
				 struct origin *origin)
{
	drac3_query_res res = {.status = DRAC3_PERM};
	uint8_t byte[16];
	u_int len;
	struct address address;
	if (!origin->allowed) {
		service_deny_caller(service, origin);
	} else if (!decode_address(in, byte, &len)) {
		return SERVICE_BAD_ARGUMENTS;
	} else if (!address_from_bytes(&address, byte, len)) {
		res.status = DRAC3_INVALID;
	} else {
		struct entry *entry = table_find(service->table, &address);
		res.status = DRAC3_NOTFOUND;
		if (entry != NULL &&
		    turn_expiry_s(service->turn, entry) > service->now_s) {
			res.status = DRAC3_OK;
			res.drac3_query_res_u.entry = entry_result(entry);
		}
	}
	return xdr_drac3_query_res(out, &res) ? SERVICE_REPLIED
					      : SERVICE_FAILED;
}

/* The cookie is the slot after the last one that was looked at. */
static void fill_page(struct service *service, drac3_page *page, u_int max,
		      drac3_entry entries[DRAC3_PAGE_MAX])
{
	enum { LOOK_MAX = 4096 }; /* free slots are cheap, but not for free */
	uint32_t slots = table_slots(service->table);
	uint64_t slot = page->cookie ? page->cookie : 1;
	u_int count = 0;
	for (int looked = 0; slot <= slots && count < max && looked < LOOK_MAX;
	     slot++, looked++) {
		struct entry *entry = table_at(service->table, (uint32_t)slot);
		if (is_live(entry, service->now_s))
			entries[count++] = entry_result(entry);
	}
	page->entries.entries_len = count;
	page->entries.entries_val = entries;
	page->cookie = slot <= slots ? slot : 0;
}

static enum service_result list(struct service *service, XDR *in, XDR *out,
				struct origin *origin)
{
	drac3_list_args args;
	drac3_list_res res = {.status = DRAC3_PERM};
	drac3_entry entries[DRAC3_PAGE_MAX];
	if (!origin->allowed) {
		service_deny_caller(service, origin);
		return xdr_drac3_list_res(out, &res) ? SERVICE_REPLIED
						     : SERVICE_FAILED;
	}
	if (!xdr_drac3_list_args(in, &args))
		return SERVICE_BAD_ARGUMENTS;
	u_int fit = (u_int)((origin->reply_max - PAGE_FIXED) / ENTRY_MAX);
	u_int max = args.max == 0 || args.max > DRAC3_PAGE_MAX ? DRAC3_PAGE_MAX
							       : args.max;
	res.status = DRAC3_OK;
	res.drac3_list_res_u.page.cookie = args.cookie;
	fill_page(service, &res.drac3_list_res_u.page, max < fit ? max : fit,
		  entries);
	return xdr_drac3_list_res(out, &res) ? SERVICE_REPLIED : SERVICE_FAILED;
}

static enum service_result statistics(struct service *service, XDR *out,
				      struct origin *origin)
{
	drac3_stats_res res = {.status = DRAC3_PERM};
	drac3_counter counter[STATS_COUNT];
	if (!origin->allowed) {
		service_deny_caller(service, origin);
		return xdr_drac3_stats_res(out, &res) ? SERVICE_REPLIED
						      : SERVICE_FAILED;
	}
	service->stats->entries = table_count(service->table);
	service->stats->lifetime_s = (uint64_t)service->config->lifetime_s;
	for (size_t i = 0; i < STATS_COUNT; i++) {
		counter[i].name = (char *)(uintptr_t)stats_name(i);
		counter[i].value = stats_value(service->stats, i);
	}
	res.status = DRAC3_OK;
	res.drac3_stats_res_u.counters.counters_len = STATS_COUNT;
	res.drac3_stats_res_u.counters.counters_val = counter;
	return xdr_drac3_stats_res(out, &res) ? SERVICE_REPLIED
					      : SERVICE_FAILED;
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
	case DRAC3_QUERY:
		return query(service, in, out, origin);
	case DRAC3_LIST:
		return list(service, in, out, origin);
	case DRAC3_STATS:
		return statistics(service, out, origin);
	default:
		return SERVICE_NO_PROCEDURE;
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

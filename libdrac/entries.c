/*
 * entries: the calls of protocol version 3, in the types of drac.h. Where a
 * server knows only versions 1 and 2, an add becomes one of theirs.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "drac.h"
#include "drac_prot.h"
#include "message.h"

enum { V4_SIZE = 4, V6_SIZE = 16, MAPPED_PREFIX = V6_SIZE - V4_SIZE };

_Static_assert(DRAC_USER_MAX == DRAC3_USER_MAX, "drac.x says otherwise");
_Static_assert(DRAC_SERVICE_MAX == DRAC3_SERVICE_MAX, "drac.x says otherwise");
_Static_assert(DRAC_CALLER_MAX == DRAC3_CALLER_MAX, "drac.x says otherwise");
_Static_assert(DRAC_PAGE_MAX == DRAC3_PAGE_MAX, "drac.x says otherwise");
_Static_assert((int)DRAC_AUTHORIZE == DRAC3_AUTHORIZE &&
		   (int)DRAC_REFRESH == DRAC3_REFRESH &&
		   (int)DRAC_REMOVED == DRAC3_REMOVED &&
		   (int)DRAC_EXPIRE == DRAC3_EXPIRE &&
		   (int)DRAC_DENY == DRAC3_DENY,
	       "drac.x says otherwise");
_Static_assert((int)DRAC_PERM == DRAC3_PERM &&
		   (int)DRAC_SYSERR == DRAC3_SYSERR &&
		   (int)DRAC_INVALID == DRAC3_INVALID &&
		   (int)DRAC_NOTFOUND == DRAC3_NOTFOUND,
	       "drac.x says otherwise");

/* ---- arguments ----------------------------------------------------------- */

struct address {
	char byte[V6_SIZE];
	drac3_address xdr; /* points to byte */
};

static bool parse_address(const char *text, struct address *address)
{
	static const char mapped[MAPPED_PREFIX] = {
	    [MAPPED_PREFIX - 2] = '\xff', [MAPPED_PREFIX - 1] = '\xff'};
	u_int len = V6_SIZE;

	if (text != NULL && inet_pton(AF_INET, text, address->byte) == 1) {
		len = V4_SIZE;
	} else if (text == NULL ||
		   inet_pton(AF_INET6, text, address->byte) != 1) {
		drac_message("%s: not an address", text ? text : "(null)");
		return false;
	} else if (memcmp(address->byte, mapped, MAPPED_PREFIX) == 0) {
		len = V4_SIZE;
		memmove(address->byte, address->byte + MAPPED_PREFIX, V4_SIZE);
	}
	address->xdr.drac3_address_val = address->byte;
	address->xdr.drac3_address_len = len;
	return true;
}

static bool check_length(const char *name, const char *value, size_t max)
{
	if (value == NULL || strnlen(value, max + 1) <= max)
		return true;
	drac_message("%s is longer than %zu bytes", name, max);
	return false;
}

/* ---- results ------------------------------------------------------------- */

static struct drac_call version3(uint32_t procedure, xdrproc_t encode,
				 void *arguments, xdrproc_t decode,
				 void *result, size_t result_size)
{
	return (struct drac_call){
	    .program = DRACPROG,
	    .version = DRACVERS3,
	    .procedure = procedure,
	    .encode = encode,
	    .arguments = arguments,
	    .decode = decode,
	    .result = result,
	    .result_size = result_size,
	};
}

static enum drac_result failed(const struct drac_outcome *outcome)
{
	if (outcome->answer == DRAC_NO_SERVER) {
		drac_message_create(outcome->server, &outcome->error);
		return DRAC_NOANSWER;
	}
	drac_outcome_message(outcome->server, outcome);
	return outcome->error.re_status == RPC_PROGVERSMISMATCH
		   ? DRAC_UNSUPPORTED
		   : DRAC_NOANSWER;
}

static enum drac_result run(struct drac *drac,
			    const struct drac_request *request, bool *older)
{
	static const char *const text[] = {
	    [DRAC_PERM] = "permission denied",
	    [DRAC_SYSERR] = "system error",
	    [DRAC_INVALID] = "invalid argument",
	    [DRAC_NOTFOUND] = "no such entry",
	};
	struct drac_outcome outcome;
	int answer = drac_run(drac, request, &outcome);

	*older = outcome.older;
	if (answer < 0)
		return failed(&outcome);
	if (answer == DRAC_OK)
		return DRAC_OK;
	/* The 3 of versions 1 and 2 is another one. */
	if (answer > DRAC_NOTFOUND || (outcome.older && answer > DRAC_SYSERR)) {
		drac_message("Server reports unknown error");
		return DRAC_SYSERR;
	}
	drac_message("Server reports %s", text[answer]);
	return (enum drac_result)answer;
}

/* All of it but the address. */
static void copy_account(struct drac_entry *to, const drac3_entry *from)
{
	to->address[0] = '\0';
	to->expiry_s = from->expiry;
	snprintf(to->user, sizeof to->user, "%s", from->user);
	snprintf(to->service, sizeof to->service, "%s", from->service);
	to->first_s = from->first;
	to->last_s = from->last;
	to->adds = from->adds;
	snprintf(to->caller, sizeof to->caller, "%s", from->caller);
}

/* False for what no server of ours sends. */
static bool copy_entry(struct drac_entry *to, const drac3_entry *from)
{
	int family;

	copy_account(to, from);
	if (from->address.drac3_address_len == V4_SIZE)
		family = AF_INET;
	else if (from->address.drac3_address_len == V6_SIZE)
		family = AF_INET6;
	else
		return false;
	inet_ntop(family, from->address.drac3_address_val, to->address,
		  sizeof to->address);
	return true;
}

static bool copy_event(struct drac_event *to, const drac3_event *from)
{
	to->kind = (enum drac_event_kind)from->kind;
	to->time_s = from->time;
	if (from->kind != DRAC3_DENY ||
	    from->entry.address.drac3_address_len > 0)
		return copy_entry(&to->entry, &from->entry);
	copy_account(&to->entry, &from->entry);
	return true;
}

static enum drac_result bad_entry(void)
{
	drac_message("Server sent an entry without an address");
	return DRAC_NOANSWER;
}

/* ---- the calls ----------------------------------------------------------- */

int drac_add(struct drac *drac, const char *address, uint32_t lifetime_s,
	     const char *user, const char *service, int64_t *expiry_s)
{
	char none[] = "";
	struct address client;
	drac3_add_args args = {.lifetime = lifetime_s,
			       .user = user ? (char *)user : none,
			       .service = service ? (char *)service : none};
	drac3_add_res res;
	drac_add_parm v4;
	drac_add_parm6 v6;
	addstat classic;
	struct drac_call older = {.program = DRACPROG,
				  .procedure = DRACPROC_ADD,
				  .decode = (xdrproc_t)xdr_addstat,
				  .result = &classic,
				  .result_size = sizeof classic};
	struct drac_request request = {
	    .call = version3(DRAC3_ADD, (xdrproc_t)xdr_drac3_add_args, &args,
			     (xdrproc_t)xdr_drac3_add_res, &res, sizeof res),
	    .older = &older,
	};
	enum drac_result result;
	bool was_older;

	if (!parse_address(address, &client) ||
	    !check_length("user", user, DRAC_USER_MAX) ||
	    !check_length("service", service, DRAC_SERVICE_MAX))
		return DRAC_INVALID;
	args.address = client.xdr;
	if (client.xdr.drac3_address_len == V4_SIZE) {
		uint32_t network;

		memcpy(&network, client.byte, sizeof network);
		v4.ip_addr = ntohl(network);
		older.version = DRACVERS;
		older.encode = (xdrproc_t)xdr_drac_add_parm;
		older.arguments = &v4;
	} else {
		memcpy(v6.ip_addr6, client.byte, sizeof v6.ip_addr6);
		older.version = DRACVERS6;
		older.encode = (xdrproc_t)xdr_drac_add_parm6;
		older.arguments = &v6;
	}
	result = run(drac, &request, &was_older);
	if (result == DRAC_OK && expiry_s != NULL)
		*expiry_s = was_older ? 0 : res.expiry;
	return result;
}

int drac_remove(struct drac *drac, const char *address)
{
	struct address client;
	drac3_status status;
	const struct drac_request request = {
	    .call = version3(DRAC3_REMOVE, (xdrproc_t)xdr_drac3_address,
			     &client.xdr, (xdrproc_t)xdr_drac3_status, &status,
			     sizeof status),
	};
	bool older;

	if (!parse_address(address, &client))
		return DRAC_INVALID;
	return run(drac, &request, &older);
}

int drac_query(struct drac *drac, const char *address, struct drac_entry *entry)
{
	struct address client;
	drac3_query_res res;
	const struct drac_request request = {
	    .call =
		version3(DRAC3_QUERY, (xdrproc_t)xdr_drac3_address, &client.xdr,
			 (xdrproc_t)xdr_drac3_query_res, &res, sizeof res),
	    .stream = true,
	};
	enum drac_result result;
	bool older;

	if (!parse_address(address, &client))
		return DRAC_INVALID;
	result = run(drac, &request, &older);
	if (result != DRAC_OK)
		return result;
	if (!copy_entry(entry, &res.drac3_query_res_u.entry))
		result = bad_entry();
	xdr_free(request.call.decode, &res);
	return result;
}

/* What fits into room; the request asked for no more. */
static bool copy_page(const drac3_page *page, struct drac_entry *entries,
		      size_t room, size_t *count)
{
	size_t sent = page->entries.entries_len;

	if (sent > room)
		return false;
	for (size_t i = 0; i < sent; i++)
		if (!copy_entry(&entries[i], &page->entries.entries_val[i]))
			return false;
	*count = sent;
	return true;
}

int drac_list(struct drac *drac, uint64_t *cookie, struct drac_entry *entries,
	      size_t *count)
{
	const size_t room = *count < DRAC_PAGE_MAX ? *count : DRAC_PAGE_MAX;
	drac3_list_args args = {.cookie = *cookie, .max = (u_int)room};
	drac3_list_res res;
	const struct drac_request request = {
	    .call = version3(DRAC3_LIST, (xdrproc_t)xdr_drac3_list_args, &args,
			     (xdrproc_t)xdr_drac3_list_res, &res, sizeof res),
	    .stream = true,
	};
	enum drac_result result;
	bool older;

	*count = 0;
	if (room == 0) {
		drac_message("no room for an entry");
		return DRAC_INVALID;
	}
	result = run(drac, &request, &older);
	if (result != DRAC_OK)
		return result;
	if (copy_page(&res.drac3_list_res_u.page, entries, room, count))
		*cookie = res.drac3_list_res_u.page.cookie;
	else
		result = bad_entry();
	xdr_free(request.call.decode, &res);
	return result;
}

static bool copy_events(const drac3_events_page *page,
			struct drac_event *events, size_t room, size_t *count)
{
	size_t sent = page->events.events_len;

	if (sent > room)
		return false;
	for (size_t i = 0; i < sent; i++)
		if (!copy_event(&events[i], &page->events.events_val[i]))
			return false;
	*count = sent;
	return true;
}

int drac_events(struct drac *drac, uint64_t *cookie, struct drac_event *events,
		size_t *count, uint64_t *lost)
{
	const size_t room = *count < DRAC_PAGE_MAX ? *count : DRAC_PAGE_MAX;
	drac3_events_args args = {.cookie = *cookie, .max = (u_int)room};
	drac3_events_res res;
	const drac3_events_page *page = &res.drac3_events_res_u.page;
	const struct drac_request request = {
	    .call =
		version3(DRAC3_EVENTS, (xdrproc_t)xdr_drac3_events_args, &args,
			 (xdrproc_t)xdr_drac3_events_res, &res, sizeof res),
	    .stream = true,
	};
	enum drac_result result;
	bool older;

	*count = 0;
	*lost = 0;
	if (room == 0) {
		drac_message("no room for an event");
		return DRAC_INVALID;
	}
	result = run(drac, &request, &older);
	if (result != DRAC_OK)
		return result;
	if (copy_events(page, events, room, count)) {
		*cookie = page->cookie;
		*lost = page->lost;
	} else {
		result = bad_entry();
	}
	xdr_free(request.call.decode, &res);
	return result;
}

int drac_stats(struct drac *drac, struct drac_counter *counters, size_t *count)
{
	const size_t room = *count;
	char nothing = 0;
	drac3_stats_res res;
	const struct drac_request request = {
	    .call = version3(DRAC3_STATS, (xdrproc_t)drac_xdr_nothing, &nothing,
			     (xdrproc_t)xdr_drac3_stats_res, &res, sizeof res),
	    .stream = true,
	};
	enum drac_result result;
	const drac3_counter *from;
	bool older;

	*count = 0;
	result = run(drac, &request, &older);
	if (result != DRAC_OK)
		return result;
	from = res.drac3_stats_res_u.counters.counters_val;
	*count = res.drac3_stats_res_u.counters.counters_len;
	if (*count > room)
		*count = room;
	for (size_t i = 0; i < *count; i++) {
		snprintf(counters[i].name, sizeof counters[i].name, "%s",
			 from[i].name);
		counters[i].value = from[i].value;
	}
	xdr_free(request.call.decode, &res);
	return DRAC_OK;
}

const char *drac_error(void)
{
	return drac_message_last();
}

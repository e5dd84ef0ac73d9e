/* reading: see reading.h. */
#include "reading.h"

#include "drac_prot.h"

enum {
	/* Bytes of a page besides what it lists: status, count, two numbers */
	PAGE_FIXED = RPC_REPLY_HEADER_MAX + 4 + 4 + 8 + 8,
	/* and of the largest entry and event. */
	ENTRY_MAX = 4 + 16 + 8 + 4 + 256 + 4 + 32 + 8 + 8 + 8 + 4 + 64,
	EVENT_MAX = 4 + 8 + ENTRY_MAX,
};

_Static_assert(EVENT_USER_MAX == DRAC3_USER_MAX, "drac.x says otherwise");
_Static_assert(EVENT_SERVICE_MAX == DRAC3_SERVICE_MAX, "drac.x says otherwise");
_Static_assert(CALLER_TEXT_MAX <= DRAC3_CALLER_MAX + 1,
	       "drac.x says otherwise");
_Static_assert(PAGE_FIXED + DRAC3_PAGE_MAX * EVENT_MAX <= RPC_REPLY_MAX,
	       "a whole page has room");

static bool may_read(struct service *service, const struct origin *origin)
{
	const char *denial = NULL;
	if (!origin->local)
		denial = access_reading_denial(service->access, origin);
	else if (!origin->allowed)
		denial = ACCESS_NOT_A_MEMBER;
	if (denial != NULL)
		service_deny_caller(service, origin, denial);
	return denial == NULL;
}

static enum service_result replied(bool encoded)
{
	return encoded ? SERVICE_REPLIED : SERVICE_FAILED;
}

/* The bytes stay the address's. */
static drac3_address address_result(const struct address *address)
{
	bool v4 = address_is_v4(address);
	return (drac3_address){
	    .drac3_address_len = v4 ? 4 : 16,
	    .drac3_address_val =
		(char *)(uintptr_t)address->byte + (v4 ? 12 : 0),
	};
}

static char *string_result(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* The strings and bytes stay the entry's and buf's. */
static drac3_entry entry_result(const struct table *table,
				const struct entry *entry,
				char buf[CALLER_TEXT_MAX])
{
	const struct address *caller = table_caller(table, entry->caller);
	return (drac3_entry){
	    .address = address_result(&entry->address),
	    .expiry = entry->expiry_s,
	    .user = string_result(who_user(entry->who)),
	    .service = string_result(who_service(entry->who)),
	    .first = entry_first_s(entry),
	    .last = entry->last_s,
	    .adds = entry_adds(entry),
	    .caller = string_result(caller_text(caller, buf)),
	};
}

/* How many things of a size to list: as asked for, and as fit. */
static u_int page_room(const struct origin *origin, u_int asked, size_t size)
{
	u_int fit = (u_int)((origin->reply_max - PAGE_FIXED) / size);
	u_int max =
	    asked == 0 || asked > DRAC3_PAGE_MAX ? DRAC3_PAGE_MAX : asked;
	return max < fit ? max : fit;
}

static enum service_result query(struct service *service, XDR *in, XDR *out,
				 const struct origin *origin)
{
	drac3_query_res res = {.status = DRAC3_PERM};
	uint8_t byte[16];
	char caller[CALLER_TEXT_MAX];
	u_int len;
	struct address address;
	if (!may_read(service, origin))
		return replied(xdr_drac3_query_res(out, &res));
	if (!service_address(in, byte, &len))
		return SERVICE_BAD_ARGUMENTS;
	res.status = DRAC3_INVALID;
	if (address_from_bytes(&address, byte, len)) {
		struct entry *entry = table_find(service->table, &address);
		res.status = DRAC3_NOTFOUND;
		if (entry != NULL &&
		    turn_expiry_s(service->turn, entry) > service->now_s) {
			res.status = DRAC3_OK;
			res.drac3_query_res_u.entry =
			    entry_result(service->table, entry, caller);
		}
	}
	return replied(xdr_drac3_query_res(out, &res));
}

/* ---- list ---------------------------------------------------------------- */

struct entries {
	drac3_entry entry[DRAC3_PAGE_MAX];
	char caller[DRAC3_PAGE_MAX][CALLER_TEXT_MAX];
};

/* Only what MTAs see: published, not on its way out, not expired. */
static bool is_live(const struct entry *entry, int64_t now_s)
{
	return entry != NULL && (entry->flags & ENTRY_IN_MAP) &&
	       !(entry->flags & ENTRY_REMOVING) && entry->expiry_s > now_s;
}

/* The cookie is the slot after the last one that was looked at. */
static void fill_page(struct service *service, drac3_page *page, u_int max,
		      struct entries *entries)
{
	enum { LOOK_MAX = 4096 }; /* free slots are cheap, but not for free */
	uint32_t slots = table_slots(service->table);
	uint64_t slot = page->cookie ? page->cookie : 1;
	u_int count = 0;
	for (int looked = 0; slot <= slots && count < max && looked < LOOK_MAX;
	     slot++, looked++) {
		struct entry *entry = table_at(service->table, (uint32_t)slot);
		if (!is_live(entry, service->now_s))
			continue;
		entries->entry[count] =
		    entry_result(service->table, entry, entries->caller[count]);
		count++;
	}
	page->entries.entries_len = count;
	page->entries.entries_val = entries->entry;
	page->cookie = slot <= slots ? slot : 0;
}

static enum service_result list(struct service *service, XDR *in, XDR *out,
				const struct origin *origin)
{
	drac3_list_args args;
	drac3_list_res res = {.status = DRAC3_PERM};
	struct entries entries;
	if (!may_read(service, origin))
		return replied(xdr_drac3_list_res(out, &res));
	if (!xdr_drac3_list_args(in, &args))
		return SERVICE_BAD_ARGUMENTS;
	res.status = DRAC3_OK;
	res.drac3_list_res_u.page.cookie = args.cookie;
	fill_page(service, &res.drac3_list_res_u.page,
		  page_room(origin, args.max, ENTRY_MAX), &entries);
	return replied(xdr_drac3_list_res(out, &res));
}

/* ---- statistics ---------------------------------------------------------- */

static enum service_result statistics(struct service *service, XDR *out,
				      const struct origin *origin)
{
	drac3_stats_res res = {.status = DRAC3_PERM};
	drac3_counter counter[STATS_COUNT];
	if (!may_read(service, origin))
		return replied(xdr_drac3_stats_res(out, &res));
	service->stats->entries = table_count(service->table);
	service->stats->lifetime_s = (uint64_t)service->config->lifetime_s;
	for (size_t i = 0; i < STATS_COUNT; i++) {
		counter[i].name = string_result(stats_name(i));
		counter[i].value = stats_value(service->stats, i);
	}
	res.status = DRAC3_OK;
	res.drac3_stats_res_u.counters.counters_len = STATS_COUNT;
	res.drac3_stats_res_u.counters.counters_val = counter;
	return replied(xdr_drac3_stats_res(out, &res));
}

/* ---- events -------------------------------------------------------------- */

struct events_page {
	drac3_event event[DRAC3_PAGE_MAX];
	char caller[DRAC3_PAGE_MAX][CALLER_TEXT_MAX];
};

/* The strings and bytes stay the event's and buf's. */
static drac3_event event_result(const struct event *event,
				char buf[CALLER_TEXT_MAX])
{
	static const struct address none;
	static const drac3_event_kind kind[] = {
	    [EVENT_AUTHORIZE] = DRAC3_AUTHORIZE,
	    [EVENT_REFRESH] = DRAC3_REFRESH,
	    [EVENT_REMOVE] = DRAC3_REMOVED,
	    [EVENT_EXPIRE] = DRAC3_EXPIRE,
	    [EVENT_DENY] = DRAC3_DENY,
	};
	drac3_event result = {
	    .kind = kind[event->kind],
	    .time = event->time_s,
	    .entry =
		{
		    .address = address_result(&event->address),
		    .expiry = event->expiry_s,
		    .user = string_result(event->user),
		    .service = string_result(event->service),
		    .first = event->first_s,
		    .last = event->last_s,
		    .adds = event->adds,
		    .caller = string_result(caller_text(&event->caller, buf)),
		},
	};
	if (event->kind == EVENT_DENY && address_equal(&event->address, &none))
		result.entry.address.drac3_address_len = 0;
	return result;
}

static enum service_result events(struct service *service, XDR *in, XDR *out,
				  const struct origin *origin)
{
	const struct events *events = audit_events(service->audit);
	drac3_events_args args;
	drac3_events_res res = {.status = DRAC3_PERM};
	drac3_events_page *page = &res.drac3_events_res_u.page;
	struct events_page found;
	const struct event *event;
	u_int count = 0;
	if (!may_read(service, origin))
		return replied(xdr_drac3_events_res(out, &res));
	if (!xdr_drac3_events_args(in, &args))
		return SERVICE_BAD_ARGUMENTS;
	u_int max = page_room(origin, args.max, EVENT_MAX);
	page->cookie = events_resume(events, args.cookie, &page->lost);
	while (count < max &&
	       (event = events_next(events, &page->cookie)) != NULL) {
		found.event[count] = event_result(event, found.caller[count]);
		count++;
	}
	res.status = DRAC3_OK;
	page->events.events_len = count;
	page->events.events_val = found.event;
	return replied(xdr_drac3_events_res(out, &res));
}

enum service_result reading_call(struct service *service, uint32_t procedure,
				 XDR *in, XDR *out, const struct origin *origin)
{
	switch (procedure) {
	case DRAC3_QUERY:
		return query(service, in, out, origin);
	case DRAC3_LIST:
		return list(service, in, out, origin);
	case DRAC3_STATS:
		return statistics(service, out, origin);
	case DRAC3_EVENTS:
		return events(service, in, out, origin);
	default:
		return SERVICE_NO_PROCEDURE;
	}
}

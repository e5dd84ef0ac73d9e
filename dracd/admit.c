/*
 * admit: a request, from when it comes until the table has followed it: it
 * waits, is refused, or becomes a change of this turn. turn.c has the rest.
 */
#include "limit.h"
#include "log.h"

enum {
	WAITING_MAX = 8192, /* requests; more are answered SYSERR */
	/*
	 * A refresh of an entry whose published value ends sooner than this
	 * is published before the answer, like a new address.
	 */
	DEFER_MIN_S = 60,
};

static bool reserve_changes(struct changes *changes, size_t more)
{
	return turn_reserve((void **)&changes->change,
			    changes->count + more - 1, &changes->room,
			    sizeof(*changes->change));
}

static bool wait_for_held(struct turn *turn, const struct request *request)
{
	if (turn->waiting_count >= WAITING_MAX ||
	    !turn_reserve((void **)&turn->waiting, turn->waiting_count,
			  &turn->waiting_room, sizeof(*request)))
		return false;
	turn->waiting[turn->waiting_count++] = *request;
	return true;
}

/* An entry that is not there yet; NULL: no room. */
static struct entry *insert(struct turn *turn, const struct request *request,
			    int64_t expiry_s)
{
	static struct log_limit limit;
	if (table_count(turn->table) >= turn->config->max_entries) {
		if (log_allowed(&limit))
			log_write(LOG_ERR,
				  "no room for new addresses: max-entries=%u "
				  "reached",
				  turn->config->max_entries);
		return NULL;
	}
	return table_insert(turn->table, &request->address, expiry_s);
}

static bool apply_add(struct turn *turn, struct change *change, int64_t now_s)
{
	int64_t expiry_s = now_s + change->request.lifetime_s;
	struct entry *entry = change->entry;
	if (entry == NULL) {
		entry = insert(turn, &change->request, expiry_s);
		if (entry == NULL)
			return false;
		change->entry = entry;
		change->inserted = true;
		if (!account_open(turn, change, now_s)) {
			table_remove(turn->table, entry);
			return false;
		}
	} else {
		change->old_expiry_s = entry->expiry_s;
		change->old_flags = entry->flags;
		if (!account_continue(turn, change, now_s))
			return false;
		if (expiry_s > entry->expiry_s &&
		    !table_set_expiry(turn->table, entry, expiry_s)) {
			account_undo(turn, change);
			return false;
		}
	}
	if (change->publish)
		entry->flags |= ENTRY_PENDING;
	return true;
}

/* Whether MTAs must see the change before it is answered. */
static bool needs_maps(const struct entry *entry, enum request_kind kind,
		       int64_t now_s)
{
	return kind == REQUEST_REMOVE || entry == NULL ||
	       entry->flags != ENTRY_IN_MAP ||
	       entry->expiry_s - now_s < DEFER_MIN_S;
}

/*
 * Whether the request has to wait for changes under way: for the lock while
 * something is held; behind a change of another kind of the same entry.
 */
static bool must_wait(const struct turn *turn, const struct entry *entry,
		      bool publish, enum request_kind kind)
{
	if (turn->held.count > 0)
		return publish;
	return entry != NULL && (entry->flags & ENTRY_PENDING) &&
	       (kind == REQUEST_REMOVE || (entry->flags & ENTRY_REMOVING));
}

static void apply_remove(struct turn *turn, struct change *change)
{
	change->old_flags = change->entry->flags;
	change->entry->flags |= ENTRY_PENDING | ENTRY_REMOVING;
	table_leave_user(turn->table, change->entry);
}

/* One of the same user makes room for the request's address. */
static void put_out(struct turn *turn, struct entry *entry,
		    const struct request *request)
{
	struct change change = {
	    .request = {.kind = REQUEST_REMOVE,
			.address = entry->address,
			.silent = true,
			.origin = request->origin},
	    .entry = entry,
	    .publish = true,
	};
	apply_remove(turn, &change);
	turn->now.change[turn->now.count++] = change;
}

static void refuse_user(struct turn *turn, struct request *request)
{
	turn->stats->denied++;
	audit_deny_limit(turn->audit, &request->origin.caller,
			 &request->address, request->who,
			 turn->config->max_addresses_per_user);
	turn_reply(turn, request, OUTCOME_PERM, 0);
}

static void wait_or_refuse(struct turn *turn, struct request *request)
{
	if (!wait_for_held(turn, request))
		turn_refuse(turn, request);
}

/* Nothing is in its way: the table follows, with all of it or nothing. */
static void apply(struct turn *turn, struct change *change,
		  const struct request *request, const struct verdict *verdict,
		  int64_t now_s)
{
	if (!reserve_changes(&turn->now, 1 + verdict->count)) {
		turn_refuse(turn, &change->request);
		return;
	}
	if (request->kind == REQUEST_REMOVE) {
		apply_remove(turn, change);
	} else if (!apply_add(turn, change, now_s)) {
		turn_refuse(turn, &change->request);
		return;
	}
	turn->now.change[turn->now.count++] = *change;
	for (size_t i = 0; i < verdict->count; i++)
		put_out(turn, verdict->victim[i], request);
}

void turn_request(struct turn *turn, const struct request *request,
		  int64_t now_s)
{
	struct change change = {
	    .request = *request,
	    .entry = table_find(turn->table, &request->address),
	};
	struct verdict verdict;
	struct entry *entry = change.entry;
	change.publish = needs_maps(entry, request->kind, now_s);
	if (request->kind == REQUEST_REMOVE &&
	    (entry == NULL || entry->expiry_s <= now_s)) {
		turn_reply(turn, &change.request, OUTCOME_NOTFOUND, 0);
		return;
	}
	if (must_wait(turn, entry, change.publish, request->kind)) {
		wait_or_refuse(turn, &change.request);
		return;
	}
	limit_judge(turn, request, entry, now_s, &verdict);
	/* With what else changes the user's number, or not at all. */
	change.publish = change.publish || verdict.counts;
	if (verdict.what == LIMIT_REACHED)
		refuse_user(turn, &change.request);
	else if (verdict.what == LIMIT_WAIT ||
		 (verdict.counts && turn->held.count > 0))
		wait_or_refuse(turn, &change.request);
	else
		apply(turn, &change, request, &verdict, now_s);
}

/*
 * turn: see turn.h. A change lives in one of two lists: `now`, made in this
 * pass, or `held`, in the journal but not yet in the maps because a reader has
 * one locked. While something is held, a request that needs the maps waits;
 * one that does not (a refresh) goes its way.
 */
#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "turn_impl.h"

enum {
	RETRY_MS = 1,       /* between two tries for the lock */
	WAITING_MAX = 8192, /* requests; more are answered SYSERR */
	/*
	 * A refresh of an entry whose published value ends sooner than this
	 * is published before the answer, like a new address.
	 */
	DEFER_MIN_S = 60,
};

/* Makes room for one more element of an array. */
bool turn_reserve(void **array, size_t count, size_t *room, size_t size)
{
	if (count < *room)
		return true;
	size_t wanted = *room ? 2 * *room : 64;
	void *grown = reallocarray(*array, wanted, size);
	if (grown == NULL)
		return false;
	*array = grown;
	*room = wanted;
	return true;
}

struct turn *turn_create(const struct config *config, struct table *table,
			 struct journal *journal, struct maps *maps,
			 struct stats *stats, struct audit *audit,
			 turn_answer *answer)
{
	struct turn *turn = calloc(1, sizeof(*turn));
	if (turn == NULL)
		return NULL;
	*turn = (struct turn){
	    .config = config,
	    .table = table,
	    .journal = journal,
	    .maps = maps,
	    .stats = stats,
	    .audit = audit,
	    .answer = answer,
	    .chores = chores_create(table, journal, maps, stats, audit),
	};
	if (turn->chores != NULL)
		return turn;
	free(turn);
	return NULL;
}

/* ---- answering ------------------------------------------------------- */

static void answer(struct turn *turn, struct request *request,
		   enum outcome outcome, int64_t expiry_s)
{
	turn->answer(request, outcome, expiry_s);
	free(request->who);
	request->who = NULL;
}

static void refuse(struct turn *turn, struct request *request)
{
	turn->stats->refused++;
	answer(turn, request, OUTCOME_SYSERR, 0);
}

/* The change stands. */
void turn_finish(struct turn *turn, struct change *change)
{
	struct entry *entry = change->entry;
	if (change->request.kind == REQUEST_REMOVE) {
		turn->stats->removes++;
		audit_remove(turn->audit, entry,
			     &change->request.origin.caller);
		journal_unref(turn->journal, entry->segment);
		table_remove(turn->table, entry);
		answer(turn, &change->request, OUTCOME_OK, 0);
		return;
	}
	if (!change->inserted) {
		journal_unref(turn->journal, change->old_segment);
		table_drop_caller(turn->table, change->old_caller);
	}
	if (change->who_changed)
		free(change->old_who);
	if (change->publish) {
		entry->flags = ENTRY_IN_MAP;
		table_clear_dirty(turn->table, entry);
	}
	table_grant(turn->table, entry);
	if (change->inserted) {
		turn->stats->adds++;
		audit_authorize(turn->audit, entry,
				&change->request.origin.caller);
	} else {
		turn->stats->refreshes++;
		audit_refresh(turn->audit, entry,
			      &change->request.origin.caller);
	}
	answer(turn, &change->request, OUTCOME_OK, entry->expiry_s);
}

static void undo_account(struct turn *turn, struct change *change)
{
	struct entry *entry = change->entry;
	if (change->who_changed) {
		free(entry->who);
		entry->who = change->old_who;
	} else {
		entry->who->adds = change->old_adds;
	}
	entry->last_s = change->old_last_s;
	table_drop_caller(turn->table, entry->caller);
	entry->caller = change->old_caller;
}

/* As if the request had never come; the newest change first. */
static void undo(struct turn *turn, struct change *change)
{
	struct entry *entry = change->entry;
	if (change->journaled) {
		journal_unref(turn->journal, entry->segment);
		entry->segment = change->old_segment;
	}
	if (change->inserted) {
		table_remove(turn->table, entry);
	} else if (change->request.kind == REQUEST_ADD) {
		table_set_expiry(turn->table, entry, change->old_expiry_s);
		undo_account(turn, change);
		entry->flags = change->old_flags;
	} else {
		entry->flags = change->old_flags;
	}
}

void turn_undo_all(struct turn *turn, struct changes *changes)
{
	for (size_t i = changes->count; i-- > 0;)
		undo(turn, &changes->change[i]);
}

void turn_refuse_all(struct turn *turn, struct changes *changes)
{
	for (size_t i = 0; i < changes->count; i++)
		refuse(turn, &changes->change[i].request);
	changes->count = 0;
}

/* ---- applying --------------------------------------------------------- */

static bool wait_for_held(struct turn *turn, const struct request *request)
{
	if (turn->waiting_count >= WAITING_MAX ||
	    !turn_reserve((void **)&turn->waiting, turn->waiting_count,
			  &turn->waiting_room, sizeof(*request)))
		return false;
	turn->waiting[turn->waiting_count++] = *request;
	return true;
}

/* Who first asked for the entry, and when, how often: of a new one. */
static void open_account(struct turn *turn, struct change *change,
			 int64_t now_s)
{
	struct entry *entry = change->entry;
	entry->last_s = clock_fit(now_s);
	entry->caller =
	    table_take_caller(turn->table, &change->request.origin.caller);
	entry->who = change->request.who;
	change->request.who = NULL;
	if (entry->who != NULL)
		entry->who->first_s = entry->last_s;
}

/* One add more. An add without names leaves those that are there. */
static bool continue_account(struct turn *turn, struct change *change,
			     int64_t now_s)
{
	struct entry *entry = change->entry;
	struct who *who = change->request.who;
	uint32_t first_s = entry_first_s(entry), adds = entry_adds(entry);
	if (entry->who == NULL && who == NULL &&
	    (who = change->request.who = who_nameless()) == NULL)
		return false;
	change->old_adds = adds;
	change->old_last_s = entry->last_s;
	change->old_caller = entry->caller;
	change->who_changed =
	    who != NULL && (entry->who == NULL || !who_equal(entry->who, who));
	if (change->who_changed) {
		change->old_who = entry->who;
		change->request.who = NULL;
		entry->who = who;
		who->first_s = first_s;
	}
	entry->who->adds = adds + (adds < UINT32_MAX);
	entry->last_s = clock_fit(now_s);
	entry->caller =
	    table_take_caller(turn->table, &change->request.origin.caller);
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
		open_account(turn, change, now_s);
	} else {
		change->old_expiry_s = entry->expiry_s;
		change->old_flags = entry->flags;
		if (!continue_account(turn, change, now_s))
			return false;
		if (expiry_s > entry->expiry_s &&
		    !table_set_expiry(turn->table, entry, expiry_s)) {
			undo_account(turn, change);
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

void turn_request(struct turn *turn, const struct request *request,
		  int64_t now_s)
{
	struct change change = {
	    .request = *request,
	    .entry = table_find(turn->table, &request->address),
	};
	struct entry *entry = change.entry;
	change.publish = needs_maps(entry, request->kind, now_s);
	if (request->kind == REQUEST_REMOVE &&
	    (entry == NULL || entry->expiry_s <= now_s)) {
		answer(turn, &change.request, OUTCOME_NOTFOUND, 0);
		return;
	}
	if (must_wait(turn, entry, change.publish, request->kind)) {
		if (!wait_for_held(turn, request))
			refuse(turn, &change.request);
		return;
	}
	if (!turn_reserve((void **)&turn->now.change, turn->now.count,
			  &turn->now.room, sizeof(change))) {
		refuse(turn, &change.request);
		return;
	}
	if (request->kind == REQUEST_REMOVE) {
		change.old_flags = entry->flags;
		entry->flags |= ENTRY_PENDING | ENTRY_REMOVING;
	} else if (!apply_add(turn, &change, now_s)) {
		refuse(turn, &change.request);
		return;
	}
	turn->now.change[turn->now.count++] = change;
}

/* The first change of an entry that the maps must see; NULL: none. */
static const struct change *find_change(const struct changes *changes,
					const struct entry *entry)
{
	for (size_t i = 0; i < changes->count; i++)
		if (changes->change[i].entry == entry &&
		    changes->change[i].publish)
			return &changes->change[i];
	return NULL;
}

int64_t turn_expiry_s(const struct turn *turn, const struct entry *entry)
{
	const struct change *change;
	if (!(entry->flags & ENTRY_IN_MAP) || (entry->flags & ENTRY_REMOVING))
		return 0;
	if (!(entry->flags & ENTRY_PENDING))
		return entry->expiry_s;
	change = find_change(&turn->held, entry);
	if (change == NULL)
		change = find_change(&turn->now, entry);
	return change ? change->old_expiry_s : 0;
}

bool turn_is_open(const struct turn *turn)
{
	return turn->now.count > 0;
}

/* ---- the pass ------------------------------------------------------------ */

/* What came while something was held; some of it may wait again. */
static void admit_waiting(struct turn *turn, int64_t now_s)
{
	struct request *waiting = turn->waiting;
	size_t count = turn->waiting_count;
	turn->waiting = NULL;
	turn->waiting_count = turn->waiting_room = 0;
	for (size_t i = 0; i < count; i++)
		turn_request(turn, &waiting[i], now_s);
	free(waiting);
}

void turn_commit(struct turn *turn, int64_t now_s, bool idle)
{
	commit_journal(turn);
	commit_maps(turn, now_s, idle);
	while (turn->held.count == 0 && turn->waiting_count > 0) {
		admit_waiting(turn, now_s);
		commit_journal(turn);
		commit_maps(turn, now_s, false);
	}
	if (idle)
		chores_tidy(turn->chores);
	journal_tend(turn->journal);
}

int turn_timeout_ms(struct turn *turn, int64_t now_s)
{
	if (turn->held.count > 0)
		return RETRY_MS;
	return chores_timeout_ms(turn->chores, now_s);
}

int64_t turn_next_expiry(struct turn *turn)
{
	const struct entry *first = table_first(turn->table);
	return first ? first->expiry_s : 0;
}

void turn_check_maps(struct turn *turn)
{
	maps_settle(turn->maps);
	if (maps_are_current(turn->maps))
		return;
	log_write(LOG_WARNING,
		  "map=%s was removed or replaced by somebody else: building "
		  "it anew",
		  turn->config->maps[0].path);
	maps_rebuild(turn->maps, turn->table);
}

void turn_free(struct turn *turn)
{
	if (turn == NULL)
		return;
	turn_undo_all(turn, &turn->now);
	turn_refuse_all(turn, &turn->now);
	if (turn->held.count > 0)
		commit_take_back(turn);
	for (size_t i = 0; i < turn->waiting_count; i++)
		refuse(turn, &turn->waiting[i]);
	chores_free(turn->chores);
	free(turn->now.change);
	free(turn->held.change);
	free(turn->waiting);
	free(turn->debt);
	free(turn);
}

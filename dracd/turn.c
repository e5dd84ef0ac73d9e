/*
 * turn: see turn.h. A change lives in one of two lists: `now`, made in this
 * pass, or `held`, in the journal but not yet in the maps because a reader has
 * one locked. While something is held, a request that needs the maps waits;
 * one that does not (a refresh) goes its way.
 */
#include "turn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chores.h"
#include "log.h"
#include "map.h"
#include "record.h"

enum {
	HOLD_MAX_MS = 500,  /* then the reader has had his time */
	RETRY_MS = 1,	    /* between two tries for the lock */
	WAITING_MAX = 8192, /* requests; more are answered SYSERR */
	/*
	 * A refresh of an entry whose published value ends sooner than this
	 * is published before the answer, like a new address.
	 */
	DEFER_MIN_S = 60,
};

/* One request, applied to the table, with what undoes it. */
struct change {
	struct request request;
	struct entry *entry;
	int64_t old_expiry_s;
	char *old_who; /* when who_changed */
	uint32_t old_segment;
	uint8_t old_flags;
	bool inserted, who_changed;
	bool publish;	/* needs the maps before the answer */
	bool journaled; /* counted in entry->segment */
};

struct changes {
	struct change *change;
	size_t count, room;
};

struct turn {
	const struct config *config;
	struct table *table;
	struct journal *journal;
	struct maps *maps;
	struct stats *stats;
	turn_answer *answer;
	struct chores *chores;

	struct changes now, held;
	int64_t held_until_ns;
	struct journal_mark mark, held_mark; /* of the last commit; of `held` */
	/* requests that came while something was held */
	struct request *waiting;
	size_t waiting_count, waiting_room;
	/* addresses of which the journal says more than it should */
	struct address *debt;
	size_t debt_count, debt_room;
};

static int64_t monotonic_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Makes room for one more element of an array. */
static bool reserve(void **array, size_t count, size_t *room, size_t size)
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
			 struct stats *stats, turn_answer *answer)
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
	    .answer = answer,
	    .chores = chores_create(table, journal, maps, stats),
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
static void finish(struct turn *turn, struct change *change)
{
	struct entry *entry = change->entry;
	if (change->request.kind == REQUEST_REMOVE) {
		turn->stats->removes++;
		journal_unref(turn->journal, entry->segment);
		table_remove(turn->table, entry);
		answer(turn, &change->request, OUTCOME_OK, 0);
		return;
	}
	if (!change->inserted)
		journal_unref(turn->journal, change->old_segment);
	if (change->who_changed)
		free(change->old_who);
	if (change->publish) {
		entry->flags = ENTRY_IN_MAP;
		table_clear_dirty(turn->table, entry);
	}
	if (change->inserted)
		turn->stats->adds++;
	else
		turn->stats->refreshes++;
	answer(turn, &change->request, OUTCOME_OK, entry->expiry_s);
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
		if (change->who_changed) {
			free(entry->who);
			entry->who = change->old_who;
		}
		entry->flags = change->old_flags;
	} else {
		entry->flags = change->old_flags;
	}
}

static void undo_all(struct turn *turn, struct changes *changes)
{
	for (size_t i = changes->count; i-- > 0;)
		undo(turn, &changes->change[i]);
}

static void refuse_all(struct turn *turn, struct changes *changes)
{
	for (size_t i = 0; i < changes->count; i++)
		refuse(turn, &changes->change[i].request);
	changes->count = 0;
}

/* ---- applying --------------------------------------------------------- */

static bool wait_for_held(struct turn *turn, const struct request *request)
{
	if (turn->waiting_count >= WAITING_MAX ||
	    !reserve((void **)&turn->waiting, turn->waiting_count,
		     &turn->waiting_room, sizeof(*request)))
		return false;
	turn->waiting[turn->waiting_count++] = *request;
	return true;
}

static void set_who(struct change *change)
{
	struct entry *entry = change->entry;
	if (change->request.who == NULL ||
	    who_equal(entry->who, change->request.who))
		return;
	change->who_changed = true;
	change->old_who = entry->who;
	entry->who = change->request.who;
	change->request.who = NULL;
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
	} else {
		change->old_expiry_s = entry->expiry_s;
		change->old_segment = entry->segment;
		change->old_flags = entry->flags;
		if (expiry_s > entry->expiry_s &&
		    !table_set_expiry(turn->table, entry, expiry_s))
			return false;
	}
	if (change->publish)
		entry->flags |= ENTRY_PENDING;
	set_who(change);
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
	if (!reserve((void **)&turn->now.change, turn->now.count,
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

bool turn_is_open(const struct turn *turn)
{
	return turn->now.count > 0;
}

/* ---- journal ------------------------------------------------------------ */

/* What the journal should say of an address: what the table says. */
static bool add_record(struct turn *turn, const struct address *address,
		       struct entry *entry)
{
	if (entry == NULL || (entry->flags & ENTRY_REMOVING))
		return journal_add(turn->journal,
				   &(struct record){.type = RECORD_REMOVE,
						    .address = *address});
	struct record record = record_of(entry);
	return journal_add(turn->journal, &record);
}

static bool add_debt(struct turn *turn)
{
	for (size_t i = 0; i < turn->debt_count; i++)
		if (!add_record(turn, &turn->debt[i],
				table_find(turn->table, &turn->debt[i])))
			return false;
	return true;
}

static int write_records(struct turn *turn)
{
	bool added = add_debt(turn);
	for (size_t i = 0; i < turn->now.count && added; i++)
		added = add_record(turn, &turn->now.change[i].request.address,
				   turn->now.change[i].entry);
	if (!added) {
		journal_forget(turn->journal);
		return ENOMEM;
	}
	return journal_commit(turn->journal, &turn->mark);
}

/* Answers what needs no maps, moves the rest to `held`. */
static void settle(struct turn *turn)
{
	uint32_t segment = turn->mark.segment;
	for (size_t i = 0; i < turn->now.count; i++) {
		struct change *change = &turn->now.change[i];
		if (change->request.kind == REQUEST_ADD) {
			journal_ref(turn->journal, segment);
			change->entry->segment = segment;
			change->journaled = true;
		}
		if (change->publish) {
			turn->held_mark = turn->mark;
			turn->held.change[turn->held.count++] = *change;
			continue;
		}
		table_mark_dirty(turn->table, change->entry);
		finish(turn, change);
	}
	turn->now.count = 0;
}

static bool reserve_held(struct turn *turn)
{
	struct changes *held = &turn->held;
	size_t wanted = held->count + turn->now.count;
	while (held->room < wanted)
		if (!reserve((void **)&held->change, held->room, &held->room,
			     sizeof(*held->change)))
			return false;
	return true;
}

static void write_journal(struct turn *turn)
{
	static struct log_limit limit;
	if (turn->now.count == 0 && turn->debt_count == 0)
		return;
	int error = reserve_held(turn) ? write_records(turn) : ENOMEM;
	if (error == 0) {
		turn->debt_count = 0;
		settle(turn);
		return;
	}
	if (log_allowed(&limit)) {
		errno = error;
		log_errno(LOG_ERR,
			  "journal=%s cannot be written: adds are refused "
			  "until it can",
			  turn->config->journal);
	}
	undo_all(turn, &turn->now);
	refuse_all(turn, &turn->now);
}

/* ---- maps ---------------------------------------------------------------- */

static void owe(struct turn *turn, const struct address *address)
{
	/* Without memory for it a restart may bring the entry back. */
	if (reserve((void **)&turn->debt, turn->debt_count, &turn->debt_room,
		    sizeof(*address)))
		turn->debt[turn->debt_count++] = *address;
}

/* Undoes and refuses what is held, in table, journal and (done) maps. */
static void take_back(struct turn *turn)
{
	bool erased = journal_rollback(turn->journal, &turn->held_mark);
	for (size_t i = 0; i < turn->held.count && !erased; i++)
		owe(turn, &turn->held.change[i].request.address);
	undo_all(turn, &turn->held);
	refuse_all(turn, &turn->held);
	turn->held_until_ns = 0;
	write_journal(turn);
}

static int put_held(struct turn *turn)
{
	int error = 0;
	for (size_t i = 0; i < turn->held.count && error == 0; i++) {
		const struct change *change = &turn->held.change[i];
		const struct address *address = &change->entry->address;
		error = change->request.kind == REQUEST_REMOVE
			    ? maps_remove(turn->maps, address)
			    : maps_put(turn->maps, address,
				       change->entry->expiry_s);
	}
	return error;
}

/* The maps as they were before put_held(), as far as they let us. */
static void unput_held(struct turn *turn)
{
	int error = 0;
	for (size_t i = turn->held.count; i-- > 0;) {
		const struct change *change = &turn->held.change[i];
		const struct entry *entry = change->entry;
		int undone;
		if (change->old_flags & ENTRY_IN_MAP)
			undone = maps_put(turn->maps, &entry->address,
					  change->request.kind == REQUEST_REMOVE
					      ? entry->expiry_s
					      : change->old_expiry_s);
		else
			undone = maps_remove(turn->maps, &entry->address);
		error = error ? error : undone;
	}
	int synced = maps_sync(turn->maps);
	if (error != 0 || synced != 0)
		chores_resync(turn->chores);
}

static size_t held_keys(const struct turn *turn)
{
	size_t keys = 0;
	for (size_t i = 0; i < turn->held.count; i++)
		keys += address_is_v4(&turn->held.change[i].request.address)
			    ? 1
			    : ADDRESS_KEYS_MAX;
	return keys;
}

/* What is held, and a share of the chores. */
static int publish(struct turn *turn, int64_t now_s, bool idle)
{
	int error = maps_lock(turn->maps);
	if (error != 0)
		return error;
	error = maps_reserve(turn->maps, held_keys(turn));
	if (error == 0)
		error = put_held(turn);
	if (error == 0)
		error = chores_put(turn->chores, now_s, idle);
	if (error == 0)
		error = maps_sync(turn->maps);
	if (error != 0)
		unput_held(turn);
	maps_unlock(turn->maps);
	return error;
}

/* Nobody keeps the lock for ever: what waits too long is refused. */
static void hold(struct turn *turn)
{
	static struct log_limit limit;
	int64_t now_ns = monotonic_ns();
	chores_postpone(turn->chores);
	if (turn->held.count == 0)
		return;
	if (turn->held_until_ns == 0) {
		turn->held_until_ns = now_ns + HOLD_MAX_MS * INT64_C(1000000);
		turn->stats->turns_held++;
		return;
	}
	if (now_ns < turn->held_until_ns)
		return;
	if (log_allowed(&limit))
		log_write(LOG_WARNING,
			  "map=%s is kept locked by another process: adds are "
			  "refused after %d ms",
			  turn->config->maps[0].path, HOLD_MAX_MS);
	take_back(turn);
}

static void fail(struct turn *turn, int error)
{
	static struct log_limit limit;
	if (log_allowed(&limit))
		log_write(LOG_ERR,
			  "map=%s cannot be written: %s; adds are refused "
			  "until it can",
			  turn->config->maps[0].path, map_error(error));
	take_back(turn);
	chores_failed(turn->chores);
}

static void publish_held(struct turn *turn, int64_t now_s, bool idle)
{
	if (turn->held.count == 0 &&
	    !chores_are_due(turn->chores, now_s, idle))
		return;
	int error = publish(turn, now_s, idle);
	if (maps_error_is_damage(error)) {
		log_write(LOG_ERR, "map=%s is damaged: %s; building it anew",
			  turn->config->maps[0].path, map_error(error));
		if (maps_rebuild(turn->maps, turn->table))
			error = publish(turn, now_s, idle);
	}
	if (error == EWOULDBLOCK) {
		hold(turn);
		return;
	}
	if (error != 0) {
		fail(turn, error);
		return;
	}
	chores_done(turn->chores);
	for (size_t i = 0; i < turn->held.count; i++)
		finish(turn, &turn->held.change[i]);
	turn->held.count = 0;
	turn->held_until_ns = 0;
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
	write_journal(turn);
	publish_held(turn, now_s, idle);
	while (turn->held.count == 0 && turn->waiting_count > 0) {
		admit_waiting(turn, now_s);
		write_journal(turn);
		publish_held(turn, now_s, false);
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
	undo_all(turn, &turn->now);
	refuse_all(turn, &turn->now);
	if (turn->held.count > 0)
		take_back(turn);
	for (size_t i = 0; i < turn->waiting_count; i++)
		refuse(turn, &turn->waiting[i]);
	chores_free(turn->chores);
	free(turn->now.change);
	free(turn->held.change);
	free(turn->waiting);
	free(turn->debt);
	free(turn);
}

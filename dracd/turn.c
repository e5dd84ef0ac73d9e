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
	RETRY_MS = 1,    /* between two tries for the lock */
	ROUNDS_MAX = 16, /* of a pass, in which they are tried again */
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

void turn_reply(struct turn *turn, struct request *request,
		enum outcome outcome, int64_t expiry_s)
{
	if (!request->silent)
		turn->answer(request, outcome, expiry_s);
	who_free(request->who);
	request->who = NULL;
}

void turn_refuse(struct turn *turn, struct request *request)
{
	turn->stats->refused++;
	turn_reply(turn, request, OUTCOME_SYSERR, 0);
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
		turn_reply(turn, &change->request, OUTCOME_OK, 0);
		return;
	}
	if (!change->inserted) {
		journal_unref(turn->journal, change->old_segment);
		account_settle(turn, change);
	}
	if (change->publish) {
		entry->flags = ENTRY_IN_MAP;
		table_clear_dirty(turn->table, entry);
	}
	table_grant(turn->table, entry);
	if (change->inserted || change->revived) {
		turn->stats->adds++;
		audit_authorize(turn->audit, entry,
				&change->request.origin.caller);
	} else {
		turn->stats->refreshes++;
		audit_refresh(turn->audit, entry,
			      &change->request.origin.caller);
	}
	turn_reply(turn, &change->request, OUTCOME_OK, entry->expiry_s);
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
		account_undo(turn, change);
		entry->flags = change->old_flags;
	} else {
		entry->flags = change->old_flags;
		table_join_user(turn->table, entry);
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
		turn_refuse(turn, &changes->change[i].request);
	changes->count = 0;
}

/* ---- looking ---------------------------------------------------------- */

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
	for (int round = 0; round < ROUNDS_MAX && turn->held.count == 0 &&
			    turn->waiting_count > 0;
	     round++) {
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
	if (turn->waiting_count > 0)
		return 0;
	return chores_timeout_ms(turn->chores, now_s);
}

int64_t turn_next_expiry(struct turn *turn)
{
	const struct entry *first = table_first(turn->table);
	return first ? first->expiry_s : 0;
}

/* What would undo them moves as well. */
static void step_changes(struct changes *changes, int64_t step_s)
{
	for (size_t i = 0; i < changes->count; i++) {
		struct change *change = &changes->change[i];
		change->old_expiry_s += step_s;
		change->old_last_s = clock_fit(change->old_last_s + step_s);
		if (change->who_changed && change->old_who != NULL)
			change->old_who->first_s =
			    clock_fit(change->old_who->first_s + step_s);
	}
}

void turn_step(struct turn *turn, int64_t step_s)
{
	table_step(turn->table, step_s);
	step_changes(&turn->now, step_s);
	step_changes(&turn->held, step_s);
	journal_step(turn->journal, step_s);
}

void turn_check_maps(struct turn *turn)
{
	maps_settle(turn->maps);
	if (maps_are_current(turn->maps))
		return;
	log_write(LOG_WARNING,
		  "map=%s was removed or replaced by somebody else: building "
		  "it anew",
		  maps_failed(turn->maps));
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
		turn_refuse(turn, &turn->waiting[i]);
	chores_free(turn->chores);
	free(turn->now.change);
	free(turn->held.change);
	free(turn->waiting);
	free(turn->debt);
	free(turn);
}

/*
 * commit: the end of a turn. Journal first, then the maps under one lock, then
 * the answers; and the way back when one of them fails. What a change is, and
 * how the table undoes it, is turn.c's.
 */
#include <errno.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "map.h"
#include "record.h"
#include "turn_impl.h"

enum { HOLD_MAX_MS = 500 }; /* then a reader has had his time */

/* ---- journal ------------------------------------------------------------ */

/* What the journal should say of an address: what the table says. */
static bool add_record(struct turn *turn, const struct address *address,
		       struct entry *entry)
{
	if (entry == NULL || (entry->flags & ENTRY_REMOVING))
		return journal_add(turn->journal,
				   &(struct record){.type = RECORD_REMOVE,
						    .address = *address});
	struct record record = record_of(turn->table, entry);
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

/* The entry's newest record is the one that has just been written. */
static void take_segment(struct turn *turn, struct change *change)
{
	if (change->request.kind != REQUEST_ADD)
		return;
	journal_ref(turn->journal, turn->mark.segment);
	change->old_segment = change->entry->segment;
	change->entry->segment = turn->mark.segment;
	change->journaled = true;
}

/*
 * Answers what needs no maps; the rest is held from now on. There is such a
 * rest only when nothing was held: while something is, it waits. Only a commit
 * of which nothing has been answered, and which paid no debt, may be rolled
 * back.
 */
static void settle(struct turn *turn)
{
	struct changes now = turn->now;
	size_t kept = 0;
	for (size_t i = 0; i < now.count; i++) {
		struct change *change = &now.change[i];
		take_segment(turn, change);
		if (!change->publish) {
			table_mark_dirty(turn->table, change->entry);
			turn_finish(turn, change);
		} else if (kept++ != i) {
			now.change[kept - 1] = *change;
		}
	}
	bool all_held = kept == now.count && turn->debt_count == 0;
	turn->held_mark = all_held ? turn->mark : (struct journal_mark){0};
	turn->now.count = 0;
	if (kept == 0)
		return;
	turn->now = turn->held;
	turn->held = now;
	turn->held.count = kept;
}

void commit_journal(struct turn *turn)
{
	static struct log_limit limit;
	if (turn->now.count == 0 && turn->debt_count == 0)
		return;
	int error = write_records(turn);
	if (error == 0) {
		settle(turn);
		turn->debt_count = 0;
		return;
	}
	if (log_allowed(&limit)) {
		errno = error;
		log_errno(LOG_ERR,
			  "journal=%s cannot be written: adds are refused "
			  "until it can",
			  turn->config->journal);
	}
	turn_undo_all(turn, &turn->now);
	turn_refuse_all(turn, &turn->now);
}

/* ---- maps ---------------------------------------------------------------- */

static void owe(struct turn *turn, const struct address *address)
{
	/* Without memory for it a restart may bring the entry back. */
	if (turn_reserve((void **)&turn->debt, turn->debt_count,
			 &turn->debt_room, sizeof(*address)))
		turn->debt[turn->debt_count++] = *address;
}

/* In table and journal; the maps do not have it, or unput_held() has been. */
void commit_take_back(struct turn *turn)
{
	bool erased = journal_rollback(turn->journal, &turn->held_mark);
	for (size_t i = 0; i < turn->held.count && !erased; i++)
		owe(turn, &turn->held.change[i].request.address);
	turn_undo_all(turn, &turn->held);
	turn_refuse_all(turn, &turn->held);
	turn->held_until_ns = 0;
	commit_journal(turn);
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
	int64_t now_ns = clock_monotonic_ns();
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
			  maps_failed(turn->maps), HOLD_MAX_MS);
	commit_take_back(turn);
}

static void fail(struct turn *turn, int error)
{
	static struct log_limit limit;
	if (log_allowed(&limit))
		log_write(LOG_ERR,
			  "map=%s cannot be written: %s; adds are refused "
			  "until it can",
			  maps_failed(turn->maps), map_error(error));
	commit_take_back(turn);
	chores_failed(turn->chores);
}

void commit_maps(struct turn *turn, int64_t now_s, bool idle)
{
	if (turn->held.count == 0 && !chores_are_due(turn->chores, now_s, idle))
		return;
	int error = publish(turn, now_s, idle);
	if (maps_error_is_damage(error)) {
		log_write(LOG_ERR, "map=%s is damaged: %s; building it anew",
			  maps_failed(turn->maps), map_error(error));
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
		turn_finish(turn, &turn->held.change[i]);
	turn->held.count = 0;
	turn->held_mark = (struct journal_mark){0}; /* it stands */
	turn->held_until_ns = 0;
}

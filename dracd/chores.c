/*
 * chores: see chores.h. Owns the two slices under way; the entries in them are
 * the table's.
 */
#include "chores.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "record.h"

enum {
	EXPIRE_SLICE = 32,
	REFRESH_SLICE = 32,
	IDLE_SLICE = 1,       /* in an empty poll: measured, more cost calls */
	TIDY_SLICE = 32,      /* records written anew */
	TIDY_LOOK = 512,      /* records looked at for them */
	REFRESH_AGE_MS = 500, /* then refreshes are published in any case */
	POSTPONE_MS = 5,
	RETRY_MS = 1000,
};

struct chores {
	struct table *table;
	struct journal *journal;
	struct maps *maps;
	struct stats *stats;
	struct audit *audit;
	/* between chores_put() and chores_done() */
	struct entry *expired[EXPIRE_SLICE];
	struct entry *refreshed[REFRESH_SLICE];
	int expired_count, refreshed_count;

	int64_t not_before_ns;  /* after a failure */
	int64_t dirty_since_ns; /* 0: nothing is dirty */
	bool draining;          /* dirty for too long */
	bool resync;
	bool untidy;
	uint32_t slot; /* the last one looked at after a failed flush */
};

struct chores *chores_create(struct table *table, struct journal *journal,
			     struct maps *maps, struct stats *stats,
			     struct audit *audit)
{
	struct chores *chores = calloc(1, sizeof(*chores));
	if (chores != NULL) {
		chores->table = table;
		chores->journal = journal;
		chores->maps = maps;
		chores->stats = stats;
		chores->audit = audit;
	}
	return chores;
}

void chores_free(struct chores *chores)
{
	free(chores);
}

/* ---- what is due -------------------------------------------------------- */

static bool expiry_is_due(const struct chores *chores, int64_t now_s)
{
	const struct entry *first = table_first(chores->table);
	return first != NULL && first->expiry_s <= now_s;
}

/* Once nothing is dirty, the next refresh may wait as long as the first. */
static bool is_clean(struct chores *chores)
{
	if (table_first_dirty(chores->table) != NULL)
		return false;
	chores->dirty_since_ns = 0;
	chores->draining = false;
	return true;
}

/* When idle, or when the oldest has been waiting for long. */
static bool refresh_is_due(struct chores *chores, bool idle)
{
	if (is_clean(chores))
		return false;
	if (chores->dirty_since_ns == 0)
		chores->dirty_since_ns = clock_monotonic_ns();
	if (!chores->draining)
		chores->draining =
		    clock_monotonic_ns() - chores->dirty_since_ns >
		    REFRESH_AGE_MS * INT64_C(1000000);
	return idle || chores->draining;
}

/* After a failure or a reader's lock, chores let some time pass. */
static bool is_postponed(const struct chores *chores)
{
	return chores->not_before_ns != 0 &&
	       clock_monotonic_ns() < chores->not_before_ns;
}

bool chores_are_due(struct chores *chores, int64_t now_s, bool idle)
{
	bool refresh = refresh_is_due(chores, idle);
	return (refresh || chores->resync || expiry_is_due(chores, now_s)) &&
	       !is_postponed(chores);
}

int chores_timeout_ms(struct chores *chores, int64_t now_s)
{
	if (chores->not_before_ns != 0) {
		int64_t left_ns = chores->not_before_ns - clock_monotonic_ns();
		if (left_ns > 0)
			return (int)(left_ns / 1000000) + 1;
	}
	return chores->resync || chores->untidy ||
		       expiry_is_due(chores, now_s) ||
		       table_first_dirty(chores->table) != NULL
		   ? 0
		   : -1;
}

/* ---- slices ------------------------------------------------------------- */

static bool can_leave(const struct entry *entry, int64_t now_s)
{
	return entry->expiry_s <= now_s &&
	       !(entry->flags & (ENTRY_PENDING | ENTRY_LEAVING));
}

static int leave(struct chores *chores, struct entry *entry)
{
	entry->flags |= ENTRY_LEAVING;
	chores->expired[chores->expired_count++] = entry;
	return maps_remove(chores->maps, &entry->address);
}

enum { STOP = -1 }; /* no errno, no code of Berkeley DB */

/* The neighbours of an expired entry that leave with it. */
struct neighbours {
	struct chores *chores;
	int64_t now_s;
	int count;
	struct entry *entry[EXPIRE_SLICE];
};

/* Ends the walk at the first key whose entry stays. */
static int see_neighbour(void *context, const void *key, size_t key_len,
			 const void *value, size_t value_len)
{
	struct neighbours *n = context;
	char text[ADDRESS_TEXT_MAX] = "";
	struct address address;
	(void)value;
	(void)value_len;
	if (key_len >= sizeof(text))
		return STOP;
	memcpy(text, key, key_len);
	if (!address_from_text(&address, text))
		return STOP;
	struct entry *entry = table_find(n->chores->table, &address);
	if (entry == NULL || !can_leave(entry, n->now_s) ||
	    n->chores->expired_count + n->count >= EXPIRE_SLICE)
		return STOP;
	for (int i = 0; i < n->count; i++)
		if (n->entry[i] == entry)
			return STOP; /* another key of the same one */
	n->entry[n->count++] = entry;
	return 0;
}

/*
 * Where many expire together, those next to each other in the map go
 * together: they share its pages.
 */
static int put_neighbours(struct chores *chores, const struct entry *entry,
			  int64_t now_s)
{
	struct neighbours n = {.chores = chores, .now_s = now_s};
	int error =
	    maps_walk_from(chores->maps, &entry->address, see_neighbour, &n);
	if (error == STOP)
		error = 0;
	for (int i = 0; i < n.count && error == 0; i++)
		error = leave(chores, n.entry[i]);
	return error;
}

static int put_expired(struct chores *chores, int64_t now_s)
{
	int error = 0;
	struct entry *entry = table_first(chores->table);
	while (entry != NULL && entry->expiry_s <= now_s && error == 0 &&
	       chores->expired_count < EXPIRE_SLICE) {
		if (can_leave(entry, now_s)) {
			error = leave(chores, entry);
			if (error == 0)
				error = put_neighbours(chores, entry, now_s);
		}
		entry = table_next(chores->table, entry);
	}
	return error;
}

/* What is pending is the turn's; what has expired is the slice's above. */
static int put_refreshed(struct chores *chores, int64_t now_s, int slice)
{
	int error = 0;
	struct entry *entry = table_first_dirty(chores->table);
	while (entry != NULL && error == 0 && chores->refreshed_count < slice) {
		if (!(entry->flags & ENTRY_PENDING) && entry->expiry_s > now_s)
			error = maps_put(chores->maps, &entry->address,
					 entry->expiry_s);
		chores->refreshed[chores->refreshed_count++] = entry;
		entry = table_next_dirty(chores->table, entry);
	}
	return error;
}

/* The slices did not go the whole way. */
static void drop_slices(struct chores *chores)
{
	for (int i = 0; i < chores->expired_count; i++)
		chores->expired[i]->flags &= (uint8_t)~ENTRY_LEAVING;
	chores->expired_count = chores->refreshed_count = 0;
}

int chores_put(struct chores *chores, int64_t now_s, bool idle)
{
	drop_slices(chores);
	if (is_postponed(chores))
		return 0;
	bool refresh = refresh_is_due(chores, idle);
	int error = put_expired(chores, now_s);
	if (error == 0 && refresh)
		error = put_refreshed(chores, now_s,
				      idle ? IDLE_SLICE : REFRESH_SLICE);
	return error;
}

void chores_done(struct chores *chores)
{
	for (int i = 0; i < chores->refreshed_count; i++) {
		chores->refreshed[i]->flags &= (uint8_t)~ENTRY_STALE;
		table_clear_dirty(chores->table, chores->refreshed[i]);
	}
	for (int i = 0; i < chores->expired_count; i++) {
		struct entry *entry = chores->expired[i];
		chores->stats->expiries++;
		audit_expire(chores->audit, entry,
			     table_caller(chores->table, entry->caller));
		journal_unref(chores->journal, entry->segment);
		table_remove(chores->table, entry);
	}
	chores->expired_count = chores->refreshed_count = 0;
	chores->resync = false;
	chores->not_before_ns = 0;
	is_clean(chores);
}

void chores_failed(struct chores *chores)
{
	drop_slices(chores);
	chores->not_before_ns =
	    clock_monotonic_ns() + RETRY_MS * INT64_C(1000000);
}

void chores_postpone(struct chores *chores)
{
	chores->not_before_ns =
	    clock_monotonic_ns() + POSTPONE_MS * INT64_C(1000000);
}

void chores_resync(struct chores *chores)
{
	chores->resync = true;
}

/* ---- journal ------------------------------------------------------------ */

/* What counts on segments that a failed flush left in doubt. */
static bool look_for_suspect(struct chores *chores, struct entry **entry)
{
	if (++chores->slot > table_slots(chores->table)) {
		chores->slot = 0;
		return false;
	}
	*entry = table_at(chores->table, chores->slot);
	if (*entry != NULL &&
	    (*entry)->segment > journal_suspect(chores->journal))
		*entry = NULL;
	return true;
}

/* What counts on the oldest segment of a journal that has become long. */
static bool look_for_survivor(struct chores *chores, struct entry **entry)
{
	struct address address;
	uint32_t segment;
	if (!journal_survivor(chores->journal, &address, &segment))
		return false;
	*entry = table_find(chores->table, &address);
	if (*entry != NULL && (*entry)->segment != segment)
		*entry = NULL;
	return true;
}

static int collect_survivors(struct chores *chores,
			     struct entry *found[TIDY_SLICE])
{
	int count = 0;
	bool suspect = journal_suspect(chores->journal) != 0;
	chores->untidy = false;
	for (int looked = 0; looked < TIDY_LOOK && count < TIDY_SLICE;
	     looked++) {
		struct entry *entry = NULL;
		if (!(suspect ? look_for_suspect(chores, &entry)
			      : look_for_survivor(chores, &entry)))
			return count;
		if (entry == NULL || (entry->flags & ENTRY_PENDING))
			continue;
		struct record record = record_of(chores->table, entry);
		if (!journal_add(chores->journal, &record))
			return count;
		found[count++] = entry;
	}
	chores->untidy = true;
	return count;
}

void chores_tidy(struct chores *chores)
{
	struct entry *found[TIDY_SLICE];
	struct journal_mark mark;
	int count = collect_survivors(chores, found);
	if (count == 0)
		return;
	if (journal_commit(chores->journal, &mark) != 0) {
		chores->untidy = false; /* the next turn's adds will say why */
		return;
	}
	for (int i = 0; i < count; i++) {
		uint32_t old = found[i]->segment;
		if (old == mark.segment)
			continue; /* found twice */
		journal_ref(chores->journal, mark.segment);
		found[i]->segment = mark.segment;
		journal_unref(chores->journal, old);
	}
}

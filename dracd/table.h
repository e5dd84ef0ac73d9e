/*
 * table: all entries, in memory: found by address, ordered by expiry, and a
 * queue of those whose map value is out of date ("dirty"); the IPv6 prefixes
 * and the users they belong to, where these count. It knows nothing of journal
 * and maps, and never reads a clock.
 *
 * Once the daemon serves no operation but table_step() looks at more than a
 * few entries: the hash grows by one bucket an insertion (linear hashing,
 * Litwin 1980), entries live in slabs that never move. A pointer to an entry
 * stays valid until table_remove().
 */
#ifndef DRACD_TABLE_H
#define DRACD_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "who.h"

enum entry_flag {
	ENTRY_IN_MAP = 1,   /* published: every map has a value for it */
	ENTRY_PENDING = 2,  /* in a turn that is not yet published */
	ENTRY_REMOVING = 4, /* and that turn removes it */
	ENTRY_LEAVING = 8,  /* expired, and in the slice under way */
	ENTRY_SEEN = 16,    /* and twice that, and four times: see mapdiff.c */
	ENTRY_STALE = 128,  /* the maps do not know of a clock step yet */
};

struct entry {
	struct address address;
	/* Unix time, until 2106 */
	uint32_t expiry_s; /* change with table_set_expiry() only */
	uint32_t last_s;   /* the last add */
	struct who *who;   /* owned by the entry; may be NULL, see there */
	uint32_t segment;  /* journal segment of its newest record */
	uint16_t caller;   /* of the last add; see table_take_caller() */
	uint8_t flags;     /* enum entry_flag; for the turn */
	/* private to the table, see table_impl.h */
	bool dirty;
	uint32_t index;
	uint32_t hash_next;
	uint32_t order_prev, order_next;
	uint32_t dirty_prev, dirty_next;
};

struct table;

struct table *table_create(void);     /* NULL: out of memory */
void table_free(struct table *table); /* also every who */

uint32_t entry_first_s(const struct entry *entry);
uint32_t entry_adds(const struct entry *entry);

uint32_t table_count(const struct table *table);
struct entry *table_find(struct table *table, const struct address *address);
/*
 * While nobody waits for an answer: in between insertions may take long, all
 * of them together take less time.
 */
void table_begin_filling(struct table *table);
void table_end_filling(struct table *table);
/*
 * For many lookups in a row: called for all of them, one after the other, they
 * let the memory come while something else is done: the bucket, its first
 * entry, and the second one. TABLE_BATCH of them at a time are worth it.
 */
enum { TABLE_BATCH = 16 };
void table_prefetch_bucket(const struct table *table,
			   const struct address *address);
void table_prefetch_entry(const struct table *table,
			  const struct address *address);
void table_prefetch_next(const struct table *table,
			 const struct address *address);
/* The address must not be in the table yet. NULL: out of memory. */
struct entry *table_insert(struct table *table, const struct address *address,
			   int64_t expiry_s);
/* Frees the entry and its who, and drops its caller. */
void table_remove(struct table *table, struct entry *entry);

/*
 * A caller (caller.h) by a number, counted: who overwrites the number in an
 * entry drops the old one, or keeps it and drops it later.
 */
uint16_t table_take_caller(struct table *table, const struct address *caller);
void table_drop_caller(struct table *table, uint16_t number);
const struct address *table_caller(const struct table *table, uint16_t number);

/*
 * Moves the entry in the order. False: out of memory, nothing changed. Taking
 * the last moves back in reverse order never fails.
 */
bool table_set_expiry(struct table *table, struct entry *entry,
		      int64_t expiry_s);
/*
 * The wall clock was set: all times move by step_s, their order stays. What is
 * in the maps becomes dirty. The one operation here, once the daemon serves,
 * that looks at all entries: some ten milliseconds for a million.
 */
void table_step(struct table *table, int64_t step_s);
/* The entry that expires first; NULL: the table is empty. */
struct entry *table_first(struct table *table);
/* The one after it in the order of expiry; NULL: that was the last. */
struct entry *table_next(struct table *table, const struct entry *entry);

/*
 * Lookups by the first bits of IPv6 addresses. Only for an empty table; without
 * it the rest here does nothing and costs nothing. False: out of memory.
 */
bool table_share_prefix(struct table *table, uint32_t bits);
/*
 * The entry's expiry has been acknowledged: until then its prefix may relay,
 * whatever becomes of the entry before the next grant. Ends with
 * table_revoke() and table_remove().
 */
void table_grant(struct table *table, const struct entry *entry);
void table_revoke(struct table *table, const struct entry *entry);
/* The latest expiry granted within the address's prefix; 0: none. */
int64_t table_prefix_expiry(const struct table *table,
			    const struct address *address);

/*
 * The entries of each user, for max-addresses-per-user: from now on, those
 * that are there included. Without it the rest here does nothing and costs
 * nothing. False: out of memory.
 */
bool table_know_users(struct table *table);
bool table_knows_users(const struct table *table);
/*
 * Counts the entry among those of its user, if it has one; ends with
 * table_leave_user() and table_remove(). False: out of memory.
 */
bool table_join_user(struct table *table, const struct entry *entry);
void table_leave_user(struct table *table, const struct entry *entry);
/* The one whose last add is longest ago, and the next one. NULL: no more. */
struct entry *table_user_first(struct table *table, const char *user);
struct entry *table_user_next(struct table *table, const struct entry *entry);

void table_mark_dirty(struct table *table, struct entry *entry);
void table_clear_dirty(struct table *table, struct entry *entry);
/* The one marked first; NULL: none. */
struct entry *table_first_dirty(struct table *table);
struct entry *table_next_dirty(struct table *table, const struct entry *entry);

/*
 * For walks that go on over many turns: entries keep their slot from 1 to
 * table_slots(). NULL: the slot is free.
 */
uint32_t table_slots(const struct table *table);
struct entry *table_at(struct table *table, uint32_t slot);
uint32_t table_slot(const struct entry *entry);

#endif

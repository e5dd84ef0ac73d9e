/*
 * table_impl: a table, as table.c, table_hash.c and table_users.c share it. For
 * those only.
 */
#ifndef DRACD_TABLE_IMPL_H
#define DRACD_TABLE_IMPL_H

#include <bsd/sys/tree.h>

#include "table.h"

enum {
	SLAB = 1024, /* entries in a slab */
	NONE = 0,    /* no slot */
};

/* All entries that expire in one second, in no particular order. */
struct second {
	RB_ENTRY(second) node;
	int64_t at_s;
	uint32_t head;
	struct second *next_free;
};

RB_HEAD(seconds, second);

struct table {
	struct entry **slab; /* slot s is slab[s / SLAB][s % SLAB] */
	uint32_t slabs, slab_room;
	uint32_t used; /* slots ever handed out; slot 0 is never */
	uint32_t free; /* list through hash_next */
	uint32_t count;
	bool filling;
	uint32_t first_block, blocks; /* slabs from table_begin_filling() */

	/* table_hash.c's */
	uint32_t **chunk; /* bucket b is chunk[b / CHUNK][b % CHUNK] */
	uint32_t chunks, chunk_room;
	uint32_t round; /* buckets when this round of splits began */
	uint32_t split; /* the bucket to split next */
	uint64_t seed[2];

	struct seconds seconds;
	struct second *free_seconds; /* kept, so that undoing never allocates */
	struct second *recent;       /* the last one linked to, or NULL */
	uint32_t dirty_head, dirty_tail;
	struct callers *callers;
	struct prefixes *prefixes; /* NULL: nobody asks by prefix */
	struct users *users;       /* NULL: nobody asks by user */
};

static inline struct entry *at(const struct table *table, uint32_t slot)
{
	return &table->slab[slot / SLAB][slot % SLAB];
}

/* table.c: makes room for one more element in an array of pointers. */
bool table_reserve(void **array, uint32_t used, uint32_t *room);

/* table_hash.c. False: out of memory, or no random numbers. */
bool hash_create(struct table *table);
void hash_free(struct table *table);
void hash_link(struct table *table, struct entry *entry);
void hash_unlink(struct table *table, const struct entry *entry);
/* Room for one entry more; without memory for it the chains grow longer. */
void hash_grow(struct table *table);
/* Gives back what filling has made too large. */
void hash_trim(struct table *table);

#endif

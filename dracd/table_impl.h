/*
 * table_impl: a table, for table.c and table_users.c. For those two only.
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

#endif

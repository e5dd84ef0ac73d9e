/*
 * mapdiff: what a map says against what the table says. It reads both and
 * changes neither; mapfile.c, its only user, writes.
 */
#ifndef DRACD_MAPDIFF_H
#define DRACD_MAPDIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "map.h"
#include "table.h"

enum { MAPDIFF_DIGITS_MAX = 12 }; /* of an expiry */

/* One key to write. */
struct mapdiff_item {
	uint64_t order; /* of its first letters; near order is good enough */
	uint32_t slot;
	int which; /* of address_keys */
};

struct mapdiff_items {
	struct mapdiff_item *item;
	size_t count, room;
};

/* Keys to remove, each behind its length. */
struct mapdiff_keys {
	char *byte;
	size_t used, room, count;
};

/* A pair as stored, read as text. */
struct mapdiff_pair {
	char key[ADDRESS_TEXT_MAX];
	size_t stored_len; /* of the key, with its NUL if it has one */
	struct address address;
	int64_t expiry_s; /* -1: the value is no expiry */
};

/* nul: keys and values end in one. False: the key does not read like one. */
bool mapdiff_read(struct mapdiff_pair *pair, const void *key, size_t key_len,
		  const void *value, size_t value_len, bool nul);

/* What a turn has not published yet is not published by the way. */
bool mapdiff_is_published(const struct entry *entry);

/*
 * What the map lacks or has wrong values for, in key order, and what it should
 * not have. 0 or an error of map.h; both lists are the caller's to free().
 */
int mapdiff(struct map *map, struct table *table, struct mapdiff_items *missing,
	    struct mapdiff_keys *wrong);
/* All that a map should have. */
int mapdiff_all(struct table *table, struct mapdiff_items *all);

#endif

/*
 * map_db_pages: the free pages of a Berkeley DB btree, and more of them, since
 * a page that is added when readers have mapped the file is an error in their
 * session. Only for map_db.c.
 *
 * Functions that return int: as in map.h.
 */
#ifndef DRACD_MAP_DB_PAGES_H
#define DRACD_MAP_DB_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map;

enum {
	PAGE_SIZE = 4096,
	/* Each page counted is a page read, by one add for all of them. */
	PAGES_KNOWN_MAX = 128,
};

/* Begins as zeros. */
struct pages {
	size_t free; /* at least */
	bool wrong;  /* the file says it has pages it has not */
	/*
	 * The beginning of the free list as it was counted; known_left of its
	 * pages were not taken when it was last looked at. Pages are taken from
	 * its beginning.
	 */
	uint32_t known[PAGES_KNOWN_MAX];
	size_t known_count, known_left;
};

/* See map_reserve() and map_pregrow(). */
int pages_reserve(struct pages *pages, struct map *map, size_t keys);
int pages_pregrow(struct pages *pages, struct map *map);

/* A remove may have put pages on the free list: what is known of it ends. */
static inline void pages_given_back(struct pages *pages)
{
	pages->known_left = 0;
}

#endif

/*
 * slabs: one thing of a size for each slot of a table, made when its slot is
 * first used, in memory that never moves.
 */
#ifndef DRACD_SLABS_H
#define DRACD_SLABS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slabs {
	size_t size; /* of a thing; the rest is private, and 0 at first */
	char **slab;
	uint32_t count;
};

/* Zeros for a new slot. False: out of memory. */
bool slabs_reserve(struct slabs *slabs, uint32_t slot);
/* NULL: nobody has made room for it. */
void *slabs_at(const struct slabs *slabs, uint32_t slot);
void slabs_free(struct slabs *slabs);

#endif

/* slabs: see slabs.h. Slot s is slab[s / SLAB], s % SLAB; some are missing. */
#include "slabs.h"

#include <stdlib.h>
#include <string.h>

enum { SLAB = 1024, FEW = 16 };

void *slabs_at(const struct slabs *slabs, uint32_t slot)
{
	if (slot / SLAB >= slabs->count || slabs->slab[slot / SLAB] == NULL)
		return NULL;
	return slabs->slab[slot / SLAB] + slot % SLAB * slabs->size;
}

bool slabs_reserve(struct slabs *slabs, uint32_t slot)
{
	uint32_t number = slot / SLAB, wanted = slabs->count;

	if (number >= wanted) {
		wanted = 2 * number + FEW;
		char **grown =
		    reallocarray(slabs->slab, wanted, sizeof(*grown));
		if (grown == NULL)
			return false;
		memset(grown + slabs->count, 0,
		       (wanted - slabs->count) * sizeof(*grown));
		slabs->slab = grown;
		slabs->count = wanted;
	}
	if (slabs->slab[number] == NULL)
		slabs->slab[number] = calloc(SLAB, slabs->size);
	return slabs->slab[number] != NULL;
}

void slabs_free(struct slabs *slabs)
{
	for (uint32_t i = 0; i < slabs->count; i++)
		free(slabs->slab[i]);
	free(slabs->slab);
}

/*
 * prefixes: until when each IPv6 prefix may relay, because of the entries in
 * it. For lookups only, and only when `ipv6-prefix` is shorter than an
 * address. Entries are known by their slot in the table; each has a place of
 * its own in one order (prefix, then the latest expiry first), so that nothing
 * costs more when a user of one prefix fills it with entries.
 */
#ifndef DRACD_PREFIXES_H
#define DRACD_PREFIXES_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"

struct prefixes;

struct prefixes *prefixes_create(uint32_t bits); /* NULL: out of memory */
void prefixes_free(struct prefixes *prefixes);

/*
 * Makes room for a slot, for good: what follows never fails. False: out of
 * memory.
 */
bool prefixes_reserve(struct prefixes *prefixes, uint32_t slot);
/* What the slot says, instead of what it said. */
void prefixes_set(struct prefixes *prefixes, uint32_t slot,
		  const struct address *address, int64_t expiry_s);
/* It says nothing any more; it may have said nothing, or have no room. */
void prefixes_clear(struct prefixes *prefixes, uint32_t slot);

/* The wall clock was set: all expiries move. */
void prefixes_step(struct prefixes *prefixes, int64_t step_s);

/* The latest expiry within the address's prefix; 0: none. */
int64_t prefixes_latest(struct prefixes *prefixes,
			const struct address *address);

#endif

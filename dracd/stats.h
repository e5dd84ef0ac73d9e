/*
 * stats: what has been counted since the daemon started, one struct for all
 * rooms, and how each counter is called outside.
 */
#ifndef DRACD_STATS_H
#define DRACD_STATS_H

#include <stddef.h>
#include <stdint.h>

struct stats {
	uint64_t adds;      /* addresses newly authorized */
	uint64_t refreshes; /* of live entries */
	uint64_t removes;
	uint64_t expiries;
	uint64_t denied;        /* caller or address not permitted */
	uint64_t refused;       /* answered with a system error */
	uint64_t bad_calls;     /* not decodable, wrong version and so on */
	uint64_t turns_held;    /* for a reader's lock on a map */
	uint64_t lookups_found; /* by socketmap */
	uint64_t lookups_not_found;
	/* as of now */
	uint64_t entries;
	uint64_t connections;
	uint64_t journal_bytes;
	uint64_t map_bytes;
	uint64_t uptime_s;
	uint64_t lifetime_s; /* what an add gets that asks for none */
};

enum { STATS_COUNT = sizeof(struct stats) / sizeof(uint64_t) };

/* 0 .. STATS_COUNT - 1, in the order above. */
const char *stats_name(size_t index);
uint64_t stats_value(const struct stats *stats, size_t index);

#endif

/* stats: see stats.h. */
#include "stats.h"

#include <string.h>

static const char *const names[] = {
    "adds",          "refreshes",         "removes",   "expiries",
    "denied",        "refused",           "bad_calls", "turns_held",
    "lookups_found", "lookups_not_found", "entries",   "connections",
    "journal_bytes", "map_bytes",         "uptime_s",  "lifetime_s",
};

_Static_assert(sizeof(names) / sizeof(names[0]) == STATS_COUNT,
	       "a name for each counter");

const char *stats_name(size_t index)
{
	return names[index];
}

uint64_t stats_value(const struct stats *stats, size_t index)
{
	uint64_t value;
	memcpy(&value, (const char *)stats + index * sizeof(value),
	       sizeof(value));
	return value;
}

/* openmetrics: see openmetrics.h. */
#include "openmetrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct metric {
	const char *counter; /* as the server calls it */
	const char *name;    /* NULL: the same */
	const char *type, *unit, *help;
};

/* The comments of dracd/stats.h, for those who read a dashboard. */
static const struct metric known[] = {
    {"adds", NULL, "counter", NULL, "Addresses newly authorized"},
    {"refreshes", NULL, "counter", NULL, "Adds of addresses that were entries"},
    {"removes", NULL, "counter", NULL, "Entries removed by callers"},
    {"expiries", NULL, "counter", NULL, "Entries whose time was over"},
    {"denied", NULL, "counter", NULL,
     "Calls from or for whom it is not permitted"},
    {"refused", NULL, "counter", NULL, "Calls answered with a system error"},
    {"bad_calls", NULL, "counter", NULL, "Calls that could not be decoded"},
    {"turns_held", NULL, "counter", NULL,
     "Changes that waited for a reader's lock on a map"},
    {"lookups_found", NULL, "counter", NULL, "Socketmap lookups of an entry"},
    {"lookups_not_found", NULL, "counter", NULL,
     "Socketmap lookups of anything else"},
    {"entries", NULL, "gauge", NULL, "Entries"},
    {"connections", NULL, "gauge", NULL, "Open connections"},
    {"journal_bytes", NULL, "gauge", "bytes", "Size of the journal"},
    {"map_bytes", NULL, "gauge", "bytes", "Size of the maps"},
    {"uptime_s", "uptime_seconds", "gauge", "seconds", "Time since the start"},
    {"lifetime_s", "lifetime_seconds", "gauge", "seconds",
     "What an add gets that asks for none"},
};

static const struct metric *find(const char *counter)
{
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(known[i].counter, counter) == 0)
			return &known[i];
	return NULL;
}

static bool is_name(const char *name)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

	return *name != '\0' && name[strspn(name, chars)] == '\0';
}

static void print_known(const struct metric *metric, uint64_t value)
{
	const char *name = metric->name ? metric->name : metric->counter;

	printf("# TYPE dracd_%s %s\n", name, metric->type);
	if (metric->unit != NULL)
		printf("# UNIT dracd_%s %s\n", name, metric->unit);
	printf("# HELP dracd_%s %s.\n", name, metric->help);
	printf("dracd_%s%s %" PRIu64 "\n", name,
	       strcmp(metric->type, "counter") == 0 ? "_total" : "", value);
}

void openmetrics_print(const struct drac_counter *counters, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct metric *metric = find(counters[i].name);

		if (metric != NULL)
			print_known(metric, counters[i].value);
		else if (is_name(counters[i].name))
			/* No TYPE: the older format knows no "unknown". */
			printf("dracd_%s %" PRIu64 "\n", counters[i].name,
			       counters[i].value);
	}
	puts("# EOF");
}

/* verb_stats: stats and ping. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "json.h"
#include "openmetrics.h"
#include "say.h"
#include "verb.h"

static void print_table(const struct drac_counter *counters, size_t count)
{
	int width = 0;

	for (size_t i = 0; i < count; i++)
		if ((int)strlen(counters[i].name) > width)
			width = (int)strlen(counters[i].name);
	for (size_t i = 0; i < count; i++)
		printf("%-*s  %" PRIu64 "\n", width, counters[i].name,
		       counters[i].value);
}

int verb_stats(struct talk *talk, const struct options *options)
{
	struct drac_counter counters[DRAC_COUNTERS_MAX];
	size_t count = DRAC_COUNTERS_MAX;
	int result;

	if (options->json && options->openmetrics)
		return options_wrong("stats", "either --json or --openmetrics",
				     "");
	result = drac_stats(talk->drac, counters, &count);
	if (result != DRAC_OK)
		return talk_failed(talk, "stats", "", result);
	for (size_t i = 0; i < count; i++)
		say_clean(counters[i].name);
	if (options->openmetrics)
		openmetrics_print(counters, count);
	else if (options->json)
		json_counters(counters, count);
	else
		print_table(counters, count);
	return EX_OK;
}

static double now_ms(void)
{
	enum { S_MS = 1000, MS_NS = 1000000 };
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * S_MS + (double)now.tv_nsec / MS_NS;
}

/* libdrac has no null call; statistics are nearly as little. */
int verb_ping(struct talk *talk, const struct options *options)
{
	struct drac_counter counters[DRAC_COUNTERS_MAX];
	size_t count = DRAC_COUNTERS_MAX;
	double begin_ms = now_ms(), took_ms;
	int result = drac_stats(talk->drac, counters, &count);

	(void)options;
	took_ms = now_ms() - begin_ms;
	switch (result) {
	case DRAC_OK:
		printf("%s answers: %.2f ms\n", talk->server, took_ms);
		return EX_OK;
	case DRAC_UNSUPPORTED:
		printf("%s answers, as DRAC 1.12: %.2f ms\n", talk->server,
		       took_ms);
		return EX_OK;
	case DRAC_PERM:
		printf("%s answers, but not to read: %.2f ms\n", talk->server,
		       took_ms);
		return EX_NOPERM;
	default:
		return talk_failed(talk, "ping", "", result);
	}
}

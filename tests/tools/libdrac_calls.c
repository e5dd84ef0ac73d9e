/*
 * libdrac_calls: the calls of drac(3), one after the other, on one handle. For
 * each step one line: result, milliseconds, and what came back or the error.
 *
 *	libdrac_calls server budget_ms step...
 *	add ADDRESS LIFETIME USER SERVICE | remove ADDRESS | query ADDRESS
 *	list ROOM | stats ROOM		all pages; the first ROOM counters
 *	pause		prints "paused", waits for a line on standard input
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drac.h"

enum { TEXT_MAX = 4096 };

static char **argument;
static char text[TEXT_MAX];

static char *next(void)
{
	if (*argument == NULL)
		errx(2, "the last step is not complete");
	return *argument++;
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int add(struct drac *drac)
{
	const char *address = next();
	uint32_t lifetime_s = (uint32_t)strtoul(next(), NULL, 10);
	const char *user = next(), *service = next();
	int64_t expiry_s = -1;
	int result =
	    drac_add(drac, address, lifetime_s, user, service, &expiry_s);

	snprintf(text, sizeof text, "%" PRId64, expiry_s);
	return result;
}

static int query(struct drac *drac)
{
	struct drac_entry entry;
	int result = drac_query(drac, next(), &entry);

	if (result == DRAC_OK)
		snprintf(text, sizeof text, "%s %" PRId64 " %s %s",
			 entry.address, entry.expiry_s, entry.user,
			 entry.service);
	return result;
}

/* What a query tells beside query(). */
static int account(struct drac *drac)
{
	struct drac_entry entry;
	int result = drac_query(drac, next(), &entry);

	if (result == DRAC_OK)
		snprintf(text, sizeof text,
			 "%" PRId64 " %" PRId64 " %" PRIu64 " %s",
			 entry.first_s, entry.last_s, entry.adds, entry.caller);
	return result;
}

static int events(struct drac *drac)
{
	static uint64_t cookie;
	size_t count = strtoul(next(), NULL, 10), used;
	struct drac_event found[DRAC_PAGE_MAX];
	uint64_t lost;
	int result = drac_events(drac, &cookie, found, &count, &lost);

	used =
	    (size_t)snprintf(text, sizeof text,
			     "cookie %" PRIu64 " lost %" PRIu64, cookie, lost);
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(
		    text + used, sizeof text - used, " %d,%" PRId64 ",%s,%s",
		    (int)found[i].kind, found[i].time_s, found[i].entry.address,
		    found[i].entry.user);
	return result;
}

static int list(struct drac *drac)
{
	size_t room = strtoul(next(), NULL, 10), pages = 0, total = 0;
	struct drac_entry entries[DRAC_PAGE_MAX];
	struct drac_entry last = {.address = "none"};
	uint64_t cookie = 0;
	int result;

	do {
		size_t count = room;

		result = drac_list(drac, &cookie, entries, &count);
		pages++;
		total += count;
		if (count > 0)
			last = entries[count - 1];
	} while (result == DRAC_OK && cookie != 0);
	snprintf(text, sizeof text, "%zu pages, %zu entries, last %s %s %s",
		 pages, total, last.address, last.user, last.service);
	return result;
}

static int stats(struct drac *drac)
{
	size_t count = strtoul(next(), NULL, 10), used = 0;
	struct drac_counter counters[DRAC_COUNTERS_MAX];
	int result = drac_stats(drac, counters, &count);

	text[0] = '\0';
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof text - used,
					 "%s=%" PRIu64 " ", counters[i].name,
					 counters[i].value);
	return result;
}

static int step(struct drac *drac, const char *name)
{
	if (strcmp(name, "add") == 0)
		return add(drac);
	if (strcmp(name, "remove") == 0)
		return drac_remove(drac, next());
	if (strcmp(name, "query") == 0)
		return query(drac);
	if (strcmp(name, "account") == 0)
		return account(drac);
	if (strcmp(name, "events") == 0)
		return events(drac);
	if (strcmp(name, "list") == 0)
		return list(drac);
	if (strcmp(name, "stats") == 0)
		return stats(drac);
	errx(2, "%s: no such step", name);
}

int main(int argc, char **argv)
{
	struct drac *drac;

	if (argc < 3)
		errx(2, "usage: libdrac_calls server budget_ms step...");
	setvbuf(stdout, NULL, _IOLBF, 0);
	drac = drac_open(argv[1], (unsigned int)strtoul(argv[2], NULL, 10));
	if (drac == NULL)
		errx(1, "%s", drac_error());
	for (argument = argv + 3; *argument != NULL;) {
		const char *name = next();
		double begin_ms = now_ms();
		char line[80];
		int result;

		if (strcmp(name, "pause") == 0) {
			puts("paused");
			if (fgets(line, sizeof line, stdin) == NULL)
				errx(2, "standard input ended");
			continue;
		}
		snprintf(text, sizeof text, "done");
		result = step(drac, name);
		printf("%d\t%.1f\t%s\n", result, now_ms() - begin_ms,
		       result == DRAC_OK ? text : drac_error());
	}
	drac_close(drac);
	return 0;
}

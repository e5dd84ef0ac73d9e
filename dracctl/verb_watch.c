/* verb_watch: events as they happen, until SIGINT or SIGTERM. */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "json.h"
#include "say.h"
#include "verb.h"

enum { POLL_MS = 250, RETRY_MS = 1000, S_MS = 1000, MS_NS = 1000000 };

static volatile sig_atomic_t ended;

static void end(int signal_number)
{
	(void)signal_number;
	ended = 1;
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = end};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static const char *kind_name(enum drac_event_kind kind)
{
	static const char *const names[] = {
	    [DRAC_AUTHORIZE] = "authorize", [DRAC_REFRESH] = "refresh",
	    [DRAC_REMOVED] = "remove",      [DRAC_EXPIRE] = "expire",
	    [DRAC_DENY] = "deny",
	};

	return (size_t)kind < sizeof names / sizeof *names ? names[kind] : "?";
}

static void print_pair(const char *name, const char *value)
{
	if (*value == '\0')
		return;
	if (strpbrk(value, " \"\\") == NULL) {
		printf(" %s=%s", name, value);
		return;
	}
	printf(" %s=\"", name);
	for (; *value != '\0'; value++)
		printf("%s%c", strchr("\"\\", *value) ? "\\" : "", *value);
	putchar('"');
}

static void print_event(const struct drac_event *event)
{
	const struct drac_entry *entry = &event->entry;
	char time[SAY_TIME_SIZE], left[SAY_SPAN_SIZE];

	printf("%s %-9s %s", say_time(event->time_s, time),
	       kind_name(event->kind),
	       *entry->address != '\0' ? entry->address : "-");
	print_pair("user", entry->user);
	print_pair("service", entry->service);
	print_pair("caller", entry->caller);
	if (event->kind == DRAC_AUTHORIZE || event->kind == DRAC_REFRESH)
		print_pair("left",
			   say_span(entry->expiry_s - event->time_s, left));
	putchar('\n');
}

static void print_lost(uint64_t lost, bool json)
{
	char now[SAY_TIME_SIZE];

	if (json)
		json_lost(lost);
	else
		printf("%s lost      %" PRIu64
		       " events: more than the server keeps\n",
		       say_time(time(NULL), now), lost);
}

/* A page of them; *count is how many. */
static int show(struct talk *talk, uint64_t *cookie, size_t *count, bool json)
{
	struct drac_event events[DRAC_PAGE_MAX];
	uint64_t lost = 0;
	int result;

	*count = DRAC_PAGE_MAX;
	result = drac_events(talk->drac, cookie, events, count, &lost);
	if (result != DRAC_OK)
		return result;
	if (lost > 0)
		print_lost(lost, json);
	for (size_t i = 0; i < *count; i++) {
		say_clean_entry(&events[i].entry);
		if (json)
			json_event(&events[i], kind_name(events[i].kind));
		else
			print_event(&events[i]);
	}
	return DRAC_OK;
}

static void sleep_ms(long ms)
{
	const struct timespec pause = {.tv_sec = ms / S_MS,
				       .tv_nsec = ms % S_MS * MS_NS};

	nanosleep(&pause, NULL);
}

/* A server that is started anew is waited for; one that never was, not. */
int verb_watch(struct talk *talk, const struct options *options)
{
	bool silent = false;
	uint64_t cookie = 0;
	size_t count;

	catch_signals();
	while (!ended) {
		int result = show(talk, &cookie, &count, options->json);

		if (result == DRAC_NOANSWER && cookie != 0) {
			if (!silent)
				talk_failed(talk, "watch", "", result);
			silent = true;
			sleep_ms(RETRY_MS);
			continue;
		}
		if (result != DRAC_OK)
			return talk_failed(talk, "watch", "", result);
		if (silent)
			say_error("watch: %s answers again", talk->server);
		silent = false;
		if (fflush(stdout) != 0)
			break; /* main says so */
		if (count == 0)
			sleep_ms(POLL_MS);
	}
	return EX_OK;
}

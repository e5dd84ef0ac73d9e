/*
 * report: a ring of events and the handle of libdrac. A login gets what is
 * left of its lifetime, counted from when it happened; one that is older gets
 * nothing, so that an old log cannot open the relay.
 */
#include "report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

enum {
	ENOUGH_MS = 100,
	NS_IN_MS = 1000000,
	MUTE_S = 60, /* who cannot be asked is not asked */
};

struct report {
	struct drac *drac;
	size_t first, count;
	struct event queue[REPORT_QUEUE_MAX];
	int64_t retry_s; /* monotonic; not before */
	int64_t mute_s;  /* the same, for its lifetime */
	bool away;       /* the last call was not answered */
	uint64_t lost;   /* while it was */
	uint64_t late;
	struct log_limit refused_limit;
};

struct report *report_open(const char *servers)
{
	struct report *report = calloc(1, sizeof *report);

	if (report == NULL) {
		log_errno(LOG_ERR, "dracwatch cannot start");
		return NULL;
	}
	report->drac = drac_open(servers, REPORT_BUDGET_MS);
	if (report->drac != NULL)
		return report;
	log_write(LOG_ERR, "option -s: %s", drac_error());
	free(report);
	return NULL;
}

void report_close(struct report *report)
{
	if (report == NULL)
		return;
	drac_close(report->drac);
	free(report);
}

bool report_pending(const struct report *report)
{
	return report->count > 0;
}

bool report_waits(const struct report *report)
{
	return report->away;
}

static void drop_first(struct report *report)
{
	report->first = (report->first + 1) % REPORT_QUEUE_MAX;
	report->count--;
}

void report_event(void *ctx, const struct event *event)
{
	struct report *report = ctx;

	if (event->kind != EVENT_LOGIN)
		return;
	if (report->count == REPORT_QUEUE_MAX) {
		report->lost++;
		drop_first(report);
	}
	report->queue[(report->first + report->count++) % REPORT_QUEUE_MAX] =
	    *event;
}

/* ---- what dracd says ----------------------------------------------------- */

static void note_away(struct report *report)
{
	report->retry_s = clock_monotonic_s() + REPORT_RETRY_S;
	if (!report->away)
		log_write(LOG_WARNING,
			  "dracd does not take logins: %s; they are kept",
			  drac_error());
	report->away = true;
}

static void note_back(struct report *report)
{
	if (!report->away)
		return;
	report->away = false;
	log_write(LOG_NOTICE,
		  "dracd takes logins again: queued=%zu too-late=%" PRIu64
		  " lost=%" PRIu64,
		  report->count, report->late, report->lost);
	report->late = report->lost = 0;
}

static void note_refused(struct report *report, const struct event *event)
{
	char user[DRAC_USER_MAX + 1];

	if (log_allowed(&report->refused_limit))
		log_write(LOG_WARNING, "not authorized address=%s user=%s: %s",
			  event->address,
			  log_quote(event->user, user, sizeof user),
			  drac_error());
}

/* ---- one event ----------------------------------------------------------- */

/*
 * Whether dracd answers where adds go: reading goes by TCP, adds may go by UDP,
 * and a packet filter may know only that. Nobody has this address.
 */
static bool takes_calls(struct report *report)
{
	int rc = drac_remove(report->drac, "0.0.0.0");

	return rc != DRAC_NOANSWER && rc != DRAC_SYSERR;
}

/* The default lifetime of dracd; 0: it does not say; negative: no answer. */
static int64_t ask_lifetime(struct report *report)
{
	struct drac_counter counter[DRAC_COUNTERS_MAX];
	size_t count = DRAC_COUNTERS_MAX;
	bool mute = clock_monotonic_s() < report->mute_s;
	int rc =
	    mute ? DRAC_NOANSWER : drac_stats(report->drac, counter, &count);

	if (rc == DRAC_NOANSWER && takes_calls(report)) {
		if (!mute)
			report->mute_s = clock_monotonic_s() + MUTE_S;
		return 0;
	}
	if (rc == DRAC_NOANSWER || rc == DRAC_SYSERR)
		return -1;
	for (size_t i = 0; rc == DRAC_OK && i < count; i++)
		if (strcmp(counter[i].name, "lifetime_s") == 0)
			return (int64_t)counter[i].value;
	return 0;
}

/*
 * What to ask for; 0: the default. False: dracd does not answer.
 * *late: nothing is left.
 */
static bool find_lifetime(struct report *report, const struct event *event,
			  uint32_t *lifetime_s, bool *late)
{
	int64_t age_s = clock_wall_s() - event->time_s, all_s;

	*lifetime_s = 0;
	*late = false;
	if (age_s <= REPORT_FRESH_S)
		return true;
	all_s = ask_lifetime(report);
	if (all_s < 0)
		return false;
	if (all_s == 0) { /* DRAC 1.12 grants its own, whatever we ask for */
		*late = age_s > REPORT_LATE_MAX_S;
		return true;
	}
	*late = age_s >= all_s;
	if (!*late)
		*lifetime_s = (uint32_t)(all_s - age_s);
	return true;
}

/* False: try it again later. */
static bool send_event(struct report *report, const struct event *event)
{
	uint32_t lifetime_s;
	bool late;
	int rc;

	if (!find_lifetime(report, event, &lifetime_s, &late)) {
		note_away(report);
		return false;
	}
	if (late) {
		report->late++;
		return true;
	}
	rc = drac_add(report->drac, event->address, lifetime_s, event->user,
		      event->service, NULL);
	if (rc == DRAC_NOANSWER || rc == DRAC_SYSERR) {
		note_away(report);
		return false;
	}
	if (rc != DRAC_OK)
		note_refused(report, event);
	note_back(report);
	return true;
}

bool report_run(struct report *report)
{
	int64_t enough_ns =
	    clock_monotonic_ns() + ENOUGH_MS * (int64_t)NS_IN_MS;

	if (clock_monotonic_s() < report->retry_s)
		return report->count == 0;
	/* a while only: sources that cannot wait are read between */
	while (report->count > 0 && clock_monotonic_ns() < enough_ns) {
		if (!send_event(report, &report->queue[report->first]))
			return false;
		drop_first(report);
	}
	return report->count == 0;
}

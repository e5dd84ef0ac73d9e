/*
 * report: tells dracd of logins, in order, and keeps those that dracd could
 * not take. A call waits for dracd for REPORT_BUDGET_MS at most, and then it is
 * left alone for REPORT_RETRY_S.
 */
#ifndef WATCH_REPORT_H
#define WATCH_REPORT_H

#include <stdbool.h>

#include "event.h"

enum {
	REPORT_QUEUE_MAX = 4096, /* the oldest goes */
	REPORT_BUDGET_MS = 500,  /* of one call */
	REPORT_RETRY_S = 2,      /* between calls that nobody answers */
	/* A login read within this time is new: it gets the whole lifetime. */
	REPORT_FRESH_S = 5,
	/* How old it may be when nobody says what the lifetime is. */
	REPORT_LATE_MAX_S = 60,
};

struct report;

/* servers: as drac_open() takes them. NULL after logging. */
struct report *report_open(const char *servers);
void report_close(struct report *report);

/* Queues a copy; an event_fn whose ctx is the report. Logouts are no news. */
void report_event(void *report, const struct event *event);

/*
 * Sends what is queued, for a moment or until dracd does not answer. True:
 * nothing is left, so all that was read may be forgotten.
 */
bool report_run(struct report *report);

/* Whether something is queued. */
bool report_pending(const struct report *report);
/* Whether dracd did not answer the last call: report_run() waits. */
bool report_waits(const struct report *report);

#endif

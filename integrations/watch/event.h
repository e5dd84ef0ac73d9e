/*
 * event: somebody has logged in or out. What every source (file, journal,
 * Cyrus) makes of what it reads, and what report sends.
 */
#ifndef WATCH_EVENT_H
#define WATCH_EVENT_H

#include <stdint.h>

#include "drac.h"

enum event_kind { EVENT_LOGIN, EVENT_LOGOUT };

struct event {
	enum event_kind kind;
	int64_t time_s; /* when it happened, Unix time; never in the future */
	char address[DRAC_ADDRESS_SIZE];    /* numeric, v4-mapped undone */
	char user[DRAC_USER_MAX + 1];       /* "": not known */
	char service[DRAC_SERVICE_MAX + 1]; /* "": not known */
};

/*
 * Takes a copy of event at once and never waits. A source that cannot be read
 * later, as cyrus, calls it whenever it has one; watcher calls the source:
 *	struct cyrus *cyrus_open(const char *path, event_fn *fn, void *ctx);
 *				NULL after logging
 *	int cyrus_fd(const struct cyrus *cyrus);
 *	void cyrus_read(struct cyrus *cyrus);	when the fd is readable
 *	void cyrus_tick(struct cyrus *cyrus);	once a second
 *	void cyrus_close(struct cyrus *cyrus);
 */
typedef void event_fn(void *ctx, const struct event *event);

#endif

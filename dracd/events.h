/*
 * events: what has happened lately, for those who watch. A ring in memory:
 * what nobody has fetched in time is forgotten, nobody is waited for.
 */
#ifndef DRACD_EVENTS_H
#define DRACD_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "address.h"

enum {
	EVENTS_KEPT = 1024,
	EVENT_USER_MAX = 255,
	EVENT_SERVICE_MAX = 32,
};

enum event_kind {
	EVENT_AUTHORIZE,
	EVENT_REFRESH,
	EVENT_REMOVE,
	EVENT_EXPIRE,
	EVENT_DENY,
};

struct event {
	enum event_kind kind;
	int64_t time_s;
	struct address address; /* zeros: of none (deny) */
	struct address caller;  /* see caller.h */
	int64_t expiry_s;
	uint32_t first_s, last_s, adds;
	char user[EVENT_USER_MAX + 1];
	char service[EVENT_SERVICE_MAX + 1];
};

struct events;

struct events *events_create(void); /* NULL: out of memory */
void events_free(struct events *events);

/* The next one, to be filled in; it is in the ring from now on. */
struct event *events_add(struct events *events);

/*
 * The cookie tells one life of the daemon from another. 0 begins with what
 * happens from now on; one of another life begins with the oldest that is
 * known. Returns an acceptable one, and how many events after the given one
 * are not known any more; what a former life has not told counts as one.
 */
uint64_t events_resume(const struct events *events, uint64_t cookie,
		       uint64_t *lost);
/* The event at the cookie, which then is the next one's. NULL: no more. */
const struct event *events_next(const struct events *events, uint64_t *cookie);

#endif

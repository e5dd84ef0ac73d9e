/*
 * events: see events.h. A cookie is the number of an event, with the number of
 * this life above it.
 */
#include "events.h"

#include <stdlib.h>
#include <sys/random.h>

enum { LIFE_SHIFT = 40 }; /* 2^40 events: 300 years of a hundred a second */
#define NUMBER_MASK ((UINT64_C(1) << LIFE_SHIFT) - 1)

struct events {
	uint64_t life; /* in its place in a cookie, never 0 */
	uint64_t count;
	struct event ring[EVENTS_KEPT];
};

struct events *events_create(void)
{
	struct events *events = calloc(1, sizeof(*events));
	uint64_t life = 0;
	if (events == NULL)
		return NULL;
	if (getrandom(&life, sizeof(life), 0) != (ssize_t)sizeof(life)) {
		free(events);
		return NULL;
	}
	events->life = (life | 1) << LIFE_SHIFT;
	return events;
}

void events_free(struct events *events)
{
	free(events);
}

struct event *events_add(struct events *events)
{
	return &events->ring[events->count++ % EVENTS_KEPT];
}

static uint64_t oldest(const struct events *events)
{
	return events->count > EVENTS_KEPT ? events->count - EVENTS_KEPT : 0;
}

uint64_t events_resume(const struct events *events, uint64_t cookie,
		       uint64_t *lost)
{
	uint64_t number = cookie & NUMBER_MASK, first = oldest(events);
	*lost = 0;
	if (cookie == 0)
		return events->life | events->count;
	if ((cookie & ~NUMBER_MASK) != events->life || number > events->count) {
		*lost = first + 1;
		return events->life | first;
	}
	if (number >= first)
		return cookie;
	*lost = first - number;
	return events->life | first;
}

const struct event *events_next(const struct events *events, uint64_t *cookie)
{
	uint64_t number = *cookie & NUMBER_MASK;
	if (number >= events->count)
		return NULL;
	++*cookie;
	return &events->ring[number % EVENTS_KEPT];
}

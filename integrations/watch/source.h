/*
 * source: one thing to watch, whatever its kind: a log file, the journal, the
 * socket of Cyrus.
 */
#ifndef WATCH_SOURCE_H
#define WATCH_SOURCE_H

#include <jansson.h>
#include <stdbool.h>

#include "event.h"
#include "patterns.h"

struct source;

/* What sources have in common; it outlives them. */
struct source_world {
	struct patterns *patterns; /* may be replaced between two reads */
	event_fn *fn;
	void *ctx;
};

/* Whether text is KIND:WHAT; if not, what to write is logged. */
bool source_check(const char *text);

/* saved: what source_save() gave, or NULL. NULL after logging. */
struct source *source_open(const char *text, const json_t *saved,
			   const struct source_world *world);
void source_close(struct source *source);

/* As it was written on the command line. */
const char *source_name(const struct source *source);
/* Readable when something may have happened; -1: look once a second. */
int source_fd(const struct source *source);
/* Logs wait while dracd is away; whoever sends to a socket must not. */
bool source_can_wait(const struct source *source);
/* Passes on some of what is new. True: there may be more. */
bool source_read(struct source *source);
/* Once a second. */
void source_tick(struct source *source);
/* NULL: there is nothing to save. */
json_t *source_save(const struct source *source);

#endif

/*
 * journald: lines from the system's journal, from one unit or one program
 * only. The journal itself says who wrote a line, so that nobody else can.
 */
#ifndef WATCH_JOURNALD_H
#define WATCH_JOURNALD_H

#include <jansson.h>
#include <stdbool.h>

#include "line.h"

struct journald;

typedef void journald_fn(void *ctx, const struct line *line);

/*
 * from: "name.service", or the path of an executable. saved: what
 * journald_save() gave, or NULL: from now on. NULL after logging.
 */
struct journald *journald_open(const char *from, const json_t *saved,
			       journald_fn *fn, void *ctx);
void journald_close(struct journald *journald);

/* Readable when something may have happened. */
int journald_fd(const struct journald *journald);
/* Gives some of what is new. True: there may be more. */
bool journald_read(struct journald *journald);
/* Once a second. */
void journald_tick(struct journald *journald);

json_t *journald_save(const struct journald *journald);

#endif

/*
 * patterns: which lines of which programs say that somebody has logged in, and
 * from where: dracwatch.patterns(5).
 */
#ifndef WATCH_PATTERNS_H
#define WATCH_PATTERNS_H

#include <stddef.h>

#include "event.h"
#include "joins.h"
#include "line.h"

struct patterns;

/* NULL after logging what is wrong, with file and line. */
struct patterns *patterns_load(const char *file);
/* The same from memory; file is for messages. */
struct patterns *patterns_parse(const char *file, const char *text, size_t len);
void patterns_free(struct patterns *patterns);

/*
 * The name of the pattern that takes line for a login, and *event; NULL: none
 * does. An address is numeric or there is no event. What a pattern's first of
 * two lines says is kept in joins.
 */
const char *patterns_match(const struct patterns *patterns, struct joins *joins,
			   const struct line *line, struct event *event);

#endif

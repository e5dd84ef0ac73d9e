/*
 * joins: servers that tell the address in one line and the login in a later
 * one. Which process told which address, of one source: what another source
 * says never completes it.
 */
#ifndef WATCH_JOINS_H
#define WATCH_JOINS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "drac.h"
#include "line.h"

enum {
	JOINS_MAX = 256,       /* the oldest goes */
	JOINS_AGE_MAX_S = 600, /* from the first line to the second */
};

struct joins;

struct joins *joins_create(void); /* NULL: no memory */
void joins_free(struct joins *joins);

/* pattern: its name. line: the first one, address what it says. */
void joins_put(struct joins *joins, const char *pattern,
	       const struct line *line, const char *address);
/* False: this process told none, or too long ago. It is forgotten. */
bool joins_take(struct joins *joins, const char *pattern,
		const struct line *line, char address[DRAC_ADDRESS_SIZE]);

/* For the state, over a restart: a new reference; NULL: no memory. */
json_t *joins_save(const struct joins *joins);
/* What cannot be read is left out; saved may be NULL. */
void joins_load(struct joins *joins, const json_t *saved);

#endif

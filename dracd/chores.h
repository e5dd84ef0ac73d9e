/*
 * chores: what must be done soon, but for nobody who waits: expired entries go
 * from maps and table, values that refreshes have changed go to the maps, the
 * last entries of an old journal segment are written anew. In slices, so that
 * no add waits for more than one of them. The turn calls it, nobody else.
 */
#ifndef DRACD_CHORES_H
#define DRACD_CHORES_H

#include <stdbool.h>
#include <stdint.h>

#include "audit.h"
#include "journal.h"
#include "maps.h"
#include "stats.h"
#include "table.h"

struct chores;

struct chores *chores_create(struct table *table, struct journal *journal,
			     struct maps *maps, struct stats *stats,
			     struct audit *audit);
void chores_free(struct chores *chores);

/* Whether chores_put() has something to do now. */
bool chores_are_due(struct chores *chores, int64_t now_s, bool idle);
/* One slice into the locked maps; chores_done() or chores_failed() follows. */
int chores_put(struct chores *chores, int64_t now_s, bool idle);
/* The maps are synced: the table follows. */
void chores_done(struct chores *chores);
/* They are not: tried again after a second. */
void chores_failed(struct chores *chores);
/* A reader has the lock: tried again soon. */
void chores_postpone(struct chores *chores);
/* A sync has failed with changes in the library's cache: try again. */
void chores_resync(struct chores *chores);

/* One slice of the journal's tidying. */
void chores_tidy(struct chores *chores);

/* Milliseconds until there is something to do; -1: only expiries. */
int chores_timeout_ms(struct chores *chores, int64_t now_s);

#endif

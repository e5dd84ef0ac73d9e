/*
 * maps: all maps as one: locked, changed, written and unlocked together.
 * Return values as in map.h; maps_failed() names the file.
 */
#ifndef DRACD_MAPS_H
#define DRACD_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "map.h"
#include "table.h"

struct maps;

/*
 * A number that is the same as long as nobody has touched the files and the
 * system has not been restarted (maps are not fsynced); never 0. Kept over a
 * clean stop, it saves verifying.
 */
uint32_t maps_stamp(const struct config *config);

/*
 * Opens all maps of the configuration and makes them equal to the table.
 * verify: they may be damaged. NULL after logging why. The config must
 * outlive the maps.
 */
struct maps *maps_open(const struct config *config, struct table *table,
		       bool verify);
void maps_close(struct maps *maps);

/* The file of the last error, or the one that is not current; for the log. */
const char *maps_failed(const struct maps *maps);

/* All or none; EWOULDBLOCK: a reader holds one of them. */
int maps_lock(struct maps *maps);
void maps_unlock(struct maps *maps);

/* While locked. */
int maps_reserve(struct maps *maps, size_t keys);
int maps_put(struct maps *maps, const struct address *address,
	     int64_t expiry_s);
int maps_remove(struct maps *maps, const struct address *address);
int maps_sync(struct maps *maps);

/* map_walk_from() of the first map. */
int maps_walk_from(struct maps *maps, const struct address *address,
		   map_see *see, void *context);

/* Whether every path still names the file that is open. */
bool maps_are_current(struct maps *maps);
/*
 * Unlocked: builds every map from the table, after an error that says the
 * file is damaged. False: logged; the old ones are still open.
 */
bool maps_rebuild(struct maps *maps, struct table *table);
/* Whether the error is one that building anew may cure. */
bool maps_error_is_damage(int error);

/* map_settle() of all; what fails is tried again with the next change. */
void maps_settle(struct maps *maps);

uint64_t maps_bytes(const struct maps *maps);

#endif

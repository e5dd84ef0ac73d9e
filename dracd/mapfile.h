/*
 * mapfile: what happens to a map as a whole: opened and mended until it says
 * what the table says, built anew when it is damaged or missing, and read when
 * DRAC 1.12 left one behind. Every failure is logged here, with the file.
 */
#ifndef DRACD_MAPFILE_H
#define DRACD_MAPFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "map.h"
#include "table.h"

/*
 * Opens the map and makes it equal to the table: in place, pair by pair, or,
 * when it is missing or damaged, by a new file renamed over it (a damaged one
 * stays as PATH.damaged). verify: the last stop was not clean. NULL: failed.
 * May wait LOCK_WAIT_MS for a reader. The config must outlive the map.
 */
struct map *mapfile_open(const struct map_config *config, struct table *table,
			 bool verify);

/* As mapfile_open() when the file is known to be unusable. */
struct map *mapfile_build(const struct map_config *config, struct table *table);

/*
 * Calls found() for each address and expiry in a map that another daemon has
 * left. False: there is none, or it cannot be read.
 */
typedef void mapfile_found(void *context, const struct address *address,
			   int64_t expiry_s);
bool mapfile_import(const struct map_config *config, mapfile_found *found,
		    void *context);

#endif

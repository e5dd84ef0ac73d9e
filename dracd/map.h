/*
 * map: one file of Berkeley DB or LMDB that MTAs read while it is written. Key
 * = address text, value = decimal expiry. Updated in place, always under the
 * lock that its readers take, never fsynced (the journal is what survives). It
 * knows nothing of the table; mapfile.h makes the one agree with the other.
 *
 * Functions that return int: 0, an errno value, a DB_... code of <db.h> or an
 * MDB_... code of <lmdb.h>; map_error() names them all.
 */
#ifndef DRACD_MAP_H
#define DRACD_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "config.h"

struct map;

/* Once, before the first map: Berkeley DB would fsync every sync, and sleep. */
void map_library_init(void);
const char *map_error(int error);

/* EBUSY: another daemon has it, whatever state the file is in. */
int map_probe(const struct map_config *config);
/* Reads a closed file through: 0 when every page of it is as it should be. */
int map_verify(const struct map_config *config);

/*
 * Opens a file for update; an empty one becomes an empty map. Not for a file
 * that may be damaged: mapfile_open() looks first. The config must outlive the
 * map.
 */
int map_open(const struct map_config *config, struct map **out);
/* For map_walk() alone; the file may be another user's. */
int map_open_to_read(const struct map_config *config, struct map **out);
/* A new, empty file at path, which must not exist yet. */
int map_create(const struct map_config *config, const char *path,
	       struct map **out);
void map_close(struct map *map); /* NULL is fine */
/*
 * From here on the file may be opened again, to take this one's place; closing
 * this one then writes nothing any more.
 */
void map_disown(struct map *map);

const char *map_path(const struct map *map);
const struct map_config *map_config(const struct map *map);
/* Whether the path still names the file that is open. */
bool map_is_current(const struct map *map);

/* EWOULDBLOCK: a reader holds it. Never waits. */
int map_lock(struct map *map);
void map_unlock(struct map *map);

/* ---- only while locked --------------------------------------------- */

/*
 * Makes sure that so many new keys can be put without the file growing, so
 * that a full disk is found before anything has changed.
 */
int map_reserve(struct map *map, size_t keys);
/* Grows the file to hold config->capacity entries. */
int map_pregrow(struct map *map);
int map_put(struct map *map, const struct address *address, int64_t expiry_s);
/* One key alone, without its NUL: for building a file in key order. */
int map_put_key(struct map *map, const char *key, int64_t expiry_s);
/* Removing what is not there is no error. */
int map_remove(struct map *map, const struct address *address);
/* A key as stored, with its NUL if it has one. */
int map_remove_key(struct map *map, const void *key, size_t len);
/* Writes what has changed to the file, where readers see it. */
int map_sync(struct map *map);

/* ---- without the lock: this process is the only writer -------------- */

/*
 * Calls see() for every pair, as stored. A see() that returns non-zero ends
 * the walk, which returns that.
 */
typedef int map_see(void *context, const void *key, size_t key_len,
		    const void *value, size_t value_len);
int map_walk(struct map *map, map_see *see, void *context);
/*
 * The same from the first key on that is not before the address's, in the
 * order of keys. Nothing where keys have no order.
 */
int map_walk_from(struct map *map, const struct address *address, map_see *see,
		  void *context);

/*
 * Once a second: lets readers that compare the time of change in whole seconds
 * notice what was written in the second in which they opened the file.
 */
int map_settle(struct map *map);

uint64_t map_file_size(const struct map *map);

#endif

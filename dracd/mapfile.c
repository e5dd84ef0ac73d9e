/*
 * mapfile: see mapfile.h. Works on closed maps or before the daemon serves,
 * and takes the lock only for short slices, since MTAs may be reading.
 */
#include "mapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "mapdiff.h"

enum {
	LOCK_WAIT_MS = 5000,
	SLICE_KEYS = 128, /* written under one lock: well under 1 ms */
};

/* ---- writing ---------------------------------------------------------- */

static int lock_wait(struct map *map)
{
	int error;
	for (int waited_ms = 0; waited_ms < LOCK_WAIT_MS; waited_ms++) {
		error = map_lock(map);
		if (error != EWOULDBLOCK)
			return error;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return EWOULDBLOCK;
}

static int put_slice(struct map *map, struct table *table,
		     const struct mapdiff_item *item, size_t count, bool in_use)
{
	int error = in_use ? map_reserve(map, count) : 0;
	/* LMDB finds out by itself, and has changed nothing then. */
	if (error == ENOSPC && map_config(map)->type == MAP_LMDB)
		error = 0;
	for (size_t i = 0; i < count; i++)
		__builtin_prefetch(table_at(table, item[i].slot));
	for (size_t i = 0; i < count && error == 0; i++) {
		const struct entry *entry = table_at(table, item[i].slot);
		struct address_keys keys;
		address_keys(&entry->address, &keys);
		error =
		    map_put_key(map, keys.text[item[i].which], entry->expiry_s);
	}
	return error == 0 && in_use ? map_sync(map) : error;
}

/* in_use: an MTA may be reading the file. */
static int put_items(struct map *map, struct table *table,
		     const struct mapdiff_items *items, bool in_use)
{
	int error = 0;
	for (size_t i = 0; i < items->count && error == 0; i += SLICE_KEYS) {
		size_t left = items->count - i;
		error = lock_wait(map);
		if (error != 0)
			break;
		error =
		    put_slice(map, table, items->item + i,
			      left < SLICE_KEYS ? left : SLICE_KEYS, in_use);
		map_unlock(map);
	}
	return error;
}

static int remove_keys(struct map *map, const struct mapdiff_keys *keys)
{
	size_t at = 0;
	int error = 0;
	while (at < keys->used && error == 0) {
		error = lock_wait(map);
		if (error != 0)
			break;
		for (int i = 0; i < SLICE_KEYS && at < keys->used && error == 0;
		     i++) {
			size_t len;
			memcpy(&len, keys->byte + at, sizeof(len));
			at += sizeof(len);
			error = map_remove_key(map, keys->byte + at, len);
			at += len;
		}
		int synced = map_sync(map);
		error = error ? error : synced;
		map_unlock(map);
	}
	return error;
}

/* A full disk is no reason not to serve what is there. */
static int pregrow(struct map *map)
{
	int error = lock_wait(map);
	if (error != 0)
		return error;
	error = map_pregrow(map);
	map_unlock(map);
	if (error != ENOSPC && error != EDQUOT)
		return error;
	log_write(LOG_WARNING, "map=%s cannot be pre-grown: %s", map_path(map),
		  map_error(error));
	return 0;
}

static void mark_all_in_map(struct table *table)
{
	uint32_t slots = table_slots(table);
	for (uint32_t slot = 1; slot <= slots; slot++) {
		struct entry *entry = table_at(table, slot);
		if (entry != NULL && mapdiff_is_published(entry))
			entry->flags |= ENTRY_IN_MAP;
	}
}

/* ---- opening ---------------------------------------------------------- */

/* Corrects in place what differs from the table. */
static int mend(struct map *map, struct table *table)
{
	struct mapdiff_items missing = {0};
	struct mapdiff_keys wrong = {0};
	int error = mapdiff(map, table, &missing, &wrong);
	if (error == 0)
		error = remove_keys(map, &wrong);
	if (error == 0)
		error = put_items(map, table, &missing, true);
	if (error == 0 && missing.count + wrong.count > 0)
		log_write(LOG_NOTICE, "map=%s mended: put=%zu removed=%zu",
			  map_path(map), missing.count, wrong.count);
	free(missing.item);
	free(wrong.byte);
	return error;
}

static int build_beside(const struct map_config *config, struct table *table,
			const char *beside)
{
	struct map *map;
	struct mapdiff_items all = {0};
	int error = mapdiff_all(table, &all);
	if (error == 0)
		error = map_create(config, beside, &map);
	if (error == 0) {
		error = put_items(map, table, &all, false);
		if (error == 0)
			error = map_sync(map);
		if (error == 0)
			error = pregrow(map);
		map_close(map);
	}
	free(all.item);
	return error;
}

/*
 * Those who have the old file open look at its time of change, and at its
 * links, of which the name beside it is one: without a later time Postfix would
 * go on with it.
 */
static void send_readers_away(const char *old)
{
	struct stat st;
	if (stat(old, &st) != 0)
		return;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
				    {.tv_sec = st.st_mtime + 1}};
	utimensat(AT_FDCWD, old, times, 0);
}

/*
 * The damaged file stays beside, unless it is another user's (EPERM: proc(5),
 * protected_hardlinks); then the new one takes its name.
 */
static int move_over(const char *path, const char *beside)
{
	char damaged[PATH_MAX];
	snprintf(damaged, sizeof(damaged), "%s.damaged", path);
	unlink(damaged);
	if (link(path, damaged) != 0 && errno != ENOENT && errno != EPERM)
		return errno;
	if (rename(beside, path) != 0)
		return errno;
	send_readers_away(damaged);
	return 0;
}

/*
 * For a file in a directory that is not the daemon's: emptied and filled.
 * Readers notice, but nothing else is left.
 */
static int build_in_place(const struct map_config *config, struct table *table,
			  struct map **out)
{
	struct mapdiff_items all = {0};
	int error = mapdiff_all(table, &all);
	if (error == 0 && truncate(config->path, 0) != 0)
		error = errno;
	if (error == 0)
		error = map_open(config, out);
	if (error == 0)
		error = put_items(*out, table, &all, true);
	if (error == 0)
		error = pregrow(*out);
	free(all.item);
	return error;
}

struct map *mapfile_build(const struct map_config *config, struct table *table)
{
	char beside[PATH_MAX];
	struct map *map = NULL;
	snprintf(beside, sizeof(beside), "%s.new", config->path);
	unlink(beside);
	int error = build_beside(config, table, beside);
	if (error == 0)
		error = move_over(config->path, beside);
	if (error == 0)
		error = map_open(config, &map);
	else if (error == EACCES || error == EPERM)
		error = build_in_place(config, table, &map);
	if (error != 0) {
		log_write(LOG_CRIT,
			  "map=%s cannot be built: %s; its directory must be "
			  "writable by the daemon's user and have room",
			  config->path, map_error(error));
		map_close(map);
		unlink(beside);
		return NULL;
	}
	mark_all_in_map(table);
	log_write(LOG_NOTICE, "map=%s built entries=%u", config->path,
		  table_count(table));
	return map;
}

/* Whether building anew would not help either. */
static bool is_hopeless(int error)
{
	return error == EBUSY || error == EROFS || error == EWOULDBLOCK ||
	       error == ENOMEM || error == ENOSPC || error == EDQUOT;
}

static const char *open_error(int error)
{
	if (error == EWOULDBLOCK)
		return "another process has kept it locked for 5 s";
	if (error == EBUSY)
		return "another dracd is running with it";
	return map_error(error);
}

struct map *mapfile_open(const struct map_config *config, struct table *table,
			 bool verify)
{
	struct map *map = NULL;
	struct stat st;
	if (stat(config->path, &st) != 0 && errno == ENOENT)
		return mapfile_build(config, table);
	int error = verify && st.st_size > 0 ? map_verify(config) : 0;
	if (error == 0)
		error = map_open(config, &map);
	if (error == 0)
		error = pregrow(map);
	if (error == 0)
		error = mend(map, table);
	if (error == 0) {
		mark_all_in_map(table);
		return map;
	}
	map_close(map);
	if (is_hopeless(error)) {
		log_write(LOG_CRIT, "map=%s cannot be opened: %s", config->path,
			  open_error(error));
		return NULL;
	}
	log_write(LOG_WARNING, "map=%s is not usable (%s): building it anew",
		  config->path, map_error(error));
	return mapfile_build(config, table);
}

/* ---- taking over ------------------------------------------------------ */

struct import {
	mapfile_found *found;
	void *context;
};

static int import_pair(void *context, const void *key, size_t key_len,
		       const void *value, size_t value_len)
{
	struct import *import = context;
	struct mapdiff_pair pair;
	if (mapdiff_read(&pair, key, key_len, value, value_len, false) &&
	    pair.expiry_s >= 0)
		import->found(import->context, &pair.address, pair.expiry_s);
	return 0;
}

bool mapfile_import(const struct map_config *config, mapfile_found *found,
		    void *context)
{
	struct import import = {found, context};
	struct map *map;
	if (access(config->path, F_OK) != 0 || map_verify(config) != 0 ||
	    map_open_to_read(config, &map) != 0)
		return false;
	int error = map_walk(map, import_pair, &import);
	map_close(map);
	if (error != 0)
		log_write(LOG_WARNING, "map=%s cannot be taken over: %s",
			  config->path, map_error(error));
	return error == 0;
}

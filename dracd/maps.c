/*
 * maps: see maps.h. Nothing but the loop over the maps; what one of them does
 * is map.c, how it is opened mapfile.c.
 */
#include "maps.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "log.h"
#include "map.h"
#include "mapfile.h"
#include "timebase.h"

struct maps {
	size_t count;
	size_t failed; /* the last one that has */
	struct map *map[];
};

static uint32_t stamp_boot(uint32_t stamp)
{
	char boot[TIMEBASE_BOOT_MAX];
	timebase_boot(boot);
	return libdeflate_crc32(stamp, boot, strlen(boot));
}

uint32_t maps_stamp(const struct config *config)
{
	uint32_t stamp = stamp_boot(0);
	for (size_t i = 0; i < config->map_count; i++) {
		struct stat st = {0};
		stat(config->maps[i].path, &st);
		const int64_t facts[] = {(int64_t)st.st_ino, st.st_size,
					 st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
		stamp = libdeflate_crc32(stamp, facts, sizeof(facts));
	}
	return stamp ? stamp : 1;
}

struct maps *maps_open(const struct config *config, struct table *table,
		       bool verify)
{
	struct maps *maps =
	    calloc(1, sizeof(*maps) + config->map_count * sizeof(maps->map[0]));
	if (maps == NULL)
		return NULL;
	for (; maps->count < config->map_count; maps->count++) {
		struct map *map =
		    mapfile_open(&config->maps[maps->count], table, verify);
		if (map == NULL) {
			maps_close(maps);
			errno = 0; /* it has been logged */
			return NULL;
		}
		maps->map[maps->count] = map;
	}
	return maps;
}

void maps_close(struct maps *maps)
{
	if (maps == NULL)
		return;
	for (size_t i = 0; i < maps->count; i++)
		map_close(maps->map[i]);
	free(maps);
}

/* Passes an error on; whose it is stays known. */
static int note(struct maps *maps, size_t i, int error)
{
	if (error != 0)
		maps->failed = i;
	return error;
}

const char *maps_failed(const struct maps *maps)
{
	return map_path(maps->map[maps->failed]);
}

int maps_lock(struct maps *maps)
{
	for (size_t i = 0; i < maps->count; i++) {
		int error = note(maps, i, map_lock(maps->map[i]));
		if (error != 0) {
			while (i-- > 0)
				map_unlock(maps->map[i]);
			return error;
		}
	}
	return 0;
}

void maps_unlock(struct maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		map_unlock(maps->map[i]);
}

int maps_reserve(struct maps *maps, size_t keys)
{
	int error = 0;
	for (size_t i = 0; i < maps->count && error == 0; i++)
		error = note(maps, i, map_reserve(maps->map[i], keys));
	return error;
}

int maps_put(struct maps *maps, const struct address *address, int64_t expiry_s)
{
	int error = 0;
	for (size_t i = 0; i < maps->count && error == 0; i++)
		error = note(maps, i, map_put(maps->map[i], address, expiry_s));
	return error;
}

int maps_remove(struct maps *maps, const struct address *address)
{
	int error = 0;
	for (size_t i = 0; i < maps->count && error == 0; i++)
		error = note(maps, i, map_remove(maps->map[i], address));
	return error;
}

/* Every map is tried: what one disk refuses, another may take. */
int maps_sync(struct maps *maps)
{
	int first = 0;
	for (size_t i = 0; i < maps->count; i++) {
		int error = map_sync(maps->map[i]);
		first = first ? first : note(maps, i, error);
	}
	return first;
}

int maps_walk_from(struct maps *maps, const struct address *address,
		   map_see *see, void *context)
{
	return map_walk_from(maps->map[0], address, see, context);
}

bool maps_are_current(struct maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		if (!map_is_current(maps->map[i])) {
			maps->failed = i;
			return false;
		}
	return true;
}

bool maps_rebuild(struct maps *maps, struct table *table)
{
	for (size_t i = 0; i < maps->count; i++) {
		map_disown(maps->map[i]);
		struct map *map =
		    mapfile_build(map_config(maps->map[i]), table);
		if (map == NULL)
			return false;
		map_close(maps->map[i]);
		maps->map[i] = map;
	}
	return true;
}

bool maps_error_is_damage(int error)
{
	switch (error) {
	case 0:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EROFS:
	case EACCES:
	case EPERM:
	case EIO:
	case ENOMEM:
	case EWOULDBLOCK:
		return false;
	default:
		return true;
	}
}

void maps_settle(struct maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		map_settle(maps->map[i]);
}

uint64_t maps_bytes(const struct maps *maps)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < maps->count; i++)
		bytes += map_file_size(maps->map[i]);
	return bytes;
}

/*
 * map: see map.h. What all kinds of map have in common: whose file it is, the
 * texts of keys and values. The libraries are behind struct map_kind.
 */
#include "map.h"

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef HAVE_LMDB
#include <lmdb.h>
#endif

#include "map_impl.h"

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

/* On a full disk it would sleep for 12 s between its tries to make a file. */
static int no_sleep(u_long seconds, u_long microseconds)
{
	(void)seconds;
	(void)microseconds;
	return 0;
}

void map_library_init(void)
{
	db_env_set_func_fsync(no_fsync);
	db_env_set_func_yield(no_sleep);
}

const char *map_error(int error)
{
#ifdef HAVE_LMDB
	if (error >= MDB_KEYEXIST && error <= MDB_LAST_ERRCODE)
		return mdb_strerror(error);
#endif
	return db_strerror(error);
}

static const struct map_kind *kind_of(const struct map_config *config)
{
#ifdef HAVE_LMDB
	if (config->type == MAP_LMDB)
		return &map_lmdb;
#endif
	(void)config;
	return &map_db;
}

int map_verify(const struct map_config *config)
{
	return kind_of(config)->verify(config);
}

/* ---- whose it is --------------------------------------------------------- */

/*
 * Two daemons would undo each other's entries. MTAs do not look at this lock,
 * which is of the sort that the kind does not use for its turns.
 */
static int own(struct map *map, const char *path)
{
	map->owner_fd = open(path, O_RDWR | O_CLOEXEC);
	if (map->owner_fd < 0)
		return errno;
	int error = map->kind->own(map->owner_fd);
	return error == EWOULDBLOCK || error == EACCES ? EBUSY : error;
}

int map_probe(const struct map_config *config)
{
	struct map map = {.kind = kind_of(config)};
	int error = own(&map, config->path);
	map_disown(&map);
	return error;
}

static int open_file(const struct map_config *config, const char *path,
		     enum map_access access, struct map **out)
{
	struct map *map;
	int error = kind_of(config)->open(config, path, access, &map);
	if (error != 0)
		return error;
	map->config = config;
	map->owner_fd = -1;
	if (access != MAP_READ)
		error = own(map, path);
	struct stat st;
	if (error == 0 && fstat(map->fd, &st) != 0)
		error = errno;
	if (error == 0)
		error = map->kind->synced(map, st.st_size);
	if (error != 0) {
		map_disown(map);
		map_close(map);
		return error;
	}
	map->size = st.st_size;
	*out = map;
	return 0;
}

int map_open(const struct map_config *config, struct map **out)
{
	return open_file(config, config->path, MAP_UPDATE, out);
}

int map_open_to_read(const struct map_config *config, struct map **out)
{
	return open_file(config, config->path, MAP_READ, out);
}

int map_create(const struct map_config *config, const char *path,
	       struct map **out)
{
	return open_file(config, path, MAP_NEW, out);
}

void map_close(struct map *map)
{
	if (map == NULL)
		return;
	/* The lock goes last: the library may still write. */
	int owner_fd = map->owner_fd;
	map->kind->close(map);
	if (owner_fd >= 0)
		close(owner_fd);
}

void map_disown(struct map *map)
{
	if (map->owner_fd >= 0)
		close(map->owner_fd);
	map->owner_fd = -1;
}

const char *map_path(const struct map *map)
{
	return map->config->path;
}

const struct map_config *map_config(const struct map *map)
{
	return map->config;
}

bool map_is_current(const struct map *map)
{
	struct stat named, held;
	return stat(map->config->path, &named) == 0 &&
	       fstat(map->fd, &held) == 0 && named.st_ino == held.st_ino &&
	       named.st_dev == held.st_dev;
}

uint64_t map_file_size(const struct map *map)
{
	return (uint64_t)map->size;
}

int map_lock(struct map *map)
{
	return map->kind->lock(map);
}

void map_unlock(struct map *map)
{
	map->kind->unlock(map);
}

int map_reserve(struct map *map, size_t keys)
{
	return map->kind->reserve(map, keys);
}

int map_pregrow(struct map *map)
{
	return map->kind->pregrow(map);
}

/* ---- pairs --------------------------------------------------------------- */

static const struct map_value *value_of(struct map *map, int64_t expiry_s)
{
	struct map_value *value = &map->value;
	if (value->expiry_s == expiry_s && value->len > 0)
		return value;
	value->expiry_s = expiry_s;
	value->len = (size_t)snprintf(value->text, sizeof(value->text),
				      "%" PRId64, expiry_s) +
		     (map->config->nul ? 1 : 0);
	return value;
}

static int put_key(struct map *map, const char *key, size_t len,
		   const struct map_value *value)
{
	return map->kind->put(map, key, len + (map->config->nul ? 1 : 0),
			      value->text, value->len);
}

int map_put(struct map *map, const struct address *address, int64_t expiry_s)
{
	const struct map_value *value = value_of(map, expiry_s);
	struct address_keys keys;
	address_keys(address, &keys);
	for (int i = 0; i < keys.count; i++) {
		int error = put_key(map, keys.text[i], keys.len[i], value);
		if (error != 0)
			return error;
	}
	return 0;
}

int map_put_key(struct map *map, const char *key, int64_t expiry_s)
{
	return put_key(map, key, strlen(key), value_of(map, expiry_s));
}

int map_remove_key(struct map *map, const void *key, size_t len)
{
	return map->kind->remove(map, key, len);
}

int map_remove(struct map *map, const struct address *address)
{
	size_t nul = map->config->nul ? 1 : 0;
	struct address_keys keys;
	address_keys(address, &keys);
	for (int i = 0; i < keys.count; i++) {
		int error =
		    map_remove_key(map, keys.text[i], keys.len[i] + nul);
		if (error != 0)
			return error;
	}
	return 0;
}

int map_sync(struct map *map)
{
	int error = map->kind->sync(map);
	if (error != 0)
		return error;
	/* Who asks for times makes the next write more expensive. */
	struct statx file;
	if (statx(map->fd, "", AT_EMPTY_PATH, STATX_NLINK | STATX_SIZE,
		  &file) != 0)
		return errno;
	if (file.stx_nlink == 0)
		return ENOENT; /* removed or replaced under our feet */
	error = map->kind->synced(map, (off_t)file.stx_size);
	if (error == 0)
		map->size = (off_t)file.stx_size;
	return error;
}

int map_settle(struct map *map)
{
	return map->kind->settle(map);
}

int map_walk(struct map *map, map_see *see, void *context)
{
	return map->kind->walk(map, NULL, 0, see, context);
}

int map_walk_from(struct map *map, const struct address *address, map_see *see,
		  void *context)
{
	struct address_keys keys;
	address_keys(address, &keys);
	return map->kind->walk(map, keys.text[0], keys.len[0], see, context);
}

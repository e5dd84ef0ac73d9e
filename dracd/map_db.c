/*
 * map_db: a map in a Berkeley DB file, btree or hash. Owns the library's handle
 * and the time of change; the file's size is map_db_pages.c's. Why each rule is
 * as it is: ARCHITECTURE.md, "Maps".
 */
#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "map_db_pages.h"
#include "map_impl.h"

enum {
	/*
	 * A sync walks all of it, a put that misses it reads a page: measured,
	 * this much is never worse than the default of 256 KB, and a third
	 * better for a turn of many puts.
	 */
	CACHE_BYTES = 1024 * 1024,
	/* Larger files are not mapped by Berkeley DB (mp_mmapsize). */
	MAPPED_MAX = 10 * 1024 * 1024,
	/* How far ahead of the clock a time of change may be. */
	AHEAD_MAX_S = 3600,
	BULK_BYTES = 256 * 1024, /* read by one call of a walk */
};

struct db_map {
	struct map map;
	DB *db;
	time_t newest_mtime_s; /* that a reader may have seen */
	bool unsettled;        /* it may say so of an older state, too */
	struct pages pages;    /* if a btree */
};

static struct db_map *db_map(struct map *map)
{
	return (struct db_map *)map;
}

/* The library's own words; what becomes of the error is the caller's. */
static void log_library(const DB_ENV *env, const char *prefix, const char *text)
{
	static struct log_limit limit;
	(void)env;
	if (log_allowed(&limit))
		log_write(LOG_WARNING, "map=%s: Berkeley DB: %s",
			  prefix ? prefix : "?", text);
}

static DBTYPE db_type(const struct map_config *config)
{
	return config->type == MAP_HASH ? DB_HASH : DB_BTREE;
}

/*
 * Without memory verify() may miscount what it has to give back, and then
 * counts 2^32 times before it returns. It is only called at start, which ENOMEM
 * would end anyway.
 */
static const char *verified_path;

static void *memory_or_exit(void *memory)
{
	if (memory == NULL) {
		log_write(LOG_CRIT, "map=%s cannot be opened: %s",
			  verified_path, strerror(ENOMEM));
		exit(EX_UNAVAILABLE);
	}
	return memory;
}

static void *malloc_or_exit(size_t size)
{
	return memory_or_exit(malloc(size));
}

static void *realloc_or_exit(void *memory, size_t size)
{
	return memory_or_exit(realloc(memory, size));
}

static int db_verify(const struct map_config *config)
{
	DB *db;
	int error = db_create(&db, NULL, 0);
	if (error != 0)
		return error;
	db->set_errcall(db, log_library);
	db->set_errpfx(db, config->path);
	verified_path = config->path;
	db_env_set_func_malloc(malloc_or_exit);
	db_env_set_func_realloc(realloc_or_exit);
	/* verify() is a destructor, whatever it returns */
	error = db->verify(db, config->path, NULL, NULL, 0);
	db_env_set_func_malloc(NULL);
	db_env_set_func_realloc(NULL);
	return error;
}

/*
 * Berkeley DB makes a new file under a name of its own, and waits for ever
 * where a crash has left one of that name.
 */
static void remove_leftover(const char *path)
{
	char leftover[PATH_MAX];
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	snprintf(leftover, sizeof(leftover), "%.*s__db.%s", (int)(name - path),
		 path, name);
	unlink(leftover);
}

static int open_handle(DB *db, const struct map_config *config,
		       const char *path, enum map_access access)
{
	uint32_t flags = DB_CREATE;
	if (access == MAP_READ)
		flags = DB_RDONLY;
	else if (access == MAP_NEW)
		flags = DB_CREATE | DB_EXCL;
	if (access == MAP_NEW)
		remove_leftover(path);
	db->set_errcall(db, log_library);
	db->set_errpfx(db, config->path);
	int error = db->set_cachesize(db, 0, CACHE_BYTES, 1);
	if (error == 0 && access != MAP_READ)
		error = db->set_pagesize(db, PAGE_SIZE);
	if (error != 0)
		return error;
	return db->open(db, NULL, path, NULL, db_type(config), flags, 0644);
}

static int db_open(const struct map_config *config, const char *path,
		   enum map_access access, struct map **out)
{
	struct db_map *map = calloc(1, sizeof(*map));
	if (map == NULL)
		return ENOMEM;
	map->map.kind = &map_db;
	int error = db_create(&map->db, NULL, 0);
	if (error != 0) {
		free(map);
		return error;
	}
	error = open_handle(map->db, config, path, access);
	if (error == 0)
		error = map->db->fd(map->db, &map->map.fd);
	if (error != 0) {
		map->db->close(map->db, 0);
		free(map);
		return error;
	}
	*out = &map->map;
	return 0;
}

static void db_close(struct map *map)
{
	DB *db = db_map(map)->db;
	/* close() writes what is in the cache, even with DB_NOSYNC */
	DB_MPOOLFILE *cache = db->get_mpf(db);
	if (map->owner_fd < 0 && cache != NULL)
		cache->set_flags(cache, DB_MPOOL_NOFILE, 1);
	db->close(db, 0);
	free(map);
}

/* Not flock: that is the lock of sendmail and Postfix. */
static int db_own(int fd)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(fd, F_OFD_SETLK, &whole) == 0 ? 0 : errno;
}

static int db_lock(struct map *map)
{
	return flock(map->fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

static void db_unlock(struct map *map)
{
	flock(map->fd, LOCK_UN);
}

static int db_reserve(struct map *map, size_t keys)
{
	return map->config->type == MAP_BTREE
		   ? pages_reserve(&db_map(map)->pages, map, keys)
		   : 0;
}

static int db_pregrow(struct map *map)
{
	return map->config->type == MAP_BTREE
		   ? pages_pregrow(&db_map(map)->pages, map)
		   : 0;
}

/* ---- pairs --------------------------------------------------------------- */

/* The library only reads what a put or a del names. */
static DBT named(const void *data, size_t len)
{
	DBT dbt = {.size = (uint32_t)len};
	memcpy(&dbt.data, &data, sizeof(data));
	return dbt;
}

static int db_put(struct map *map, const char *key, size_t key_len,
		  const char *value, size_t value_len)
{
	DB *db = db_map(map)->db;
	DBT k = named(key, key_len), v = named(value, value_len);
	return db->put(db, NULL, &k, &v, 0);
}

static int db_remove(struct map *map, const void *key, size_t len)
{
	DB *db = db_map(map)->db;
	DBT k = named(key, len);
	int error = db->del(db, NULL, &k, 0);
	pages_given_back(&db_map(map)->pages);
	return error == DB_NOTFOUND ? 0 : error;
}

static int db_sync(struct map *map)
{
	DB *db = db_map(map)->db;
	return db_map(map)->pages.wrong ? DB_VERIFY_BAD : db->sync(db, 0);
}

/* Moves the time of change forward to at least this; never back. */
static int move_mtime(struct db_map *map, time_t least_s)
{
	struct stat st;
	if (fstat(map->map.fd, &st) != 0)
		return errno;
	if (st.st_mtime < least_s) {
		struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
					    {.tv_sec = least_s}};
		if (futimens(map->map.fd, times) != 0)
			return errno;
		st.st_mtime = least_s;
	}
	if (map->newest_mtime_s < st.st_mtime)
		map->newest_mtime_s = st.st_mtime;
	return 0;
}

/*
 * Whether readers keep copies of pages until the time of change is another
 * one: OpenSMTPD, which reads hash files by the interface of Berkeley DB 1.85,
 * and all of them when the file is large. Measured: what was written in the
 * second in which they had opened it they did not see before the next write.
 */
static bool is_copied(const struct db_map *map, off_t size)
{
	return map->map.config->type == MAP_HASH || size > MAPPED_MAX;
}

/*
 * sendmail and Postfix open the file anew when its time of change is later
 * than the one they remember, in whole seconds; with pages that were not there
 * when they mapped it they must. So growth always moves the time forward, and
 * a write after it, which the kernel stamps with now, must not move it back.
 * Where pages are copied each write moves it, unless there are very many; then
 * the last one of a second is left to db_settle().
 */
static int db_synced(struct map *any, off_t size)
{
	struct db_map *map = db_map(any);
	time_t now_s = time(NULL);
	bool copied = is_copied(map, size);
	bool ahead = map->newest_mtime_s >= now_s + AHEAD_MAX_S;
	bool move = size != any->size || (copied && !ahead);
	if (map->newest_mtime_s == 0) /* being opened: nothing to keep */
		return move_mtime(map, 0);
	map->unsettled = copied && ahead;
	if (move || map->newest_mtime_s > now_s)
		return move_mtime(map, map->newest_mtime_s + move);
	map->newest_mtime_s = now_s; /* as the kernel has it */
	return 0;
}

static int db_settle(struct map *any)
{
	struct db_map *map = db_map(any);
	if (!map->unsettled)
		return 0;
	int error = move_mtime(map, map->newest_mtime_s + 1);
	if (error == 0)
		map->unsettled = false;
	return error;
}

/* As many pairs as there is room for, and room for at least one. */
static int get_many(DBC *cursor, DBT *many)
{
	DBT key = {0};
	int error;
	while ((error = cursor->get(cursor, &key, many,
				    DB_MULTIPLE_KEY | DB_NEXT)) ==
	       DB_BUFFER_SMALL) {
		uint32_t wanted =
		    2 * (many->size / BULK_BYTES + 1) * BULK_BYTES;
		void *grown = realloc(many->data, wanted);
		if (grown == NULL)
			return ENOMEM;
		many->data = grown;
		many->ulen = wanted;
	}
	return error;
}

/* All pairs, a good many pages a call; one at a time takes twice as long. */
static int walk_all(DBC *cursor, map_see *see, void *context)
{
	DBT many = {.flags = DB_DBT_USERMEM, .ulen = BULK_BYTES};
	int error = 0;
	if ((many.data = malloc(many.ulen)) == NULL)
		return ENOMEM;
	while (error == 0 && (error = get_many(cursor, &many)) == 0) {
		void *at, *name, *value;
		size_t name_len, value_len;
		DB_MULTIPLE_INIT(at, &many);
		for (;;) {
			DB_MULTIPLE_KEY_NEXT(at, &many, name, name_len, value,
					     value_len);
			if (at == NULL)
				break;
			error = see(context, name, name_len, value, value_len);
			if (error != 0)
				break;
		}
	}
	free(many.data);
	return error;
}

static int walk_from(DBC *cursor, const char *from, size_t from_len,
		     map_see *see, void *context)
{
	DBT key = named(from, from_len), value = {0};
	uint32_t flags = DB_SET_RANGE;
	int error;
	while ((error = cursor->get(cursor, &key, &value, flags)) == 0) {
		error =
		    see(context, key.data, key.size, value.data, value.size);
		if (error != 0)
			break;
		flags = DB_NEXT;
	}
	return error;
}

static int db_walk(struct map *map, const char *from, size_t from_len,
		   map_see *see, void *context)
{
	DB *db = db_map(map)->db;
	DBC *cursor;
	if (from != NULL && map->config->type != MAP_BTREE)
		return 0;
	int error = db->cursor(db, NULL, &cursor, 0);
	if (error != 0)
		return error;
	error = from != NULL ? walk_from(cursor, from, from_len, see, context)
			     : walk_all(cursor, see, context);
	cursor->close(cursor);
	return error == DB_NOTFOUND ? 0 : error;
}

const struct map_kind map_db = {
    .verify = db_verify,
    .open = db_open,
    .close = db_close,
    .own = db_own,
    .lock = db_lock,
    .unlock = db_unlock,
    .reserve = db_reserve,
    .pregrow = db_pregrow,
    .put = db_put,
    .remove = db_remove,
    .sync = db_sync,
    .synced = db_synced,
    .settle = db_settle,
    .walk = db_walk,
};

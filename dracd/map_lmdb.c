/*
 * map_lmdb: a map in an LMDB file, for Postfix without Berkeley DB. Owns the
 * environment and the transaction of a turn. Compiled to nothing without the
 * library.
 *
 * How Postfix 3.7 reads (strace, dict_lmdb): it opens the file with
 * MDB_NOSUBDIR and MDB_NOLOCK and maps it once, shared. Each lookup is a
 * transaction of its own inside a POSIX read lock, fcntl(F_SETLKW), on the
 * whole of the file itself. So under our write lock nobody is reading, a lookup
 * sees all of what was committed before it, and when the file has grown beyond
 * what is mapped LMDB says so and Postfix maps it anew. It does not look at the
 * time of change; a file that was renamed over is opened for the next client.
 */
#include "map_impl.h"

#ifdef HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/*
 * Addresses, not memory and not disk: for fifty million IPv6 addresses. It is
 * the same always, so that it never has to change under a reader.
 */
#if SIZE_MAX > UINT32_MAX
#define MAP_BYTES ((size_t)16 << 30)
#else
#define MAP_BYTES ((size_t)1 << 30)
#endif

enum {
	/* A put copies a leaf and what is above it, and may split them. */
	PAGES_PER_KEY = 6,
	/* Never given to puts: so that on a full disk entries can leave. */
	PAGES_TO_REMOVE = 1024,
	PAGES_AHEAD = 1024, /* taken at a time */
	/* A larger transaction is committed in parts: its pages are memory. */
	CHANGES_MAX = 8192,
};

struct lmdb_map {
	struct map map;
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn; /* what has been put and not synced; may be NULL */
	int changes;  /* in it */
	bool written; /* something has been committed under this lock */
	bool wrong;   /* what should have taken that back was not */
	size_t page_size;
	off_t blocks_end; /* up to here the disk has given us room */
};

static struct lmdb_map *lmdb_map(struct map *map)
{
	return (struct lmdb_map *)map;
}

/* ---- opening ------------------------------------------------------------- */

static int lmdb_verify(const struct map_config *config)
{
	return map_lmdb_check(config->path);
}

/* The one table of the file, which has no name. */
static int open_table(struct lmdb_map *map)
{
	MDB_txn *txn;
	MDB_stat stat;
	int error = mdb_txn_begin(map->env, NULL, MDB_RDONLY, &txn);
	if (error != 0)
		return error;
	error = mdb_dbi_open(txn, NULL, 0, &map->dbi);
	if (error == 0)
		error = mdb_stat(txn, map->dbi, &stat);
	if (error == 0)
		map->page_size = stat.ms_psize;
	mdb_txn_abort(txn);
	return error;
}

/*
 * MDB_NOSYNC: a transaction takes no page of the one before it, so that a
 * process that is killed leaves a whole file; what a system that goes down
 * leaves is checked, or built anew.
 */
static int open_environment(struct lmdb_map *map, const char *path,
			    enum map_access access)
{
	unsigned int flags = MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC;
	if (access == MAP_READ)
		flags |= MDB_RDONLY;
	int error = mdb_env_set_mapsize(map->env, MAP_BYTES);
	if (error == 0)
		error = mdb_env_open(map->env, path, flags, 0644);
	if (error == 0)
		error = open_table(map);
	if (error == 0)
		error = mdb_env_get_fd(map->env, &map->map.fd);
	if (error == 0 && fcntl(map->map.fd, F_SETFD, FD_CLOEXEC) != 0)
		error = errno;
	return error;
}

static int lmdb_open(const struct map_config *config, const char *path,
		     enum map_access access, struct map **out)
{
	(void)config;
	if (access == MAP_NEW) {
		int fd =
		    open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0)
			return errno;
		close(fd);
	}
	struct lmdb_map *map = calloc(1, sizeof(*map));
	if (map == NULL)
		return ENOMEM;
	map->map.kind = &map_lmdb;
	int error = mdb_env_create(&map->env);
	if (error != 0) {
		free(map);
		return error;
	}
	error = open_environment(map, path, access);
	if (error != 0) {
		mdb_env_close(map->env);
		free(map);
		return error;
	}
	*out = &map->map;
	return 0;
}

static void drop_changes(struct lmdb_map *map)
{
	if (map->txn != NULL)
		mdb_txn_abort(map->txn);
	map->txn = NULL;
	map->changes = 0;
}

static void lmdb_close(struct map *any)
{
	struct lmdb_map *map = lmdb_map(any);
	drop_changes(map);
	mdb_env_close(map->env);
	free(map);
}

/* ---- locks --------------------------------------------------------------- */

/* Not fcntl: that is Postfix's. */
static int lmdb_own(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

/*
 * A lock of the open file description, which conflicts with the POSIX locks
 * of readers, and does not go when another descriptor of the file is closed
 * (fcntl(2)).
 */
static int set_lock(struct map *map, short type)
{
	struct flock whole = {.l_type = type, .l_whence = SEEK_SET};
	if (fcntl(map->fd, F_OFD_SETLK, &whole) == 0)
		return 0;
	return errno == EACCES ? EWOULDBLOCK : errno;
}

static int lmdb_lock(struct map *any)
{
	lmdb_map(any)->written = false;
	return set_lock(any, F_WRLCK);
}

static void lmdb_unlock(struct map *any)
{
	set_lock(any, F_UNLCK);
}

/* ---- room ---------------------------------------------------------------- */

/*
 * The file may grow under readers, but a full disk must be found before
 * anything has changed; and since LMDB writes copies of pages, to remove needs
 * room as well. So blocks behind the end of the file are taken beforehand.
 */
static int lmdb_reserve(struct map *any, size_t keys)
{
	struct lmdb_map *map = lmdb_map(any);
	if (keys == 0)
		return 0;
	size_t pages = keys * PAGES_PER_KEY + PAGES_TO_REMOVE;
	off_t wanted = any->size + (off_t)(pages * map->page_size);
	if (wanted <= map->blocks_end)
		return 0;
	off_t ahead = wanted + (off_t)(PAGES_AHEAD * map->page_size);
	int mode = FALLOC_FL_KEEP_SIZE;
	if (fallocate(any->fd, mode, any->size, ahead - any->size) == 0 ||
	    errno == EOPNOTSUPP)
		map->blocks_end = ahead;
	else if (fallocate(any->fd, mode, any->size, wanted - any->size) == 0)
		map->blocks_end = wanted;
	else
		return errno;
	return 0;
}

/* Pages that were not there when a reader mapped the file do it no harm. */
static int lmdb_pregrow(struct map *map)
{
	(void)map;
	return 0;
}

/* ---- pairs --------------------------------------------------------------- */

/*
 * With an error all that was not synced is gone: the file says what it said
 * before. Had a part of the turn been synced already, then this was to undo it,
 * and only a new file helps.
 */
static int failed(struct lmdb_map *map, int error)
{
	drop_changes(map);
	if (map->written)
		map->wrong = true;
	return error == MDB_MAP_FULL ? EFBIG : error;
}

/* A file that somebody has cut would kill us: it is mapped. */
static int check_length(const struct lmdb_map *map)
{
	struct stat st;
	if (fstat(map->map.fd, &st) != 0)
		return errno;
	return st.st_size < map->map.size ? MDB_CORRUPTED : 0;
}

static int begin(struct lmdb_map *map)
{
	if (map->txn != NULL)
		return 0;
	int error = check_length(map);
	return error ? error : mdb_txn_begin(map->env, NULL, 0, &map->txn);
}

static int commit(struct lmdb_map *map)
{
	MDB_txn *txn = map->txn;
	if (txn == NULL)
		return 0;
	map->txn = NULL;
	map->changes = 0;
	int error = mdb_txn_commit(txn);
	if (error != 0)
		return failed(map, error);
	map->written = true;
	return 0;
}

/* Room for one more change. */
static int prepare(struct lmdb_map *map)
{
	int error = map->changes >= CHANGES_MAX ? commit(map) : 0;
	if (error == 0)
		error = begin(map);
	map->changes++;
	return error;
}

/* The library only reads what it is given. */
static MDB_val named(const void *data, size_t len)
{
	MDB_val val = {.mv_size = len};
	memcpy(&val.mv_data, &data, sizeof(data));
	return val;
}

static int lmdb_put(struct map *any, const char *key, size_t key_len,
		    const char *value, size_t value_len)
{
	struct lmdb_map *map = lmdb_map(any);
	MDB_val k = named(key, key_len), v = named(value, value_len);
	int error = prepare(map);
	if (error == 0)
		error = mdb_put(map->txn, map->dbi, &k, &v, 0);
	return error ? failed(map, error) : 0;
}

static int lmdb_remove(struct map *any, const void *key, size_t len)
{
	struct lmdb_map *map = lmdb_map(any);
	MDB_val k = named(key, len);
	int error = prepare(map);
	if (error == 0)
		error = mdb_del(map->txn, map->dbi, &k, NULL);
	return error && error != MDB_NOTFOUND ? failed(map, error) : 0;
}

static int lmdb_sync(struct map *any)
{
	struct lmdb_map *map = lmdb_map(any);
	return map->wrong ? MDB_CORRUPTED : commit(map);
}

static int lmdb_synced(struct map *any, off_t size)
{
	(void)any;
	(void)size;
	return 0;
}

/* Readers see each commit. */
static int lmdb_settle(struct map *map)
{
	(void)map;
	return 0;
}

static int walk(MDB_cursor *cursor, const char *from, size_t from_len,
		map_see *see, void *context)
{
	MDB_val key = named(from, from_len), value;
	MDB_cursor_op op = from != NULL ? MDB_SET_RANGE : MDB_FIRST;
	int error;
	while ((error = mdb_cursor_get(cursor, &key, &value, op)) == 0) {
		error = see(context, key.mv_data, key.mv_size, value.mv_data,
			    value.mv_size);
		if (error != 0)
			break;
		op = MDB_NEXT;
	}
	return error == MDB_NOTFOUND ? 0 : error;
}

/* In a turn it sees what the turn has changed. */
static int lmdb_walk(struct map *any, const char *from, size_t from_len,
		     map_see *see, void *context)
{
	struct lmdb_map *map = lmdb_map(any);
	MDB_txn *txn = map->txn;
	MDB_cursor *cursor;
	int error = check_length(map);
	if (error == 0 && txn == NULL)
		error = mdb_txn_begin(map->env, NULL, MDB_RDONLY, &txn);
	if (error != 0)
		return error;
	error = mdb_cursor_open(txn, map->dbi, &cursor);
	if (error == 0) {
		error = walk(cursor, from, from_len, see, context);
		mdb_cursor_close(cursor);
	}
	if (txn != map->txn)
		mdb_txn_abort(txn);
	return error;
}

const struct map_kind map_lmdb = {
    .verify = lmdb_verify,
    .open = lmdb_open,
    .close = lmdb_close,
    .own = lmdb_own,
    .lock = lmdb_lock,
    .unlock = lmdb_unlock,
    .reserve = lmdb_reserve,
    .pregrow = lmdb_pregrow,
    .put = lmdb_put,
    .remove = lmdb_remove,
    .sync = lmdb_sync,
    .synced = lmdb_synced,
    .settle = lmdb_settle,
    .walk = lmdb_walk,
};

#else
typedef int map_lmdb_is_not_built; /* ISO C wants something */
#endif

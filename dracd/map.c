/*
 * map: see map.h. Owns the Berkeley DB handle, the lock and the size of the
 * file. Why each rule is as it is: ARCHITECTURE.md, "Maps".
 */
#include "map.h"

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

enum {
	PAGE_SIZE = 4096,
	/*
	 * A sync walks all of it, a put that misses it reads a page: measured,
	 * this much is never worse than the default of 256 KB, and a third
	 * better for a turn of many puts.
	 */
	CACHE_BYTES = 1024 * 1024,
	/* Half full leaves, 15-byte keys: one entry takes about 64 bytes. */
	ENTRY_BYTES = 64,
	/* A put may split a leaf, and seldom the levels above it. */
	PAGES_SPARE = 16,
	GROW_PAGES = 128,
	FREE_COUNT_MAX = 4096, /* about 0.2 ms of counting */
	/* What one overflow page holds: the page without its 26-byte header. */
	OVERFLOW_BYTES = PAGE_SIZE - 26,
	VALUE_TEXT_MAX = 24,
};

/* Offsets in a Berkeley DB 5.3 file (db_page.h), for counting free pages. */
enum {
	META_MAGIC = 12,
	META_PAGESIZE = 20,
	META_FREE = 28,
	META_LEN = 36,
	PAGE_NEXT = 16,
};
#define BTREE_MAGIC UINT32_C(0x053162)

struct map {
	const struct map_config *config;
	DB *db;
	int fd;                /* the library's own */
	int owner_fd;          /* its lock says who writes the file */
	off_t size;            /* at the last sync */
	time_t newest_mtime_s; /* that a reader may have seen */
	size_t free_pages;     /* at least so many, if a btree */
};

static int no_fsync(int fd)
{
	(void)fd;
	return 0;
}

void map_library_init(void)
{
	db_env_set_func_fsync(no_fsync);
}

const char *map_error(int error)
{
	return db_strerror(error);
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

static void note(struct map *map, const struct stat *st)
{
	map->size = st->st_size;
	if (st->st_mtime > map->newest_mtime_s)
		map->newest_mtime_s = st->st_mtime;
}

/*
 * Two daemons would undo each other's entries. MTAs do not look at this kind
 * of lock. EBUSY: somebody has it.
 */
static int own(struct map *map, const char *path)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	map->owner_fd = open(path, O_RDWR | O_CLOEXEC);
	if (map->owner_fd < 0)
		return errno;
	if (fcntl(map->owner_fd, F_OFD_SETLK, &whole) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? EBUSY : errno;
}

static int open_file(const struct map_config *config, const char *path,
		     uint32_t flags, struct map **out)
{
	struct map *map = calloc(1, sizeof(*map));
	if (map == NULL)
		return ENOMEM;
	map->config = config;
	map->owner_fd = -1;
	int error = db_create(&map->db, NULL, 0);
	if (error != 0) {
		free(map);
		return error;
	}
	map->db->set_errcall(map->db, log_library);
	map->db->set_errpfx(map->db, config->path);
	error = map->db->set_cachesize(map->db, 0, CACHE_BYTES, 1);
	if (error == 0 && (flags & DB_CREATE))
		error = map->db->set_pagesize(map->db, PAGE_SIZE);
	if (error == 0)
		error = map->db->open(map->db, NULL, path, NULL,
				      db_type(config), flags, 0644);
	if (error == 0)
		error = map->db->fd(map->db, &map->fd);
	if (error == 0 && !(flags & DB_RDONLY))
		error = own(map, path);
	struct stat st;
	if (error == 0 && fstat(map->fd, &st) != 0)
		error = errno;
	if (error != 0) {
		map_close(map);
		return error;
	}
	note(map, &st);
	*out = map;
	return 0;
}

int map_verify(const struct map_config *config)
{
	DB *db;
	int error = db_create(&db, NULL, 0);
	if (error != 0)
		return error;
	db->set_errcall(db, log_library);
	db->set_errpfx(db, config->path);
	/* verify() is a destructor, whatever it returns */
	return db->verify(db, config->path, NULL, NULL, 0);
}

int map_open(const struct map_config *config, struct map **out)
{
	return open_file(config, config->path, DB_CREATE, out);
}

int map_open_to_read(const struct map_config *config, struct map **out)
{
	return open_file(config, config->path, DB_RDONLY, out);
}

int map_create(const struct map_config *config, const char *path,
	       struct map **out)
{
	return open_file(config, path, DB_CREATE | DB_EXCL, out);
}

void map_close(struct map *map)
{
	if (map == NULL)
		return;
	/* close() writes what is in the cache, even with DB_NOSYNC */
	DB_MPOOLFILE *cache = map->db->get_mpf(map->db);
	if (map->owner_fd < 0 && cache != NULL)
		cache->set_flags(cache, DB_MPOOL_NOFILE, 1);
	map->db->close(map->db, 0);
	map_disown(map);
	free(map);
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
	return flock(map->fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

void map_unlock(struct map *map)
{
	flock(map->fd, LOCK_UN);
}

/* ---- size --------------------------------------------------------------- */

static uint32_t word_at(const uint8_t *file, size_t offset)
{
	uint32_t word;
	memcpy(&word, file + offset, sizeof(word));
	return word;
}

static size_t walk_free_list(const uint8_t *file, size_t len)
{
	if (len < META_LEN || word_at(file, META_MAGIC) != BTREE_MAGIC)
		return 0;
	size_t count = 0, page_size = word_at(file, META_PAGESIZE);
	size_t page = word_at(file, META_FREE);
	while (page != 0 && count < FREE_COUNT_MAX &&
	       page * page_size + PAGE_NEXT + sizeof(uint32_t) <= len) {
		count++;
		page = word_at(file, page * page_size + PAGE_NEXT);
	}
	return count;
}

/*
 * Pages on the free list, counted in the file (after a sync it is current).
 * A file of the other byte order or another type counts as full.
 */
static size_t count_free(const struct map *map)
{
	struct stat st;
	if (fstat(map->fd, &st) != 0 || st.st_size == 0)
		return 0;
	size_t len = (size_t)st.st_size;
	uint8_t *file = mmap(NULL, len, PROT_READ, MAP_SHARED, map->fd, 0);
	if (file == MAP_FAILED)
		return 0;
	size_t count = walk_free_list(file, len);
	munmap(file, len);
	return count;
}

static void name_filler(char *key, size_t size, size_t number)
{
	snprintf(key, size, "#%zu", number); /* no address reads like this */
}

/* Values too large for a page take whole pages; removed, they leave them. */
static int put_filler(struct map *map, size_t number, void *zeros)
{
	char text[24];
	name_filler(text, sizeof(text), number);
	DBT key = {.data = text, .size = (uint32_t)strlen(text)};
	DBT value = {.data = zeros, .size = GROW_PAGES * OVERFLOW_BYTES};
	int error = map->db->put(map->db, NULL, &key, &value, 0);
	return error ? error : map->db->sync(map->db, 0);
}

/*
 * Puts and removes fillers of GROW_PAGES pages each: their pages stay on the
 * free list. They take what is free already before the file becomes longer. The
 * blocks are taken from the file system first, because a write that fails in
 * the middle of this leaves a file that nobody can read.
 */
static int grow(struct map *map, size_t fillers)
{
	off_t bytes = (off_t)(fillers + 1) * GROW_PAGES * PAGE_SIZE;
	if (fallocate(map->fd, FALLOC_FL_KEEP_SIZE, map->size, bytes) != 0 &&
	    errno != EOPNOTSUPP)
		return errno;
	char *zeros = calloc(GROW_PAGES, OVERFLOW_BYTES);
	if (zeros == NULL)
		return ENOMEM;
	int error = 0;
	size_t put = 0;
	while (put < fillers && error == 0)
		error = put_filler(map, put++, zeros);
	free(zeros);
	while (put-- > 0) {
		char text[24];
		name_filler(text, sizeof(text), put);
		int undone = map_remove_key(map, text, strlen(text));
		error = error ? error : undone;
	}
	return error ? error : map_sync(map);
}

int map_reserve(struct map *map, size_t keys)
{
	if (map->config->type != MAP_BTREE)
		return 0;
	size_t wanted = keys + keys / 32 + PAGES_SPARE;
	if (map->free_pages < wanted)
		map->free_pages = count_free(map);
	if (map->free_pages < wanted) {
		/* so many, and GROW_PAGES more: it shall not be often */
		size_t fillers = wanted / GROW_PAGES + 2;
		int error = grow(map, fillers);
		if (error != 0)
			return error;
		map->free_pages = fillers * GROW_PAGES;
	}
	map->free_pages -= keys;
	return 0;
}

int map_pregrow(struct map *map)
{
	off_t wanted = (off_t)map->config->capacity * ENTRY_BYTES;
	if (map->config->type != MAP_BTREE || map->size >= wanted)
		return 0;
	off_t slice = GROW_PAGES * PAGE_SIZE;
	return grow(map, (size_t)((wanted - map->size + slice - 1) / slice));
}

/* ---- pairs ----------------------------------------------------------------
 */

static int put_key(struct map *map, const char *text, size_t len, DBT *value)
{
	DBT key = {.size = (uint32_t)len + (map->config->nul ? 1 : 0)};
	memcpy(&key.data, &text, sizeof(text)); /* the library only reads it */
	return map->db->put(map->db, NULL, &key, value, 0);
}

/* The text must live as long as the value is used. */
static DBT value_of(const struct map *map, int64_t expiry_s,
		    char text[VALUE_TEXT_MAX])
{
	int len = snprintf(text, VALUE_TEXT_MAX, "%" PRId64, expiry_s);
	uint32_t nul = map->config->nul ? 1 : 0;
	return (DBT){.data = text, .size = (uint32_t)len + nul};
}

int map_put(struct map *map, const struct address *address, int64_t expiry_s)
{
	char text[VALUE_TEXT_MAX];
	DBT value = value_of(map, expiry_s, text);
	struct address_keys keys;
	address_keys(address, &keys);
	for (int i = 0; i < keys.count; i++) {
		int error = put_key(map, keys.text[i], keys.len[i], &value);
		if (error != 0)
			return error;
	}
	return 0;
}

int map_put_key(struct map *map, const char *key, int64_t expiry_s)
{
	char text[VALUE_TEXT_MAX];
	DBT value = value_of(map, expiry_s, text);
	return put_key(map, key, strlen(key), &value);
}

int map_remove_key(struct map *map, const void *data, size_t len)
{
	DBT key = {.size = (uint32_t)len};
	memcpy(&key.data, &data, sizeof(data)); /* the library only reads it */
	int error = map->db->del(map->db, NULL, &key, 0);
	return error == DB_NOTFOUND ? 0 : error;
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

/*
 * sendmail and Postfix open the file anew when its time of change is later
 * than the one they remember, in whole seconds; with pages that were not there
 * when they mapped it they must. So growth always moves the time forward, and
 * a write after it, which the kernel stamps with now, must not move it back.
 */
static int keep_mtime(struct map *map, struct stat *st)
{
	time_t least_s = map->newest_mtime_s + (st->st_size != map->size);
	if (st->st_mtime >= least_s)
		return 0;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
				    {.tv_sec = least_s}};
	if (futimens(map->fd, times) != 0)
		return errno;
	st->st_mtime = least_s;
	return 0;
}

int map_sync(struct map *map)
{
	int error = map->db->sync(map->db, 0);
	if (error != 0)
		return error;
	struct stat st;
	if (fstat(map->fd, &st) != 0)
		return errno;
	if (st.st_nlink == 0)
		return ENOENT; /* removed or replaced under our feet */
	error = keep_mtime(map, &st);
	if (error == 0)
		note(map, &st);
	return error;
}

/* From where the first get with `flags` puts the cursor. */
static int walk(struct map *map, DBT *key, uint32_t flags, map_see *see,
		void *context)
{
	DBC *cursor;
	int error = map->db->cursor(map->db, NULL, &cursor, 0);
	if (error != 0)
		return error;
	DBT value = {0};
	while ((error = cursor->get(cursor, key, &value, flags)) == 0) {
		error =
		    see(context, key->data, key->size, value.data, value.size);
		if (error != 0)
			break;
		flags = DB_NEXT;
	}
	cursor->close(cursor);
	return error == DB_NOTFOUND ? 0 : error;
}

int map_walk(struct map *map, map_see *see, void *context)
{
	DBT key = {0};
	return walk(map, &key, DB_FIRST, see, context);
}

int map_walk_from(struct map *map, const struct address *address, map_see *see,
		  void *context)
{
	struct address_keys keys;
	if (map->config->type != MAP_BTREE)
		return 0;
	address_keys(address, &keys);
	DBT key = {.data = keys.text[0], .size = keys.len[0]};
	return walk(map, &key, DB_SET_RANGE, see, context);
}

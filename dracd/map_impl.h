/*
 * What the files of one map share: map.c, and map_db.c (with map_db_pages.c)
 * and map_lmdb.c, which are its kinds. Nobody else includes this.
 */
#ifndef DRACD_MAP_IMPL_H
#define DRACD_MAP_IMPL_H

#include <sys/stat.h>
#include <sys/types.h>

#include "map.h"

enum map_access { MAP_READ, MAP_UPDATE, MAP_NEW };

/* An expiry as it is stored; most puts of a second have the same. */
struct map_value {
	int64_t expiry_s;
	size_t len; /* 0: none yet */
	char text[24];
};

struct map_kind;

/* The first member of what a kind allocates. */
struct map {
	const struct map_kind *kind;
	const struct map_config *config;
	int fd;       /* the library's own */
	int owner_fd; /* its lock says who writes the file; -1: nobody */
	off_t size;   /* at the last sync */
	struct map_value value; /* of the last put */
};

/*
 * What a library has to do, with the contracts of map.h. Keys and values are
 * as stored, with their NUL if they have one.
 */
struct map_kind {
	int (*verify)(const struct map_config *config);
	/* Sets kind and fd; closes what it has opened if it fails. */
	int (*open)(const struct map_config *config, const char *path,
		    enum map_access access, struct map **out);
	/* Writes nothing when the map is disowned. Frees it. */
	void (*close)(struct map *map);
	/* At once or not at all: EWOULDBLOCK. The fd is owner_fd. */
	int (*own)(int fd);
	int (*lock)(struct map *map);
	void (*unlock)(struct map *map);
	int (*reserve)(struct map *map, size_t keys);
	int (*pregrow)(struct map *map);
	int (*put)(struct map *map, const char *key, size_t key_len,
		   const char *value, size_t value_len);
	int (*remove)(struct map *map, const void *key, size_t len);
	/* Flushes to the file; map.c looks at what has become of it. */
	int (*sync)(struct map *map);
	/* After a sync, which has left the file so long. */
	int (*synced)(struct map *map, off_t size);
	int (*settle)(struct map *map);
	/* From the first key that is not before from; NULL: all. */
	int (*walk)(struct map *map, const char *from, size_t from_len,
		    map_see *see, void *context);
};

extern const struct map_kind map_db;
#ifdef HAVE_LMDB
extern const struct map_kind map_lmdb;

/*
 * Whether a file is a whole LMDB environment with one plain table in it; looks
 * at it with read(2), since LMDB itself trusts what it has mapped. 0, an errno
 * value, or a code of <lmdb.h>.
 */
int map_lmdb_check(const char *path);
#endif

#endif

/*
 * map_reader: a map as another program sees it, through a Berkeley DB handle
 * of its own, opened anew for each question. For the tests of the maps.
 */
#ifndef TESTS_MAP_READER_H
#define TESTS_MAP_READER_H

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>

#include "map.h"
#include "scratch.h"

static inline DB *reader_open(const char *path)
{
	DB *db;

	assert_int_equal(db_create(&db, NULL, 0), 0);
	assert_int_equal(
	    db->open(db, NULL, path, NULL, DB_UNKNOWN, DB_RDONLY, 0), 0);
	return db;
}

/* The value under exactly these bytes, NUL-terminated; NULL: not there. */
static inline const char *reader_get(const char *path, const char *bytes,
				     size_t len, size_t *value_len)
{
	static char value[64];
	char copy[64];
	DB *db = reader_open(path);
	DBT key = {.data = copy, .size = (uint32_t)len}, data = {0};
	int error;

	memcpy(copy, bytes, len);
	error = db->get(db, NULL, &key, &data, 0);
	if (error == 0) {
		assert_in_range(data.size, 1, sizeof value - 1);
		memcpy(value, data.data, data.size);
		value[data.size] = '\0';
		*value_len = data.size;
	}
	db->close(db, 0);
	if (error == DB_NOTFOUND)
		return NULL;
	assert_int_equal(error, 0);
	return value;
}

/* Key and value as text without NULs; value NULL: no such key. */
static inline void assert_pair(const char *path, const char *key,
			       const char *value)
{
	size_t len = 0;
	const char *found = reader_get(path, key, strlen(key), &len);

	if (value == NULL) {
		assert_null(found);
		return;
	}
	assert_non_null(found);
	assert_string_equal(found, value);
	assert_int_equal(len, strlen(value));
}

static inline int reader_count(const char *path)
{
	DB *db = reader_open(path);
	DBT key = {0}, data = {0};
	DBC *cursor;
	int count = 0, error;

	assert_int_equal(db->cursor(db, NULL, &cursor, 0), 0);
	while ((error = cursor->get(cursor, &key, &data, DB_NEXT)) == 0)
		count++;
	assert_int_equal(error, DB_NOTFOUND);
	cursor->close(cursor);
	db->close(db, 0);
	return count;
}

static inline size_t reader_free_pages(const char *path)
{
	DB *db = reader_open(path);
	DB_BTREE_STAT *stats;
	size_t pages;

	assert_int_equal(db->stat(db, NULL, &stats, 0), 0);
	pages = stats->bt_free;
	free(stats);
	db->close(db, 0);
	return pages;
}

/* What db5.3_verify says. */
static inline void assert_verifies(const char *path)
{
	DB *db;

	assert_int_equal(db_create(&db, NULL, 0), 0);
	assert_int_equal(db->verify(db, path, NULL, NULL, 0), 0);
}

static inline struct stat stat_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st;
}

static inline struct address address_of(const char *text)
{
	struct address address;

	assert_true(address_from_text(&address, text));
	return address;
}

/*
 * A file system of this size in the scratch directory, for this program
 * alone; it goes with it. False, with the reason printed: not permitted.
 */
static inline bool small_disk(const char *dir, const char *size)
{
	char options[32];

	snprintf(options, sizeof options, "size=%s", size);
	if (mkdir(dir, 0755) == 0 && unshare(CLONE_NEWNS) == 0 &&
	    mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("none", dir, "tmpfs", 0, options) == 0)
		return true;
	print_message("not run, no small file system can be mounted: %s\n",
		      strerror(errno));
	rmdir(dir);
	return false;
}

#endif

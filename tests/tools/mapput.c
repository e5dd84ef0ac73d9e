/*
 * mapput: writes a map by hand, by the rules that dracd keeps
 * (ARCHITECTURE.md, "Maps"), for tests that need a map in a state of their
 * choice. Never used by the daemon; knows nothing of addresses.
 *
 *	mapput FILE create btree|hash	a new, empty map
 *	mapput FILE put KEY VALUE ...
 *	mapput FILE del KEY ...		an absent key is an error
 *	mapput FILE grow PREFIX COUNT	COUNT keys PREFIX0, PREFIX1, ...
 *
 * Everything under flock(LOCK_EX) on FILE. Its mtime never goes back, and is
 * moved a second on when FILE grew. Exit status 0, or 1 after a message.
 */
#include <db.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODE = 0644, PAGE_SIZE = 4096, KEY_MAX = 64 };

static void check(int error, const char *what)
{
	if (error != 0)
		errx(1, "%s: %s", what, db_strerror(error));
}

static DB *map_open(const char *path, DBTYPE type, u_int32_t flags)
{
	DB *db;

	check(db_create(&db, NULL, 0), path);
	if (flags & DB_CREATE)
		check(db->set_pagesize(db, PAGE_SIZE), path);
	check(db->open(db, NULL, path, NULL, type, flags, MODE), path);
	return db;
}

static DBT text(const char *s)
{
	DBT dbt = {0};

	dbt.data = (void *)(uintptr_t)s;
	dbt.size = (u_int32_t)strlen(s);
	return dbt;
}

static void put(DB *db, const char *key, const char *value)
{
	DBT k = text(key);
	DBT v = text(value);

	check(db->put(db, NULL, &k, &v, 0), key);
}

static void del(DB *db, const char *key)
{
	DBT k = text(key);

	check(db->del(db, NULL, &k, 0), key);
}

static void grow(DB *db, const char *prefix, const char *count)
{
	char key[KEY_MAX];
	long n = strtol(count, NULL, 10);

	for (long i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "%s%ld", prefix, i);
		put(db, key, "0");
	}
}

/* Readers open FILE anew when it has a later second than the one they know. */
static void keep_mtime(int fd, const struct stat *before,
		       const struct stat *after)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, before->st_mtim};

	if (after->st_size > before->st_size)
		times[1].tv_sec++;
	if (times[1].tv_sec > after->st_mtim.tv_sec && futimens(fd, times) < 0)
		err(1, "futimens");
}

static int change(const char *path, int argc, char **argv)
{
	const char *verb = argv[0];
	struct stat before;
	struct stat after;
	DB *db;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) < 0 || fstat(fd, &before) < 0)
		err(1, "%s", path);
	db = map_open(path, DB_UNKNOWN, 0);
	if (strcmp(verb, "put") == 0 && argc % 2 == 1) {
		for (int i = 1; i < argc; i += 2)
			put(db, argv[i], argv[i + 1]);
	} else if (strcmp(verb, "del") == 0) {
		for (int i = 1; i < argc; i++)
			del(db, argv[i]);
	} else if (strcmp(verb, "grow") == 0 && argc == 3) {
		grow(db, argv[1], argv[2]);
	} else {
		errx(2, "unknown command %s", verb);
	}
	check(db->close(db, 0), path);
	if (fstat(fd, &after) < 0)
		err(1, "%s", path);
	keep_mtime(fd, &before, &after);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		errx(2, "usage: mapput FILE create|put|del|grow ARGUMENT...");
	if (strcmp(argv[2], "create") == 0) {
		DBTYPE type = strcmp(argv[3], "hash") == 0 ? DB_HASH : DB_BTREE;
		DB *db = map_open(argv[1], type, DB_CREATE | DB_EXCL);

		check(db->close(db, 0), argv[1]);
		return 0;
	}
	return change(argv[1], argc - 2, argv + 2);
}

/*
 * map_lmdb: pairs as Postfix reads them, its locks, what is left when a turn
 * fails, full disks.
 */
#include "map_writer.h"

#ifdef HAVE_LMDB
#include <sys/wait.h>

#include "map_lmdb_reader.h"
#include "maps.h"

static char on_disk[] = "disk/map.lmdb";

/* ---- pairs ---- */

static void keys_of_addresses(void **state)
{
	(void)state;
	begin();
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(entries(PATH), 0); /* valid from the start */
	assert_int_equal(map_pregrow(map), 0);
	assert_int_equal(map_reserve(map, 10), 0);
	assert_int_equal(put("192.0.2.1", 1900000000), 0);
	assert_int_equal(put("2001:db8::fe80:1", 99999999999), 0);
	assert_int_equal(entries(PATH), 0); /* not before the end of the turn */
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(entries(PATH), 4);
	assert_value(PATH, "192.0.2.1", "1900000000");
	assert_value(PATH, "2001:db8::fe80:1", "99999999999");
	assert_value(PATH, "2001:db8:0:0:0:0:fe80:1", "99999999999");
	assert_value(PATH, "ipv6:2001:db8:0:0:0:0:fe80:1", "99999999999");
	assert_value(PATH, "192.0.2", NULL);

	assert_int_equal(put("192.0.2.1", 1900000001), 0);
	assert_int_equal(take("2001:db8::fe80:1"), 0);
	assert_int_equal(take("192.0.2.99"), 0); /* not there: no error */
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(map_sync(map), 0); /* nothing to do */
	assert_int_equal(entries(PATH), 1);
	assert_value(PATH, "192.0.2.1", "1900000001");
	assert_true(map_file_size(map) == (uint64_t)stat_of(PATH).st_size);
	end();
	begin(); /* as the next daemon finds it */
	assert_int_equal(entries(PATH), 1);
	end();
	assert_int_equal(stat_of(PATH).st_mode & 0777, 0644);
	assert_int_equal(map_verify(&config), 0);
}

static void with_nuls(void **state)
{
	MDB_env *env;

	(void)state;
	config.nul = true;
	begin();
	assert_int_equal(put("192.0.2.1", 1900000000), 0);
	assert_int_equal(put("192.0.2.2", 1900000000), 0);
	assert_int_equal(take("192.0.2.2"), 0);
	assert_int_equal(map_sync(map), 0);
	env = env_open(PATH);
	env_assert(env, "192.0.2.1", "1900000000", 1);
	env_assert(env, "192.0.2.1", NULL, 0);
	env_assert(env, "192.0.2.2", NULL, 1);
	mdb_env_close(env);
	end();
	assert_int_equal(map_verify(&config), 0);
}

static int see_text(void *context, const void *key, size_t key_len,
		    const void *value, size_t value_len)
{
	char *seen = context;

	assert_int_equal(value_len, 10);
	assert_memory_equal(value, "1900000000", 10);
	strncat(seen, key, key_len);
	strcat(seen, " ");
	return strlen(seen) > 40 ? 77 : 0;
}

/* In a turn a walk sees the turn's changes, outside what is in the file. */
static void walked(void **state)
{
	struct address from = address_of("192.0.2.3");
	char text[64];

	(void)state;
	begin();
	for (int i = 0; i < 6; i++) {
		snprintf(text, sizeof text, "192.0.2.%d", i);
		assert_int_equal(put(text, EXPIRY_S), 0);
	}
	assert_int_equal(take("192.0.2.4"), 0);
	text[0] = '\0';
	assert_int_equal(map_walk_from(map, &from, see_text, text), 0);
	assert_string_equal(text, "192.0.2.3 192.0.2.5 ");
	assert_int_equal(map_sync(map), 0);
	map_unlock(map);
	text[0] = '\0';
	assert_int_equal(map_walk(map, see_text, text), 77);
	assert_string_equal(text, "192.0.2.0 192.0.2.1 192.0.2.2 192.0.2.3 "
				  "192.0.2.5 ");
	map_close(map);
}

/* ---- who may write ---- */

static int lock_file(int fd, short type)
{
	struct flock whole = {.l_type = type, .l_whence = SEEK_SET};

	return fcntl(fd, F_SETLK, &whole) == 0 ? 0 : errno;
}

static void lock_and_wait(int ready)
{
	int fd = open(PATH, O_RDONLY | O_CLOEXEC);

	if (lock_file(fd, F_RDLCK) == 0 && write(ready, "x", 1) == 1)
		pause();
	_exit(1);
}

/* Postfix's locks are of a process: it takes another one. */
static void reader_and_writer(void **state)
{
	int ready[2], fd;
	pid_t reader;
	char byte;

	(void)state;
	assert_int_equal(map_open(&config, &map), 0);
	assert_int_equal(pipe(ready), 0);
	reader = fork();
	if (reader == 0)
		lock_and_wait(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	alarm(5); /* never waits */
	assert_int_equal(map_lock(map), EWOULDBLOCK);
	alarm(0);
	kill(reader, SIGKILL);
	assert_int_equal(waitpid(reader, NULL, 0), reader);
	assert_int_equal(map_lock(map), 0);
	fd = open(PATH, O_RDONLY | O_CLOEXEC);
	assert_int_equal(lock_file(fd, F_RDLCK), EAGAIN);
	close(fd);
	close(open(PATH, O_RDONLY | O_CLOEXEC));
	fd = open(PATH, O_RDONLY | O_CLOEXEC); /* closing took no lock away */
	assert_int_equal(lock_file(fd, F_RDLCK), EAGAIN);
	map_unlock(map);
	assert_int_equal(lock_file(fd, F_RDLCK), 0);
	close(fd);
	map_close(map);
	close(ready[0]);
	close(ready[1]);
}

static void one_writer(void **state)
{
	(void)state;
	assert_one_writer();
	assert_int_equal(map_create(&config, PATH, &map), EEXIST);
	assert_int_equal(map_open_to_read(&config, &map), 0);
	map_close(map);
}

static void removed_or_cut(void **state)
{
	(void)state;
	begin();
	assert_int_equal(put("192.0.2.1", EXPIRY_S), 0);
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(unlink(PATH), 0);
	assert_false(map_is_current(map));
	assert_int_equal(map_sync(map), ENOENT);
	end();

	begin();
	assert_int_equal(put("192.0.2.1", EXPIRY_S), 0);
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(truncate(PATH, 0), 0);
	assert_true(maps_error_is_damage(put("192.0.2.1", EXPIRY_S)));
	assert_true(maps_error_is_damage(map_walk(map, see_text, NULL)));
	end();
}

/* ---- growth ---- */

/* A reader that has opened an empty file sees what comes beyond its map. */
static void grows_under_a_reader(void **state)
{
	MDB_env *env;
	uint32_t count = 200000;

	(void)state;
	begin();
	assert_int_equal(map_sync(map), 0);
	env = env_open(PATH);
	for (uint32_t i = 0; i < count; i += 500) {
		put_numbered(i, i + 500);
		assert_int_equal(map_sync(map), 0);
		if (i % 20000 == 0)
			env_assert(env, "10.0.30.239", "1900000000", 0);
	}
	assert_true(stat_of(PATH).st_size > POSTFIX_MAP_BYTES);
	env_assert(env, "10.0.30.239", "1900000000", 0); /* 7919 */
	mdb_env_close(env);
	end();
	assert_int_equal(map_verify(&config), 0);
}

/* Steady work: the file keeps its size, room that is free is used again. */
static void does_not_leak(void **state)
{
	off_t size = 0;

	(void)state;
	begin();
	put_numbered(0, 3000);
	assert_int_equal(map_sync(map), 0);
	for (uint32_t turn = 0; turn < 2000; turn++) {
		struct address gone = numbered(turn);

		put_numbered(turn + 3000, turn + 3001);
		assert_int_equal(map_remove(map, &gone), 0);
		assert_int_equal(map_sync(map), 0);
		if (turn == 1000)
			size = stat_of(PATH).st_size;
	}
	assert_in_range(stat_of(PATH).st_size, size, size + size / 4);
	end();
	assert_int_equal(map_verify(&config), 0);
}

/* ---- what fails ---- */

static void fill_disk(void)
{
	static const uint8_t bytes[PAGE];
	FILE *f = fopen("disk/other", "w");

	assert_non_null(f);
	setvbuf(f, NULL, _IONBF, 0);
	while (fwrite(bytes, 1, sizeof bytes, f) == sizeof bytes)
		;
	fclose(f);
}

/* Adds are refused before anything has changed; entries can still leave. */
static void disk_is_full(void **state)
{
	int error = 0;

	(void)state;
	if (!small_disk("disk", "24m"))
		skip();
	config.path = on_disk;
	begin();
	for (uint32_t i = 0; i < 3000; i += 30) {
		assert_int_equal(map_reserve(map, 90), 0);
		put_numbered(i, i + 30);
		assert_int_equal(map_sync(map), 0);
	}
	fill_disk();
	for (uint32_t i = 3000; i < 60000 && error == 0; i++) {
		error = map_reserve(map, 3);
		if (error == 0) {
			put_numbered(i, i + 1);
			assert_int_equal(map_sync(map), 0);
		}
	}
	assert_int_equal(error, ENOSPC);
	assert_false(maps_error_is_damage(error));
	for (uint32_t i = 0; i < 3000; i += 32) {
		for (uint32_t k = 0; k < 32; k++) { /* far from each other */
			struct address a = numbered((i + 97 * k) % 3000);

			assert_int_equal(map_remove(map, &a), 0);
		}
		assert_int_equal(map_reserve(map, 0), 0);
		assert_int_equal(map_sync(map), 0);
	}
	assert_value(on_disk, "10.0.30.239", NULL);
	assert_int_equal(map_verify(&config), 0);
	assert_int_equal(unlink("disk/other"), 0);
	assert_int_equal(map_reserve(map, 90), 0);
	assert_int_equal(put("192.0.2.1", EXPIRY_S), 0);
	assert_int_equal(map_sync(map), 0);
	assert_value(on_disk, "192.0.2.1", "1900000000");
	end();
	assert_int_equal(map_verify(&config), 0);
	assert_int_equal(umount("disk"), 0);
	assert_int_equal(rmdir("disk"), 0);
}

/* A turn that nobody has reserved room for: the file stays as it was. */
static void turn_that_fails(void **state)
{
	(void)state;
	if (!small_disk("disk", "1m"))
		skip();
	config.path = on_disk;
	begin();
	put_numbered(0, 100);
	assert_int_equal(map_sync(map), 0);
	fill_disk();
	map_unlock(map); /* as the next turn */
	assert_int_equal(map_lock(map), 0);
	put_numbered(100, 3000);
	assert_false(maps_error_is_damage(map_sync(map)));
	assert_value(on_disk, "10.0.30.239", "1900000000");
	assert_int_equal(map_verify(&config), 0);
	/* what commit.c does then */
	for (uint32_t i = 100; i < 3000; i++) {
		struct address a = numbered(i);

		assert_int_equal(map_remove(map, &a), 0);
	}
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(map_verify(&config), 0);

	/* written, and it cannot be taken back: only a new file helps */
	map_unlock(map);
	assert_int_equal(unlink("disk/other"), 0);
	assert_int_equal(map_lock(map), 0);
	put_numbered(100, 400);
	assert_int_equal(map_sync(map), 0);
	fill_disk();
	put_numbered(400, 3000);
	assert_int_not_equal(map_sync(map), 0);
	assert_true(maps_error_is_damage(map_sync(map)));
	end();
	assert_int_equal(unlink("disk/other"), 0);
	assert_int_equal(umount("disk"), 0);
	assert_int_equal(rmdir("disk"), 0);
}

/* At the end of what can be mapped: refused, and nothing has changed. */
static void map_is_full(void **state)
{
	enum { LAST_PAGE = 16 + 96 + 24 }; /* in the second meta page, too */
	size_t last = ((size_t)16 << 30) / PAGE - 4;
	FILE *f;

	(void)state;
	begin();
	put_numbered(0, 100);
	assert_int_equal(map_sync(map), 0);
	end();
	f = fopen(PATH, "r+");
	for (int meta = 0; meta < 2; meta++) {
		fseek(f, meta * PAGE + LAST_PAGE, SEEK_SET);
		assert_int_equal(fwrite(&last, sizeof last, 1, f), 1);
	}
	fclose(f);
	begin();
	for (uint32_t i = 100; i < 3000; i++) {
		struct address a = numbered(i);
		int error = map_put(map, &a, EXPIRY_S);

		if (error != 0) {
			assert_int_equal(error, EFBIG);
			assert_false(maps_error_is_damage(error));
			assert_int_equal(map_sync(map), 0);
			break;
		}
		assert_in_range(i, 100, 2000);
	}
	assert_value(PATH, "10.0.30.239", "1900000000");
	end();
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, drop_table)
	const struct CMUnitTest tests[] = {
	    TEST(keys_of_addresses),
	    TEST(with_nuls),
	    TEST(walked),
	    TEST(reader_and_writer),
	    TEST(one_writer),
	    TEST(removed_or_cut),
	    TEST(grows_under_a_reader),
	    TEST(does_not_leak),
	    TEST(disk_is_full),
	    TEST(turn_that_fails),
	    TEST(map_is_full),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

#else

int main(void)
{
	print_message("not run: built without LMDB\n");
	return 0;
}
#endif

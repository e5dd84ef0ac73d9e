/* map: how the file grows, and how readers hear of it by its time of change. */
#include <sys/syscall.h>
#include <time.h>

#include "map_btree.h"

static char on_disk[] = "disk/map.db";

static int no_blocks; /* what fallocate(2) fails with */

int fallocate(int fd, int mode, off_t at, off_t len)
{
	if (no_blocks != 0) {
		errno = no_blocks;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, at, len);
}

static int setup_blocks(void **state)
{
	no_blocks = 0;
	return setup(state);
}

/* ---- size ---- */

static off_t size_now(void)
{
	return stat_of(PATH).st_size;
}

static void pregrown(void **state)
{
	(void)state;
	config.capacity = 65536;
	begin();
	assert_int_equal(map_pregrow(map), 0);
	assert_in_range(size_now(), 65536 * 64, 65536 * 64 + (2 << 20));
	assert_true(map_file_size(map) == (uint64_t)size_now());
	assert_int_equal(reader_count(PATH), 0);
	assert_in_range(reader_free_pages(PATH), 1000, 1200);
	assert_int_equal(put("192.0.2.1", 1900000000), 0);
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(map_pregrow(map), 0); /* only once */
	assert_in_range(reader_free_pages(PATH), 1000, 1200);
	end();
	assert_verifies(PATH);
}

/* Without blocks not a page is written; where none can be had ahead, it is. */
static void grows_into_blocks(void **state)
{
	(void)state;
	config.capacity = 8192;
	begin();
	off_t size = size_now();
	no_blocks = ENOSPC;
	assert_int_equal(map_pregrow(map), ENOSPC);
	assert_int_equal(map_reserve(map, 1000), ENOSPC);
	assert_int_equal(size_now(), size);
	no_blocks = EOPNOTSUPP;
	assert_int_equal(map_pregrow(map), 0);
	assert_true(size_now() > size);
	end();
	assert_verifies(PATH);
}

/* What map_reserve() wants to see for so many keys. */
static size_t wanted_for(size_t keys)
{
	return keys + keys / 32 + 16;
}

/*
 * What is removed gives pages back in another order than they were taken in:
 * what was known of the free list before is not believed any more.
 */
static void reserve_after_removals(void **state)
{
	enum { KEYS = 200, LEAF = 300, SLICE = 500 };
	char key[16];
	int count = 0;

	(void)state;
	config.capacity = 32768;
	begin();
	assert_int_equal(map_pregrow(map), 0);
	assert_int_equal(map_reserve(map, KEYS), 0); /* counts */
	while (reader_free_pages(PATH) > 40) {
		for (int i = 0; i < SLICE; i++) {
			snprintf(key, sizeof key, "%08d", count++);
			assert_int_equal(map_put_key(map, key, 1900000000), 0);
		}
		assert_int_equal(map_sync(map), 0);
	}
	for (int i = 0; i < LEAF; i++) {
		snprintf(key, sizeof key, "%08d", i);
		assert_int_equal(map_remove_key(map, key, strlen(key)), 0);
	}
	assert_int_equal(map_sync(map), 0);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(map_reserve(map, KEYS), 0);
		if (round > 0) /* it has counted since */
			assert_true(reader_free_pages(PATH) >= KEYS);
	}
	end();
	assert_verifies(PATH);
}

/* It counts right: with exactly enough it leaves the file as it is. */
static void reserve_counts_free_pages(void **state)
{
	size_t free_pages, keys;

	(void)state;
	config.capacity = 8192;
	begin();
	assert_int_equal(map_pregrow(map), 0);
	for (int round = 0; round < 5; round++) {
		off_t size = size_now();

		free_pages = reader_free_pages(PATH);
		for (keys = 1; wanted_for(keys + 1) <= free_pages; keys++)
			;
		end();
		begin(); /* it remembers nothing */
		assert_int_equal(map_reserve(map, keys), 0);
		assert_int_equal(size_now(), size);
		end();
		begin();
		assert_int_equal(map_reserve(map, keys + 2), 0);
		assert_true(size_now() > size);
		assert_true(reader_free_pages(PATH) >= wanted_for(keys + 2));
		assert_int_equal(reader_count(PATH), round * 300);
		for (int i = 0; i < 300; i++) {
			struct address a = address_from_v4(
			    0x0a000000 + (uint32_t)(round * 300 + i) * 7919);

			assert_int_equal(map_put(map, &a, 1900000000), 0);
		}
		assert_int_equal(map_sync(map), 0);
	}
	end();
	assert_verifies(PATH);
}

/* Only map_reserve() makes the file longer. */
static void puts_do_not_grow(void **state)
{
	uint32_t number = 1;

	(void)state;
	begin();
	for (int turn = 0; turn < 300; turn++) {
		size_t keys = 1 + (size_t)turn % 192;
		off_t size;

		assert_int_equal(map_reserve(map, keys), 0);
		assert_int_equal(map_sync(map), 0);
		size = size_now();
		for (size_t k = 0; k + 3 <= keys; k += 3) {
			struct address a = {{0x20, 0x01}};

			number = number * 2654435761U + 12345;
			memcpy(a.byte + 4, &number, sizeof number);
			assert_int_equal(map_put(map, &a, 1900000000), 0);
		}
		assert_int_equal(map_sync(map), 0);
		assert_int_equal(size_now(), size);
	}
	end();
	assert_verifies(PATH);
}

/* Growth is seen by whoever compares whole seconds, four in one of them too. */
static void time_of_change(void **state)
{
	time_t before;

	(void)state;
	begin();
	assert_int_equal(map_sync(map), 0);
	before = stat_of(PATH).st_mtime;
	for (size_t grown = 0; grown < 4; grown++) {
		off_t size = size_now();

		assert_int_equal(map_reserve(map, 300 * (grown + 1)), 0);
		assert_true(size_now() > size);
		assert_true(stat_of(PATH).st_mtime > before);
		before = stat_of(PATH).st_mtime;
		/* a write without growth must not turn it back */
		assert_int_equal(put("192.0.2.1", (int64_t)grown), 0);
		assert_int_equal(map_sync(map), 0);
		assert_true(stat_of(PATH).st_mtime >= before);
		before = stat_of(PATH).st_mtime;
	}
	end();
}

/* A reader may have opened the file after a write that left its size. */
static void time_of_growth_after_a_write(void **state)
{
	time_t opened, written;

	(void)state;
	begin();
	opened = stat_of(PATH).st_mtime;
	while (time(NULL) <= opened)
		;
	assert_int_equal(put("192.0.2.1", 1900000000), 0);
	assert_int_equal(map_sync(map), 0);
	written = stat_of(PATH).st_mtime;
	assert_true(written > opened);
	assert_int_equal(map_reserve(map, 300), 0);
	assert_true(stat_of(PATH).st_mtime > written);
	end();
}

/*
 * OpenSMTPD has copies of the pages until it sees another second. Many writes
 * in one do not move the time for ever; then it moves a second later.
 */
static void time_of_change_of_a_hash(void **state)
{
	time_t before, start = time(NULL);

	(void)state;
	config.type = MAP_HASH;
	begin();
	assert_int_equal(map_sync(map), 0);
	before = stat_of(PATH).st_mtime;
	for (int i = 0; i < 40; i++) {
		assert_int_equal(put("192.0.2.1", i), 0);
		assert_int_equal(map_sync(map), 0);
		assert_true(stat_of(PATH).st_mtime > before);
		before = stat_of(PATH).st_mtime;
		assert_int_equal(map_settle(map), 0);
		assert_true(stat_of(PATH).st_mtime == before);
	}
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(put("192.0.2.1", i), 0);
		assert_int_equal(map_sync(map), 0);
		assert_true(stat_of(PATH).st_mtime >= before);
	}
	before = stat_of(PATH).st_mtime;
	assert_in_range(before - start, 3000, 4000);
	assert_int_equal(map_settle(map), 0);
	assert_true(stat_of(PATH).st_mtime == before + 1);
	assert_int_equal(map_settle(map), 0); /* nothing is new */
	assert_true(stat_of(PATH).st_mtime == before + 1);
	end();
}

static void disk_is_full(void **state)
{
	static const uint8_t other[2500000];
	struct stat before;

	(void)state;
	if (!small_disk("disk", "4m"))
		skip();
	config.path = on_disk;
	begin();
	assert_int_equal(map_reserve(map, 10), 0);
	assert_int_equal(put("192.0.2.1", 1900000000), 0);
	assert_int_equal(map_sync(map), 0);
	scratch_write_bytes("disk/other", other, sizeof other);
	before = stat_of(config.path);
	assert_int_equal(map_reserve(map, 500), ENOSPC);
	config.capacity = 65536;
	assert_int_equal(map_pregrow(map), ENOSPC);
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(stat_of(config.path).st_size, before.st_size);
	assert_pair(config.path, "192.0.2.1", "1900000000");
	assert_int_equal(put("192.0.2.2", 1900000000), 0); /* was reserved */
	assert_int_equal(map_sync(map), 0);
	assert_verifies(config.path);
	assert_int_equal(unlink("disk/other"), 0);
	assert_int_equal(map_reserve(map, 50), 0);
	assert_int_equal(put("192.0.2.3", 1900000000), 0);
	assert_int_equal(map_sync(map), 0);
	end();
	assert_verifies(config.path);
	assert_int_equal(reader_count(config.path), 3);
	assert_int_equal(umount("disk"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(pregrown, setup_blocks),
	    cmocka_unit_test_setup(grows_into_blocks, setup_blocks),
	    cmocka_unit_test_setup(reserve_counts_free_pages, setup_blocks),
	    cmocka_unit_test_setup(reserve_after_removals, setup_blocks),
	    cmocka_unit_test_setup(puts_do_not_grow, setup_blocks),
	    cmocka_unit_test_setup(time_of_change, setup_blocks),
	    cmocka_unit_test_setup(time_of_growth_after_a_write, setup_blocks),
	    cmocka_unit_test_setup(time_of_change_of_a_hash, setup_blocks),
	    cmocka_unit_test_setup(disk_is_full, setup_blocks),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

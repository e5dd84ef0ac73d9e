/*
 * mapfile: what cannot be used in the place of a map is replaced by what the
 * table says, and is still there to be looked at.
 */
#include "map_btree.h"
#include "maps.h"

enum { NOBODY = 65534 };

static char in_dir[] = "dir/map.db";

/* ---- missing, empty, another thing ---- */

static void missing(void **state)
{
	(void)state;
	for (int nul = 0; nul < 2; nul++)
		for (int type = 0; type < 2; type++) {
			unlink(PATH);
			config.nul = nul;
			config.type = type ? MAP_HASH : MAP_BTREE;
			assert_contains(open_quietly(true), "built");
			assert_says_the_same();
			assert_int_equal(stat_of(PATH).st_mode & 0777, 0644);
			assert_string_equal(open_quietly(true), "");
		}
	assert_int_not_equal(access(ASIDE, F_OK), 0);
	assert_int_not_equal(access(PATH ".new", F_OK), 0);
}

static void with_an_empty_table(void **state)
{
	(void)state;
	fill_table(0);
	open_quietly(true);
	assert_int_equal(reader_count(PATH), 0);
	assert_verifies(PATH);
	assert_true(stat_of(PATH).st_size >= 1000 * 64); /* pre-grown */
}

static void empty(void **state)
{
	(void)state;
	scratch_write(PATH, "");
	open_quietly(true);
	assert_says_the_same();
	unlink(PATH);
	scratch_write(PATH, "");
	open_quietly(false);
	assert_says_the_same();
}

static void garbage(void **state)
{
	(void)state;
	assert_garbage_is_replaced();
}

static void hash_instead_of_btree(void **state)
{
	size_t len;
	uint8_t *bytes;

	(void)state;
	config.type = MAP_HASH;
	bytes = good_map(&len);
	config.type = MAP_BTREE;
	for (int verify = 0; verify < 2; verify++)
		assert_replaced(bytes, len, verify);
	free(bytes);
}

/* ---- damaged ---- */

static void truncated(void **state)
{
	size_t len;
	uint8_t *bytes;

	(void)state;
	fill_table(1500);
	bytes = good_map(&len);
	assert_in_range(len / PAGE, 20, 1000);
	assert_truncated_is_replaced(bytes, len);
	scratch_write_bytes(PATH, bytes, 3 * PAGE + 100);
	open_quietly(true);
	assert_says_the_same();
	free(bytes);
}

/* A page that was never written, or the old state of one. */
static void torn(void **state)
{
	size_t len, old_len;
	uint8_t *bytes, *old;

	(void)state;
	fill_table(600);
	old = good_map(&old_len);
	fill_table(1500);
	bytes = good_map(&len);
	for (size_t page = 0; page < 10; page++)
		for (int zeros = 0; zeros < 2; zeros++) {
			static const uint8_t nothing[PAGE];

			write_torn(bytes, len, page,
				   zeros ? nothing : old + page * PAGE);
			open_quietly(true);
			assert_says_the_same();
		}
	free(bytes);
	free(old);
}

/* ---- a directory of somebody else ---- */

/* The map is these bytes, and theirs who may not create files beside it. */
static struct stat give_away(const void *bytes, size_t len)
{
	if (geteuid() != 0) {
		print_message("not run, needs root to become another user\n");
		skip();
	}
	assert_int_equal(chmod(scratch_dir, 0755), 0);
	mkdir("dir", 0755);
	config.path = in_dir;
	scratch_write_bytes(in_dir, bytes, len);
	assert_int_equal(chown(in_dir, NOBODY, NOBODY), 0);
	return stat_of(in_dir);
}

/* What is logged when the map is opened by them. */
static const char *open_as_nobody(void)
{
	const char *text;

	assert_int_equal(seteuid(NOBODY), 0);
	capture_begin();
	map = mapfile_open(&config, table, true);
	text = capture_end();
	assert_int_equal(seteuid(0), 0);
	return text;
}

static void in_place(void **state)
{
	static const uint8_t noise[3000] = "this is no map";
	struct stat before;

	(void)state;
	before = give_away(noise, sizeof noise);
	assert_contains(open_as_nobody(), "not usable");
	assert_non_null(map);
	map_close(map);
	assert_int_equal(stat_of(in_dir).st_ino, before.st_ino);
	assert_says_the_same();

	assert_int_equal(unlink(in_dir), 0); /* and it cannot be created */
	assert_contains(open_as_nobody(), "cannot be built");
	assert_null(map);
}

/* The same while it is open and has been damaged. */
static void rebuilt_in_place(void **state)
{
	struct config all = {.maps = &config, .map_count = 1};
	struct address foreign = address_of("10.0.0.1");
	struct maps *maps;
	struct stat before;
	const char *text;
	bool built;

	(void)state;
	before = give_away("", 0);
	assert_int_equal(seteuid(NOBODY), 0);
	capture_begin();
	maps = maps_open(&all, table, true);
	/* what the old handle has not written yet, it never shall */
	built = maps != NULL && maps_put(maps, &foreign, 1999999999) == 0 &&
		truncate(in_dir, PAGE) == 0 && maps_rebuild(maps, table);
	text = capture_end();
	assert_int_equal(seteuid(0), 0);
	assert_contains(text, "built entries");
	assert_true(built);
	assert_true(maps_are_current(maps));
	assert_int_equal(stat_of(in_dir).st_ino, before.st_ino);
	maps_close(maps);
	assert_says_the_same();
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_full, drop_table)
	const struct CMUnitTest tests[] = {
	    TEST(missing),
	    TEST(with_an_empty_table),
	    TEST(empty),
	    TEST(garbage),
	    TEST(hash_instead_of_btree),
	    TEST(truncated),
	    TEST(torn),
	    TEST(in_place),
	    TEST(rebuilt_in_place),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

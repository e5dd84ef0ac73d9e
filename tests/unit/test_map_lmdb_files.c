/* map_lmdb: files that are not as they should be, and what becomes of them. */
#include "map_writer.h"

#ifdef HAVE_LMDB
#include <sys/wait.h>

#include "map_lmdb_reader.h"
#include "maps.h"

static void missing_or_empty(void **state)
{
	(void)state;
	fill_table(3000);
	assert_contains(open_quietly(true), "built");
	assert_says_the_same();
	assert_string_equal(open_quietly(true), "");
	assert_int_not_equal(access(ASIDE, F_OK), 0);
	scratch_write(PATH, "");
	open_quietly(true);
	assert_says_the_same();
}

static void another_kind(void **state)
{
	DB *db;

	(void)state;
	fill_table(300);
	assert_garbage_is_replaced();
	unlink(PATH);
	assert_int_equal(db_create(&db, NULL, 0), 0);
	assert_int_equal(
	    db->open(db, NULL, PATH, NULL, DB_BTREE, DB_CREATE, 0644), 0);
	db->close(db, 0);
	assert_contains(open_quietly(true), "not usable");
	assert_says_the_same();
}

/* A table that Postfix does not read: with named tables in it. */
static void another_use(void **state)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	(void)state;
	fill_table(300);
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 2), 0);
	assert_int_equal(
	    mdb_env_open(env, PATH, MDB_NOSUBDIR | MDB_NOLOCK, 0644), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "other", MDB_CREATE, &dbi), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	assert_contains(open_quietly(true), "not usable");
	assert_says_the_same();
}

static void truncated(void **state)
{
	size_t len;
	uint8_t *bytes;

	(void)state;
	fill_table(1500);
	bytes = good_map(&len);
	assert_truncated_is_replaced(bytes, len);
	free(bytes);
}

/* Reads all of it, and writes to it, if it passes for whole; whether it did. */
static bool passes(void)
{
	struct map *opened;
	struct table *empty;

	if (map_verify(&config) != 0)
		return false;
	empty = table_create();
	capture_begin();
	opened = mapfile_open(&config, empty, false); /* removes everything */
	capture_end();
	assert_non_null(opened);
	map_close(opened);
	table_free(empty);
	assert_int_equal(map_verify(&config), 0);
	return true;
}

/* What a system that went down may leave: old, empty and other pages. */
static void torn(void **state)
{
	size_t len, old_len, found = 0;
	uint8_t *bytes, *old;

	(void)state;
	fill_table(600);
	old = good_map(&old_len);
	fill_table(1500);
	bytes = good_map(&len);
	for (size_t page = 0; page < len / PAGE; page++)
		for (int what = 0; what < 3; what++) {
			static const uint8_t nothing[PAGE];
			const uint8_t *was = nothing;
			size_t from = what == 1 ? page : (page * 7 + 3);

			if (what > 0)
				was = old + from % (old_len / PAGE) * PAGE;
			write_torn(bytes, len, page, was);
			found += !passes();
		}
	assert_in_range(found, len / PAGE / 2, 3 * len / PAGE);
	free(old);
	free(bytes);
}

/* Any damage is found, or is none: nothing ever crashes. */
static void bytes_changed(void **state)
{
	size_t len, found = 0;
	uint8_t *bytes;
	uint32_t random = 1;

	(void)state;
	fill_table(500);
	bytes = good_map(&len);
	for (int round = 0; round < 3000; round++) {
		uint8_t *copy = malloc(len);

		memcpy(copy, bytes, len);
		for (int i = 0; i <= round % 3; i++) {
			random = random * 1664525 + 1013904223;
			size_t page = (random >> 8) % (len / PAGE);
			random = random * 1664525 + 1013904223;
			/* mostly where headers and nodes are */
			size_t at = (random >> 8) % (round % 2 ? 48 : PAGE);
			random = random * 1664525 + 1013904223;
			copy[page * PAGE + at] = (uint8_t)(random >> 16);
		}
		scratch_write_bytes(PATH, copy, len);
		found += !passes();
		free(copy);
	}
	assert_in_range(found, 500, 3000);
	free(bytes);
}

static size_t word_at(const uint8_t *bytes, size_t at)
{
	size_t word;

	memcpy(&word, bytes + at, sizeof word);
	return word;
}

enum { FREE_ROOT = 80, TABLE_ROOT = 128, TRANSACTION = 144, NODES = 16 };

/* Where the meta page begins that counts. */
static size_t meta_of(const uint8_t *bytes)
{
	return word_at(bytes, TRANSACTION) < word_at(bytes, PAGE + TRANSACTION)
		   ? PAGE
		   : 0;
}

static void keys_out_of_order(void **state)
{
	size_t len, root;
	uint16_t *node;
	uint8_t *bytes;

	(void)state;
	fill_table(30);
	bytes = good_map(&len);
	root = word_at(bytes, meta_of(bytes) + TABLE_ROOT) * PAGE;
	node = (uint16_t *)(void *)(bytes + root + NODES);
	node[0] ^= node[1];
	node[1] ^= node[0];
	node[0] ^= node[1];
	scratch_write_bytes(PATH, bytes, len);
	assert_int_equal(map_verify(&config), MDB_CORRUPTED);
	free(bytes);
}

/* Free, a list says, and the table has it: it would be overwritten. */
static void free_page_in_use(void **state)
{
	size_t len, meta, list, one = 1;
	uint16_t node;
	uint8_t *bytes;

	(void)state;
	fill_table(600);
	free(good_map(&len));
	fill_table(500);
	bytes = good_map(&len); /* mended: pages have become free */
	meta = meta_of(bytes);
	list = word_at(bytes, meta + FREE_ROOT) * PAGE;
	assert_in_range(list, 2 * PAGE, len - PAGE);
	memcpy(&node, bytes + list + NODES, sizeof node);
	list += node + 16u; /* its header and the transaction */
	assert_in_range(word_at(bytes, list), 1, 500);
	memcpy(bytes + list, &one, sizeof one);
	scratch_write_bytes(PATH, bytes, len);
	assert_int_equal(map_verify(&config), 0); /* a page less is no harm */
	memcpy(bytes + list + 8, bytes + meta + TABLE_ROOT, sizeof(size_t));
	scratch_write_bytes(PATH, bytes, len);
	assert_int_equal(map_verify(&config), MDB_CORRUPTED);
	assert_contains(open_quietly(true), "not usable");
	assert_says_the_same();
	free(bytes);
}

static void mended(void **state)
{
	struct address foreign = address_of("192.0.2.1");
	struct address gone = numbered(1), wrong = numbered(3);
	ino_t inode;

	(void)state;
	fill_table(3000);
	open_quietly(true);
	inode = stat_of(PATH).st_ino;
	begin();
	assert_int_equal(map_put(map, &foreign, EXPIRY_S), 0);
	assert_int_equal(map_remove(map, &gone), 0);
	assert_int_equal(map_put(map, &wrong, 1), 0);
	assert_int_equal(map_sync(map), 0);
	end();
	assert_contains(open_quietly(false), "mended: put=4 removed=1");
	assert_says_the_same();
	assert_int_equal(stat_of(PATH).st_ino, inode);
	assert_string_equal(open_quietly(true), "");
}

#ifdef MEMCHECK
enum { SLOWNESS = 40 };
#else
enum { SLOWNESS = 1 };
#endif

/* Killed at any instant, it is whole and says what a sync said last. */
static void killed(void **state)
{
	(void)state;
	fill_table(0);
	open_quietly(true);
	for (int round = 0; round < 20; round++) {
		int status;
		pid_t child = fork();

		if (child == 0) {
			begin();
			for (uint32_t i = 0;; i++) {
				put_numbered(i * 5, i * 5 + 5);
				struct address a = numbered(i * 3);
				if (map_remove(map, &a) != 0 ||
				    map_sync(map) != 0)
					_exit(1);
			}
		}
		nanosleep(
		    &(struct timespec){.tv_nsec = SLOWNESS *
						  (3000000 + round * 1000000)},
		    NULL);
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(map_verify(&config), 0);
	}
	assert_true(entries(PATH) > 0);
	open_quietly(true);
	assert_says_the_same();
}

/* Two kinds at once; one of them is built anew while both are open. */
static void with_a_btree(void **state)
{
	static char btree[] = "map.db";
	struct map_config both[] = {
	    {.type = MAP_LMDB, .path = path},
	    {.type = MAP_BTREE, .path = btree, .capacity = 1},
	};
	struct config all = {.maps = both, .map_count = 2};
	struct address a = address_of("192.0.2.1");
	struct maps *maps;

	(void)state;
	fill_table(100);
	capture_begin();
	maps = maps_open(&all, table, true);
	capture_end();
	assert_non_null(maps);
	assert_int_equal(maps_lock(maps), 0);
	assert_int_equal(maps_reserve(maps, 1), 0);
	assert_int_equal(maps_put(maps, &a, EXPIRY_S), 0);
	assert_int_equal(maps_sync(maps), 0);
	maps_unlock(maps);
	assert_value(PATH, "192.0.2.1", "1900000000");
	assert_pair(btree, "192.0.2.1", "1900000000");
	assert_int_equal(truncate(PATH, PAGE), 0);
	assert_int_equal(maps_lock(maps), 0);
	assert_true(maps_error_is_damage(maps_put(maps, &a, EXPIRY_S)));
	maps_unlock(maps);
	capture_begin();
	assert_true(maps_rebuild(maps, table));
	assert_contains(capture_end(), "map=map.lmdb built entries=100");
	assert_true(maps_are_current(maps));
	maps_close(maps);
	assert_says_the_same();
	assert_pair(btree, "192.0.2.1", NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, drop_table)
	const struct CMUnitTest tests[] = {
	    TEST(missing_or_empty),
	    TEST(another_kind),
	    TEST(another_use),
	    TEST(truncated),
	    TEST(torn),
	    TEST(bytes_changed),
	    TEST(keys_out_of_order),
	    TEST(free_page_in_use),
	    TEST(mended),
	    TEST(killed),
	    TEST(with_a_btree),
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

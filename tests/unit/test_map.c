/* map: pairs, the lock, and the file itself. */
#include "map_btree.h"

/* ---- pairs ---- */

static void keys_of_addresses(void **state)
{
	(void)state;
	begin();
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(reader_count(PATH), 0); /* valid from the start */
	assert_int_equal(put("192.0.2.1", 1900000000), 0);
	assert_int_equal(put("::ffff:192.0.2.2", 1900000001), 0);
	assert_int_equal(put("2001:db8::fe80:1", 1900000002), 0);
	assert_int_equal(put("2001:db8:1:2:3:4:5:6", 99999999999), 0);
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(reader_count(PATH), 7);
	assert_pair(PATH, "192.0.2.1", "1900000000");
	assert_pair(PATH, "192.0.2.2", "1900000001");
	assert_pair(PATH, "2001:db8::fe80:1", "1900000002");
	assert_pair(PATH, "2001:db8:0:0:0:0:fe80:1", "1900000002");
	assert_pair(PATH, "ipv6:2001:db8:0:0:0:0:fe80:1", "1900000002");
	assert_pair(PATH, "2001:db8:1:2:3:4:5:6", "99999999999");
	assert_pair(PATH, "ipv6:2001:db8:1:2:3:4:5:6", "99999999999");
	assert_pair(PATH, "192.0.2", NULL);
	assert_pair(PATH, "::ffff:192.0.2.2", NULL);

	assert_int_equal(put("2001:db8::fe80:1", 1900000003), 0);
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(reader_count(PATH), 7);
	assert_pair(PATH, "ipv6:2001:db8:0:0:0:0:fe80:1", "1900000003");

	assert_int_equal(take("2001:db8::fe80:1"), 0);
	assert_int_equal(take("192.0.2.1"), 0);
	assert_int_equal(take("192.0.2.1"), 0); /* not there: no error */
	assert_int_equal(take("192.0.2.99"), 0);
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(reader_count(PATH), 3);
	assert_pair(PATH, "192.0.2.1", NULL);
	end();
	begin(); /* as the next daemon finds it */
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(reader_count(PATH), 3);
	end();
	assert_int_equal(stat_of(PATH).st_mode & 0777, 0644);
	assert_verifies(PATH);
}

static void with_nuls(void **state)
{
	size_t len = 0;

	(void)state;
	for (int type = 0; type < 2; type++) {
		unlink(PATH);
		config.nul = true;
		config.type = type == 0 ? MAP_BTREE : MAP_HASH;
		begin();
		assert_int_equal(map_reserve(map, 10), 0);
		assert_int_equal(put("192.0.2.1", 1900000000), 0);
		assert_int_equal(put("2001:db8::1", 1900000000), 0);
		assert_int_equal(map_sync(map), 0);
		assert_non_null(reader_get(PATH, "192.0.2.1", 10, &len));
		assert_int_equal(len, sizeof "1900000000");
		assert_non_null(
		    reader_get(PATH, "ipv6:2001:db8:0:0:0:0:0:1", 26, &len));
		assert_pair(PATH, "192.0.2.1", NULL);
		assert_int_equal(reader_count(PATH), 4);
		assert_int_equal(take("2001:db8::1"), 0);
		assert_int_equal(take("192.0.2.1"), 0);
		assert_int_equal(map_sync(map), 0);
		assert_int_equal(reader_count(PATH), 0);
		end();
		assert_verifies(PATH);
	}
}

static void of_type_hash(void **state)
{
	DBTYPE type;
	DB *db;

	(void)state;
	config.type = MAP_HASH;
	config.capacity = 1000; /* without a meaning for a hash */
	begin();
	assert_int_equal(map_pregrow(map), 0);
	assert_int_equal(put("192.0.2.1", 1900000000), 0);
	assert_int_equal(map_sync(map), 0);
	db = reader_open(PATH);
	assert_int_equal(db->get_type(db, &type), 0);
	assert_int_equal(type, DB_HASH);
	db->close(db, 0);
	assert_pair(PATH, "192.0.2.1", "1900000000");
	end();
	config.type = MAP_BTREE;
	capture_begin();
	assert_int_not_equal(map_open(&config, &map), 0);
	capture_end();
}

static int count_pair(void *context, const void *key, size_t key_len,
		      const void *value, size_t value_len)
{
	(void)value;
	assert_in_range(key_len, 9, 10);
	assert_memory_equal(key, "192.0.2.", 8);
	assert_int_equal(value_len, 10);
	return ++*(int *)context == 5 ? 77 : 0;
}

static void walked(void **state)
{
	char text[32];
	int count = 0;

	(void)state;
	begin();
	for (int i = 0; i < 12; i++) {
		snprintf(text, sizeof text, "192.0.2.%d", i);
		assert_int_equal(put(text, 1900000000), 0);
	}
	assert_int_equal(map_sync(map), 0);
	assert_int_equal(map_walk(map, count_pair, &count), 77);
	assert_int_equal(count, 5);
	count = 5;
	assert_int_equal(map_walk(map, count_pair, &count), 0);
	assert_int_equal(count, 17);
	end();
}

static int count_longest(void *context, const void *key, size_t key_len,
			 const void *value, size_t value_len)
{
	size_t *longest = context;

	(void)key;
	(void)key_len;
	(void)value;
	if (value_len > *longest)
		*longest = value_len;
	return 0;
}

/* Somebody has put what is none of ours, larger than all we read at once. */
static void walked_past_large_values(void **state)
{
	enum { LARGE = 3 * 1000 * 1000 };
	size_t longest = 0;
	char name[] = "x";
	DB *db;
	DBT key = {.data = name, .size = 1}, value = {.size = LARGE};

	(void)state;
	begin();
	assert_int_equal(put("192.0.2.1", EXPIRY_S), 0);
	assert_int_equal(map_sync(map), 0);
	end();
	assert_int_equal(db_create(&db, NULL, 0), 0);
	assert_int_equal(db->open(db, NULL, PATH, NULL, DB_BTREE, 0, 0), 0);
	value.data = calloc(1, LARGE);
	assert_int_equal(db->put(db, NULL, &key, &value, 0), 0);
	free(value.data);
	db->close(db, 0);
	begin();
	assert_int_equal(map_walk(map, count_longest, &longest), 0);
	assert_int_equal(longest, LARGE);
	end();
}

/* ---- who may write ---- */

static void reader_and_writer(void **state)
{
	int reader, other;

	(void)state;
	assert_int_equal(map_open(&config, &map), 0);
	reader = open(PATH, O_RDONLY | O_CLOEXEC);
	other = open(PATH, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(reader, LOCK_SH), 0);
	alarm(5); /* never waits */
	assert_int_equal(map_lock(map), EWOULDBLOCK);
	alarm(0);
	assert_int_equal(flock(other, LOCK_SH | LOCK_NB), 0);
	flock(reader, LOCK_UN);
	assert_int_equal(map_lock(map), EWOULDBLOCK);
	flock(other, LOCK_UN);
	assert_int_equal(map_lock(map), 0);
	assert_int_equal(flock(reader, LOCK_SH | LOCK_NB), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	map_unlock(map);
	assert_int_equal(flock(reader, LOCK_SH | LOCK_NB), 0);
	close(reader);
	close(other);
	map_close(map);
}

static void one_writer(void **state)
{
	(void)state;
	assert_one_writer();
	map_close(NULL);
}

static void removed_or_replaced(void **state)
{
	(void)state;
	begin();
	assert_int_equal(put("192.0.2.1", 1900000000), 0);
	assert_int_equal(map_sync(map), 0);
	assert_true(map_is_current(map));
	assert_int_equal(unlink(PATH), 0);
	assert_false(map_is_current(map));
	assert_int_equal(map_sync(map), ENOENT);
	end();

	begin();
	assert_int_equal(map_sync(map), 0);
	scratch_write("other.db", "");
	assert_int_equal(rename("other.db", PATH), 0);
	assert_false(map_is_current(map));
	assert_int_equal(map_sync(map), ENOENT);
	end();
}

static void created_but_once(void **state)
{
	(void)state;
	capture_begin();
	assert_int_equal(map_create(&config, PATH, &map), 0);
	map_close(map);
	assert_int_equal(map_create(&config, PATH, &map), EEXIST);
	capture_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(keys_of_addresses, setup),
	    cmocka_unit_test_setup(with_nuls, setup),
	    cmocka_unit_test_setup(of_type_hash, setup),
	    cmocka_unit_test_setup(walked, setup),
	    cmocka_unit_test_setup(walked_past_large_values, setup),
	    cmocka_unit_test_setup(reader_and_writer, setup),
	    cmocka_unit_test_setup(one_writer, setup),
	    cmocka_unit_test_setup(removed_or_replaced, setup),
	    cmocka_unit_test_setup(created_but_once, setup),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

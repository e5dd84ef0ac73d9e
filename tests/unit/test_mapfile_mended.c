/*
 * mapfile: what can be read is mended in place until it says what the table
 * says; and what DRAC 1.12 has left is taken over.
 */
#include <sys/wait.h>

#include "map_btree.h"

static void raw_put(DB *db, const char *key, size_t key_len, const char *value)
{
	char copy[64], text[64];
	DBT k = {.data = copy, .size = (uint32_t)key_len};
	DBT v = {.data = text, .size = (uint32_t)strlen(value)};

	memcpy(copy, key, key_len);
	memcpy(text, value, v.size);
	assert_int_equal(db->put(db, NULL, &k, &v, 0), 0);
}

static void raw_text(DB *db, const char *key, const char *value)
{
	raw_put(db, key, strlen(key), value);
}

static void raw_del(DB *db, const char *key)
{
	char copy[64];
	DBT k = {.data = copy, .size = (uint32_t)strlen(key)};

	memcpy(copy, key, k.size);
	assert_int_equal(db->del(db, NULL, &k, 0), 0);
}

static DB *raw_open(const char *file, uint32_t page_size)
{
	DB *db;

	assert_int_equal(db_create(&db, NULL, 0), 0);
	if (page_size > 0)
		assert_int_equal(db->set_pagesize(db, page_size), 0);
	assert_int_equal(
	    db->open(db, NULL, file, NULL, DB_BTREE, DB_CREATE, 0644), 0);
	return db;
}

static void mended(void **state)
{
	struct address_keys v6;
	struct address a = numbered(3);
	ino_t inode;
	DB *db;

	(void)state;
	open_quietly(true);
	inode = stat_of(PATH).st_ino;
	address_keys(&a, &v6);
	assert_int_equal(v6.count, 3);

	db = raw_open(PATH, 0);
	raw_text(db, "10.0.30.239", "1");    /* 7919: another value */
	raw_text(db, "10.0.61.222", "junk"); /* 15838 */
	raw_text(db, v6.text[1], "1900000049");
	raw_del(db, v6.text[2]);
	raw_text(db, "192.0.2.1", "1999999999"); /* not authorized */
	raw_text(db, "2001:db8::1", "1999999999");
	raw_text(db, "ipv6:2001:db8:0:0:0:0:0:1", "1999999999");
	raw_text(db, "10", "1999999999"); /* a prefix */
	raw_text(db, "10.0", "1999999999");
	raw_text(db, "10.0.30.239 ", "1999999999"); /* not quite */
	raw_text(db, "::ffff:10.0.30.239", "1999999999");
	raw_text(db, "ipv6:10.0.30.239", "1999999999");
	raw_put(db, "10.0.30.239", 12, "1999999999"); /* with its NUL */
	raw_put(db, "", 0, "x");
	raw_put(db, "\0\0\0", 3, "x");
	raw_text(db, "To: a key as long as no address can be, ever", "x");
	assert_int_equal(db->close(db, 0), 0);

	assert_contains(open_quietly(false), "mended: put=4 removed=12");
	assert_says_the_same();
	assert_int_equal(stat_of(PATH).st_ino, inode);
	assert_int_not_equal(access(ASIDE, F_OK), 0);
	assert_string_equal(open_quietly(false), "");
}

/* Most of it is new, the rest has gone. */
static void mended_after_a_long_time(void **state)
{
	ino_t inode;

	(void)state;
	open_quietly(true);
	inode = stat_of(PATH).st_ino;
	table_free(table);
	table = table_create();
	for (uint32_t i = 2000; i < 3 * ENTRIES; i++) {
		struct address a = numbered(i);

		assert_non_null(table_insert(table, &a, 1900009999));
	}
	assert_contains(open_quietly(true), "mended");
	assert_says_the_same();
	assert_int_equal(stat_of(PATH).st_ino, inode);
	fill_table(0);
	open_quietly(true);
	assert_says_the_same();
}

/* An MTA that holds the lock for a while is waited for. */
static void waits_for_a_reader(void **state)
{
	pid_t child;
	int fd;

	(void)state;
	open_quietly(true);
	fill_table(ENTRIES / 2);
	fd = open(PATH, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	child = fork();
	if (child == 0) { /* has the lock, too: it is the description's */
		nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
		_exit(0);
	}
	close(fd);
	open_quietly(true);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_says_the_same();
}

/* ---- DRAC 1.12 ---- */

static struct {
	char address[ADDRESS_TEXT_MAX];
	int64_t expiry_s;
} found[16];
static int found_count;

static void note_found(void *context, const struct address *address,
		       int64_t expiry_s)
{
	assert_null(context);
	assert_in_range(found_count, 0, 15);
	address_text(address, found[found_count].address);
	found[found_count++].expiry_s = expiry_s;
}

static void assert_found(const char *address, int64_t expiry_s)
{
	for (int i = 0; i < found_count; i++)
		if (strcmp(found[i].address, address) == 0 &&
		    found[i].expiry_s == expiry_s)
			return;
	fail_msg("%s was not taken over", address);
}

static void taken_over(void **state)
{
	struct stat before, after;
	DB *db = raw_open(PATH, 512);

	(void)state;
	raw_text(db, "192.0.2.1", "1900000001");
	raw_text(db, "2001:db8::1", "1900000002");
	raw_text(db, "::ffff:1.2.3.4", "1900000003");
	raw_text(db, "192.0.2.2", "4102444800");
	raw_text(db, "192.0.2.3", "OK");
	raw_text(db, "192.0.2.4", "");
	raw_text(db, "192.0.2.5", "-1");
	raw_text(db, "192.0.2.6", "1900000001x");
	raw_text(db, "192.0.2.7", "19000000010000000000000");
	raw_text(db, "192.0.2", "1900000001");
	raw_text(db, "example.org", "1900000001");
	raw_put(db, "192.0.2.8\0", 10, "1900000001");
	raw_text(db, "192.0.2.256", "1900000001");
	assert_int_equal(db->close(db, 0), 0);
	before = stat_of(PATH);
	found_count = 0;
	assert_true(mapfile_import(&config, note_found, NULL));
	assert_found("192.0.2.1", 1900000001);
	assert_found("2001:db8::1", 1900000002);
	assert_found("1.2.3.4", 1900000003);
	assert_found("192.0.2.2", 4102444800);
	assert_int_equal(found_count, 4);
	after = stat_of(PATH);
	assert_memory_equal(&before.st_mtim, &after.st_mtim,
			    sizeof before.st_mtim);

	/* then it is mended in place, 512-byte pages and all */
	open_quietly(true);
	assert_says_the_same();
	assert_int_equal(stat_of(PATH).st_ino, before.st_ino);
}

static void nothing_to_take_over(void **state)
{
	static const uint8_t noise[3000] = "this is no map";

	(void)state;
	found_count = 0;
	capture_begin();
	assert_false(mapfile_import(&config, note_found, NULL));
	assert_int_not_equal(access(PATH, F_OK), 0);
	scratch_write_bytes(PATH, noise, sizeof noise);
	assert_false(mapfile_import(&config, note_found, NULL));
	capture_end();
	assert_int_equal(found_count, 0);
	assert_int_equal(stat_of(PATH).st_size, sizeof noise);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_full, drop_table)
	const struct CMUnitTest tests[] = {
	    TEST(mended),
	    TEST(mended_after_a_long_time),
	    TEST(waits_for_a_reader),
	    TEST(taken_over),
	    TEST(nothing_to_take_over),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

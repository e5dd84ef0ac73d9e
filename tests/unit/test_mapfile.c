/*
 * mapfile: whatever is found in the place of a map, afterwards it says what
 * the table says, and what had to be replaced is still there to be looked at.
 */
#include "mapfile.h"

#include <inttypes.h>
#include <sys/wait.h>

#include "map_writer.h"
#include "maps.h"

#define PATH "map.db"
#define ASIDE PATH ".damaged"

enum { ENTRIES = 3000, NOBODY = 65534 };

static char path[] = PATH, in_dir[] = "dir/map.db";

static int setup(void **state)
{
	(void)state;
	unlink(PATH);
	unlink(ASIDE);
	config = (struct map_config){
	    .type = MAP_BTREE, .path = path, .capacity = 1000};
	fill_table(ENTRIES);
	return 0;
}

/* All of the table, and nothing else; seen by another handle. */
static void assert_says_the_same(const char *file)
{
	DB *db = reader_open(file);
	size_t wanted = 0, nul = config.nul ? 1 : 0;

	for (uint32_t slot = 1; slot <= table_slots(table); slot++) {
		struct entry *e = table_at(table, slot);
		struct address_keys keys;
		char value[32];

		if (e == NULL)
			continue;
		assert_true(e->flags & ENTRY_IN_MAP);
		snprintf(value, sizeof value, "%" PRIu32, e->expiry_s);
		address_keys(&e->address, &keys);
		for (int k = 0; k < keys.count; k++, wanted++) {
			DBT key = {.data = keys.text[k],
				   .size = (uint32_t)(keys.len[k] + nul)};
			DBT data = {0};

			assert_int_equal(db->get(db, NULL, &key, &data, 0), 0);
			assert_int_equal(data.size, strlen(value) + nul);
			assert_memory_equal(data.data, value, data.size);
		}
	}
	db->close(db, 0);
	assert_int_equal(reader_count(file), wanted);
	assert_verifies(file);
}

static void assert_kept_aside(const void *bytes, size_t len)
{
	uint8_t *kept = malloc(len + 1);
	FILE *f = fopen(ASIDE, "r");

	assert_non_null(kept);
	assert_non_null(f);
	assert_int_equal(fread(kept, 1, len + 1, f), len);
	assert_memory_equal(kept, bytes, len);
	fclose(f);
	free(kept);
}

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
			assert_says_the_same(PATH);
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
	assert_says_the_same(PATH);
	unlink(PATH);
	scratch_write(PATH, "");
	open_quietly(false);
	assert_says_the_same(PATH);
}

static void garbage(void **state)
{
	static uint8_t noise[20000];

	(void)state;
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)(i * i + 11 * i + 3);
	for (int verify = 0; verify < 2; verify++)
		for (size_t len = 1; len <= sizeof noise; len = 3 * len + 7) {
			scratch_write_bytes(PATH, noise, len);
			assert_contains(open_quietly(verify), "not usable");
			assert_says_the_same(PATH);
			assert_kept_aside(noise, len);
		}
}

static void hash_instead_of_btree(void **state)
{
	size_t len;
	uint8_t *bytes;

	(void)state;
	config.type = MAP_HASH;
	bytes = good_map(&len);
	config.type = MAP_BTREE;
	for (int verify = 0; verify < 2; verify++) {
		scratch_write_bytes(PATH, bytes, len);
		assert_contains(open_quietly(verify), "not usable");
		assert_says_the_same(PATH);
		assert_kept_aside(bytes, len);
	}
	free(bytes);
}

/* ---- damaged ---- */

static void truncated(void **state)
{
	size_t len, pages;
	uint8_t *bytes;

	(void)state;
	fill_table(1500);
	bytes = good_map(&len);
	pages = len / PAGE;
	assert_in_range(pages, 20, 1000);
	for (size_t page = 1; page < pages; page += page < 6 ? 1 : 11) {
		scratch_write_bytes(PATH, bytes, page * PAGE);
		assert_contains(open_quietly(true), "not usable");
		assert_says_the_same(PATH);
		assert_kept_aside(bytes, page * PAGE);
	}
	scratch_write_bytes(PATH, bytes, 3 * PAGE + 100);
	open_quietly(true);
	assert_says_the_same(PATH);
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
	for (size_t page = 0; page < 10; page++) {
		uint8_t *was = old + page * PAGE;

		scratch_write_bytes(PATH, bytes, len);
		for (int zeros = 0; zeros < 2; zeros++) {
			static const uint8_t nothing[PAGE];
			FILE *f = fopen(PATH, "r+");

			assert_non_null(f);
			fseek(f, (long)(page * PAGE), SEEK_SET);
			fwrite(zeros ? nothing : was, 1, PAGE, f);
			assert_int_equal(fclose(f), 0);
			open_quietly(true);
			assert_says_the_same(PATH);
		}
	}
	free(bytes);
	free(old);
}

/* ---- mended in place ---- */

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
	assert_says_the_same(PATH);
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
	assert_says_the_same(PATH);
	assert_int_equal(stat_of(PATH).st_ino, inode);
	fill_table(0);
	open_quietly(true);
	assert_says_the_same(PATH);
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
	assert_says_the_same(PATH);
}

/* ---- a directory of somebody else ---- */

static void in_place(void **state)
{
	static const uint8_t noise[3000] = "this is no map";
	struct stat before;

	(void)state;
	if (geteuid() != 0) {
		print_message("not run, needs root to become another user\n");
		skip();
	}
	assert_int_equal(chmod(scratch_dir, 0755), 0);
	mkdir("dir", 0755);
	config.path = in_dir;
	scratch_write_bytes(in_dir, noise, sizeof noise);
	assert_int_equal(chown(in_dir, NOBODY, NOBODY), 0);
	before = stat_of(in_dir);
	assert_int_equal(seteuid(NOBODY), 0);
	capture_begin();
	map = mapfile_open(&config, table, true);
	const char *text = capture_end();
	assert_int_equal(seteuid(0), 0);
	assert_contains(text, "not usable");
	assert_non_null(map);
	map_close(map);
	assert_int_equal(stat_of(in_dir).st_ino, before.st_ino);
	assert_says_the_same(in_dir);

	assert_int_equal(unlink(in_dir), 0); /* and it cannot be created */
	assert_int_equal(seteuid(NOBODY), 0);
	capture_begin();
	map = mapfile_open(&config, table, true);
	text = capture_end();
	assert_int_equal(seteuid(0), 0);
	assert_null(map);
	assert_contains(text, "cannot be built");
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
	if (geteuid() != 0) {
		print_message("not run, needs root to become another user\n");
		skip();
	}
	assert_int_equal(chmod(scratch_dir, 0755), 0);
	mkdir("dir", 0755);
	config.path = in_dir;
	scratch_write(in_dir, "");
	assert_int_equal(chown(in_dir, NOBODY, NOBODY), 0);
	before = stat_of(in_dir);
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
	assert_says_the_same(in_dir);
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
	assert_says_the_same(PATH);
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
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(missing, setup, drop_table),
	    cmocka_unit_test_setup_teardown(with_an_empty_table, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(empty, setup, drop_table),
	    cmocka_unit_test_setup_teardown(garbage, setup, drop_table),
	    cmocka_unit_test_setup_teardown(hash_instead_of_btree, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(truncated, setup, drop_table),
	    cmocka_unit_test_setup_teardown(torn, setup, drop_table),
	    cmocka_unit_test_setup_teardown(mended, setup, drop_table),
	    cmocka_unit_test_setup_teardown(mended_after_a_long_time, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(waits_for_a_reader, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(in_place, setup, drop_table),
	    cmocka_unit_test_setup_teardown(rebuilt_in_place, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(taken_over, setup, drop_table),
	    cmocka_unit_test_setup_teardown(nothing_to_take_over, setup,
					    drop_table),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/*
 * map_lmdb: pairs as Postfix reads them, its locks, what is left when a turn
 * fails, full disks, and files that are not as they should be.
 */
#include "map_writer.h"

#ifdef HAVE_LMDB
#include <lmdb.h>
#include <sys/wait.h>

#include "maps.h"

#define PATH "map.lmdb"
#define ASIDE PATH ".damaged"

enum { POSTFIX_MAP_BYTES = 16 << 20 };

static char path[] = PATH, on_disk[] = "disk/map.lmdb";

static int setup(void **state)
{
	(void)state;
	unlink(PATH);
	unlink(ASIDE);
	config = (struct map_config){.type = MAP_LMDB, .path = path};
	return 0;
}

/* ---- a reader ---- */

/* As Postfix opens it. */
static MDB_env *env_open(const char *file)
{
	MDB_env *env;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_mapsize(env, POSTFIX_MAP_BYTES), 0);
	assert_int_equal(mdb_env_open(env, file,
				      MDB_NOSUBDIR | MDB_NOLOCK | MDB_RDONLY,
				      0644),
			 0);
	return env;
}

static MDB_txn *env_begin(MDB_env *env, MDB_dbi *dbi)
{
	MDB_txn *txn;
	int error = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	if (error == MDB_MAP_RESIZED) { /* so does Postfix */
		assert_int_equal(mdb_env_set_mapsize(env, 0), 0);
		error = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	}
	assert_int_equal(error, 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, dbi), 0);
	return txn;
}

/* value NULL: no such key. len: of both with their NUL, if they have one. */
static void env_assert(MDB_env *env, const char *key, const char *value,
		       size_t nul)
{
	MDB_dbi dbi;
	MDB_txn *txn = env_begin(env, &dbi);
	char copy[64];
	MDB_val k = {strlen(key) + nul, copy}, v;

	strcpy(copy, key);
	if (value == NULL) {
		assert_int_equal(mdb_get(txn, dbi, &k, &v), MDB_NOTFOUND);
	} else {
		assert_int_equal(mdb_get(txn, dbi, &k, &v), 0);
		assert_int_equal(v.mv_size, strlen(value) + nul);
		assert_memory_equal(v.mv_data, value, v.mv_size);
	}
	mdb_txn_abort(txn);
}

static void assert_value(const char *file, const char *key, const char *value)
{
	MDB_env *env = env_open(file);

	env_assert(env, key, value, 0);
	mdb_env_close(env);
}

static size_t entries(const char *file)
{
	MDB_env *env = env_open(file);
	MDB_stat stat;

	assert_int_equal(mdb_env_stat(env, &stat), 0);
	mdb_env_close(env);
	return stat.ms_entries;
}

static void put_numbered(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		struct address a = numbered(i);

		assert_int_equal(map_put(map, &a, EXPIRY_S), 0);
	}
}

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
	struct map *second = NULL;

	(void)state;
	assert_int_equal(map_open(&config, &map), 0);
	assert_int_equal(map_open(&config, &second), EBUSY);
	map_close(map);
	assert_int_equal(map_open(&config, &second), 0);
	map_close(second);
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

/* ---- files that are not as they should be ---- */

static void assert_says_the_same(void)
{
	MDB_env *env = env_open(PATH);
	size_t wanted = 0;

	for (uint32_t slot = 1; slot <= table_slots(table); slot++) {
		struct entry *e = table_at(table, slot);
		struct address_keys keys;
		char value[32];

		if (e == NULL)
			continue;
		assert_true(e->flags & ENTRY_IN_MAP);
		snprintf(value, sizeof value, "%lld", (long long)e->expiry_s);
		address_keys(&e->address, &keys);
		for (int k = 0; k < keys.count; k++, wanted++)
			env_assert(env, keys.text[k], value, 0);
	}
	mdb_env_close(env);
	assert_int_equal(entries(PATH), wanted);
	assert_int_equal(map_verify(&config), 0);
}

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
	static uint8_t noise[20000];
	DB *db;

	(void)state;
	fill_table(300);
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)(i * i + 11 * i + 3);
	for (int verify = 0; verify < 2; verify++)
		for (size_t len = 1; len <= sizeof noise; len = 3 * len + 7) {
			scratch_write_bytes(PATH, noise, len);
			assert_contains(open_quietly(verify), "not usable");
			assert_says_the_same();
			assert_int_equal(stat_of(ASIDE).st_size, len);
		}
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
	for (size_t page = 1; page < len / PAGE; page += page < 6 ? 1 : 11) {
		scratch_write_bytes(PATH, bytes, page * PAGE);
		assert_contains(open_quietly(true), "not usable");
		assert_says_the_same();
		assert_int_equal(stat_of(ASIDE).st_size, page * PAGE);
	}
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
			FILE *f;

			if (what > 0)
				was = old + from % (old_len / PAGE) * PAGE;
			scratch_write_bytes(PATH, bytes, len);
			f = fopen(PATH, "r+");
			fseek(f, (long)(page * PAGE), SEEK_SET);
			assert_int_equal(fwrite(was, PAGE, 1, f), 1);
			fclose(f);
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
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(keys_of_addresses, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(with_nuls, setup, drop_table),
	    cmocka_unit_test_setup_teardown(walked, setup, drop_table),
	    cmocka_unit_test_setup_teardown(reader_and_writer, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(one_writer, setup, drop_table),
	    cmocka_unit_test_setup_teardown(removed_or_cut, setup, drop_table),
	    cmocka_unit_test_setup_teardown(grows_under_a_reader, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(does_not_leak, setup, drop_table),
	    cmocka_unit_test_setup_teardown(disk_is_full, setup, drop_table),
	    cmocka_unit_test_setup_teardown(turn_that_fails, setup, drop_table),
	    cmocka_unit_test_setup_teardown(map_is_full, setup, drop_table),
	    cmocka_unit_test_setup_teardown(missing_or_empty, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(another_kind, setup, drop_table),
	    cmocka_unit_test_setup_teardown(another_use, setup, drop_table),
	    cmocka_unit_test_setup_teardown(truncated, setup, drop_table),
	    cmocka_unit_test_setup_teardown(torn, setup, drop_table),
	    cmocka_unit_test_setup_teardown(bytes_changed, setup, drop_table),
	    cmocka_unit_test_setup_teardown(keys_out_of_order, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(free_page_in_use, setup,
					    drop_table),
	    cmocka_unit_test_setup_teardown(mended, setup, drop_table),
	    cmocka_unit_test_setup_teardown(killed, setup, drop_table),
	    cmocka_unit_test_setup_teardown(with_a_btree, setup, drop_table),
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

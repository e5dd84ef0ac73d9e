/*
 * map_btree: a map of Berkeley DB, and the table it shall say. For the tests of
 * map and mapfile.
 */
#ifndef TESTS_MAP_BTREE_H
#define TESTS_MAP_BTREE_H

#include "map_damage.h"

#define PATH "map.db"
#define ASIDE PATH ".damaged"

enum { ENTRIES = 3000 };

static char path[] = PATH;

/* A setup of cmocka. */
static inline int setup(void **state)
{
	(void)state;
	unlink(PATH);
	unlink(ASIDE);
	config = (struct map_config){.type = MAP_BTREE, .path = path};
	return 0;
}

/* One with a full table. */
static inline int setup_full(void **state)
{
	setup(state);
	config.capacity = 1000;
	fill_table(ENTRIES);
	return 0;
}

static inline void look_up(void *reader, const char *key, const char *value)
{
	DB *db = reader;
	size_t nul = config.nul ? 1 : 0;
	char copy[64];
	DBT k = {.data = copy, .size = (uint32_t)(strlen(key) + nul)};
	DBT data = {0};

	strcpy(copy, key);
	assert_int_equal(db->get(db, NULL, &k, &data, 0), 0);
	assert_int_equal(data.size, strlen(value) + nul);
	assert_memory_equal(data.data, value, data.size);
}

static inline void assert_says_the_same(void)
{
	DB *db = reader_open(config.path);
	size_t keys = look_up_all(look_up, db);

	db->close(db, 0);
	assert_int_equal(reader_count(config.path), keys);
	assert_verifies(config.path);
}

#endif

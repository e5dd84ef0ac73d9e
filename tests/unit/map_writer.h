/*
 * map_writer: one map as the daemon writes it, and the table it is made from.
 * For the tests of the maps, which say in config what map it is.
 */
#ifndef TESTS_MAP_WRITER_H
#define TESTS_MAP_WRITER_H

#include "map_reader.h"
#include "mapfile.h"

enum { PAGE = 4096, EXPIRY_S = 1900000000 };

static struct map_config config;
static struct map *map;
static struct table *table;

/* Open and locked. */
static inline void begin(void)
{
	assert_int_equal(map_open(&config, &map), 0);
	assert_int_equal(map_lock(map), 0);
}

static inline void end(void)
{
	map_unlock(map);
	map_close(map);
	map = NULL;
}

static inline int put(const char *text, int64_t expiry_s)
{
	struct address address = address_of(text);

	return map_put(map, &address, expiry_s);
}

static inline int take(const char *text)
{
	struct address address = address_of(text);

	return map_remove(map, &address);
}

/* Two of three are IPv4. */
static inline struct address numbered(uint32_t i)
{
	struct address a = {{0x20, 0x01, 0x0d, 0xb8}};

	if (i % 3 != 0)
		return address_from_v4(0x0a000000 + i * 7919);
	i *= 2654435761U;
	memcpy(a.byte + 6, &i, sizeof i);
	return a;
}

static inline void fill_table(uint32_t count)
{
	table_free(table);
	table = table_create();
	assert_non_null(table);
	for (uint32_t i = 0; i < count; i++) {
		struct address a = numbered(i);

		assert_non_null(table_insert(table, &a, EXPIRY_S + i % 50));
	}
}

/* A teardown of cmocka. */
static inline int drop_table(void **state)
{
	(void)state;
	table_free(table);
	table = NULL;
	return 0;
}

/* Has the map made from the table; what was logged. */
static inline const char *open_quietly(bool verify)
{
	struct map *opened;
	const char *text;

	capture_begin();
	opened = mapfile_open(&config, table, verify);
	text = capture_end();
	assert_non_null(opened);
	assert_true(map_is_current(opened));
	map_close(opened);
	return text;
}

/* A map that is right, as bytes; the caller's to free. */
static inline uint8_t *good_map(size_t *len)
{
	open_quietly(true);
	return scratch_read_bytes(config.path, len);
}

static inline void assert_one_writer(void)
{
	struct map *second = NULL;

	assert_int_equal(map_open(&config, &map), 0);
	assert_int_equal(map_open(&config, &second), EBUSY);
	map_close(map);
	assert_int_equal(map_open(&config, &second), 0);
	map_close(second);
}

#endif

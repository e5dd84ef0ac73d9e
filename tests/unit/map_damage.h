/*
 * map_damage: a map against the table, and what becomes of one that is damaged.
 * Who includes it says how another program reads the map.
 */
#ifndef TESTS_MAP_DAMAGE_H
#define TESTS_MAP_DAMAGE_H

#include <inttypes.h>

#include "map_writer.h"

/* ---- against the table ---- */

typedef void look_fn(void *reader, const char *key, const char *value);

/* Looks up each key that the table has; how many these are. */
static inline size_t look_up_all(look_fn *look, void *reader)
{
	size_t keys = 0;

	for (uint32_t slot = 1; slot <= table_slots(table); slot++) {
		struct entry *e = table_at(table, slot);
		struct address_keys text;
		char value[32];

		if (e == NULL)
			continue;
		assert_true(e->flags & ENTRY_IN_MAP);
		snprintf(value, sizeof value, "%" PRIu32, e->expiry_s);
		address_keys(&e->address, &text);
		for (int k = 0; k < text.count; k++, keys++)
			look(reader, text.text[k], value);
	}
	return keys;
}

/* ---- damage ---- */

/* All of the table, and nothing else; seen by another program. */
static inline void assert_says_the_same(void);

/* This is found and set aside, and the map is built anew. */
static inline void assert_replaced(const void *bytes, size_t len, bool verify)
{
	char aside[256];
	uint8_t *kept;
	size_t kept_len;

	scratch_write_bytes(config.path, bytes, len);
	assert_contains(open_quietly(verify), "not usable");
	assert_says_the_same();
	snprintf(aside, sizeof aside, "%s.damaged", config.path);
	kept = scratch_read_bytes(aside, &kept_len);
	assert_int_equal(kept_len, len);
	assert_memory_equal(kept, bytes, len);
	free(kept);
}

static inline void assert_garbage_is_replaced(void)
{
	static uint8_t noise[20000];

	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)(i * i + 11 * i + 3);
	for (int verify = 0; verify < 2; verify++)
		for (size_t len = 1; len <= sizeof noise; len = 3 * len + 7)
			assert_replaced(noise, len, verify);
}

/* The first pages of a map, however many. */
static inline void assert_truncated_is_replaced(const uint8_t *bytes,
						size_t len)
{
	for (size_t page = 1; page < len / PAGE; page += page < 6 ? 1 : 11)
		assert_replaced(bytes, page * PAGE, true);
}

/* The map is these bytes, but for one page. */
static inline void write_torn(const uint8_t *bytes, size_t len, size_t page,
			      const uint8_t *instead)
{
	FILE *f;

	scratch_write_bytes(config.path, bytes, len);
	f = fopen(config.path, "r+");
	assert_non_null(f);
	fseek(f, (long)(page * PAGE), SEEK_SET);
	assert_int_equal(fwrite(instead, PAGE, 1, f), 1);
	assert_int_equal(fclose(f), 0);
}

#endif

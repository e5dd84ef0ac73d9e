/*
 * table: when the wall clock is set. All times move, the order stays, whatever
 * the step; and what is not in the maps does not have to go there.
 */
#include <inttypes.h>

#include "scratch.h"
#include "table.h"

enum { MANY = 3000, FIRST = 1900000000, SPREAD = 1000, HOUR = 3600 };

static struct entry *entries[MANY];

static struct address address_of(uint32_t i)
{
	struct address a = {{0x20, 0x01, 0x0d, 0xb8}};

	memcpy(&a.byte[8], &i, sizeof i);
	return i % 2 ? a : address_from_v4(0x0a000000 + i);
}

static int64_t expiry_of(uint32_t i)
{
	return FIRST + i * 7919 % SPREAD;
}

/* Every third is in the maps, every fifth has a user. */
static struct table *filled(void)
{
	struct table *table = table_create();

	assert_non_null(table);
	assert_true(table_share_prefix(table, 32));
	assert_true(table_know_users(table));
	for (uint32_t i = 0; i < MANY; i++) {
		struct address address = address_of(i);
		struct entry *e = table_insert(table, &address, expiry_of(i));

		assert_non_null(e);
		entries[i] = e;
		e->last_s = FIRST - SPREAD + i % 900;
		if (i % 3 == 0)
			e->flags = ENTRY_IN_MAP;
		if (i % 5 == 0)
			assert_true(who_create(&e->who, "joe", 3, NULL, 0));
		if (e->who != NULL)
			e->who->first_s = e->last_s - 60;
		assert_true(table_join_user(table, e));
		table_grant(table, e);
	}
	return table;
}

static void assert_order(struct table *table, int64_t step_s)
{
	int64_t last_s = INT64_MIN;
	uint32_t count = 0;

	for (struct entry *e = table_first(table); e != NULL;
	     e = table_next(table, e), count++) {
		assert_true(e->expiry_s >= last_s);
		last_s = e->expiry_s;
	}
	assert_int_equal(count, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		assert_true(entries[i]->expiry_s == expiry_of(i) + step_s);
		assert_true(entries[i]->last_s ==
			    FIRST - SPREAD + i % 900 + step_s);
		assert_true(entry_first_s(entries[i]) ==
			    entries[i]->last_s - (i % 5 == 0 ? 60 : 0));
	}
}

static void assert_users(struct table *table)
{
	int64_t last_s = 0;
	int count = 0;

	for (struct entry *e = table_user_first(table, "joe"); e != NULL;
	     e = table_user_next(table, e), count++) {
		assert_true(e->last_s >= last_s);
		last_s = e->last_s;
	}
	assert_int_equal(count, MANY / 5);
}

static void all_times_move(void **state)
{
	static const int64_t steps_s[] = {HOUR, -2 * HOUR, 1, 1000000,
					  -2000000};
	struct table *table = filled();
	struct address v6 = address_of(1);
	int64_t sum_s = 0;

	(void)state;
	for (size_t i = 0; i < sizeof steps_s / sizeof steps_s[0]; i++) {
		table_step(table, steps_s[i]);
		sum_s += steps_s[i];
		assert_order(table, sum_s);
		assert_users(table);
		assert_true(table_prefix_expiry(table, &v6) ==
			    FIRST + SPREAD - 1 + sum_s);
	}
	/* Who adds now comes last. */
	entries[0]->last_s = (uint32_t)(FIRST + sum_s);
	table_leave_user(table, entries[0]);
	assert_true(table_join_user(table, entries[0]));
	entries[0]->last_s -= SPREAD; /* only what was said counts */
	for (struct entry *e = table_user_first(table, "joe"), *next; e != NULL;
	     e = next) {
		next = table_user_next(table, e);
		if (next == NULL)
			assert_ptr_equal(e, entries[0]);
	}
	table_free(table);
}

static void what_is_in_the_maps_is_stale(void **state)
{
	struct table *table = filled();
	int dirty = 0;

	(void)state;
	assert_null(table_first_dirty(table));
	table_mark_dirty(table, entries[1]);
	table_step(table, HOUR);
	table_step(table, HOUR);
	assert_ptr_equal(table_first_dirty(table), entries[1]);
	for (struct entry *e = table_first_dirty(table); e != NULL;
	     e = table_next_dirty(table, e))
		dirty++;
	assert_int_equal(dirty, MANY / 3 + 1);
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(entries[i]->flags,
				 i % 3 ? 0 : ENTRY_IN_MAP | ENTRY_STALE);
	table_free(table);
}

/* Where seconds end, entries meet; they can still be found and moved. */
static void at_the_ends_of_time(void **state)
{
	static const int64_t steps_s[] = {
	    -FIRST - SPREAD / 2, (int64_t)UINT32_MAX - FIRST - SPREAD / 2,
	    INT64_MAX,           INT64_MIN,
	    INT64_MAX / 2,       -(int64_t)UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof steps_s / sizeof steps_s[0]; i++) {
		struct table *table = filled();
		int64_t last_s = -1;
		uint32_t count = 0;

		table_step(table, steps_s[i]);
		table_step(table, 5);
		table_step(table, -5);
		for (struct entry *e = table_first(table); e != NULL;
		     e = table_next(table, e), count++) {
			assert_true(e->expiry_s >= last_s);
			last_s = e->expiry_s;
		}
		assert_int_equal(count, MANY);
		for (uint32_t k = 0; k < MANY; k += 2)
			assert_true(
			    table_set_expiry(table, entries[k], FIRST + k));
		for (uint32_t k = 0; k < MANY; k++)
			table_remove(table, entries[k]);
		assert_null(table_first(table));
		table_free(table);
	}
}

/* The same step back is as if nothing had been. */
static void there_and_back(void **state)
{
	struct table *table = filled();

	(void)state;
	for (int64_t step_s = 1; step_s < 1000000000; step_s *= 7) {
		table_step(table, step_s);
		table_step(table, -step_s);
		table_step(table, -step_s);
		table_step(table, step_s);
	}
	assert_order(table, 0);
	table_free(table);
}

static void nothing(void **state)
{
	struct table *table = table_create();

	(void)state;
	table_step(table, HOUR);
	assert_null(table_first(table));
	table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_times_move),
	    cmocka_unit_test(what_is_in_the_maps_is_stale),
	    cmocka_unit_test(at_the_ends_of_time),
	    cmocka_unit_test(there_and_back),
	    cmocka_unit_test(nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

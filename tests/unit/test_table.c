/*
 * table: against a model that is an array, in which nothing can be wrong; and
 * at sizes and failures that the model's run does not reach.
 */
#include "table.h"

#include <errno.h>

#include "scratch.h"

enum {
	MODEL = 500,
	STEPS = 60000,
	EXPIRIES = 60, /* few, so that many entries share one */
	MANY = 300000,
};

/* ---- failing memory ---- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(MEMCHECK)
#define CAN_FAIL 1
void *__libc_malloc(size_t size);
static int fail_after = -1; /* calls of malloc(3); -1: never */

/* In the place of the C library's; free(3) takes what it gives. */
void *malloc(size_t size)
{
	if (fail_after == 0) {
		errno = ENOMEM;
		return NULL;
	}
	if (fail_after > 0)
		fail_after--;
	return __libc_malloc(size);
}
#else
#define CAN_FAIL 0
static int fail_after;
#endif

/* ---- the model ---- */

struct model {
	bool present, dirty;
	int64_t expiry_s;
	struct entry *entry;
};

static struct model model[MODEL];
static int queue[MODEL], queued; /* the dirty ones, oldest first */
static uint64_t random_state;

static uint32_t pick(uint32_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 33) % limit;
}

/* IPv4 and IPv6, that differ at both ends. */
static struct address address_of(uint32_t i)
{
	struct address a = {{0x20, 0x01, 0x0d, 0xb8}};

	if (i % 2 == 0)
		return address_from_v4(0x0a000000 + i);
	memcpy(&a.byte[4 + i % 9], &i, sizeof i);
	return a;
}

static int index_of(const struct entry *entry)
{
	for (int i = 0; i < MODEL; i++)
		if (model[i].entry == entry)
			return i;
	fail_msg("an entry that nobody has put there");
	return -1;
}

static void model_clean(int i)
{
	int kept = 0;

	for (int k = 0; k < queued; k++)
		if (queue[k] != i)
			queue[kept++] = queue[k];
	queued = kept;
	model[i].dirty = false;
}

static void step(struct table *table, int i)
{
	struct address address = address_of((uint32_t)i);
	struct model *m = &model[i];
	int64_t expiry_s = 1000 + (int64_t)pick(EXPIRIES);

	assert_ptr_equal(table_find(table, &address), m->entry);
	if (!m->present) {
		m->entry = table_insert(table, &address, expiry_s);
		assert_non_null(m->entry);
		assert_null(m->entry->who);
		assert_int_equal(m->entry->flags, 0);
		assert_true(who_create(&m->entry->who, "joe", 3, NULL, 0));
		m->present = true;
		m->expiry_s = expiry_s;
		return;
	}
	switch (pick(6)) {
	case 0:
		table_remove(table, m->entry);
		model_clean(i);
		*m = (struct model){0};
		break;
	case 1:
	case 2:
		assert_true(table_set_expiry(table, m->entry, expiry_s));
		m->expiry_s = expiry_s;
		break;
	case 3:
	case 4:
		table_mark_dirty(table, m->entry);
		if (!m->dirty)
			queue[queued++] = i;
		m->dirty = true;
		break;
	default:
		table_clear_dirty(table, m->entry);
		model_clean(i);
	}
}

static void compare_order(struct table *table)
{
	bool seen[MODEL] = {0};
	int64_t last_s = INT64_MIN;
	uint32_t count = 0;

	for (struct entry *e = table_first(table); e != NULL;
	     e = table_next(table, e)) {
		int i = index_of(e);

		assert_false(seen[i]);
		seen[i] = true;
		assert_true(e->expiry_s == model[i].expiry_s);
		assert_true(e->expiry_s >= last_s);
		last_s = e->expiry_s;
		count++;
	}
	assert_int_equal(count, table_count(table));
}

static void compare(struct table *table)
{
	struct entry *dirty = table_first_dirty(table);
	uint32_t present = 0, in_slots = 0;

	for (int k = 0; k < queued; k++) {
		assert_ptr_equal(dirty, model[queue[k]].entry);
		dirty = table_next_dirty(table, dirty);
	}
	assert_null(dirty);
	for (int i = 0; i < MODEL; i++) {
		struct address address = address_of((uint32_t)i);
		struct entry *e = table_find(table, &address);

		assert_ptr_equal(e, model[i].entry);
		if (e == NULL)
			continue;
		present++;
		assert_true(address_equal(&e->address, &address));
		assert_ptr_equal(table_at(table, table_slot(e)), e);
		assert_in_range(table_slot(e), 1, table_slots(table));
	}
	for (uint32_t slot = 1; slot <= table_slots(table); slot++)
		in_slots += table_at(table, slot) != NULL;
	assert_int_equal(present, table_count(table));
	assert_int_equal(present, in_slots);
	compare_order(table);
}

static void model_run(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct table *table = table_create();

		memset(model, 0, sizeof model);
		queued = 0;
		random_state = seed * UINT64_C(0x9e3779b97f4a7c15);
		assert_non_null(table);
		for (int i = 0; i < STEPS; i++) {
			step(table, (int)pick(MODEL));
			if (i % 1000 == 0)
				compare(table);
		}
		compare(table);
		/* slots are used again: never more than there were entries */
		assert_in_range(table_slots(table), 1, MODEL);
		for (int i = 0; i < MODEL; i++)
			if (model[i].present)
				table_remove(table, model[i].entry);
		assert_int_equal(table_count(table), 0);
		assert_null(table_first(table));
		assert_null(table_first_dirty(table));
		table_free(table);
	}
}

/* ---- large ---- */

static void growth(void **state)
{
	struct table *table = table_create();
	struct entry **entry = calloc(MANY, sizeof(*entry));
	int64_t last_s = 0;
	uint32_t count = 0;

	(void)state;
	assert_non_null(table);
	assert_non_null(entry);
	for (uint32_t i = 0; i < MANY; i++) {
		struct address address = address_of(i);

		assert_null(table_find(table, &address));
		entry[i] =
		    table_insert(table, &address, (int64_t)(i * 7919U % 1800));
		assert_non_null(entry[i]);
	}
	assert_int_equal(table_count(table), MANY);
	assert_int_equal(table_slots(table), MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		struct address address = address_of(i);

		if (table_find(table, &address) != entry[i])
			fail_msg("entry %u is lost or has moved", i);
	}
	for (struct entry *e = table_first(table); e != NULL;
	     e = table_next(table, e), count++) {
		if (e->expiry_s < last_s)
			fail_msg("entry %u is out of order", count);
		last_s = e->expiry_s;
	}
	assert_int_equal(count, MANY);
	for (uint32_t i = 0; i < MANY; i += 2)
		table_remove(table, entry[i]);
	for (uint32_t i = 0; i < MANY; i++) {
		struct address address = address_of(i);

		if (table_find(table, &address) != (i % 2 ? entry[i] : NULL))
			fail_msg("entry %u is wrong after removals", i);
	}
	free(entry);
	table_free(table);
}

/* ---- seconds ---- */

/* The next one is the next that is there, however far. */
static void next_over_seconds(void **state)
{
	static const int64_t seconds[] = {
	    0, 1, 2, 1900000000, UINT32_MAX - 1, UINT32_MAX};
	enum { COUNT = sizeof seconds / sizeof seconds[0] };
	struct table *table = table_create();
	struct entry *e;

	(void)state;
	assert_non_null(table);
	assert_null(table_first(table));
	for (uint32_t i = COUNT; i-- > 0;)
		for (uint32_t twice = 0; twice < 2; twice++) {
			struct address address = address_of(2 * i + twice);

			assert_non_null(
			    table_insert(table, &address, seconds[i]));
		}
	e = table_first(table);
	for (int i = 0; i < 2 * COUNT; i++, e = table_next(table, e)) {
		assert_non_null(e);
		assert_true(e->expiry_s == seconds[i / 2]);
	}
	assert_null(e);
	table_free(table);
}

/* A second that was empty for a while is as good as a new one. */
static void a_second_that_comes_back(void **state)
{
	struct address a = address_of(1), b = address_of(2);
	struct table *table = table_create();
	struct entry *first, *second;

	(void)state;
	assert_non_null(table);
	second = table_insert(table, &b, 500);
	for (int i = 0; i < 3; i++) {
		first = table_insert(table, &a, 100);
		assert_ptr_equal(table_first(table), first);
		table_remove(table, first);
		assert_ptr_equal(table_first(table), second);
	}
	first = table_insert(table, &a, 100);
	for (int i = 0; i < 3; i++) {
		assert_true(table_set_expiry(table, first, 900));
		assert_ptr_equal(table_first(table), second);
		assert_ptr_equal(table_next(table, second), first);
		assert_true(table_set_expiry(table, first, 100));
		assert_ptr_equal(table_first(table), first);
		assert_ptr_equal(table_next(table, first), second);
		assert_null(table_next(table, second));
	}
	table_free(table);
}

/* Removing what the walk stands on, with the next one taken before. */
static void walk_and_remove(void **state)
{
	struct table *table = table_create();
	uint32_t removed = 0;

	(void)state;
	assert_non_null(table);
	for (uint32_t i = 0; i < 1000; i++) {
		struct address address = address_of(i);

		assert_non_null(table_insert(table, &address, i % 10));
	}
	for (struct entry *e = table_first(table), *next; e != NULL; e = next) {
		next = table_next(table, e);
		if (e->expiry_s % 2 == 0) {
			table_remove(table, e);
			removed++;
		}
	}
	assert_int_equal(removed, 500);
	for (struct entry *e = table_first(table); e != NULL;
	     e = table_next(table, e))
		assert_int_equal(e->expiry_s % 2, 1);
	table_free(table);
}

/* ---- without memory ---- */

static bool memory_can_fail(const char *what)
{
	if (!CAN_FAIL)
		print_message("not run with sanitizers, whose malloc cannot be "
			      "made to fail: %s\n",
			      what);
	return CAN_FAIL;
}

/* The promise that a refused turn rests upon. */
static void undo_needs_no_memory(void **state)
{
	enum { COUNT = 200 };
	struct table *table;
	struct entry *entry[COUNT];
	int moved[2 * COUNT];
	int64_t old_s[2 * COUNT];

	(void)state;
	if (!memory_can_fail("undoing a change of expiry"))
		skip();
	table = table_create();
	assert_non_null(table);
	for (uint32_t i = 0; i < COUNT; i++) {
		struct address address = address_of(i);

		entry[i] = table_insert(table, &address, 10 * (int64_t)i);
		assert_non_null(entry[i]);
	}
	random_state = 7;
	for (int i = 0; i < 2 * COUNT; i++) {
		moved[i] = (int)pick(COUNT);
		old_s[i] = entry[moved[i]]->expiry_s;
		assert_true(table_set_expiry(table, entry[moved[i]],
					     5000 + (int64_t)pick(COUNT)));
	}
	fail_after = 0;
	for (int i = 2 * COUNT; i-- > 0;)
		if (!table_set_expiry(table, entry[moved[i]], old_s[i])) {
			fail_after = -1;
			fail_msg("move %d cannot be taken back", i);
		}
	fail_after = -1;
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(entry[i]->expiry_s, 10 * i);
	table_free(table);
}

static void no_memory_no_change(void **state)
{
	struct table *table;
	struct address a = address_of(1), b = address_of(2), c = address_of(3);
	struct entry *first, *second;
	bool moved;

	(void)state;
	if (!memory_can_fail("insertion and change of expiry"))
		skip();
	table = table_create();
	assert_non_null(table);
	first = table_insert(table, &a, 100);
	second = table_insert(table, &b, 100);
	fail_after = 0;
	moved = table_set_expiry(table, first, 200);
	assert_null(table_insert(table, &c, 300));
	fail_after = -1;
	assert_false(moved);
	assert_int_equal(first->expiry_s, 100);
	assert_int_equal(table_count(table), 2);
	assert_null(table_find(table, &c));
	assert_true(table_first(table) == first ||
		    table_first(table) == second);
	assert_null(table_next(table, table_next(table, table_first(table))));
	assert_non_null(table_insert(table, &c, 300));
	assert_int_equal(table_slots(table), 3);
	table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(model_run),
	    cmocka_unit_test(growth),
	    cmocka_unit_test(next_over_seconds),
	    cmocka_unit_test(a_second_that_comes_back),
	    cmocka_unit_test(walk_and_remove),
	    cmocka_unit_test(undo_needs_no_memory),
	    cmocka_unit_test(no_memory_no_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * prefixes: against a model that looks at everything; in a table; with one
 * prefix that somebody has filled; and without memory.
 */
#include "prefixes.h"

#include <errno.h>
#include <time.h>

#include "scratch.h"
#include "table.h"

enum {
	SLOTS = 3000, /* more than a slab */
	STEPS = 60000,
	NETS = 7,
	EXPIRIES = 40, /* few, so that many share one */
	MANY = 100000,
};

#if !defined(__SANITIZE_ADDRESS__) && !defined(MEMCHECK)
#define CAN_FAIL 1
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
static bool fails;

/* In the place of the C library's; free(3) takes what they give. */
void *malloc(size_t size)
{
	if (!fails)
		return __libc_malloc(size);
	errno = ENOMEM;
	return NULL;
}

void *calloc(size_t count, size_t size)
{
	if (!fails)
		return __libc_calloc(count, size);
	errno = ENOMEM;
	return NULL;
}
#else
#define CAN_FAIL 0
static bool fails;
#endif

static uint64_t random_state = 1;

static uint32_t pick(uint32_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 33) % limit;
}

static struct address text_address(const char *text)
{
	struct address a;

	assert_true(address_from_text(&a, text));
	return a;
}

/* Addresses that first differ in various bits. */
static struct address any_address(void)
{
	static const uint8_t bit[NETS] = {0, 31, 32, 47, 63, 64, 126};
	struct address a = text_address("2001:db8::");

	for (int i = 0; i < NETS; i++)
		if (pick(2))
			a.byte[bit[i] / 8] ^= (uint8_t)(0x80 >> bit[i] % 8);
	a.byte[15] ^= (uint8_t)pick(2);
	return a;
}

static bool same_net(const struct address *a, const struct address *b,
		     uint32_t bits)
{
	for (uint32_t i = 0; i < bits; i++)
		if (((a->byte[i / 8] ^ b->byte[i / 8]) >> (7 - i % 8)) & 1)
			return false;
	return true;
}

/* ---- the model ---- */

static struct {
	struct address address;
	int64_t expiry_s; /* 0: says nothing */
} model[SLOTS];

static int64_t model_latest(const struct address *address, uint32_t bits)
{
	int64_t latest_s = 0;

	for (int i = 0; i < SLOTS; i++)
		if (model[i].expiry_s > latest_s &&
		    same_net(&model[i].address, address, bits))
			latest_s = model[i].expiry_s;
	return latest_s;
}

static void step(struct prefixes *prefixes, uint32_t slot)
{
	assert_true(prefixes_reserve(prefixes, slot));
	if (pick(3) == 0) {
		prefixes_clear(prefixes, slot);
		model[slot].expiry_s = 0;
		return;
	}
	model[slot].address = any_address();
	model[slot].expiry_s = 1000 + (int64_t)pick(EXPIRIES);
	prefixes_set(prefixes, slot, &model[slot].address,
		     model[slot].expiry_s);
}

static void model_run(void **state)
{
	static const uint32_t bits[] = {32, 33, 48, 64, 65, 127};

	(void)state;
	for (size_t n = 0; n < sizeof bits / sizeof bits[0]; n++) {
		struct prefixes *prefixes = prefixes_create(bits[n]);

		assert_non_null(prefixes);
		memset(model, 0, sizeof model);
		for (int i = 0; i < STEPS; i++) {
			struct address asked = any_address();

			step(prefixes, pick(i % 5 ? 20 : SLOTS));
			if (i % 50)
				continue;
			assert_int_equal(prefixes_latest(prefixes, &asked),
					 model_latest(&asked, bits[n]));
		}
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			prefixes_clear(prefixes, slot);
		for (int i = 0; i < 100; i++) {
			struct address asked = any_address();

			assert_int_equal(prefixes_latest(prefixes, &asked), 0);
		}
		prefixes_free(prefixes);
	}
}

/* ---- in a table ---- */

static int64_t latest(const struct table *table, const char *text)
{
	struct address a = text_address(text);

	return table_prefix_expiry(table, &a);
}

static struct entry *insert(struct table *table, const char *text,
			    int64_t expiry_s)
{
	struct address a = text_address(text);
	struct entry *entry = table_insert(table, &a, expiry_s);

	assert_non_null(entry);
	return entry;
}

/* Only what has been granted counts, and until it is taken away. */
static void granted_in_a_table(void **state)
{
	struct table *table = table_create();
	struct entry *one, *two, *v4;

	(void)state;
	assert_non_null(table);
	assert_true(table_share_prefix(table, 64));
	one = insert(table, "2001:db8::1", 100);
	assert_int_equal(latest(table, "2001:db8::9"), 0);
	table_grant(table, one);
	assert_int_equal(latest(table, "2001:db8::9"), 100);
	assert_true(table_set_expiry(table, one, 200));
	assert_int_equal(latest(table, "2001:db8::9"), 100);
	table_grant(table, one);
	assert_int_equal(latest(table, "2001:db8::9"), 200);
	two = insert(table, "2001:db8::2", 300);
	table_grant(table, two);
	assert_int_equal(latest(table, "2001:db8::1"), 300);
	table_revoke(table, two);
	assert_int_equal(latest(table, "2001:db8::1"), 200);
	table_remove(table, two);
	table_remove(table, one);
	assert_int_equal(latest(table, "2001:db8::1"), 0);
	/* the same slot */
	v4 = insert(table, "192.0.2.1", 400);
	table_grant(table, v4);
	assert_int_equal(latest(table, "192.0.2.1"), 0);
	assert_int_equal(latest(table, "::ffff:0:1"), 0);
	assert_int_equal(latest(table, "2001:db8::1"), 0);
	table_remove(table, v4);
	table_free(table);
}

static void nothing_is_shared_by_default(void **state)
{
	struct table *table = table_create();
	struct entry *entry;

	(void)state;
	assert_non_null(table);
	entry = insert(table, "2001:db8::1", 100);
	table_grant(table, entry);
	assert_int_equal(latest(table, "2001:db8::1"), 0);
	table_revoke(table, entry);
	table_remove(table, entry);
	table_free(table);
}

/* ---- one prefix, full ---- */

static double elapsed_us(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begin->tv_sec) * 1e6 +
	       (double)(now.tv_nsec - begin->tv_nsec) / 1e3;
}

/* A hundred thousand neighbours: 20 us each would be a walk over them. */
static void a_full_prefix_costs_no_more(void **state)
{
	struct prefixes *prefixes = prefixes_create(64);
	struct address a = text_address("2001:db8::");
	struct timespec begin;
	double us;

	(void)state;
	assert_non_null(prefixes);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (uint32_t i = 0; i < MANY; i++) {
		memcpy(a.byte + 12, &i, sizeof i);
		assert_true(prefixes_reserve(prefixes, i));
		prefixes_set(prefixes, i, &a, 1000 + i % EXPIRIES);
		assert_true(prefixes_latest(prefixes, &a) >= 1000);
	}
	for (uint32_t i = 0; i < MANY; i++)
		prefixes_clear(prefixes, i);
	us = elapsed_us(&begin) / MANY;
	print_message("one of %d in a prefix: %.2f us for all it does\n", MANY,
		      us);
#ifndef MEMCHECK
	assert_true(us < 20);
#endif
	assert_int_equal(prefixes_latest(prefixes, &a), 0);
	prefixes_free(prefixes);
}

/* ---- without memory ---- */

static void only_room_needs_memory(void **state)
{
	struct prefixes *prefixes = prefixes_create(64);
	struct address a = text_address("2001:db8::1");
	bool reserved;

	(void)state;
	if (!CAN_FAIL) {
		prefixes_free(prefixes);
		print_message("not run with sanitizers, whose malloc cannot "
			      "be made to fail\n");
		skip();
	}
	assert_non_null(prefixes);
	assert_true(prefixes_reserve(prefixes, 5));
	fails = true;
	reserved = prefixes_reserve(prefixes, SLOTS);
	prefixes_set(prefixes, 5, &a, 100);
	prefixes_clear(prefixes, 5);
	prefixes_set(prefixes, 5, &a, 200);
	prefixes_clear(prefixes, SLOTS);
	fails = false;
	assert_false(reserved);
	assert_int_equal(prefixes_latest(prefixes, &a), 200);
	prefixes_free(prefixes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(model_run),
	    cmocka_unit_test(granted_in_a_table),
	    cmocka_unit_test(nothing_is_shared_by_default),
	    cmocka_unit_test(a_full_prefix_costs_no_more),
	    cmocka_unit_test(only_room_needs_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

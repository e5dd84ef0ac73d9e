/* sort: in memory and through the file, in order, nothing lost or altered. */
#include "sort.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct seen {
	size_t count;
	int64_t expiry_s;
	uint64_t sum;
};

static struct drac_entry made(uint32_t number)
{
	/* Scrambled, with ties, and of many lengths. */
	uint32_t mixed = number * 2654435761u;
	struct drac_entry entry = {.expiry_s = mixed >> 12,
				   .first_s = number,
				   .last_s = number + 1,
				   .adds = number};

	snprintf(entry.address, sizeof entry.address, "%u", number);
	memset(entry.user, 'u', mixed % DRAC_USER_MAX);
	snprintf(entry.service, sizeof entry.service, "s%u", number);
	snprintf(entry.caller, sizeof entry.caller, "c%u", number);
	return entry;
}

static void check(void *context, const struct drac_entry *entry)
{
	struct seen *seen = context;
	struct drac_entry expected =
	    made((uint32_t)strtoul(entry->address, NULL, 10));

	assert_true(entry->expiry_s >= seen->expiry_s);
	assert_int_equal(entry->expiry_s, expected.expiry_s);
	assert_int_equal(entry->first_s, expected.first_s);
	assert_int_equal(entry->last_s, expected.last_s);
	assert_int_equal(entry->adds, expected.adds);
	assert_string_equal(entry->user, expected.user);
	assert_string_equal(entry->service, expected.service);
	assert_string_equal(entry->caller, expected.caller);
	seen->expiry_s = entry->expiry_s;
	seen->count++;
	seen->sum += entry->adds;
}

static void sorts(uint32_t count)
{
	struct sort *sort = sort_new();
	struct seen seen = {0};
	uint64_t sum = 0;

	assert_non_null(sort);
	for (uint32_t i = 0; i < count; i++) {
		struct drac_entry entry = made(i);

		assert_true(sort_add(sort, &entry));
		sum += i;
	}
	assert_true(sort_each(sort, check, &seen));
	assert_int_equal(seen.count, count);
	assert_int_equal(seen.sum, sum);
	sort_free(sort);
}

static void in_memory(void **state)
{
	(void)state;
	sorts(0);
	sorts(1);
	sorts(1000);
}

static void through_the_file(void **state)
{
	(void)state;
	sorts(30000);
	sorts(150000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(in_memory),
	    cmocka_unit_test(through_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

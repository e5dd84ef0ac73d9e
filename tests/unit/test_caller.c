/*
 * caller: texts, and numbers that are counted against a model.
 */
#include "caller.h"

#include "scratch.h"

enum { STEPS = 200000, ALL = 65535, FEW = 100 };

static struct address numbered(uint32_t number)
{
	return number % 2 ? address_from_v4(0x0a000000 + number)
			  : caller_local(number);
}

static void texts(void **state)
{
	static const struct address unknown;
	struct address v4 = address_from_v4(0xc0000201), v6;
	struct address local = caller_local(65),
		       most = caller_local(UINT32_MAX);
	char buf[CALLER_TEXT_MAX];

	(void)state;
	assert_true(address_from_text(&v6, "2001:db8::1"));
	assert_string_equal(caller_text(&unknown, buf), "");
	assert_string_equal(caller_text(&v4, buf), "192.0.2.1");
	assert_string_equal(caller_text(&v6, buf), "2001:db8::1");
	assert_string_equal(caller_text(&local, buf), "local uid=65");
	assert_string_equal(caller_text(&most, buf), "local uid=4294967295");
}

static void anything(void **state)
{
	struct callers *callers = callers_create();
	uint16_t number[FEW] = {0};
	uint32_t users[FEW] = {0};
	unsigned seed = 1;

	(void)state;
	assert_non_null(callers);
	for (int step = 0; step < STEPS; step++) {
		uint32_t i = (uint32_t)rand_r(&seed) % FEW;
		struct address caller = numbered(i);

		if (users[i] > 0 && rand_r(&seed) % 2) {
			callers_drop(callers, number[i]);
			users[i]--;
			continue;
		}
		uint16_t taken = callers_take(callers, &caller);

		assert_int_not_equal(taken, CALLER_UNKNOWN);
		assert_true(users[i] == 0 || taken == number[i]);
		number[i] = taken;
		users[i]++;
		assert_true(address_equal(callers_at(callers, taken), &caller));
	}
	callers_free(callers);
}

/* One too many is not known; what is dropped makes room. */
static void too_many(void **state)
{
	static const struct address unknown;
	struct callers *callers = callers_create();
	struct address caller;

	(void)state;
	assert_non_null(callers);
	for (uint32_t i = 1; i <= ALL; i++) {
		caller = address_from_v4(i);
		assert_int_equal(callers_take(callers, &caller), i);
	}
	caller = caller_local(1);
	assert_int_equal(callers_take(callers, &caller), CALLER_UNKNOWN);
	assert_true(
	    address_equal(callers_at(callers, CALLER_UNKNOWN), &unknown));
	callers_drop(callers, CALLER_UNKNOWN);
	callers_drop(callers, 77);
	assert_int_equal(callers_take(callers, &caller), 77);
	caller = address_from_v4(78);
	assert_int_equal(callers_take(callers, &caller), 78);
	callers_free(callers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(texts),
	    cmocka_unit_test(anything),
	    cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * turn, the account of an entry: numbers of callers come back when adds of
 * others take their place, whether those stand or are undone.
 */
#include "turn_world.h"

enum { CALLERS = 70000, A_TURN = 1000 }; /* more than there are numbers */

static const char one[] = "192.0.2.1";

/* The caller that the table knows of the entry; all bytes 0: none. */
static struct address caller_of_entry(void)
{
	struct address address = address_of(one);
	const struct entry *entry = table_find(table, &address);

	assert_non_null(entry);
	return *table_caller(table, entry->caller);
}

static void assert_caller(uint32_t number)
{
	struct address is = caller_of_entry(), wanted = address_from_v4(number);

	assert_true(address_equal(&is, &wanted));
}

static void callers_without_number(void **state)
{
	uint32_t caller = 0x0a000000;
	int64_t now_s = NOW;

	(void)state;
	for (int turns = 0; turns < CALLERS / A_TURN; turns++, now_s++) {
		answered = 0;
		for (int i = 0; i < A_TURN; i++)
			ask_as(REQUEST_ADD, one, LIFETIME, now_s, "joe",
			       ++caller);
		commit(now_s, true);
		assert_int_equal(answered, A_TURN);
		assert_caller(caller);
	}
	/* no journal for these: all of them are undone */
	for (int turns = 0; turns < CALLERS / A_TURN; turns++) {
		answered = 0;
		for (int i = 1; i <= A_TURN; i++)
			ask_as(REQUEST_ADD, one, LIFETIME, now_s, "joe",
			       caller + (uint32_t)(turns * A_TURN + i));
		limit_file_size(100);
		commit(now_s, false);
		limit_file_size(-1);
		assert_int_equal(answered, A_TURN);
		assert_answer(0, one, OUTCOME_SYSERR, 0);
		assert_caller(caller);
	}
	add(one, ++now_s);
	commit(now_s, true);
	assert_caller(0x7f000001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(callers_without_number, world_setup,
					    world_teardown),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/*
 * turn: when the system refuses what it writes to the journal, or the cut that
 * is to take it back. Who was refused is nowhere, and it works again by itself.
 */
#include "turn_refusals.h"

/*
 * What has been taken back is not in the journal when the pass has ended, or
 * after the next one: nobody need ask for anything.
 */
static void assert_taken_back(int cuts_that_fail)
{
	for (int pass = 1; pass < cuts_that_fail; pass++)
		commit(NOW, true);
	assert_int_equal(cuts.times, 0);
	assert_int_equal(answered, 6);
	assert_all_refused(2);
	writes.times = 0;
	assert_works();
}

static void the_cut_fails_after_the_map(void **state)
{
	(void)state;
	for (int times = 1; times <= 3; times++) {
		begin();
		writes = (struct refusal){map_path_1, EIO, 0, ALL};
		cuts = (struct refusal){"journal", EIO, 0, times};
		ask_for_all();
		commit(NOW, false);
		assert_taken_back(times);
	}
}

/* It cannot be cut: something else was answered in the same turn. */
static void records_that_fail_after_the_map(void **state)
{
	(void)state;
	for (int times = 0; times <= 3; times++) {
		begin();
		writes = (struct refusal){map_path_1, EIO, 0, ALL};
		appends = (struct refusal){"journal", SHORT, 1, 1};
		cuts = (struct refusal){"journal", EIO, 0, times};
		ask(REQUEST_ADD, A, 60, NOW);
		ask_for_all();
		commit(NOW, false);
		assert_int_equal(answered, 7);
		assert_answer(2, A, OUTCOME_OK, NOW + LIFETIME);
		answers[2].outcome = OUTCOME_SYSERR;
		answered--;
		commit(NOW, true);
		assert_taken_back(times);
	}
}

/* The records that are whole in what was written are of refused adds. */
static void the_cut_fails_after_the_write(void **state)
{
	(void)state;
	for (int times = 1; times <= 3; times++) {
		begin();
		appends = (struct refusal){"journal", SHORT, 0, 1};
		cuts = (struct refusal){"journal", EIO, 0, times};
		ask_for_all();
		assert_contains(commit(NOW, false),
				"journal=journal cannot be written: adds are "
				"refused until it can: No space left");
		assert_taken_back(times);
	}
}

/* What there was no memory for does not come with the next turn. */
static void no_memory_for_records(void **state)
{
	enum { MANY = 100 }; /* more than a buffer has at first */
	char text[32];

	(void)state;
	begin();
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof text, "10.0.0.%d", i);
		add(text, NOW);
	}
	no_memory = true;
	commit(NOW, false);
	no_memory = false;
	assert_int_equal(answered, MANY + 2);
	assert_all_refused(2);
	assert_works();
	assert_everywhere("10.0.0.0", 0);
	assert_everywhere(text, 0);
}

/* What was taken back keeps no segment. */
static void nothing_counts_on_it(void **state)
{
	(void)state;
	for (int held = 0; held < 2; held++) {
		begin();
		if (held)
			writes = (struct refusal){map_path_1, EIO, 0, ALL};
		else
			appends = (struct refusal){"journal", SHORT, 0, 1};
		ask_for_all();
		commit(NOW, false);
		assert_all_refused(2);
		writes.times = 0;
		elapse_s(RETRY_S);
		del(A, NOW);
		del(D, NOW);
		commit(NOW, true);
		world_clock.base_ns += INT64_C(1000000000);
		turn_step(turn, 1); /* the next segment begins */
		assert_int_equal(journal_segments(journal), 1);
	}
}

/* No new segment begins behind what is to be cut off. */
static void the_cut_fails_and_the_clock_is_set(void **state)
{
	(void)state;
	begin();
	appends = (struct refusal){"journal", SHORT, 0, 1};
	cuts = (struct refusal){"journal", EIO, 0, 4};
	ask_for_all();
	commit(NOW, false);
	for (int i = 0; i < 2; i++) {
		int64_t step_s = i ? -60 : 60;

		world_clock.base_ns += step_s * INT64_C(1000000000);
		capture_begin();
		turn_step(turn, step_s);
		capture_end();
	}
	assert_taken_back(3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(the_cut_fails_after_the_map),
	    TEST(records_that_fail_after_the_map),
	    TEST(the_cut_fails_after_the_write),
	    TEST(no_memory_for_records),
	    TEST(nothing_counts_on_it),
	    TEST(the_cut_fails_and_the_clock_is_set),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

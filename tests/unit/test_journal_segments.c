/* journal: what becomes of old segments, and many of them with deaths between.
 */
#include "journal_disk.h"

enum { CLOCK_BYTES = 72 }; /* at the head of a segment */

/*
 * Segment 2 says only that an entry of segment 1 is gone. It must stay while
 * segment 1 does, which another entry keeps.
 */
static void a_removal_outlives_the_put(void **state)
{
	(void)state;
	model_open();
	put(1, 100);
	put(2, 200);
	assert_int_equal(fill_segment(), 2);
	take(1);
	for (uint32_t number = 3; number < 6; number += 2) { /* opening: one */
		assert_int_equal(fill_segment(), number);
		model_close();
		assert_true(segment_exists(1));
		assert_true(segment_exists(2));
		model_open();
		assert_int_equal(model[1].segment, 0);
		assert_int_equal(model[2].expiry_s, 200);
	}
	put(2, 300); /* now nothing keeps it */
	model_close();
	assert_false(segment_exists(1));
	assert_false(segment_exists(2));
	model_open();
	assert_int_equal(model[1].segment, 0);
	assert_int_equal(model[2].expiry_s, 300);
	model_close();
}

/* What chores_tidy() does. */
static int rewrite_survivors(void)
{
	struct address address;
	uint32_t segment;
	int rewritten = 0;

	while (journal_survivor(journal, &address, &segment)) {
		int i = address.byte[15];

		if (model[i].segment != segment)
			continue;
		put(i, model[i].expiry_s);
		rewritten++;
	}
	return rewritten;
}

static void survivors_are_rewritten(void **state)
{
	uint64_t bytes;

	(void)state;
	model_open();
	for (int i = 1; i <= 20; i++)
		put(i, 100 * i);
	put(20, 2001);
	take(19);
	assert_int_equal(rewrite_survivors(), 0); /* it is short */
	while (fill_segment() < 6)
		;
	assert_true(segment_exists(1));
	bytes = journal_bytes(journal);
	assert_int_equal(rewrite_survivors(), 19); /* 1 to 18, and 20 */
	assert_true(journal_bytes(journal) < bytes);
	assert_int_equal(journal_segments(journal), 1);
	assert_false(rewrite_survivors() > 0);
	model_close();
	assert_int_equal(files(), 1);
	model_open();
	for (int i = 1; i <= 18; i++)
		assert_int_equal(model[i].expiry_s, 100 * i);
	assert_int_equal(model[19].segment, 0);
	assert_int_equal(model[20].expiry_s, 2001);
	model_close();
}

/* Opens it, and waits until all segments that it found have been flushed. */
static void open_flushed(int found)
{
	sys.by_other = 0;
	model_open();
	for (int ms = 0; ms < 5000 && sys.by_other < found; ms++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(sys.by_other, found);
}

/* No segment goes before what took its place is on the disk. */
static void flushed_before_the_removal(void **state)
{
	(void)state;
	model_open();
	put(1, 100);
	fill_segment();
	model_close();
	open_flushed(2);
	assert_int_equal(sys.removals, 0);
	put(1, 200); /* nothing is left in segment 1 */
	model_close();
	assert_int_equal(sys.removals, 1);
	assert_int_equal(sys.at_risk, 0);

	open_flushed(2);
	put(FILLER, 1);
	put(1, 300);    /* all before the active one may go */
	fill_segment(); /* and that is not the active one any more */
	model_close();
	assert_int_equal(sys.removals, 3);
	assert_int_equal(sys.at_risk, 0);
}

/* Anything, over many segments, with a death after each. */
static void model_run(void **state)
{
	struct model_entry expected[ADDRESSES];
	uint64_t bytes = 0;
	unsigned seed = 1;

	(void)state;
	model_open();
	for (int round = 0; round < 12; round++) {
		for (int n = 0; n < 3; n++) {
			for (int k = 0; k < 25; k++) {
				int i = rand_r(&seed) % FILLER;

				if (model[i].segment != 0 &&
				    rand_r(&seed) % 3 == 0)
					take(i);
				else
					put(i, 1 + rand_r(&seed) % 10000);
			}
			if (n == round % 3)
				fill_segment();
			if (rand_r(&seed) % 4 == 0)
				rewrite_survivors();
		}
		bytes = journal_bytes(journal);
		memcpy(expected, model, sizeof model);
		model_close();
		model_open();
		for (int i = 0; i < ADDRESSES; i++) {
			assert_int_equal(model[i].segment, expected[i].segment);
			if (model[i].segment != 0)
				assert_int_equal(model[i].expiry_s,
						 expected[i].expiry_s);
		}
		assert_int_equal(journal_bytes(journal),
				 bytes + SEGMENT_HEADER + CLOCK_BYTES);
	}
	model_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_removal_outlives_the_put, setup),
	    cmocka_unit_test_setup(survivors_are_rewritten, setup),
	    cmocka_unit_test_setup(flushed_before_the_removal, setup),
	    cmocka_unit_test_setup(model_run, setup),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/* journal: commits, failures, and what is taken back. */
#include "journal_disk.h"

static int try_put(int i, int64_t expiry_s)
{
	struct record record = record_put(i, expiry_s);
	struct journal_mark mark;
	int error;

	assert_true(journal_add(journal, &record));
	error = journal_commit(journal, &mark);
	if (error == 0)
		model_put(i, expiry_s, mark.segment);
	return error;
}

/* ---- durability ---- */

static void flushed_by_whom(void **state)
{
	static const enum durability ways[] = {DURABILITY_OS, DURABILITY_DISK};

	(void)state;
	for (int way = 0; way < 2; way++) {
		struct stat st;

		assert_int_equal(setup(NULL), 0);
		assert_true(model_open_as(ways[way], false));
		sys.by_loop = 0;
		for (int i = 1; i <= 5; i++) {
			put(i, 100);
			assert_int_equal(stat(segment_path(1), &st), 0);
			if (ways[way] == DURABILITY_DISK)
				assert_int_equal(flushed(st.st_ino),
						 st.st_size);
		}
		assert_int_equal(sys.by_loop,
				 ways[way] == DURABILITY_DISK ? 5 : 0);
		model_close(); /* the thread has the last word */
		assert_int_equal(flushed(st.st_ino), st.st_size);
	}
}

static void flushed_within_a_second(void **state)
{
	struct stat st;
	off_t done = 0;

	(void)state;
	model_open();
	put(1, 100);
	assert_int_equal(stat(segment_path(1), &st), 0);
	for (int ms = 0; ms < 5000 && done < st.st_size; ms++) {
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		pthread_mutex_lock(&sys.mutex);
		done = flushed(st.st_ino);
		pthread_mutex_unlock(&sys.mutex);
	}
	assert_int_equal(done, st.st_size);
	assert_int_equal(sys.by_loop, 0);
	model_close();
}

/* ---- failures ---- */

/* Nothing of it is in the file, and nothing of it comes with the next one. */
static void assert_refused(int error, off_t size)
{
	assert_int_equal(try_put(2, 200), error);
	assert_int_equal(size_of(segment_path(1)), size);
	assert_int_equal(journal_bytes(journal), size);
}

static void assert_works_again(void)
{
	assert_int_equal(try_put(3, 300), 0);
	assert_int_equal(journal_bytes(journal), size_of(segment_path(1)));
	model_close();
	capture_begin();
	model_open();
	assert_string_equal(capture_end(), "");
	assert_int_equal(records_seen, 2);
	assert_int_equal(model[1].expiry_s, 100);
	assert_int_equal(model[2].segment, 0);
	assert_int_equal(model[3].expiry_s, 300);
	model_close();
}

static void no_room(void **state)
{
	off_t size;

	(void)state;
	for (off_t fits = 0; fits < 40; fits++) { /* bytes of a record of 40 */
		assert_int_equal(setup(NULL), 0);
		model_open();
		put(1, 100);
		size = size_of(segment_path(1));
		limit_file_size(size + fits);
		assert_refused(fits == 0 ? EFBIG : ENOSPC, size);
		assert_refused(fits == 0 ? EFBIG : ENOSPC, size);
		limit_file_size(-1);
		assert_works_again();
	}
}

static void flush_fails(void **state)
{
	off_t size;

	(void)state;
	assert_true(model_open_as(DURABILITY_DISK, false));
	put(1, 100);
	size = size_of(segment_path(1));
	sys.sync_error = EIO;
	assert_refused(EIO, size);
	sys.sync_error = ENOSPC;
	assert_refused(ENOSPC, size);
	sys.sync_error = 0;
	assert_works_again();
}

/* What could not be cut off at once is cut off before anything follows it. */
static void cutting_fails(void **state)
{
	off_t size;

	(void)state;
	model_open();
	put(1, 100);
	size = size_of(segment_path(1));
	limit_file_size(size + 20);
	sys.truncate_fails = true;
	assert_int_equal(try_put(2, 200), ENOSPC);
	limit_file_size(-1);
	assert_int_equal(size_of(segment_path(1)), size + 20);
	assert_int_equal(try_put(2, 200), EIO);
	sys.truncate_fails = false;
	assert_works_again();
}

static void no_next_segment(void **state)
{
	(void)state;
	model_open();
	put(1, 100);
	while (journal_bytes(journal) < 4 * 1024 * 1024) {
		struct record record = record_put(FILLER, 1);
		struct journal_mark mark;

		for (int i = 0; i < FILL_BATCH; i++)
			assert_true(journal_add(journal, &record));
		assert_int_equal(journal_commit(journal, &mark), 0);
		model_put(FILLER, 1, mark.segment);
	}
	limit_file_size(10);
	capture_begin();
	journal_tend(journal);
	journal_tend(journal);
	assert_contains(capture_end(), "dracd: jou"); /* the limit is on it */
	limit_file_size(-1);
	assert_int_equal(files(), 1);
	put(2, 200); /* the present one grows on */
	assert_int_equal(model[2].segment, 1);
	journal_tend(journal);
	put(3, 300);
	assert_int_equal(model[3].segment, 2);
	assert_int_equal(journal_segments(journal), 2);
	assert_int_equal(journal_bytes(journal),
			 size_of(segment_path(1)) + size_of(segment_path(2)));
	model_close();
	model_open();
	for (int i = 1; i <= 3; i++)
		assert_int_equal(model[i].expiry_s, 100 * i);
	model_close();
}

static void forgotten(void **state)
{
	struct record record = record_put(2, 200);

	(void)state;
	model_open();
	put(1, 100);
	assert_true(journal_add(journal, &record));
	journal_forget(journal);
	assert_works_again();
}

/* ---- taking back ---- */

static void rolled_back(void **state)
{
	struct journal_mark first, second;

	(void)state;
	model_open();
	first = put(1, 100);
	second = put(2, 200);
	assert_false(journal_rollback(journal, &first));
	assert_true(journal_rollback(journal, &second));
	model_remove(2);
	assert_int_equal(size_of(segment_path(1)), first.to);
	assert_int_equal(journal_bytes(journal), first.to);
	assert_false(journal_rollback(journal, &second)); /* it is gone */
	assert_works_again();
}

static void not_rolled_back_over_segments(void **state)
{
	struct journal_mark mark;

	(void)state;
	model_open();
	mark = put(1, 100);
	fill_segment();
	assert_false(journal_rollback(journal, &mark));
	model_close();
	model_open();
	assert_int_equal(model[1].expiry_s, 100);
	model_close();
}

static void rolled_back_later(void **state)
{
	struct journal_mark second;

	(void)state;
	model_open();
	put(1, 100);
	second = put(2, 200);
	sys.truncate_fails = true;
	assert_false(journal_rollback(journal, &second));
	sys.truncate_fails = false;
	model_remove(2);
	assert_works_again();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(flushed_by_whom, setup),
	    cmocka_unit_test_setup(flushed_within_a_second, setup),
	    cmocka_unit_test_setup(no_room, setup),
	    cmocka_unit_test_setup(flush_fails, setup),
	    cmocka_unit_test_setup(cutting_fails, setup),
	    cmocka_unit_test_setup(no_next_segment, setup),
	    cmocka_unit_test_setup(forgotten, setup),
	    cmocka_unit_test_setup(rolled_back, setup),
	    cmocka_unit_test_setup(not_rolled_back_over_segments, setup),
	    cmocka_unit_test_setup(rolled_back_later, setup),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

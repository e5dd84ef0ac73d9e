/*
 * journal: commits, failures, what is taken back, and what becomes of old
 * segments.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "journal_model.h"

/* ---- in the place of the C library's ---- */

enum {
	NUMBERS = 64,
	CLOCK_BYTES = 72, /* at the head of a segment */
};

static struct {
	pthread_t loop;      /* the thread of the tests */
	int by_loop;         /* fdatasync(2) in it */
	atomic_int by_other; /* and in the thread that flushes */
	int sync_error;      /* what fdatasync(2) fails with, in it */
	bool truncate_fails; /* ftruncate(2) */
	/* by inode: how much of a segment has been flushed */
	ino_t inode[NUMBERS];
	off_t flushed[NUMBERS];
	/* at the removal of a segment: the bytes of later ones at risk */
	off_t at_risk;
	int removals;
	pthread_mutex_t mutex;
} sys = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void note_flushed(const struct stat *st)
{
	int i = 0;

	pthread_mutex_lock(&sys.mutex);
	while (i < NUMBERS - 1 && sys.inode[i] != 0 &&
	       sys.inode[i] != st->st_ino)
		i++;
	sys.inode[i] = st->st_ino;
	sys.flushed[i] = st->st_size;
	pthread_mutex_unlock(&sys.mutex);
}

static off_t flushed(ino_t inode)
{
	for (int i = 0; i < NUMBERS; i++)
		if (sys.inode[i] == inode)
			return sys.flushed[i];
	return 0;
}

int fdatasync(int fd)
{
	struct stat st;

	if (pthread_equal(pthread_self(), sys.loop)) {
		sys.by_loop++;
		if (sys.sync_error != 0) {
			errno = sys.sync_error;
			return -1;
		}
	}
	if (fstat(fd, &st) == 0)
		note_flushed(&st);
	sys.by_other += !pthread_equal(pthread_self(), sys.loop);
	return 0;
}

int ftruncate(int fd, off_t len)
{
	if (sys.truncate_fails) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_ftruncate, fd, len);
}

/* Adds up what a power failure just after it could still take. */
int unlinkat(int dir, const char *name, int flags)
{
	uint32_t number = (uint32_t)strtoul(name, NULL, 10);
	struct stat st;
	char later[SEGMENT_NAME_MAX];

	pthread_mutex_lock(&sys.mutex);
	sys.removals++;
	for (uint32_t i = number + 1; i < NUMBERS; i++) {
		replay_name(later, i);
		if (fstatat(dir, later, &st, 0) == 0)
			sys.at_risk += st.st_size - flushed(st.st_ino);
	}
	pthread_mutex_unlock(&sys.mutex);
	return (int)syscall(SYS_unlinkat, dir, name, flags);
}

static void limit_file_size(off_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes < 0 ? limit.rlim_max : (rlim_t)bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int setup(void **state)
{
	limit_file_size(-1);
	sys.loop = pthread_self();
	sys.by_loop = sys.sync_error = sys.removals = 0;
	sys.truncate_fails = false;
	sys.at_risk = 0;
	memset(sys.inode, 0, sizeof sys.inode);
	return journal_setup(state);
}

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

/* ---- old segments ---- */

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
	    cmocka_unit_test_setup(a_removal_outlives_the_put, setup),
	    cmocka_unit_test_setup(survivors_are_rewritten, setup),
	    cmocka_unit_test_setup(flushed_before_the_removal, setup),
	    cmocka_unit_test_setup(model_run, setup),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

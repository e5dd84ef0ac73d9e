/*
 * journal: what it does when what it has written could not be flushed to the
 * disk: all that counts is written anew, and nothing goes before. And what else
 * can be refused.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

#include "journal_model.h"

enum { PATIENCE_MS = 5000, MEND_S = 60, EARLY_NS = 890000000 };

/* ---- in the place of the C library's ---- */

static pthread_t tester;
/* fdatasync(2) by the thread; flushed: since the last that failed */
static atomic_int failing, failed, flushed;
static atomic_int removed;
static int64_t passed_s;           /* for the tests alone */
static bool dir_fails, data_fails; /* for the tests alone, too */
static bool open_fails;            /* of what is there */
static bool unlink_fails;

int fdatasync(int fd)
{
	(void)fd;
	errno = EIO;
	if (pthread_equal(pthread_self(), tester))
		return data_fails ? -1 : 0;
	if (failing > 0) {
		flushed = 0;
		failing--;
		failed++;
		return -1;
	}
	flushed++;
	return 0;
}

int fsync(int fd)
{
	(void)fd;
	errno = EIO;
	return pthread_equal(pthread_self(), tester) && dir_fails ? -1 : 0;
}

int unlinkat(int dir_fd, const char *name, int flags)
{
	removed += !pthread_equal(pthread_self(), tester);
	errno = EIO;
	if (unlink_fails)
		return -1;
	return (int)syscall(SYS_unlinkat, dir_fd, name, flags);
}

int openat(int dir_fd, const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list more;

	va_start(more, flags);
	if (flags & O_CREAT)
		mode = va_arg(more, mode_t);
	va_end(more);
	errno = EMFILE;
	if (open_fails && (flags & (O_CREAT | O_WRONLY)) == O_WRONLY)
		return -1;
	return (int)syscall(SYS_openat, dir_fd, name, flags, mode);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int status = (int)syscall(SYS_clock_gettime, clock, now);

	if (clock != CLOCK_MONOTONIC || status != 0)
		return status;
	if (pthread_equal(pthread_self(), tester)) {
		now->tv_sec += passed_s;
	} else { /* so that a round comes soon */
		now->tv_sec -= now->tv_nsec < EARLY_NS;
		now->tv_nsec +=
		    (now->tv_nsec < EARLY_NS ? 1000000000 : 0) - EARLY_NS;
	}
	return status;
}

static int setup(void **state)
{
	tester = pthread_self();
	failing = failed = flushed = removed = 0;
	dir_fails = data_fails = open_fails = unlink_fails = false;
	passed_s += 10 * MEND_S;
	return journal_setup(state);
}

static void wait_for(const atomic_int *count, int at_least)
{
	for (int ms = 0; ms < PATIENCE_MS && *count < at_least; ms++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_true(*count >= at_least);
}

/* A round that fails, and one after it; then the journal looks. */
static const char *fail_once(void)
{
	capture_begin();
	failed = 0;
	failing = 1;
	put(FILLER, 1);
	wait_for(&failed, 1);
	wait_for(&flushed, 1);
	journal_tend(journal);
	return capture_end();
}

/* As chores do; how many there were. */
static int write_anew(int from, int to)
{
	int written = 0;

	for (int i = from; i <= to; i++)
		if (model[i].segment != 0 &&
		    model[i].segment <= journal_suspect(journal)) {
			put(i, model[i].expiry_s);
			written++;
		}
	return written;
}

static void written_anew(void **state)
{
	uint32_t suspect;

	(void)state;
	model_open();
	for (int i = 1; i <= 10; i++)
		put(i, 100 * i);
	fill_segment(); /* 1 to 10 in one segment, */
	for (int i = 11; i <= 20; i++)
		put(i, 100 * i); /* 11 to 20 in the next one */
	assert_int_equal(journal_suspect(journal), 0);
	assert_contains(fail_once(), "is written anew");
	suspect = journal_suspect(journal);
	assert_int_equal(suspect, 2);
	put(FILLER, 1);
	assert_int_equal(model[FILLER].segment, 3);
	assert_int_equal(write_anew(1, 10), 10);
	assert_int_equal(journal_segments(journal), 2);
	assert_int_equal(journal_suspect(journal), suspect);
	flushed = 0;
	put(FILLER, 1);
	wait_for(&flushed, 2); /* rounds that are well remove nothing */
	assert_int_equal(removed, 0);
	assert_true(segment_exists(1));
	capture_begin();
	assert_int_equal(write_anew(11, 20), 10);
	assert_contains(capture_end(), "journal has been written anew");
	assert_int_equal(journal_suspect(journal), 0);
	assert_int_equal(journal_segments(journal), 1);
	wait_for(&removed, 2);
	model_close();
	assert_false(segment_exists(1));
	assert_false(segment_exists(2));
	model_open();
	for (int i = 1; i <= 20; i++)
		assert_int_equal(model[i].expiry_s, 100 * i);
	model_close();
}

/* A bad disk is not filled with copies. */
static void not_again_and_again(void **state)
{
	(void)state;
	model_open();
	put(1, 100);
	assert_contains(fail_once(), "is written anew");
	write_anew(1, FILLER);
	assert_int_equal(journal_suspect(journal), 0);
	for (int i = 0; i < 3; i++) {
		assert_null(strstr(fail_once(), "anew"));
		assert_int_equal(journal_suspect(journal), 0);
	}
	passed_s += MEND_S;
	capture_begin();
	journal_tend(journal);
	assert_contains(capture_end(), "is written anew");
	assert_int_not_equal(journal_suspect(journal), 0);
	write_anew(1, FILLER);
	assert_int_equal(journal_suspect(journal), 0);
	passed_s += MEND_S; /* those that failed are of no account any more */
	capture_begin();
	journal_tend(journal);
	assert_string_equal(capture_end(), "");
	assert_int_equal(journal_segments(journal), 1);
	wait_for(&removed, 2);
	model_close();
}

/* What is in doubt must not be written behind itself. */
static void no_segment_to_write_it_to(void **state)
{
	(void)state;
	model_open();
	put(1, 100);
	open_fails = true;
	assert_null(strstr(fail_once(), "is written anew"));
	assert_int_equal(journal_suspect(journal), 0);
	open_fails = false;
	capture_begin();
	journal_tend(journal);
	assert_contains(capture_end(), "is written anew");
	assert_int_equal(journal_suspect(journal), 1);
	put(1, 100);
	put(FILLER, 1);
	assert_int_equal(journal_suspect(journal), 0);
	model_close();
}

/*
 * A segment counts when it is on the disk, as durability "disk" wants it, and
 * the thread that flushes has it open.
 */
static void a_segment_that_cannot_be_begun(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(setup(NULL), 0);
		dir_fails = i == 0;
		data_fails = i == 1;
		open_fails = i == 2;
		capture_begin();
		assert_false(model_open_as(DURABILITY_DISK, false));
		assert_contains(capture_end(), i < 2 ? "Input/output error"
						     : "Too many open files");
		assert_int_equal(files(), 0);
	}
}

/* A power failure must not bring back what has been cut off. */
static void a_cut_is_flushed(void **state)
{
	struct journal_mark mark;

	(void)state;
	model_open();
	put(1, 100);
	wait_for(&flushed, 1);
	mark = put(2, 200);
	wait_for(&flushed, 2);
	assert_true(journal_rollback(journal, &mark));
	model_remove(2);
	wait_for(&flushed, 3);
	model_close();
}

static void forgotten_or_not_at_all(void **state)
{
	(void)state;
	model_open();
	put(1, 100);
	model_close();
	unlink_fails = true;
	capture_begin();
	assert_false(model_open_as(DURABILITY_OS, true)); /* -i */
	assert_contains(capture_end(), "cannot be removed");
	unlink_fails = false;
	model_open();
	assert_int_equal(model[1].expiry_s, 100);
	model_close();
}

/* It names users. */
static void nobody_else_reads_it(void **state)
{
	struct stat st;

	(void)state;
	model_open();
	assert_int_equal(stat(segment_path(1), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	model_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(written_anew, setup),
	    cmocka_unit_test_setup(not_again_and_again, setup),
	    cmocka_unit_test_setup(no_segment_to_write_it_to, setup),
	    cmocka_unit_test_setup(a_segment_that_cannot_be_begun, setup),
	    cmocka_unit_test_setup(a_cut_is_flushed, setup),
	    cmocka_unit_test_setup(forgotten_or_not_at_all, setup),
	    cmocka_unit_test_setup(nobody_else_reads_it, setup),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

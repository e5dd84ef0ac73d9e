/*
 * turn: when the system refuses what a turn writes, in a map or in the journal,
 * and even the cut that is to take it back. Whoever was refused is nowhere, and
 * it works again by itself.
 */
#include <errno.h>
#include <sys/syscall.h>

#include "turn_world.h"

#define A "192.0.2.1"
#define B "192.0.2.2"
#define C "2001:db8::fe80:1"
#define D "192.0.2.4"

enum { ALL = 1 << 30, RETRY_S = 2, SHORT = 1 };

/* ---- in the place of the C library's ---- */

/* Calls for files of this name, but for the first ones, fail. */
struct refusal {
	const char *name;
	int error, skip, times;
};

static struct refusal writes, appends, cuts;
static int64_t passed_s; /* for the thread of the tests */

static bool refused(struct refusal *refusal, int fd)
{
	char link[64], path[512];
	ssize_t len;

	if (refusal->times == 0)
		return false;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof path - 1);
	path[len > 0 ? len : 0] = '\0';
	if (strstr(path, refusal->name) == NULL || refusal->skip-- > 0)
		return false;
	refusal->skip = 0;
	refusal->times--;
	errno = refusal->error;
	return true;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	return refused(&writes, fd) ? -1
				    : syscall(SYS_pwrite64, fd, data, size, at);
}

/*
 * What Berkeley DB tries when it cannot pwrite(2), and the journal. Of a SHORT
 * one so much is written that one record is whole.
 */
ssize_t write(int fd, const void *data, size_t size)
{
	if (refused(&writes, fd))
		return -1;
	if (!refused(&appends, fd))
		return syscall(SYS_write, fd, data, size);
	return appends.error == SHORT
		   ? syscall(SYS_write, fd, data, size * 3 / 4)
		   : -1;
}

int ftruncate(int fd, off_t len)
{
	return refused(&cuts, fd) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int status = (int)syscall(SYS_clock_gettime, clock, now);

	if (status == 0 && syscall(SYS_gettid) == getpid() &&
	    (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE))
		now->tv_sec += passed_s;
	return status;
}

static int setup(void **state)
{
	writes = appends = cuts = (struct refusal){0};
	passed_s += 10; /* so that what was logged may be logged again */
	return world_setup(state);
}

/* ---- maps ---- */

/* From this answer on; nothing is left of what they asked for. */
static void assert_all_refused(int first)
{
	for (int i = first; i < answered; i++)
		assert_int_equal(answers[i].outcome, OUTCOME_SYSERR);
	assert_everywhere(A, NOW + LIFETIME);
	assert_everywhere(B, 0);
	assert_everywhere(C, 0);
	assert_everywhere(D, NOW + LIFETIME);
}

static void assert_works(void)
{
	passed_s += RETRY_S;
	answered = 0;
	add(B, NOW);
	del(D, NOW);
	commit(NOW, false);
	assert_int_equal(answered, 2);
	assert_answer(0, B, OUTCOME_OK, NOW + LIFETIME);
	assert_answer(1, D, OUTCOME_OK, 0);
	assert_everywhere(A, NOW + LIFETIME);
	assert_everywhere(B, NOW + LIFETIME);
	assert_everywhere(C, 0);
	assert_everywhere(D, 0);
	assert_verifies(map_path_1);
}

/* What each test begins with, or each part of one. */
static void begin(void)
{
	world_end();
	setup(NULL);
	add(A, NOW);
	add(D, NOW);
	commit(NOW, false);
	assert_int_equal(answered, 2);
}

static void ask_for_all(void)
{
	add(B, NOW);
	add(C, NOW);
	del(D, NOW);
	add(B, NOW);
}

static void a_map_cannot_be_synced(void **state)
{
	static const int errors[] = {EIO, ENOSPC};

	(void)state;
	for (int i = 0; i < 4; i++) {
		const char *path = i / 2 ? map_path_2 : map_path_1, *log;
		char line[128];

		begin();
		writes = (struct refusal){path, errors[i % 2], 0, ALL};
		ask_for_all();
		log = commit(NOW, false);
		snprintf(line, sizeof line, "map=%s cannot be written: %s;",
			 path, strerror(errors[i % 2]));
		assert_contains(log, line);
		assert_null(strstr(strstr(log, line) + strlen(line),
				   "cannot be written"));
		assert_int_equal(answered, 6);
		assert_all_refused(2);
		writes.times = 0;
		assert_works();
	}
}

/* Some of the pages are in the file, others are not, nor can they be. */
static void a_map_is_half_synced(void **state)
{
	enum { MANY = 250 };
	char text[32];
	int keys;

	(void)state;
	for (int i = 0; i < 6; i++) {
		begin();
		for (int k = 0; k < MANY; k++) {
			snprintf(text, sizeof text, "10.%d.0.1", k);
			add(text, NOW);
		}
		commit(NOW, false);
		keys = reader_count(map_path_1);
		assert_int_equal(keys, MANY + 2);
		writes = (struct refusal){i % 2 ? map_path_2 : map_path_1, EIO,
					  1 + i / 2, ALL};
		for (int k = 0; k < MANY; k++) {
			snprintf(text, sizeof text, "10.%d.0.2", k);
			add(text, NOW);
		}
		answered = 0;
		commit(NOW, false);
		assert_int_equal(answered, MANY);
		assert_all_refused(0);
		writes.times = 0;
		passed_s += RETRY_S;
		commit(NOW, true); /* nobody asks for anything */
		assert_int_equal(reader_count(map_path_1), keys);
		assert_int_equal(reader_count(map_path_2), keys);
		assert_works();
	}
}

/* ---- journal ---- */

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
		commit(NOW, false);
		assert_taken_back(times);
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
	    TEST(a_map_cannot_be_synced),
	    TEST(a_map_is_half_synced),
	    TEST(the_cut_fails_after_the_map),
	    TEST(records_that_fail_after_the_map),
	    TEST(the_cut_fails_after_the_write),
	    TEST(the_cut_fails_and_the_clock_is_set),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/*
 * flush: what it brings to the disk, in which order, and what it does not
 * remove. A round comes when the test wants it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "flush.h"
#include "scratch.h"

enum { INTERVAL_MS = 900, SOON_MS = 5, PATIENCE_MS = 5000, DONE_MAX = 64 };

/* ---- in the place of the C library's ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct flush *flush;
static pthread_t tester;
static char done[DONE_MAX][32]; /* what the thread has done */
static int done_count;
static const char *refused;  /* what it must not do */
static const char *dirtying; /* while that is done, more is written */
static int refusals;
static bool wrong_mask;
static bool late; /* the first round */
static int64_t longest_wait_ms;
static int waits, first_waits; /* for the next round, for a segment */

static bool note(const char *what, const char *name)
{
	char text[32];
	bool may;

	snprintf(text, sizeof text, "%s%s", what, name);
	pthread_mutex_lock(&mutex);
	may = refused == NULL || strcmp(refused, text) != 0;
	if (may && done_count < DONE_MAX)
		memcpy(done[done_count++], text, sizeof text);
	refusals += !may;
	if (dirtying != NULL && strcmp(dirtying, text) == 0) {
		dirtying = NULL;
		flush_dirty(flush);
	}
	pthread_mutex_unlock(&mutex);
	errno = EIO;
	return may;
}

static const char *name_of(int fd)
{
	static _Thread_local char path[256];
	char link[64];
	ssize_t len;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof path - 1);
	path[len > 0 ? len : 0] = '\0';
	return strrchr(path, '/') + 1;
}

int fdatasync(int fd)
{
	sigset_t set;

	pthread_sigmask(SIG_SETMASK, NULL, &set);
	wrong_mask = wrong_mask || sigismember(&set, SIGTERM) != 1;
	return note("data ", name_of(fd)) ? 0 : -1;
}

int fsync(int fd)
{
	(void)fd;
	return note("directory", "") ? 0 : -1;
}

int unlinkat(int dir_fd, const char *name, int flags)
{
	if (!pthread_equal(pthread_self(), tester) && !note("remove ", name))
		return -1;
	return (int)syscall(SYS_unlinkat, dir_fd, name, flags);
}

int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock)
{
	static int (*next)(pthread_cond_t *, pthread_mutex_t *);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "pthread_cond_wait");
	pthread_mutex_lock(&mutex);
	first_waits++;
	pthread_mutex_unlock(&mutex);
	return next(cond, lock);
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
			   const struct timespec *until)
{
	static int (*next)(pthread_cond_t *, pthread_mutex_t *,
			   const struct timespec *);
	struct timespec now;
	int64_t wait_ms;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
	clock_gettime(CLOCK_MONOTONIC, &now);
	wait_ms = (until->tv_sec - now.tv_sec) * 1000 +
		  (until->tv_nsec - now.tv_nsec) / 1000000;
	pthread_mutex_lock(&mutex);
	late = late || (waits++ == 0 && wait_ms > 0);
	if (longest_wait_ms < wait_ms)
		longest_wait_ms = wait_ms;
	pthread_mutex_unlock(&mutex);
	now.tv_nsec += SOON_MS * 1000000;
	now.tv_sec += now.tv_nsec / 1000000000;
	now.tv_nsec %= 1000000000;
	return next(cond, lock, &now);
}

/* ---- helpers ---- */

static int dir_fd;

static int setup(void **state)
{
	(void)state;
	remove_tree("journal");
	mkdir("journal", 0700);
	dir_fd = open("journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	tester = pthread_self();
	done_count = refusals = 0;
	refused = dirtying = NULL;
	wrong_mask = late = false;
	waits = first_waits = 0;
	longest_wait_ms = 0;
	capture_begin();
	flush = flush_start(dir_fd);
	return flush == NULL;
}

static int teardown(void **state)
{
	(void)state;
	if (flush != NULL)
		flush_stop(flush);
	flush = NULL;
	close(dir_fd);
	capture_end();
	return 0;
}

/* A segment of this name, and it is the active one. */
static void begin(const char *name)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_true(flush_segment(flush, fd));
}

/* How often that has been done, or, NULL, refused. */
static int times(const char *what)
{
	int count = 0;

	pthread_mutex_lock(&mutex);
	for (int i = 0; what != NULL && i < done_count; i++)
		count += strcmp(done[i], what) == 0;
	count += what == NULL ? refusals : 0;
	pthread_mutex_unlock(&mutex);
	return count;
}

/* For the first segment. */
static bool is_waiting(void)
{
	bool waiting;

	pthread_mutex_lock(&mutex);
	waiting = first_waits > 0;
	pthread_mutex_unlock(&mutex);
	return waiting;
}

static void wait_for(const char *what, int count)
{
	for (int ms = 0; ms < PATIENCE_MS && times(what) < count; ms++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_true(times(what) >= count);
}

/* A few rounds, after those that may be under way. */
static void some_rounds(void)
{
	for (int i = 0; i < 3; i++) {
		int before = times("data now");

		flush_dirty(flush);
		wait_for("data now", before + 1);
	}
}

static void refuse(const char *what)
{
	pthread_mutex_lock(&mutex);
	refused = what;
	pthread_mutex_unlock(&mutex);
}

/* Where it was done first; all of it has been by now. */
static int at(const char *what)
{
	for (int i = 0; i < done_count; i++)
		if (strcmp(done[i], what) == 0)
			return i;
	fail_msg("%s: not done", what);
	return -1;
}

static void stop(void)
{
	flush_stop(flush);
	flush = NULL;
}

/* ---- tests ---- */

static void what_is_dirty(void **state)
{
	sigset_t set;

	(void)state;
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	assert_int_equal(sigismember(&set, SIGTERM), 0);
	for (int ms = 0; ms < PATIENCE_MS && !is_waiting(); ms++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_true(is_waiting());
	begin("now");
	wait_for("directory", 1);
	for (int i = 1; i <= 3; i++) {
		flush_dirty(flush);
		wait_for("data now", i);
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
		assert_int_equal(times("data now"), i);
	}
	pthread_mutex_lock(&mutex);
	dirtying = "data now"; /* after it has been looked at */
	pthread_mutex_unlock(&mutex);
	flush_dirty(flush);
	wait_for("data now", 5);
	flush_dirty(flush);
	stop();
	assert_int_equal(times("data now"), 6);
	assert_int_equal(times("directory"), 1);
	assert_false(wrong_mask);
	assert_false(late);
	assert_in_range(longest_wait_ms, 1, INTERVAL_MS);
}

/* Nothing goes before all is on the disk that may have taken its place. */
static void in_order(void **state)
{
	(void)state;
	begin("1");
	begin("2");
	assert_int_equal(close(openat(dir_fd, "0", O_CREAT, 0600)), 0);
	assert_true(flush_found(flush, "0"));
	assert_true(flush_found(flush, "none"));
	assert_true(flush_remove(flush, "0", false));
	assert_true(flush_remove(flush, "1", true));
	begin("now");
	flush_dirty(flush);
	stop();
	assert_true(at("data 0") < at("remove 0"));
	assert_true(at("data 1") < at("remove 0"));
	assert_true(at("data 2") < at("remove 0"));
	assert_true(at("data now") < at("remove 0"));
	assert_true(at("directory") < at("remove 0"));
	assert_string_equal(done[done_count - 1], "directory");
	assert_true(times("directory") >= 3);
	assert_int_equal(faccessat(dir_fd, "1", F_OK, 0), -1);
	assert_int_equal(faccessat(dir_fd, "1.damaged", F_OK, 0), 0);
}

/* What has failed stays in doubt, whatever later rounds do. */
static void one_fails(const char *what)
{
	unsigned failures;

	begin("1");
	begin("2");
	refuse(what);
	begin("now");
	flush_dirty(flush);
	wait_for(NULL, 1);
	refuse(NULL);
	assert_true(flush_remove(flush, "1", false));
	some_rounds();
	failures = flush_failures(flush);
	assert_in_range(failures, 1, refusals);
	assert_int_equal(times("remove 1"), 0);
	assert_true(times("data 2") > 0); /* the others are not left out */
	flush_mended(flush, failures);
	wait_for("remove 1", 1);
	some_rounds();
	assert_int_equal(flush_failures(flush), failures);
	if (strcmp(what, "directory") == 0)
		assert_true(at("directory") < at("remove 1"));
}

static void a_former_segment_fails(void **state)
{
	(void)state;
	one_fails("data 1");
}

static void the_active_one_fails(void **state)
{
	(void)state;
	one_fails("data now");
}

static void the_directory_fails(void **state)
{
	(void)state;
	one_fails("directory");
}

/* What was written last is written once more, though nobody asks for it. */
static void failed_and_flushed_again(void **state)
{
	(void)state;
	begin("now");
	wait_for("directory", 1);
	refuse("data now");
	flush_dirty(flush);
	wait_for(NULL, 2);
	refuse(NULL);
	wait_for("data now", 1);
}

/* A later one may hold what takes back a former one: it does not go first. */
static void a_removal_fails(void **state)
{
	(void)state;
	begin("1");
	begin("2");
	begin("now");
	refuse("remove 1");
	assert_true(flush_remove(flush, "1", false));
	assert_true(flush_remove(flush, "2", false));
	wait_for(NULL, 3);
	assert_int_equal(times("remove 2"), 0);
	assert_int_equal(flush_failures(flush), 0);
	refuse(NULL);
	wait_for("remove 2", 1);
	assert_true(at("remove 1") < at("remove 2"));
	assert_int_equal(times("remove 1"), 1);
	/* nor does what somebody else has removed stop the others */
	begin("3");
	begin("now");
	assert_true(flush_remove(flush, "none", false));
	assert_true(flush_remove(flush, "3", false));
	wait_for("remove 3", 1);
	assert_int_equal(times("remove none"), 1);
}

/* Each removal is on the disk before the next one. */
static void a_removal_that_may_come_back(void **state)
{
	(void)state;
	begin("1");
	begin("2");
	begin("now");
	wait_for("directory", 1);
	refuse("directory");
	assert_true(flush_remove(flush, "1", false));
	assert_true(flush_remove(flush, "2", false));
	wait_for(NULL, 3);
	assert_int_equal(times("remove 2"), 0);
	refuse(NULL);
	wait_for("remove 2", 1);
}

static void a_segment_that_cannot_be_opened(void **state)
{
	(void)state;
	assert_int_equal(symlinkat("loop", dir_fd, "loop"), 0);
	begin("now");
	assert_true(flush_found(flush, "none"));
	some_rounds();
	assert_int_equal(flush_failures(flush), 0);
	assert_true(flush_found(flush, "loop"));
	some_rounds();
	assert_int_equal(flush_failures(flush), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(what_is_dirty),
	    TEST(in_order),
	    TEST(a_former_segment_fails),
	    TEST(the_active_one_fails),
	    TEST(the_directory_fails),
	    TEST(failed_and_flushed_again),
	    TEST(a_removal_fails),
	    TEST(a_removal_that_may_come_back),
	    TEST(a_segment_that_cannot_be_opened),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/*
 * dracwatch when the system refuses a call, a write or memory: it says what it
 * cannot do, or does without; it leaves nothing open.
 */
#include "refuse.h"

#include <signal.h>
#include <sys/un.h>

#include "cyrus.h"
#include "patterns.h"
#include "scratch.h"
#include "watcher.h"

#define PATTERNS                                                               \
	"pattern one\n\tprogram popd pop3\n"                                   \
	"\tlogin login (?<address>\\S+)\n"
#define LINE "2026-11-22T03:53:55.000000+00:00 mail popd[7]: login 192.0.2.7\n"

enum { CALLS_MAX = 1000, LEAST = 3 };

static char log_source[sizeof scratch_dir + 16];
static char *sources[] = {log_source};
static const struct options options = {
    .servers = "127.0.0.1:1", /* nobody */
    .patterns = "patterns",
    .state = "state",
    .source = sources,
    .source_count = 1,
};

/* A whole life, which TERM ends after the first pass; whether it began. */
static bool watch(void)
{
	struct patterns *patterns = patterns_load(options.patterns);
	struct watcher *watcher =
	    patterns ? watcher_create(&options, patterns) : NULL;

	if (watcher == NULL)
		return false;
	kill(getpid(), SIGTERM);
	watcher_run(watcher);
	watcher_free(watcher);
	return true;
}

static void note_event(void *context, const struct event *event)
{
	(void)context;
	(void)event;
}

static bool listen_to_cyrus(void)
{
	struct cyrus *cyrus = cyrus_open_as("notify.sock", geteuid(), getegid(),
					    note_event, NULL);

	cyrus_close(cyrus);
	return cyrus != NULL;
}

struct telling {
	int what;
	bool (*story)(void);
	int least; /* calls that there are */
};

static void each(void **state)
{
	const struct telling *t = *state;
	size_t descriptors = refuse_descriptors();
	int at, given_up = 0;

	refuse_what = t->what;
	for (at = 1; at < CALLS_MAX; at++) {
		const char *said;
		bool well, struck;

		unlink(options.state);
		unlink("notify.sock");
		capture_begin();
		refuse_begin(at);
		well = t->story();
		struck = refuse_end();
		said = capture_end();
		if (!well && *said == '\0')
			fail_msg("%s, call %d: not a word", refused_call, at);
		if (refuse_descriptors() != descriptors)
			fail_msg("%s, call %d: descriptors are left open",
				 refused_call, at);
		if (!well)
			assert_int_not_equal(access("notify.sock", F_OK), 0);
		given_up += !well;
		if (!struck && !well)
			fail_msg("%s", said);
		if (!struck)
			break;
	}
	print_message("%d calls, %d times given up\n", at - 1, given_up);
	assert_in_range(at, t->least, CALLS_MAX - 1);
}

/* What was read is read again, since nobody knows any more how far that was. */
static void no_room_for_the_state(void **state)
{
	int said = 0, at;

	(void)state;
	refuse_what = WRITES;
	for (at = 1; at < CALLS_MAX; at++) {
		bool struck;

		unlink(options.state);
		capture_begin();
		refuse_begin(at);
		assert_true(watch());
		struck = refuse_end();
		said += strstr(capture_end(),
			       "state=state cannot be written") != NULL;
		if (!struck)
			break;
	}
	assert_in_range(said, 1, at);
}

static void a_path_too_long(void **state)
{
	char path[sizeof((struct sockaddr_un *)0)->sun_path + 1];

	(void)state;
	memset(path, 'p', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	capture_begin();
	assert_null(
	    cyrus_open_as(path, geteuid(), getegid(), note_event, NULL));
	assert_contains(capture_end(), "the path is too long");
}

static int setup(void **state)
{
	sigset_t set;

	if (scratch_setup(state) != 0)
		return 1;
	scratch_write(options.patterns, PATTERNS);
	scratch_write("mail.log", LINE);
	snprintf(log_source, sizeof log_source, "file:%s/mail.log",
		 scratch_dir);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	return sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(void)
{
	static struct telling telling[] = {
	    {CALLS, watch, 2 * LEAST},       {ALLOCATIONS, watch, 2 * LEAST},
	    {CALLS, listen_to_cyrus, LEAST}, {ALLOCATIONS, listen_to_cyrus, 2},
	    {WRITES, listen_to_cyrus, 1},
	};
#define EACH(name, i)                                                          \
	{                                                                      \
		name, each, NULL, NULL, &telling[i]                            \
	}
	const struct CMUnitTest tests[] = {
	    EACH("each_call_of_a_watcher", 0),
	    EACH("each_allocation_of_a_watcher", 1),
	    EACH("each_call_for_cyrus", 2),
	    EACH("each_allocation_for_cyrus", 3),
	    EACH("each_write_for_cyrus", 4),
	    cmocka_unit_test(no_room_for_the_state),
	    cmocka_unit_test(a_path_too_long),
	};

	return cmocka_run_group_tests(tests, setup, scratch_teardown);
}

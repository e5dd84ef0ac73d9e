/*
 * report: what a login of which age gets, what becomes of those that dracd
 * does not take, and that they stay in their order. The clock and libdrac are
 * this test's.
 */
#include "report.h"

#include <time.h>

#include "scratch.h"

enum { NOW = 1900000000, LIFETIME = 1800 };

/* ---- the clock ---- */

static int64_t wall_s, monotonic_s;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int64_t s = clock == CLOCK_REALTIME ? wall_s : monotonic_s;

	*now = (struct timespec){.tv_sec = s};
	return 0;
}

/* ---- dracd ---- */

static int add_result, stats_result, remove_result;
static uint64_t server_lifetime_s; /* 0: it does not say */
static unsigned adds, asked;
static char last_address[DRAC_ADDRESS_SIZE];
static uint32_t last_lifetime_s;

struct drac *drac_open(const char *servers, unsigned int budget_ms)
{
	assert_int_equal(budget_ms, REPORT_BUDGET_MS);
	return (struct drac *)(uintptr_t)servers;
}

void drac_close(struct drac *drac)
{
	(void)drac;
}

const char *drac_error(void)
{
	return "as the test wants it";
}

int drac_add(struct drac *drac, const char *address, uint32_t lifetime_s,
	     const char *user, const char *service, int64_t *expiry_s)
{
	(void)drac, (void)user, (void)service, (void)expiry_s;
	adds++;
	snprintf(last_address, sizeof last_address, "%s", address);
	last_lifetime_s = lifetime_s;
	return add_result;
}

int drac_stats(struct drac *drac, struct drac_counter *counters, size_t *count)
{
	(void)drac;
	asked++;
	assert_true(*count >= 2);
	*count = 0;
	if (stats_result != DRAC_OK)
		return stats_result;
	counters[0] = (struct drac_counter){.name = "entries", .value = 7};
	counters[1] = (struct drac_counter){.name = "lifetime_s",
					    .value = server_lifetime_s};
	*count = server_lifetime_s != 0 ? 2 : 1;
	return DRAC_OK;
}

int drac_remove(struct drac *drac, const char *address)
{
	(void)drac;
	assert_string_equal(address, "0.0.0.0"); /* nobody's */
	return remove_result;
}

/* ---- helpers ---- */

static struct report *report;

static int begin(void **state)
{
	(void)state;
	wall_s = NOW;
	monotonic_s = 1000;
	add_result = stats_result = DRAC_OK;
	remove_result = DRAC_NOTFOUND;
	server_lifetime_s = LIFETIME;
	adds = asked = 0;
	report = report_open("somewhere");
	return report == NULL;
}

static int end(void **state)
{
	(void)state;
	report_close(report);
	return 0;
}

static void login(unsigned number, int64_t age_s)
{
	struct event event = {.kind = EVENT_LOGIN, .time_s = wall_s - age_s};

	snprintf(event.address, sizeof event.address, "192.0.2.%u", number);
	report_event(report, &event);
}

/* What was logged. */
static const char *run(bool all_sent)
{
	capture_begin();
	assert_int_equal(report_run(report), all_sent);
	return capture_end();
}

/* ---- tests ---- */

static void what_is_left_of_a_lifetime(void **state)
{
	static const struct {
		int64_t age_s;
		bool sent;
		uint32_t lifetime_s; /* 0: the server's */
	} rows[] = {
	    {0, true, 0},
	    {REPORT_FRESH_S, true, 0},
	    {REPORT_FRESH_S + 1, true, LIFETIME - REPORT_FRESH_S - 1},
	    {LIFETIME - 1, true, 1},
	    {LIFETIME, false, 0}, /* never 0: that is the whole of it */
	    {LIFETIME + 1, false, 0},
	    {24 * 3600, false, 0},
	    {INT32_MAX, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		adds = 0;
		login(1, rows[i].age_s);
		assert_string_equal(run(true), "");
		assert_int_equal(adds, rows[i].sent);
		if (rows[i].sent)
			assert_int_equal(last_lifetime_s, rows[i].lifetime_s);
	}
}

/*
 * DRAC 1.12, or one where we may not read, or not by TCP: it grants the whole
 * of it.
 */
static void a_server_that_does_not_say(void **state)
{
	static const int why[] = {DRAC_OK, DRAC_UNSUPPORTED, DRAC_PERM,
				  DRAC_NOANSWER};

	(void)state;
	server_lifetime_s = 0;
	for (size_t i = 0; i < sizeof why / sizeof why[0]; i++) {
		stats_result = why[i];
		adds = 0;
		login(1, REPORT_LATE_MAX_S);
		login(2, REPORT_LATE_MAX_S + 1);
		run(true);
		assert_int_equal(adds, 1);
		assert_string_equal(last_address, "192.0.2.1");
		assert_int_equal(last_lifetime_s, 0);
	}
}

/* Not answered, or not able to: it is tried again, and ages meanwhile. */
static void away(void **state)
{
	static const int why[] = {DRAC_NOANSWER, DRAC_SYSERR};

	(void)state;
	remove_result = DRAC_NOANSWER;
	for (size_t i = 0; i < 2 * sizeof why / sizeof why[0]; i++) {
		int *result = i % 2 ? &add_result : &stats_result;

		*result = why[i / 2];
		adds = asked = 0;
		login(1, 60);
		login(2, 0);
		assert_contains(run(false), "dracd does not take logins");
		assert_true(report_pending(report) && report_waits(report));
		assert_string_equal(run(false), ""); /* left alone */
		assert_int_equal(asked, 1);
		monotonic_s += REPORT_RETRY_S;
		wall_s += 100;
		*result = DRAC_OK;
		adds = 0;
		assert_contains(run(true), "dracd takes logins again");
		assert_int_equal(adds, 2);
		assert_string_equal(last_address, "192.0.2.2");
		assert_int_equal(last_lifetime_s, LIFETIME - 100);
		assert_false(report_pending(report) || report_waits(report));
	}
}

static void too_late_by_then(void **state)
{
	(void)state;
	add_result = DRAC_NOANSWER;
	login(1, 0);
	run(false);
	login(2, 0);
	wall_s += LIFETIME;
	monotonic_s += LIFETIME;
	add_result = DRAC_OK;
	login(3, 0);
	assert_contains(run(true), "too-late=2 lost=0");
	assert_int_equal(adds, 2); /* the one that failed */
	assert_string_equal(last_address, "192.0.2.3");
}

/* The oldest are lost, in their order, and counted. */
static void more_than_fit(void **state)
{
	(void)state;
	add_result = DRAC_NOANSWER;
	for (unsigned i = 0; i < REPORT_QUEUE_MAX + 3; i++)
		login(i, 0);
	run(false);
	assert_string_equal(last_address, "192.0.2.3");
	monotonic_s += REPORT_RETRY_S;
	add_result = DRAC_OK;
	adds = 0;
	assert_contains(run(true), "lost=3");
	assert_int_equal(adds, REPORT_QUEUE_MAX);
}

static void refused(void **state)
{
	(void)state;
	add_result = DRAC_PERM;
	login(1, 0);
	assert_contains(run(true), "not authorized address=192.0.2.1");
	assert_false(report_waits(report));
}

static void a_logout_is_no_login(void **state)
{
	struct event event = {.kind = EVENT_LOGOUT, .time_s = NOW};

	(void)state;
	report_event(report, &event);
	assert_false(report_pending(report));
	run(true);
	assert_int_equal(adds, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
	    TEST(what_is_left_of_a_lifetime),
	    TEST(a_server_that_does_not_say),
	    TEST(away),
	    TEST(too_late_by_then),
	    TEST(more_than_fit),
	    TEST(refused),
	    TEST(a_logout_is_no_login),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

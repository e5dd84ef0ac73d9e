/* timebase: what it makes of two clocks, and what the system calls itself. */
#include "timebase.h"

#include <time.h>

#include "scratch.h"

#define NS INT64_C(1000000000)

static int64_t wall_ns, running_ns;
static int late; /* looks at the clocks until we are stopped for a minute */

/* In the place of the C library's. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	int64_t ns = clock == CLOCK_REALTIME ? wall_ns : running_ns;

	if (late > 0 && --late == 0) {
		wall_ns += 60 * NS;
		running_ns += 60 * NS;
	}
	*now = (struct timespec){.tv_sec = ns / NS, .tv_nsec = ns % NS};
	return 0;
}

static struct timebase begin(void)
{
	struct timebase timebase;

	late = 0;
	wall_ns = 1900000000 * NS + NS / 4;
	running_ns = 1000 * NS;
	timebase_begin(&timebase);
	return timebase;
}

static void pass(int64_t ns)
{
	wall_ns += ns;
	running_ns += ns;
}

static void goes_by_running_time(void **state)
{
	struct timebase t = begin();

	(void)state;
	assert_true(timebase_now_s(&t) == 1900000000);
	pass(NS / 2);
	assert_true(timebase_now_s(&t) == 1900000000);
	pass(NS / 4);
	assert_true(timebase_now_s(&t) == 1900000001);
	wall_ns += 9 * NS / 10; /* too little for a step */
	assert_true(timebase_step(&t) == 0);
	assert_true(t.ahead_ns == 9 * NS / 10);
	assert_true(timebase_now_s(&t) == 1900000001);
	pass(NS / 2);
	assert_true(timebase_now_s(&t) == 1900000001);
	wall_ns += 3 * NS / 10; /* but together it is enough */
	assert_true(timebase_step(&t) == 1);
	assert_true(t.ahead_ns == 2 * NS / 10);
	assert_true(timebase_now_s(&t) == 1900000002);
	pass(3600 * NS); /* a suspended host */
	assert_true(timebase_step(&t) == 0);
	assert_true(timebase_now_s(&t) == 1900003602);
}

static void follows_each_step(void **state)
{
	static const int64_t steps_s[] = {1,     -1,         3600,
					  -7200, 1700000000, -1899999000};
	struct timebase t = begin();

	(void)state;
	for (size_t i = 0; i < sizeof steps_s / sizeof steps_s[0]; i++) {
		int64_t now_s = timebase_now_s(&t);

		wall_ns += steps_s[i] * NS;
		assert_true(timebase_step(&t) == steps_s[i]);
		assert_true(timebase_now_s(&t) == now_s + steps_s[i]);
		assert_true(timebase_step(&t) == 0);
		assert_true(timebase_now_s(&t) == now_s + steps_s[i]);
	}
}

/* Between the two readings the other clock goes on. */
static void stopped_between_the_clocks(void **state)
{
	struct timebase t = begin();

	(void)state;
	for (late = 1; late < 4; late++) {
		int at = late;

		assert_true(timebase_step(&t) == 0);
		late = at;
	}
}

static void readings_that_are_not_quite_together(void **state)
{
	struct timebase then = begin(), t = then;

	(void)state;
	wall_ns += 3600 * NS - 1;
	assert_true(timebase_step(&t) == 3600);
	assert_true(timebase_apart_s(&then, &t) == 3600);
	t.base_ns -= 7200 * NS - 2;
	assert_true(timebase_apart_s(&then, &t) == -3600);
}

static void only_of_one_start(void **state)
{
	struct timebase then = begin(), now = then;

	(void)state;
	now.base_ns += 60 * NS;
	strcpy(then.boot, "one");
	strcpy(now.boot, "one");
	assert_true(timebase_apart_s(&then, &now) == 60);
	assert_true(timebase_apart_s(&now, &then) == -60);
	strcpy(now.boot, "two");
	assert_true(timebase_apart_s(&then, &now) == 0);
	then.boot[0] = now.boot[0] = '\0';
	assert_true(timebase_apart_s(&then, &now) == 0);
	strcpy(then.boot, "one");
	strcpy(now.boot, "one");
	then.base_ns = INT64_MIN;
	assert_true(timebase_apart_s(&then, &now) == 0);
	then.base_ns = INT64_MAX;
	now.base_ns = 0;
	assert_true(timebase_apart_s(&then, &now) == -(INT64_MAX / NS + 1));
}

static void the_id_of_a_start(void **state)
{
	char boot[TIMEBASE_BOOT_MAX], wanted[64] = "";
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");

	(void)state;
	assert_non_null(f);
	assert_non_null(fgets(wanted, sizeof wanted, f));
	fclose(f);
	wanted[strcspn(wanted, "\n")] = '\0';
	timebase_boot(boot);
	assert_string_equal(boot, wanted);
	assert_string_equal(begin().boot, wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(goes_by_running_time),
	    cmocka_unit_test(follows_each_step),
	    cmocka_unit_test(stopped_between_the_clocks),
	    cmocka_unit_test(readings_that_are_not_quite_together),
	    cmocka_unit_test(only_of_one_start),
	    cmocka_unit_test(the_id_of_a_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

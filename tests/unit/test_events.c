/* events: what a ring remembers, for whom, and what is said to be lost. */
#include "events.h"

/* cmocka wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { LIFE_SHIFT = 40 };

static struct events *events;

static int set_up(void **state)
{
	(void)state;
	events = events_create();
	return events == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	events_free(events);
	return 0;
}

/* Numbered, from the first one on. */
static void add(int from, int to)
{
	for (int i = from; i <= to; i++)
		events_add(events)->time_s = i;
}

static uint64_t now(void)
{
	uint64_t lost, cookie = events_resume(events, 0, &lost);

	assert_int_equal(lost, 0);
	assert_int_not_equal(cookie, 0);
	return cookie;
}

/* From the cookie on come these, and no more. */
static void assert_next(uint64_t *cookie, int from, int to)
{
	const struct event *event;

	for (int i = from; i <= to; i++) {
		event = events_next(events, cookie);
		assert_non_null(event);
		assert_int_equal(event->time_s, i);
	}
	assert_null(events_next(events, cookie));
}

static void assert_resumes(uint64_t cookie, uint64_t lost, int from, int to)
{
	uint64_t found;

	cookie = events_resume(events, cookie, &found);
	assert_int_equal(found, lost);
	assert_next(&cookie, from, to);
}

static void begins_now(void **state)
{
	uint64_t cookie;

	(void)state;
	cookie = now();
	assert_next(&cookie, 1, 0);
	add(1, 3);
	assert_next(&cookie, 1, 3);
	cookie = now();
	assert_next(&cookie, 1, 0);
	add(4, 4);
	assert_next(&cookie, 4, 4);
}

static void goes_on(void **state)
{
	uint64_t cookie = now(), same = cookie;

	(void)state;
	add(1, 5);
	assert_non_null(events_next(events, &cookie));
	assert_resumes(cookie, 0, 2, 5);
	/* Nothing is used up by reading. */
	assert_resumes(cookie, 0, 2, 5);
	assert_resumes(same, 0, 1, 5);
	add(6, 6);
	assert_resumes(cookie, 0, 2, 6);
}

static void a_full_ring(void **state)
{
	uint64_t first = now(), second = first;

	(void)state;
	add(1, EVENTS_KEPT);
	assert_resumes(first, 0, 1, EVENTS_KEPT);
	assert_non_null(events_next(events, &second));
	add(EVENTS_KEPT + 1, EVENTS_KEPT + 1);
	assert_resumes(first, 1, 2, EVENTS_KEPT + 1);
	assert_resumes(second, 0, 2, EVENTS_KEPT + 1);
	add(EVENTS_KEPT + 2, 3 * EVENTS_KEPT);
	assert_resumes(first, 2 * EVENTS_KEPT, 2 * EVENTS_KEPT + 1,
		       3 * EVENTS_KEPT);
	assert_resumes(second, 2 * EVENTS_KEPT - 1, 2 * EVENTS_KEPT + 1,
		       3 * EVENTS_KEPT);
}

/* What it told nobody knows; at least that something is missing. */
static void another_life(void **state)
{
	struct events *former = events;
	uint64_t cookie;

	(void)state;
	add(1, 2);
	cookie = now();
	events = events_create();
	assert_non_null(events);
	assert_int_not_equal(now() >> LIFE_SHIFT, cookie >> LIFE_SHIFT);
	assert_resumes(cookie, 1, 1, 0);
	add(1, 3);
	assert_resumes(cookie, 1, 1, 3);
	add(4, EVENTS_KEPT + 2);
	assert_resumes(cookie, 3, 3, EVENTS_KEPT + 2);
	events_free(former);
}

/* Cookies come from outside. */
static void no_cookie_of_ours(void **state)
{
	uint64_t cookie = now(), life = cookie >> LIFE_SHIFT << LIFE_SHIFT;
	const uint64_t strange[] = {1, UINT64_MAX, life | 6, life | ~life,
				    cookie ^ UINT64_C(1) << 63};

	(void)state;
	add(1, 5);
	for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
		assert_resumes(strange[i], 1, 1, 5);
	assert_resumes(life | 5, 0, 1, 0);
	assert_resumes(life, 0, 1, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(begins_now, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(goes_on, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_full_ring, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(another_life, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(no_cookie_of_ours, set_up,
					    tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

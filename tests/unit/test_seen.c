/* seen: what has come before, the clock window, and more calls than fit. */
#include "seen.h"

#include <string.h>

/* cmocka wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NOW = 1900000000, WINDOW = DRAC_SIGN_WINDOW_S };

static const void *reply;
static size_t reply_len;

static struct drac_sign_credential credential(uint64_t nonce, int64_t time_s)
{
	struct drac_sign_credential c = {.time_s = time_s};

	memcpy(c.nonce, &nonce, sizeof nonce);
	return c;
}

/* A call whose MAC follows from its nonce and a variant. */
static enum seen_verdict call(struct seen *seen, uint64_t nonce,
			      uint8_t variant, int64_t time_s, int64_t now_s)
{
	struct drac_sign_credential c = credential(nonce, time_s);
	uint8_t mac[DRAC_SIGN_MAC] = {variant};

	memcpy(mac + 1, &nonce, sizeof nonce);
	return seen_call(seen, &c, mac, now_s, &reply, &reply_len);
}

static struct seen *make(void)
{
	struct seen *seen = seen_create();

	assert_non_null(seen);
	return seen;
}

static void once_and_again(void **state)
{
	struct seen *seen = make();
	const struct drac_sign_credential c = credential(7, NOW);

	(void)state;
	assert_int_equal(call(seen, 7, 0, NOW, NOW), SEEN_NEW);
	assert_int_equal(call(seen, 7, 0, NOW, NOW), SEEN_READ);
	assert_int_equal(call(seen, 7, 1, NOW, NOW), SEEN_FORGED);
	assert_int_equal(call(seen, 8, 0, NOW, NOW), SEEN_NEW);
	seen_held(seen, c.nonce);
	assert_int_equal(call(seen, 7, 0, NOW, NOW + 1), SEEN_HELD);
	seen_answered(seen, c.nonce, "done", 4);
	assert_int_equal(call(seen, 7, 0, NOW, NOW + 2), SEEN_ANSWERED);
	assert_int_equal(reply_len, 4);
	assert_memory_equal(reply, "done", 4);
	/* Answered in the moment in which it was to be held. */
	seen_held(seen, c.nonce);
	assert_int_equal(call(seen, 7, 0, NOW, NOW + 2), SEEN_ANSWERED);
	seen_free(seen);
}

static void answers_that_are_not_kept(void **state)
{
	struct seen *seen = make();
	const struct drac_sign_credential c = credential(7, NOW);
	const char big[SEEN_REPLY_MAX + 1] = {0};

	(void)state;
	seen_answered(seen, c.nonce, "unknown", 7);
	assert_int_equal(call(seen, 7, 0, NOW, NOW), SEEN_NEW);
	seen_answered(seen, c.nonce, big, sizeof big);
	assert_int_equal(call(seen, 7, 0, NOW, NOW), SEEN_READ);
	seen_answered(seen, c.nonce, big, SEEN_REPLY_MAX);
	assert_int_equal(call(seen, 7, 0, NOW, NOW), SEEN_ANSWERED);
	seen_free(seen);
}

static void the_window(void **state)
{
	struct seen *seen = make();

	(void)state;
	assert_int_equal(call(seen, 1, 0, NOW - WINDOW - 1, NOW), SEEN_STALE);
	assert_int_equal(call(seen, 2, 0, NOW - WINDOW, NOW), SEEN_NEW);
	assert_int_equal(call(seen, 3, 0, NOW + WINDOW, NOW), SEEN_NEW);
	assert_int_equal(call(seen, 4, 0, NOW + WINDOW + 1, NOW), SEEN_STALE);
	assert_int_equal(call(seen, 5, 0, 0, NOW), SEEN_STALE);
	assert_int_equal(call(seen, 6, 0, INT64_MAX, NOW), SEEN_STALE);
	seen_free(seen);
}

/* At every moment at which it could be taken it is known. */
static void known_as_long_as_it_is_fresh(void **state)
{
	(void)state;
	for (int64_t skew_s = -WINDOW; skew_s <= WINDOW; skew_s += 50) {
		struct seen *seen = make();
		int64_t time_s = NOW + skew_s;

		assert_int_equal(call(seen, 1, 0, time_s, NOW), SEEN_NEW);
		for (int64_t now_s = NOW; now_s <= time_s + WINDOW; now_s += 7)
			assert_int_equal(call(seen, 1, 0, time_s, now_s),
					 SEEN_READ);
		assert_int_equal(call(seen, 1, 0, time_s, time_s + WINDOW),
				 SEEN_READ);
		assert_int_equal(call(seen, 1, 0, time_s, time_s + WINDOW + 1),
				 SEEN_STALE);
		seen_free(seen);
	}
}

/* A step back must not open the window for what has been forgotten. */
static void clock_that_is_set(void **state)
{
	struct seen *seen = make();

	(void)state;
	assert_int_equal(call(seen, 1, 0, NOW, NOW), SEEN_NEW);
	assert_int_equal(call(seen, 1, 0, NOW, NOW - 200), SEEN_READ);
	assert_int_equal(call(seen, 2, 0, NOW, NOW + WINDOW + 100), SEEN_STALE);
	assert_int_equal(call(seen, 1, 0, NOW, NOW + 150), SEEN_STALE);
	seen_free(seen);
}

/* What was taken never comes again, however the clock goes. */
static void clock_that_goes_hours_back(void **state)
{
	struct seen *seen = make();
	static const int64_t hours[] = {0, 1, -1, 2, 0, 1, 0};

	(void)state;
	assert_int_equal(call(seen, 1, 0, NOW, NOW), SEEN_NEW);
	assert_int_equal(call(seen, 2, 0, NOW + 3600, NOW + 3600), SEEN_NEW);
	for (size_t i = 0; i < sizeof hours / sizeof hours[0]; i++) {
		int64_t now_s = NOW + 3600 * hours[i];

		assert_int_not_equal(call(seen, 1, 0, NOW, now_s), SEEN_NEW);
		assert_int_not_equal(call(seen, 2, 0, NOW + 3600, now_s),
				     SEEN_NEW);
	}
	/* From where the latest one was it goes on. */
	assert_int_equal(call(seen, 3, 0, NOW + 3600, NOW + 3500), SEEN_STALE);
	assert_int_equal(call(seen, 4, 0, NOW + 3601, NOW + 3500), SEEN_NEW);
	seen_free(seen);
}

/* An hour wrong while nothing was taken, and right again: it goes on. */
static void clock_that_was_wrong(void **state)
{
	struct seen *seen = make();

	(void)state;
	assert_int_equal(call(seen, 1, 0, NOW, NOW), SEEN_NEW);
	assert_int_equal(call(seen, 2, 0, NOW + 5, NOW + 3600), SEEN_STALE);
	assert_int_equal(call(seen, 1, 0, NOW, NOW + 7), SEEN_STALE);
	assert_int_equal(call(seen, 3, 0, NOW + 7, NOW + 7), SEEN_NEW);
	assert_int_equal(call(seen, 3, 0, NOW + 7, NOW + 7), SEEN_READ);
	seen_free(seen);
}

/* More than fit: the oldest go, and are refused from then on. */
static void more_than_fit(void **state)
{
	enum { A_SECOND = SEEN_MAX / 64 };
	struct seen *seen = make();
	uint64_t nonce = 0;

	(void)state;
	for (int64_t s = 0; s < 200; s++)
		for (int i = 0; i < A_SECOND; i++)
			assert_int_equal(
			    call(seen, nonce++, 0, NOW + s, NOW + s), SEEN_NEW);
	for (uint64_t old = 0; old < nonce; old += 97) {
		int64_t s = (int64_t)(old / A_SECOND);
		enum seen_verdict verdict =
		    call(seen, old, 0, NOW + s, NOW + 199);

		assert_int_equal(verdict,
				 s < 200 - 64 ? SEEN_STALE : SEEN_READ);
	}
	/* Another one of then is refused, one of now is not. */
	assert_int_equal(call(seen, nonce, 0, NOW + 100, NOW + 199),
			 SEEN_STALE);
	assert_int_equal(call(seen, nonce, 0, NOW + 199, NOW + 199), SEEN_NEW);
	/* And the window is wide again when the time has gone. */
	assert_int_equal(call(seen, ++nonce, 0, NOW + 700, NOW + 999),
			 SEEN_NEW);
	seen_free(seen);
}

/* All in one second: fewer, but never one of them twice. */
static void more_than_fit_in_one_second(void **state)
{
	struct seen *seen = make();

	(void)state;
	for (uint64_t i = 0; i < SEEN_MAX; i++)
		assert_int_equal(call(seen, i, 0, NOW, NOW), SEEN_NEW);
	assert_int_equal(call(seen, SEEN_MAX, 0, NOW, NOW), SEEN_STALE);
	for (uint64_t i = 0; i < SEEN_MAX; i += 1000)
		assert_int_equal(call(seen, i, 0, NOW, NOW), SEEN_STALE);
	assert_int_equal(call(seen, SEEN_MAX, 0, NOW + 1, NOW + 1), SEEN_NEW);
	seen_free(seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(once_and_again),
	    cmocka_unit_test(answers_that_are_not_kept),
	    cmocka_unit_test(the_window),
	    cmocka_unit_test(known_as_long_as_it_is_fresh),
	    cmocka_unit_test(clock_that_is_set),
	    cmocka_unit_test(clock_that_goes_hours_back),
	    cmocka_unit_test(clock_that_was_wrong),
	    cmocka_unit_test(more_than_fit),
	    cmocka_unit_test(more_than_fit_in_one_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

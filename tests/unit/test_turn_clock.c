/*
 * turn: when the wall clock is set between two passes, while something is held
 * or is taken back, and what the next daemon finds.
 */
#include "turn_world.h"

#define A "192.0.2.1"
#define B "192.0.2.2"
#define C "2001:db8::fe80:1"

enum { HOUR = 3600, STEP = -2 * HOUR, THEN = NOW + STEP };

/* As the daemon does between two passes. */
static void step(int64_t step_s)
{
	world_clock.base_ns += step_s * INT64_C(1000000000);
	capture_begin();
	turn_step(turn, step_s);
	capture_end();
}

static void settle(int64_t now_s)
{
	int64_t end_ms = elapsed_ms() + 5000;

	while (turn_timeout_ms(turn, now_s) >= 0 && elapsed_ms() < end_ms)
		commit(now_s, true);
	assert_int_equal(turn_timeout_ms(turn, now_s), -1);
}

static void all_follow(void **state)
{
	(void)state;
	add(A, NOW);
	add(C, NOW);
	commit(NOW, false);
	step(STEP);
	settle(THEN);
	assert_everywhere(A, THEN + LIFETIME);
	assert_everywhere(C, THEN + LIFETIME);
	add(A, THEN); /* not stale any more: a refresh does not wait */
	assert_int_equal(table_find(table, &answers[0].address)->flags,
			 ENTRY_IN_MAP);
	commit(THEN, false);
	step(-STEP);
	step(1);
	settle(NOW + 1);
	assert_everywhere(A, NOW + 1 + LIFETIME);
	assert_int_equal(turn_next_expiry(turn), NOW + 1 + LIFETIME);
	assert_int_equal(stats.expiries, 0);
	settle(NOW + 1 + LIFETIME);
	assert_int_equal(stats.expiries, 2);
	assert_map_says(A, 0);
}

/* Until the maps have followed, a refresh is not answered before them. */
static void refresh_of_what_is_stale(void **state)
{
	(void)state;
	add(A, NOW);
	commit(NOW, false);
	step(-STEP); /* what the maps say is over */
	add(A, NOW - STEP);
	commit(NOW - STEP, false);
	assert_answer(1, A, OUTCOME_OK, NOW - STEP + LIFETIME);
	assert_map_says(A, NOW - STEP + LIFETIME);
	settle(NOW - STEP);
	add(A, NOW - STEP + 1); /* and now it is, as ever */
	commit(NOW - STEP + 1, false);
	assert_map_says(A, NOW - STEP + LIFETIME);
	settle(NOW - STEP + 1);
	assert_everywhere(A, NOW - STEP + 1 + LIFETIME);
	world_end();
	world_now_s = NOW - STEP + 1;
	world_begin();
	world_now_s = NOW;
	assert_everywhere(A, NOW - STEP + 1 + LIFETIME);
}

static void held_and_let_go(void **state)
{
	int fd;

	(void)state;
	ask(REQUEST_ADD, A, 30, NOW); /* its refresh needs the maps */
	add(C, NOW);
	commit(NOW, false);
	fd = reader_lock();
	add(A, NOW);
	add(B, NOW);
	del(C, NOW);
	commit(NOW, false);
	step(STEP);
	add(A, THEN + 5); /* waits */
	commit(THEN + 5, false);
	assert_int_equal(answered, 2);
	assert_true(
	    turn_expiry_s(turn, table_find(table, &answers[0].address)) ==
	    THEN + 30);
	close(fd);
	settle(THEN + 5);
	assert_int_equal(answered, 6);
	assert_answer(2, A, OUTCOME_OK, THEN + LIFETIME);
	assert_answer(3, B, OUTCOME_OK, THEN + LIFETIME);
	assert_answer(4, C, OUTCOME_OK, 0);
	assert_answer(5, A, OUTCOME_OK, THEN + 5 + LIFETIME);
	assert_everywhere(A, THEN + 5 + LIFETIME);
	assert_everywhere(B, THEN + LIFETIME);
	assert_everywhere(C, 0);
}

static void held_and_taken_back(void **state)
{
	struct entry *entry;
	int fd;

	(void)state;
	ask_as(REQUEST_ADD, A, 30, NOW, "joe", 0x7f000001);
	add(C, NOW);
	commit(NOW, false);
	fd = reader_lock();
	ask_as(REQUEST_ADD, A, LIFETIME, NOW + 7, "ann", 0x7f000001);
	add(B, NOW);
	del(C, NOW);
	commit(NOW, false);
	step(STEP);
	commit_until(5, THEN);
	for (int i = 2; i < 5; i++)
		assert_int_equal(answers[i].outcome, OUTCOME_SYSERR);
	close(fd);
	settle(THEN);
	assert_everywhere(A, THEN + 30);
	assert_everywhere(B, 0);
	assert_everywhere(C, THEN + LIFETIME);
	entry = table_find(table, &answers[0].address);
	assert_int_equal(entry->last_s, THEN);
	assert_int_equal(entry_first_s(entry), THEN);
	assert_string_equal(who_user(entry->who), "joe");
}

/* A clock that has gone back while the system was down. */
static void the_next_daemon(void **state)
{
	(void)state;
	ask(REQUEST_ADD, A, 600, NOW);
	commit(NOW, false);
	add(B, NOW + 100);
	commit(NOW + 100, false);
	world_end();
	for (int i = 0; i < 3; i++) { /* and it is not said twice */
		world_now_s = THEN;
		world_begin();
		assert_everywhere(A, THEN + 500);
		assert_everywhere(B, THEN + LIFETIME);
		world_end();
	}
	world_now_s = THEN + 1000; /* A has gone */
	world_begin();
	world_now_s = NOW;
	assert_true(table_says(A) == 0);
	assert_everywhere(B, THEN + LIFETIME);
}

/* Only that it was started tells that it was so late already. */
static void a_start_tells_the_time(void **state)
{
	int64_t expected_s = NOW + 3 * HOUR / 2;

	(void)state;
	ask(REQUEST_ADD, A, 2 * HOUR, NOW);
	commit(NOW, false);
	world_end();
	world_now_s = NOW + HOUR;
	world_begin();
	assert_everywhere(A, NOW + 2 * HOUR);
	world_end();
	world_now_s = NOW + HOUR / 2;
	world_begin();
	world_now_s = NOW;
	/* less by what the start has taken */
	assert_in_range(table_says(A), expected_s - 20, expected_s);
	assert_map_says(A, table_says(A));
}

/* A step that takes what is there out of its time. */
static void nothing_is_left(void **state)
{
	(void)state;
	ask(REQUEST_ADD, A, 50, NOW);
	commit(NOW, false);
	add(B, NOW + 100); /* when A has run out */
	commit(NOW + 100, false);
	world_end();
	world_now_s = THEN;
	world_begin();
	world_now_s = NOW;
	assert_true(table_says(A) == 0);
	assert_map_says(A, 0);
	assert_everywhere(B, THEN + LIFETIME);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(all_follow, world_setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(refresh_of_what_is_stale,
					    world_setup, world_teardown),
	    cmocka_unit_test_setup_teardown(held_and_let_go, world_setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(held_and_taken_back, world_setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(the_next_daemon, world_setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(a_start_tells_the_time, world_setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(nothing_is_left, world_setup,
					    world_teardown),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

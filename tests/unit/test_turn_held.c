/*
 * turn: while a reader keeps the lock on a map: what waits, what does not, and
 * that what is taken back is nowhere.
 */
#include "turn_world.h"

#define A "192.0.2.1"
#define B "192.0.2.2"
#define C "2001:db8::fe80:1"

enum { THEN = NOW + 100 }; /* a little later */

static void held_and_let_go(void **state)
{
	int fd;

	(void)state;
	add(A, NOW);
	commit(NOW, false);
	fd = reader_lock();
	add(B, NOW);
	commit(NOW, false);
	assert_int_equal(answered, 1);
	assert_in_range(turn_timeout_ms(turn, NOW), 0, 10);
	assert_map_says(B, 0);
	add(A, THEN); /* needs no map */
	add(C, THEN); /* does */
	del(A, THEN);
	commit(THEN, false);
	assert_int_equal(answered, 2);
	assert_answer(1, A, OUTCOME_OK, THEN + LIFETIME);
	assert_int_equal(stats.turns_held, 1);
	close(fd);
	commit(THEN, false);
	assert_int_equal(answered, 5);
	assert_answer(2, B, OUTCOME_OK, NOW + LIFETIME);
	assert_answer(3, C, OUTCOME_OK, THEN + LIFETIME);
	assert_answer(4, A, OUTCOME_OK, 0);
	assert_everywhere(A, 0);
	assert_everywhere(B, NOW + LIFETIME);
	assert_everywhere(C, THEN + LIFETIME);
}

static void held_for_too_long(void **state)
{
	int64_t start_ms;
	int fd;

	(void)state;
	add(C, NOW);
	commit(NOW, false);
	fd = reader_lock();
	start_ms = elapsed_ms();
	ask(REQUEST_ADD, A, 300, NOW);
	ask(REQUEST_ADD, A, 400, NOW);
	del(C, NOW);
	add(B, NOW); /* it waits behind no one: the same turn */
	assert_contains(commit_until(5, NOW), "kept locked");
	assert_in_range(elapsed_ms() - start_ms, 500, 1500);
	for (int i = 1; i < 5; i++)
		assert_int_equal(answers[i].outcome, OUTCOME_SYSERR);
	assert_int_equal(stats.refused, 4);
	assert_everywhere(A, 0);
	assert_everywhere(B, 0);
	assert_everywhere(C, NOW + LIFETIME);
	close(fd);
	add(A, THEN);
	commit(THEN, false);
	assert_answer(5, A, OUTCOME_OK, THEN + LIFETIME);
	assert_everywhere(A, THEN + LIFETIME);
}

/* What was answered in the turn that is taken back stands. */
static void a_refresh_beside_what_is_taken_back(void **state)
{
	int fd;

	(void)state;
	add(A, NOW);
	commit(NOW, false);
	fd = reader_lock();
	add(A, THEN);
	add(B, THEN);
	commit(THEN, false);
	assert_answer(1, A, OUTCOME_OK, THEN + LIFETIME);
	commit_until(3, THEN);
	assert_answer(2, B, OUTCOME_SYSERR, 0);
	assert_true(journal_says(A) == THEN + LIFETIME);
	assert_true(journal_says(B) == 0);
	assert_true(table_says(A) == THEN + LIFETIME);
	close(fd);
}

/* What is held is refused in the end, so no new file may say it. */
static void built_anew_while_held(void **state)
{
	int fd;

	(void)state;
	add(A, NOW);
	commit(NOW, false);
	fd = reader_lock();
	add(B, NOW);
	commit(NOW, false);
	assert_int_equal(answered, 1);
	unlink(map_path_1);
	capture_begin();
	turn_check_maps(turn);
	assert_contains(capture_end(), "building it anew");
	assert_map_says(A, NOW + LIFETIME);
	assert_map_says(B, 0);
	close(fd);
	commit(NOW, false);
	assert_answer(1, B, OUTCOME_OK, NOW + LIFETIME);
	assert_everywhere(B, NOW + LIFETIME);
}

/* Something else was written meanwhile: it cannot just be cut off. */
static void taken_back_by_records(void **state)
{
	int fd;

	(void)state;
	add(A, NOW);
	add(C, NOW);
	commit(NOW, false);
	fd = reader_lock();
	add(B, NOW);
	del(C, NOW);
	commit(NOW, false);
	add(A, THEN);
	commit(THEN, false);
	assert_int_equal(answered, 3);
	commit_until(5, THEN);
	assert_answer(3, B, OUTCOME_SYSERR, 0);
	assert_answer(4, C, OUTCOME_SYSERR, 0);
	assert_true(journal_says(A) == THEN + LIFETIME);
	close(fd);
	assert_everywhere(B, 0);
	assert_everywhere(C, NOW + LIFETIME);
}

/* What the journal could not be told at once, it is told with the next turn. */
static void taken_back_with_a_journal_that_fails(void **state)
{
	int fd;

	(void)state;
	add(A, NOW);
	commit(NOW, false);
	fd = reader_lock();
	add(A, THEN); /* so that the turn cannot be cut off */
	add(B, THEN);
	commit(THEN, false);
	assert_int_equal(answered, 2);
	limit_file_size(100);
	commit_until(3, THEN);
	limit_file_size(-1);
	assert_answer(2, B, OUTCOME_SYSERR, 0);
	add(C, THEN);
	commit(THEN, false);
	assert_true(journal_says(B) == 0);
	commit_until(4, THEN);
	assert_answer(3, C, OUTCOME_SYSERR, 0);
	assert_true(journal_says(A) == THEN + LIFETIME);
	close(fd);
	assert_everywhere(B, 0);
	assert_everywhere(C, 0);
}

static void stopped_while_held(void **state)
{
	int fd;

	(void)state;
	add(C, NOW);
	commit(NOW, false);
	fd = reader_lock();
	add(A, NOW);
	del(C, NOW);
	commit(NOW, false);
	add(B, NOW); /* waits */
	commit(NOW, false);
	assert_int_equal(answered, 1);
	capture_begin();
	turn_free(turn);
	capture_end();
	assert_int_equal(answered, 4);
	for (int i = 1; i < 4; i++)
		assert_int_equal(answers[i].outcome, OUTCOME_SYSERR);
	close(fd);
	turn = turn_create(&config, table, journal, maps, &stats, audit,
			   note_answer);
	assert_everywhere(A, 0);
	assert_everywhere(B, 0);
	assert_everywhere(C, NOW + LIFETIME);
}

int main(void)
{
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(held_and_let_go),
	    TEST(held_for_too_long),
	    TEST(built_anew_while_held),
	    TEST(a_refresh_beside_what_is_taken_back),
	    TEST(taken_back_by_records),
	    TEST(taken_back_with_a_journal_that_fails),
	    TEST(stopped_while_held),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

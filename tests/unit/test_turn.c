/*
 * turn: an address goes to table, journal and maps, in that order, and is
 * answered then; or it goes nowhere and is answered so.
 */
#include "turn_world.h"

#define A "192.0.2.1"
#define B "192.0.2.2"
#define C "2001:db8::fe80:1"

enum { THEN = NOW + 100 }; /* a little later */

/* ---- the common way ---- */

static void a_new_address(void **state)
{
	(void)state;
	assert_false(turn_is_open(turn));
	add(A, NOW);
	add(C, NOW);
	assert_true(turn_is_open(turn));
	assert_int_equal(answered, 0);
	commit(NOW, false);
	assert_false(turn_is_open(turn));
	assert_int_equal(answered, 2);
	assert_answer(0, A, OUTCOME_OK, NOW + LIFETIME);
	assert_answer(1, C, OUTCOME_OK, NOW + LIFETIME);
	assert_everywhere(A, NOW + LIFETIME);
	assert_everywhere(C, NOW + LIFETIME);
	assert_map_says("ipv6:2001:db8:0:0:0:0:fe80:1", NOW + LIFETIME);
	assert_int_equal(stats.adds, 2);
	assert_int_equal(turn_next_expiry(turn), NOW + LIFETIME);
	assert_int_equal(turn_timeout_ms(turn, NOW), -1);
}

static void a_refresh_is_published_later(void **state)
{
	(void)state;
	add(A, NOW);
	commit(NOW, false);
	add(A, THEN);
	commit(THEN, false);
	assert_answer(1, A, OUTCOME_OK, THEN + LIFETIME);
	assert_int_equal(stats.refreshes, 1);
	assert_true(table_says(A) == THEN + LIFETIME);
	assert_true(journal_says(A) == THEN + LIFETIME);
	assert_map_says(A, NOW + LIFETIME);
	assert_in_range(turn_timeout_ms(turn, THEN), 0, 1000);
	commit(THEN, true);
	assert_everywhere(A, THEN + LIFETIME);
	assert_int_equal(turn_timeout_ms(turn, THEN), -1);
}

/* Under load, when no poll is ever empty. */
static void a_refresh_is_not_put_off_for_ever(void **state)
{
	int64_t end_ms = elapsed_ms() + 5000;
	size_t len = 0;
	char value[32];

	(void)state;
	add(A, NOW);
	commit(NOW, false);
	add(A, THEN);
	snprintf(value, sizeof value, "%d", THEN + LIFETIME);
	while (elapsed_ms() < end_ms &&
	       strcmp(reader_get(map_path_1, A, strlen(A), &len), value) != 0)
		commit(THEN, false);
	assert_map_says(A, THEN + LIFETIME);
	add(A, THEN + 1); /* which may wait as long again */
	commit(THEN + 1, false);
	assert_answer(2, A, OUTCOME_OK, THEN + 1 + LIFETIME);
	assert_map_says(A, THEN + LIFETIME);
}

/* What is about to run out is published before the answer. */
static void a_late_refresh(void **state)
{
	int64_t late_s = NOW + LIFETIME - 59;

	(void)state;
	add(A, NOW);
	commit(NOW, false);
	add(A, late_s);
	commit(late_s, false);
	assert_answer(1, A, OUTCOME_OK, late_s + LIFETIME);
	assert_everywhere(A, late_s + LIFETIME);
	/* even after its end, when it has not been taken away yet */
	late_s += 2 * LIFETIME;
	add(A, late_s);
	commit(late_s, false);
	assert_answer(2, A, OUTCOME_OK, late_s + LIFETIME);
	assert_everywhere(A, late_s + LIFETIME);
	assert_int_equal(stats.refreshes, 1);
	assert_int_equal(stats.adds, 2); /* that one was new again */
}

static void never_shorter(void **state)
{
	(void)state;
	add(A, NOW);
	commit(NOW, false);
	ask(REQUEST_ADD, A, 60, NOW);
	commit(NOW, true);
	assert_answer(1, A, OUTCOME_OK, NOW + LIFETIME);
	ask(REQUEST_ADD, B, 600, NOW);
	ask(REQUEST_ADD, B, 60, NOW);
	commit(NOW, true);
	assert_answer(3, B, OUTCOME_OK, NOW + 600);
	assert_everywhere(A, NOW + LIFETIME);
	assert_everywhere(B, NOW + 600);
}

static void two_of_one_address(void **state)
{
	(void)state;
	ask(REQUEST_ADD, A, 300, NOW);
	ask(REQUEST_ADD, A, 400, NOW);
	commit(NOW, false);
	assert_int_equal(answered, 2);
	assert_int_equal(answers[0].outcome, OUTCOME_OK);
	assert_answer(1, A, OUTCOME_OK, NOW + 400);
	assert_everywhere(A, NOW + 400);
	assert_int_equal(stats.adds, 1);
	assert_int_equal(stats.refreshes, 1);
}

static void removed(void **state)
{
	(void)state;
	del(A, NOW);
	assert_answer(0, A, OUTCOME_NOTFOUND, 0); /* at once */
	add(A, NOW);
	commit(NOW, false);
	del(A, NOW);
	assert_int_equal(answered, 2);
	commit(NOW, false);
	assert_answer(2, A, OUTCOME_OK, 0);
	assert_everywhere(A, 0);
	add(A, NOW);
	commit(NOW, false);
	del(A, NOW + LIFETIME); /* it is over by then */
	assert_answer(4, A, OUTCOME_NOTFOUND, 0);
	assert_int_equal(stats.removes, 1);
}

/* One after the other, although they came together. */
static void added_and_removed_in_one_turn(void **state)
{
	(void)state;
	add(A, NOW);
	del(A, NOW);
	commit(NOW, false);
	assert_int_equal(answered, 2);
	assert_answer(0, A, OUTCOME_OK, NOW + LIFETIME);
	assert_answer(1, A, OUTCOME_OK, 0);
	assert_everywhere(A, 0);

	add(B, NOW);
	commit(NOW, false);
	del(B, NOW);
	add(B, THEN);
	commit(THEN, false);
	assert_int_equal(answered, 5);
	assert_answer(3, B, OUTCOME_OK, 0);
	assert_answer(4, B, OUTCOME_OK, THEN + LIFETIME);
	assert_everywhere(B, THEN + LIFETIME);

	add(B, THEN + 1); /* a refresh that would be published later */
	del(B, THEN + 1);
	commit(THEN + 1, false);
	assert_int_equal(answered, 7);
	assert_everywhere(B, 0);
}

static void expired(void **state)
{
	char text[32];
	int turns = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof text, "10.0.0.%d", i);
		add(text, NOW);
	}
	ask(REQUEST_ADD, A, LIFETIME + 1, NOW);
	commit(NOW, false);
	commit(NOW + LIFETIME - 1, true);
	assert_int_equal(table_count(table), 101);
	while (table_count(table) > 1) {
		assert_int_equal(turn_timeout_ms(turn, NOW + LIFETIME), 0);
		commit(NOW + LIFETIME, false);
		assert_in_range(++turns, 1, 10);
	}
	assert_in_range(turns, 3, 10); /* in slices */
	assert_int_equal(stats.expiries, 100);
	assert_map_says("10.0.0.1", 0);
	assert_everywhere(A, NOW + LIFETIME + 1);
	assert_int_equal(reader_count(map_path_1), 1);
	assert_int_equal(turn_next_expiry(turn), NOW + LIFETIME + 1);
}

static void no_room_in_the_table(void **state)
{
	(void)state;
	config.max_entries = 1;
	add(A, NOW);
	capture_begin();
	add(B, NOW);
	assert_contains(capture_end(), "max-entries=1");
	assert_answer(0, B, OUTCOME_SYSERR, 0);
	commit(NOW, false);
	assert_answer(1, A, OUTCOME_OK, NOW + LIFETIME);
	add(A, THEN); /* is no new one */
	commit(THEN, true);
	assert_everywhere(A, THEN + LIFETIME);
	assert_everywhere(B, 0);
	assert_int_equal(stats.refused, 1);
}

/* ---- failures ---- */

static void journal_fails(void **state)
{
	(void)state;
	add(A, NOW);
	add(C, NOW);
	commit(NOW, false);
	limit_file_size(100); /* the maps are longer already: reads only */
	add(A, THEN);
	add(A, THEN + 1);
	add(B, THEN);
	add(B, THEN + 1);
	del(C, THEN);
	commit(THEN, false);
	limit_file_size(-1);
	assert_int_equal(answered, 7);
	for (int i = 2; i < 7; i++)
		assert_int_equal(answers[i].outcome, OUTCOME_SYSERR);
	assert_everywhere(A, NOW + LIFETIME);
	assert_everywhere(B, 0);
	assert_everywhere(C, NOW + LIFETIME);
	add(B, THEN);
	del(C, THEN);
	commit(THEN, false);
	assert_everywhere(B, THEN + LIFETIME);
	assert_everywhere(C, 0);
}

/* Adds until they are refused; then with room, they are not any more. */
static void fill_the_disk(void)
{
	static const uint8_t other[2400000];
	char text[ADDRESS_TEXT_MAX] = "";
	const char *log;
	int before;

	add(A, NOW);
	commit(NOW, false);
	scratch_write_bytes("disk/other", other, sizeof other);
	do {
		before = answered;
		for (int i = 0; i < 60; i++) {
			snprintf(text, sizeof text, "2001:db8::%x:1",
				 answered + i);
			add(text, NOW);
		}
		log = commit(NOW, true);
	} while (answers[before].outcome == OUTCOME_OK &&
		 answered < ANSWERS_MAX - 100);
	assert_contains(log, "No space left");
	for (int i = before; i < answered; i++)
		assert_int_equal(answers[i].outcome, OUTCOME_SYSERR);
	assert_true(table_says(text) == 0);
	assert_true(journal_says(text) == 0);
	assert_pair(map_path_1, text, NULL);
	assert_int_equal(table_count(table), before);
	assert_int_equal(reader_count(map_path_1), 3 * (before - 1) + 1);
	assert_everywhere(A, NOW + LIFETIME);
	assert_verifies(map_path_1);
	assert_int_equal(unlink("disk/other"), 0);
	add(text, NOW);
	commit(NOW, true);
	assert_answer(answered - 1, text, OUTCOME_OK, NOW + LIFETIME);
	assert_everywhere(text, NOW + LIFETIME);
	assert_verifies(map_path_1);
	assert_int_equal(reader_count(map_path_1), 3 * before + 1);
	assert_int_equal(reader_count(map_path_2), 3 * before + 1);
}

/* Either map: the first finds out before it is changed, the second after. */
static void disk_of_a_map_is_full(void **state)
{
	(void)state;
	for (int which = 0; which < 2; which++) {
		world_end();
		if (!small_disk("disk", "4m")) {
			world_setup_at("first.db", "second.db");
			skip();
		}
		if (which == 0)
			world_setup_at("disk/map.db", "second.db");
		else
			world_setup_at("first.db", "disk/map.db");
		fill_the_disk();
		world_end();
		assert_int_equal(umount("disk"), 0);
		assert_int_equal(rmdir("disk"), 0);
		world_setup_at("first.db", "second.db");
	}
}

static void map_is_gone(void **state)
{
	(void)state;
	add(A, NOW);
	commit(NOW, false);
	assert_int_equal(unlink(map_path_1), 0);
	add(B, NOW);
	commit(NOW, false);
	assert_answer(1, B, OUTCOME_OK, NOW + LIFETIME);
	assert_everywhere(A, NOW + LIFETIME);
	assert_everywhere(B, NOW + LIFETIME);
	assert_int_equal(unlink(map_path_2), 0);
	capture_begin();
	turn_check_maps(turn);
	capture_end();
	assert_everywhere(A, NOW + LIFETIME);
	add(C, NOW);
	commit(NOW, false);
	assert_everywhere(C, NOW + LIFETIME);
}

/*
 * Neighbours in the map leave together, but only those whose time has come:
 * one in three stays, IPv6 has its three keys between them.
 */
static void many_expire_together(void **state)
{
	enum { MANY = 300, SHORT = 100 };
	char text[ADDRESS_TEXT_MAX];
	int passes = 0;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof text,
			 i % 7 ? "192.0.%d.%d" : "2001:db8::%d:%d", i / 250 + 1,
			 i % 250 + 1);
		ask(REQUEST_ADD, text, i % 3 ? SHORT : LIFETIME, NOW);
	}
	commit(NOW, false);
	assert_int_equal(answered, MANY);
	while (turn_next_expiry(turn) <= NOW + SHORT) {
		commit(NOW + SHORT, false);
		assert_in_range(++passes, 1, MANY / 3 * 2 / 32 + 1);
	}
	assert_int_equal(table_count(table), MANY / 3);
	assert_int_equal(stats.expiries, MANY / 3 * 2);
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof text,
			 i % 7 ? "192.0.%d.%d" : "2001:db8::%d:%d", i / 250 + 1,
			 i % 250 + 1);
		assert_map_says(text, i % 3 ? 0 : NOW + LIFETIME);
	}
}

/* What a chore cannot do takes nothing back that has been answered. */
static void an_expiry_fails(void **state)
{
	(void)state;
	ask(REQUEST_ADD, B, 5, NOW);
	commit(NOW, false);
	add(A, NOW);
	commit(NOW, false);
	assert_answer(1, A, OUTCOME_OK, NOW + LIFETIME);
	limit_file_size(100);
	commit(NOW + 10, true);
	limit_file_size(-1);
	assert_everywhere(A, NOW + LIFETIME);
	assert_true(table_says(B) == NOW + 5); /* not gone yet */
}

int main(void)
{
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_new_address),
	    TEST(a_refresh_is_published_later),
	    TEST(a_refresh_is_not_put_off_for_ever),
	    TEST(a_late_refresh),
	    TEST(never_shorter),
	    TEST(two_of_one_address),
	    TEST(removed),
	    TEST(added_and_removed_in_one_turn),
	    TEST(expired),
	    TEST(no_room_in_the_table),
	    TEST(journal_fails),
	    TEST(disk_of_a_map_is_full),
	    TEST(map_is_gone),
	    TEST(many_expire_together),
	    TEST(an_expiry_fails),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/*
 * turn: when the system refuses what a turn does to a map, or a reader keeps
 * it. Who was refused is nowhere, and it works again by itself.
 */
#include "turn_refusals.h"

/* ---- errors ---- */

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
		elapse_s(RETRY_S);
		commit(NOW, true); /* nobody asks for anything */
		assert_int_equal(reader_count(map_path_1), keys);
		assert_int_equal(reader_count(map_path_2), keys);
		assert_works();
	}
}

/* The first map has taken it all when the second one fails. */
static void a_map_goes_back(void **state)
{
	enum {
		NEARLY = NOW + LIFETIME - 10
	}; /* then a refresh needs the maps */

	(void)state;
	begin();
	ask(REQUEST_ADD, C, LIFETIME - 5, NOW);
	commit(NOW, false);
	writes = (struct refusal){map_path_2, EIO, 0, ALL};
	ask(REQUEST_ADD, A, 300, NEARLY);
	ask(REQUEST_ADD, A, 400, NEARLY);
	ask(REQUEST_ADD, B, 300, NEARLY);
	ask(REQUEST_ADD, B, 400, NEARLY);
	del(C, NEARLY);
	commit(NEARLY, false);
	assert_int_equal(answered, 8);
	for (int i = 3; i < 8; i++)
		assert_int_equal(answers[i].outcome, OUTCOME_SYSERR);
	assert_everywhere(A, NOW + LIFETIME);
	assert_everywhere(B, 0);
	assert_everywhere(C, NOW + LIFETIME - 5);
}

/* Readers never see a page of a turn that is not locked. */
static void written_under_the_lock(void **state)
{
	(void)state;
	for (int fails = 0; fails < 2; fails++) {
		begin();
		add(B, NOW);
		commit(NOW, false);
		written = unlocked = 0;
		look_at_locks = true;
		if (fails)
			writes = (struct refusal){map_path_2, EIO, 0, ALL};
		ask_for_all();
		ask(REQUEST_ADD, "192.0.2.5", 1, NOW);
		commit(NOW, false);
		writes.times = 0;
		elapse_s(RETRY_S);
		add(B, NOW + 2);
		commit(NOW + 2, true);
		commit(NOW + 2, true);
		look_at_locks = false;
		assert_in_range(written, 4, 1000);
		assert_int_equal(unlocked, 0);
	}
}

/*
 * Of many changes, one page cannot be read: those before and after it are
 * refused with it, and what expires there goes later.
 */
static void a_page_cannot_be_read(void **state)
{
	enum { MANY = 10000 }; /* more than Berkeley DB keeps in memory */
	char text[32];

	(void)state;
	for (int expires = 0; expires < 2; expires++) {
		begin();
		ask(REQUEST_ADD, "10.0.0.0", 600, NOW);
		for (int k = 0; k < MANY; k++) {
			snprintf(text, sizeof text, "2001:db8::%x:1", k);
			add(text, NOW);
			if (k % 250 == 249)
				commit(NOW, false);
		}
		assert_int_equal(answered, MANY + 3);
		world_end();
		world_begin(); /* which reads all pages, in order */
		add("2001:db8::270f:3", NOW);
		commit(NOW, false); /* those beside it are in memory now */
		reads = (struct refusal){map_path_1, EIO, 0, ALL};
		if (!expires)
			add("10.0.0.1", NOW);
		del("2001:db8::270f:3", NOW);
		commit(expires ? NOW + 600 : NOW, false);
		assert_int_equal(reads.skip, 0);
		assert_true(reads.times < ALL);
		assert_int_equal(answered, expires ? 2 : 3);
		for (int i = 1; i < answered; i++)
			assert_int_equal(answers[i].outcome, OUTCOME_SYSERR);
		reads.times = 0;
		assert_true(table_says("10.0.0.0") == NOW + 600);
		assert_in_range(turn_timeout_ms(turn, NOW + 600), 500, 1001);
		elapse_s(RETRY_S);
		commit(NOW + 600, true);
		assert_true(table_says("10.0.0.0") == 0);
		assert_map_says("10.0.0.0", 0);
		assert_map_says("10.0.0.1", 0);
		assert_map_says("2001:db8::270f:3", NOW + LIFETIME);
	}
}

static void a_map_is_gone(void **state)
{
	(void)state;
	begin();
	assert_int_equal(unlink(map_path_2), 0);
	add(B, NOW);
	assert_contains(commit(NOW, false), "map=second.db is damaged: ");
	assert_answer(2, B, OUTCOME_OK, NOW + LIFETIME);
	assert_everywhere(A, NOW + LIFETIME);
	assert_everywhere(B, NOW + LIFETIME);
}

/* ---- a reader's lock ---- */

/* Each turn has its 500 ms, whatever became of those before it. */
static void each_turn_may_be_held(void **state)
{
	int fd;

	(void)state;
	begin();
	for (int round = 0; round < 3; round++) {
		fd = reader_lock();
		answered = 0;
		add(B, NOW);
		commit(NOW, false);
		commit(NOW, false);
		assert_int_equal(answered, 0);
		elapse_s(1);
		if (round == 1) { /* let go at last */
			close(fd);
			commit(NOW, false);
			assert_answer(0, B, OUTCOME_OK, NOW + LIFETIME);
			del(B, NOW);
			commit(NOW, false);
			continue;
		}
		assert_contains(commit(NOW, false), "map=first.db is kept");
		assert_answer(0, B, OUTCOME_SYSERR, 0);
		close(fd);
		elapse_s(10);
	}
	assert_int_equal(stats.turns_held, 3);
}

/* What nobody waits for is tried again and again, but not all the time. */
static void chores_and_a_lock(void **state)
{
	int fd;

	(void)state;
	begin();
	fd = reader_lock();
	add(A, NOW + 1);
	for (int i = 0; i < 3; i++) {
		assert_null(strstr(commit(NOW + 1, true), "kept locked"));
		assert_in_range(turn_timeout_ms(turn, NOW + 1), 1, 10);
		elapse_s(1);
	}
	assert_int_equal(stats.turns_held, 0);
	close(fd);
	commit(NOW + 1, true);
	assert_everywhere(A, NOW + 1 + LIFETIME);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_map_cannot_be_synced), TEST(a_map_is_half_synced),
	    TEST(a_map_goes_back),        TEST(written_under_the_lock),
	    TEST(a_page_cannot_be_read),  TEST(a_map_is_gone),
	    TEST(each_turn_may_be_held),  TEST(chores_and_a_lock),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

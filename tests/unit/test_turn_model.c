/*
 * turn: anything at all, with journals that fail and readers that keep their
 * locks, against a list of what has been answered.
 */
#include "turn_world.h"

enum {
	ADDRESSES = 40,
	ROUNDS = 400,
	LOOK_EVERY = 20, /* at the journal */
	REFRESHES = 120000,
	TURN = 64,
};

static int64_t model[ADDRESSES]; /* the expiry that was answered; 0: none */
static unsigned seed = 1;

static int pick(int limit)
{
	return rand_r(&seed) % limit;
}

/* Every third one is IPv6. */
static const char *text_of(int i)
{
	static char text[ADDRESS_TEXT_MAX];

	snprintf(text, sizeof text, i % 3 ? "192.0.2.%d" : "2001:db8::%d:1",
		 i + 1);
	return text;
}

/* The model follows the answers, in their order. */
static void follow(void)
{
	for (int n = 0; n < answered; n++) {
		int i = 0;
		struct address address;

		for (; i < ADDRESSES; i++) {
			address = address_of(text_of(i));
			if (address_equal(&address, &answers[n].address))
				break;
		}
		assert_in_range(i, 0, ADDRESSES - 1);
		if (answers[n].outcome != OUTCOME_OK)
			continue;
		assert_true(answers[n].kind == REQUEST_REMOVE ||
			    answers[n].expiry_s >= model[i]);
		model[i] = answers[n].expiry_s;
	}
	answered = 0;
}

/* Of each address at most one thing, so that the order does not matter. */
static int some_requests(int64_t now_s)
{
	int asked = 0;

	for (int i = 0; i < ADDRESSES; i++) {
		int what = pick(12);

		if (what < 3)
			ask(REQUEST_ADD, text_of(i), 1 + pick(LIFETIME), now_s);
		else if (what == 3)
			del(text_of(i), now_s);
		asked += what < 4;
	}
	return asked;
}

static void one_round(int round, int64_t now_s)
{
	bool stuck = round % 200 == 101; /* until it is refused */
	bool fails = pick(6) == 0, locked = stuck || pick(8) == 0;
	int fd = locked ? reader_lock() : -1, asked = some_requests(now_s);

	if (fails)
		limit_file_size(100);
	commit(now_s, pick(2));
	limit_file_size(-1);
	for (int n = 0; locked && n < 3; n++)
		commit(now_s, pick(2));
	if (stuck)
		commit_until(asked, now_s);
	if (fd >= 0)
		close(fd);
	if (answered < asked)
		commit_until(asked, now_s);
	assert_int_equal(answered, asked);
	follow();
}

static void compare(struct table *with, int64_t now_s)
{
	uint32_t live = 0;

	for (int i = 0; i < ADDRESSES; i++) {
		struct address address = address_of(text_of(i));
		const struct entry *entry = table_find(with, &address);

		if (model[i] <= now_s)
			continue; /* may have gone, or not yet */
		live++;
		assert_non_null(entry);
		assert_true(entry->expiry_s == model[i]);
	}
	for (uint32_t slot = 1; slot <= table_slots(with); slot++) {
		struct entry *entry = table_at(with, slot);

		if (entry != NULL && entry->expiry_s > now_s)
			live--;
	}
	assert_int_equal(live, 0);
}

/* Everything that can wait has been done. */
static void settle(int64_t now_s)
{
	int64_t end_ms = elapsed_ms() + 5000;

	while (turn_timeout_ms(turn, now_s) >= 0 && elapsed_ms() < end_ms)
		commit(now_s, true);
	assert_int_equal(turn_timeout_ms(turn, now_s), -1);
}

static void compare_maps(int64_t now_s)
{
	int keys = 0;

	settle(now_s);
	for (int i = 0; i < ADDRESSES; i++) {
		int64_t expiry_s = model[i] > now_s ? model[i] : 0;

		assert_map_says(text_of(i), expiry_s);
		keys += expiry_s == 0 ? 0 : i % 3 ? 1 : 3;
	}
	assert_int_equal(reader_count(map_path_1), keys);
	assert_int_equal(reader_count(map_path_2), keys);
}

static void anything(void **state)
{
	int64_t now_s = NOW;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		one_round(round, now_s);
		compare(table, now_s);
		if (round % LOOK_EVERY == 0) {
			struct table *found = journal_table(now_s);

			compare(found, now_s);
			table_free(found);
			compare_maps(now_s);
		}
		now_s += pick(100);
	}
	assert_in_range(stats.refused, 1, stats.adds);
	assert_in_range(stats.turns_held, 10, ROUNDS);
	world_end();
	world_begin(); /* and as the next daemon begins */
	compare(table, now_s);
}

/* No segment is kept for ever, and none goes that is still needed. */
static void the_journal_stays_short(void **state)
{
	int64_t now_s = NOW;

	(void)state;
	memset(model, 0, sizeof model);
	for (int round = 0; round < 50; round++)
		one_round(round, now_s);
	for (int n = 0; n < REFRESHES; n += TURN) {
		for (int i = 0; i < TURN; i++)
			ask(REQUEST_ADD, text_of(1), LIFETIME + n, now_s);
		commit(now_s, false);
		follow();
	}
	assert_true(journal_segments(journal) > 1);
	for (int i = 0; i < ADDRESSES; i++)
		if (i != 1)
			del(text_of(i), now_s);
	commit(now_s, false);
	follow();
	settle(now_s);
	assert_int_equal(journal_segments(journal), 1);
	struct table *found = journal_table(now_s);

	compare(found, now_s);
	assert_int_equal(table_count(found), 1);
	table_free(found);
}

/* Refreshes of one address with a long name until the journal has grown. */
static void lengthen(uint64_t bytes)
{
	static char name[255];
	uint64_t until = journal_bytes(journal) + bytes;

	memset(name, 'x', sizeof name);
	while (journal_bytes(journal) < until) {
		for (int i = 0; i < TURN; i++) {
			struct request request = {
			    .kind = REQUEST_ADD,
			    .address = address_of(text_of(1)),
			    .lifetime_s = LIFETIME,
			};

			assert_true(who_create(&request.who, name, sizeof name,
					       name, sizeof name));
			turn_request(turn, &request, NOW);
		}
		commit(NOW, false);
		follow();
	}
}

/* A few entries that live long do not keep a long journal. */
static void survivors(void **state)
{
	struct table *found;

	(void)state;
	memset(model, 0, sizeof model);
	for (int i = 0; i < ADDRESSES; i++)
		ask(REQUEST_ADD, text_of(i), LIFETIME, NOW);
	commit(NOW, false);
	follow();
	lengthen(18 << 20);
	assert_true(journal_segments(journal) > 4);
	settle(NOW);
	assert_int_equal(journal_segments(journal), 1);
	lengthen(9 << 20); /* where they are now is kept, too */
	assert_in_range(journal_segments(journal), 3, 4);
	found = journal_table(NOW);
	assert_int_equal(table_count(found), ADDRESSES);
	compare(found, NOW);
	table_free(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(anything, world_setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(survivors, world_setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(the_journal_stays_short,
					    world_setup, world_teardown),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

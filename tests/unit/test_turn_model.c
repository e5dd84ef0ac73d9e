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

/* What is known of its adds, and what has been asked for in this round. */
static struct account {
	const char *user, *asked_user;
	uint32_t caller, asked_caller, adds;
	int64_t first_s, last_s, asked_s;
	bool ignored;
} account[ADDRESSES];
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

static const char *const users[] = {"", "joe", "ann", "a somewhat longer name"};

enum { USERS = sizeof users / sizeof users[0] };

static const struct entry *find(struct table *in, int i)
{
	struct address address = address_of(text_of(i));

	return table_find(in, &address);
}

/* An add has been acknowledged. */
static void count_add(int i)
{
	struct account *a = &account[i];
	bool known = model[i] > a->asked_s;

	if (!known) {
		a->adds = 0;
		a->first_s = a->asked_s;
		a->user = "";
	}
	a->adds++;
	a->last_s = a->asked_s;
	a->caller = a->asked_caller;
	if (a->asked_user[0] != '\0')
		a->user = a->asked_user;
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
		if (answers[n].kind == REQUEST_ADD)
			count_add(i);
		model[i] = answers[n].expiry_s;
	}
	answered = 0;
}

static void count_from_now(bool ignored)
{
	memset(model, 0, sizeof model);
	memset(account, 0, sizeof account);
	for (int i = 0; i < ADDRESSES; i++)
		account[i].ignored = ignored && i == 1;
}

static void ask_some(int i, int64_t lifetime_s, int64_t now_s)
{
	struct account *a = &account[i];

	a->asked_user = users[pick(USERS)];
	a->asked_caller = 0x0a000001 + (uint32_t)pick(5);
	a->asked_s = now_s;
	ask_as(REQUEST_ADD, text_of(i), lifetime_s, now_s, a->asked_user,
	       a->asked_caller);
}

/* Of each address at most one thing, so that the order does not matter. */
static int some_requests(int64_t now_s)
{
	int asked = 0;

	for (int i = 0; i < ADDRESSES; i++) {
		int what = pick(12);

		if (what < 3)
			ask_some(i, 1 + pick(LIFETIME), now_s);
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

static void compare_account(struct table *with, const struct entry *entry,
			    const struct account *a)
{
	const struct address caller = address_from_v4(a->caller);

	if (a->ignored)
		return;
	assert_int_equal(entry_adds(entry), a->adds);
	assert_int_equal(entry_first_s(entry), a->first_s);
	assert_int_equal(entry->last_s, a->last_s);
	assert_string_equal(who_user(entry->who), a->user);
	assert_true(address_equal(table_caller(with, entry->caller), &caller));
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
		compare_account(with, entry, &account[i]);
	}
	for (uint32_t slot = 1; slot <= table_slots(with); slot++) {
		struct entry *entry = table_at(with, slot);

		if (entry != NULL && entry->expiry_s > now_s)
			live--;
	}
	assert_int_equal(live, 0);
}

/*
 * Everything that can wait has been done. What the journal needs shows only in
 * an idle pass, of which a daemon has one a second.
 */
static void settle(int64_t now_s)
{
	int64_t end_ms = elapsed_ms() + 5000;

	do
		commit(now_s, true);
	while (turn_timeout_ms(turn, now_s) >= 0 && elapsed_ms() < end_ms);
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
	count_from_now(false);
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
	world_now_s = now_s;
	world_begin(); /* and as the next daemon begins */
	world_now_s = NOW;
	compare(table, now_s);
}

/* ---- max-addresses-per-user ---- */

static bool has_user(const struct entry *entry, const char *user)
{
	return entry != NULL && !(entry->flags & ENTRY_REMOVING) &&
	       strcmp(who_user(entry->who), user) == 0;
}

/* The list of each user has his entries, and the oldest first. */
static void compare_users(int64_t now_s, uint32_t limit)
{
	for (int u = 1; u < USERS; u++) {
		uint32_t listed = 0, live = 0, there = 0;
		int64_t last_s = 0;
		struct entry *e = table_user_first(table, users[u]);

		for (; e != NULL; e = table_user_next(table, e), listed++) {
			assert_true(has_user(e, users[u]));
			assert_true(e->last_s >= last_s);
			last_s = e->last_s;
			live += e->expiry_s > now_s;
		}
		for (uint32_t slot = 1; slot <= table_slots(table); slot++)
			there += has_user(table_at(table, slot), users[u]);
		assert_int_equal(listed, there);
		assert_in_range(live, 0, limit);
	}
}

static void refuse_at_the_limit(void **state)
{
	int64_t now_s = NOW;

	(void)state;
	count_from_now(false);
	for (int round = 0; round < ROUNDS; round++) {
		one_round(round, now_s);
		compare(table, now_s);
		compare_users(now_s, config.max_addresses_per_user);
		if (round % LOOK_EVERY == 0)
			compare_maps(now_s);
		now_s += pick(100);
	}
	assert_in_range(stats.denied, 100, UINT32_MAX);
}

/* All that is live is the same in table, journal and maps. */
static void compare_each_other(int64_t now_s)
{
	struct table *found;
	int keys = 0;

	settle(now_s);
	found = journal_table(now_s);
	for (int i = 0; i < ADDRESSES; i++) {
		const struct entry *entry = find(table, i);
		const struct entry *kept = find(found, i);

		assert_int_equal(entry != NULL, kept != NULL);
		assert_map_says(text_of(i), entry ? entry->expiry_s : 0);
		if (entry == NULL)
			continue;
		assert_int_equal(entry->expiry_s, kept->expiry_s);
		assert_int_equal(entry_adds(entry), entry_adds(kept));
		assert_true(who_equal(entry->who, kept->who));
		keys += i % 3 ? 1 : 3;
	}
	assert_int_equal(reader_count(map_path_1), keys);
	table_free(found);
}

static void put_out_at_the_limit(void **state)
{
	int64_t now_s = NOW;

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		count_from_now(false); /* who was put out it cannot know */
		one_round(round, now_s);
		compare_users(now_s, config.max_addresses_per_user);
		if (round % LOOK_EVERY == 0)
			compare_each_other(now_s);
		now_s += pick(100);
	}
	assert_in_range(stats.removes, 100, UINT32_MAX);
	assert_int_equal(stats.denied, 0);
}

/* In one turn, which fails: as if nobody had asked. */
static void a_limit_that_is_undone(void **state)
{
	(void)state;
	for (int i = 1; i <= 3; i++) {
		ask_as(REQUEST_ADD, text_of(i), LIFETIME, NOW + i, "joe",
		       (uint32_t)i);
		commit(NOW + i, false);
	}
	assert_int_equal(answered, 3);
	limit_file_size(100);
	ask_as(REQUEST_ADD, text_of(4), LIFETIME, NOW + 4, "joe", 4);
	ask_as(REQUEST_ADD, text_of(2), LIFETIME, NOW + 4, "ann", 4);
	commit(NOW + 4, false);
	limit_file_size(-1);
	assert_int_equal(answered, 5);
	assert_int_equal(answers[3].outcome, OUTCOME_SYSERR);
	assert_int_equal(answers[4].outcome, OUTCOME_SYSERR);
	compare_users(NOW + 4, 3);
	assert_null(find(table, 4));
	assert_int_equal(find(table, 2)->last_s, NOW + 2);
	assert_string_equal(who_user(find(table, 2)->who), "joe");
	assert_ptr_equal(table_user_first(table, "joe"), find(table, 1));
	compare_each_other(NOW + 4);
	ask_as(REQUEST_ADD, text_of(4), LIFETIME, NOW + 5, "joe", 4);
	commit(NOW + 5, false);
	assert_null(find(table, 1));
	assert_ptr_equal(table_user_first(table, "joe"), find(table, 2));
	compare_each_other(NOW + 5);
}

static int setup_limit(enum on_limit on_limit)
{
	world_setup_at("first.db", "second.db");
	world_end();
	config.max_addresses_per_user = 3;
	config.on_limit = on_limit;
	world_begin();
	return 0;
}

static int setup_refuse(void **state)
{
	(void)state;
	return setup_limit(LIMIT_REFUSE);
}

static int setup_oldest(void **state)
{
	(void)state;
	return setup_limit(LIMIT_OLDEST);
}

/* No segment is kept for ever, and none goes that is still needed. */
static void the_journal_stays_short(void **state)
{
	int64_t now_s = NOW;

	(void)state;
	count_from_now(true);
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
	count_from_now(true);
	for (int i = 0; i < ADDRESSES; i++)
		ask_some(i, LIFETIME, NOW);
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
	    cmocka_unit_test_setup_teardown(refuse_at_the_limit, setup_refuse,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(put_out_at_the_limit, setup_oldest,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(a_limit_that_is_undone,
					    setup_oldest, world_teardown),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

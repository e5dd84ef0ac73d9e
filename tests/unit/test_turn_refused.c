/*
 * turn: a story in which one allocation, or one call that writes, fails: each
 * of them once. What was acknowledged stands, what was refused is nowhere, and
 * table, journal and maps say the same as soon as the trouble is over.
 */
#include "refuse.h"

#include "table.h"
#include "turn_world.h"

#define A "192.0.2.1"
#define B "192.0.2.2"
#define C "2001:db8::fe80:1"
#define D "192.0.2.4"
#define E "192.0.2.5"

enum {
	THEN = NOW + 100,
	OVER = NOW + 4 * LIFETIME,
	CROWD = 70, /* more than arrays have room for at first */
	ROUNDS = 100,
	TRIES_MAX = 3000,
	PATIENCE_MS = 600, /* then what is held is refused */
	RETRY_MS = 1100,
	HOUR_MS = 3600000,
#ifdef MEMCHECK
	EACH = 10 /* th call is refused: all of them take too long */
#else
	EACH = 1
#endif
};

/* As the service does it. */
static void call(enum request_kind kind, const char *text, int64_t lifetime_s,
		 int64_t now_s, const char *user)
{
	struct request request = {
	    .kind = kind,
	    .address = address_of(text),
	    .lifetime_s = lifetime_s,
	    .origin = {.caller = address_from_v4(0x7f000001)},
	};

	if (who_create(&request.who, user, strlen(user), "pop3", 4))
		turn_request(turn, &request, now_s);
	else
		note_answer(&request, OUTCOME_SYSERR, 0);
}

static void crowd(int64_t now_s)
{
	char text[32], user[32];

	for (int i = 1; i <= CROWD; i++) {
		snprintf(text, sizeof text, "203.0.113.%d", i);
		snprintf(user, sizeof user, "user%d", i);
		call(REQUEST_ADD, text, 3 * LIFETIME, now_s, user);
	}
}

/* ---- what is true then ----------------------------------------------------
 */

struct belief {
	struct address address;
	int64_t expiry_s;
	bool put_out; /* it may have been, for another of its user */
};

static struct belief beliefs[2 * CROWD];
static size_t believed;

static struct belief *belief_of(const struct address *address)
{
	size_t i = 0;

	while (i < believed && !address_equal(&beliefs[i].address, address))
		i++;
	if (i == believed)
		beliefs[believed++] = (struct belief){.address = *address};
	return &beliefs[i];
}

/* What the answers say, in their order. */
static void believe_answers(void)
{
	believed = 0;
	for (int i = 0; i < answered; i++) {
		struct belief *b = belief_of(&answers[i].address);

		if (answers[i].outcome != OUTCOME_OK)
			continue;
		b->expiry_s =
		    answers[i].kind == REQUEST_REMOVE ? 0 : answers[i].expiry_s;
	}
}

static int64_t found(struct table *in, const struct address *address)
{
	const struct entry *entry = table_find(in, address);

	return entry ? entry->expiry_s : 0;
}

static void assert_sound(int64_t now_s, int at)
{
	struct table *again;

	capture_begin();
	again = journal_table(now_s);
	capture_end();
	believe_answers();
	for (size_t i = 0; i < believed; i++) {
		const struct belief *b = &beliefs[i];
		int64_t expiry_s = b->expiry_s > now_s ? b->expiry_s : 0;
		char text[ADDRESS_TEXT_MAX];

		address_text(&b->address, text);
		if (found(table, &b->address) != expiry_s ||
		    found(again, &b->address) != expiry_s)
			fail_msg("%s, call %d: %s has %" PRId64
				 " in the table, %" PRId64
				 " in the journal, not %" PRId64,
				 refused_call, at, text,
				 found(table, &b->address),
				 found(again, &b->address), expiry_s);
		assert_map_says(text, expiry_s);
	}
	assert_int_equal(table_count(table), table_count(again));
	table_free(again);
}

/* Nothing goes wrong any more: with the next ticks, what is owed is done. */
static void settle(int64_t now_s)
{
	int round = 0;

	do {
		elapsed += RETRY_MS;
		capture_begin();
		turn_check_maps(turn);
		capture_end();
		commit(now_s, true);
	} while (turn_timeout_ms(turn, now_s) >= 0 && ++round < ROUNDS);
	assert_in_range(round, 0, ROUNDS - 1);
	call(REQUEST_ADD, E, LIFETIME, now_s, "eve");
	commit(now_s, true);
	commit(now_s, true);
	assert_answer(answered - 1, E, OUTCOME_OK, now_s + LIFETIME);
}

/* ---- stories ----------------------------------------------------------------
 */

static void common_way(void)
{
	call(REQUEST_ADD, A, LIFETIME, NOW, "joe");
	call(REQUEST_ADD, C, LIFETIME, NOW, "");
	commit(NOW, false);
	call(REQUEST_ADD, A, LIFETIME, THEN, "bob");
	call(REQUEST_ADD, A, 2 * LIFETIME, THEN, "bob");
	call(REQUEST_REMOVE, C, 0, THEN, "");
	commit(THEN, false);
	commit(THEN, true);
	crowd(THEN);
	commit(THEN, false);
	crowd(THEN + 1);
	commit(THEN + 1, true);
	call(REQUEST_ADD, C, LIFETIME, THEN, "");
	call(REQUEST_ADD, D, 300, THEN, "joe");
	commit(THEN, false);
	call(REQUEST_ADD, D, LIFETIME, THEN + 400, "");
	commit(THEN + 400, false);
	elapsed += RETRY_MS;
	commit(NOW + 2 * LIFETIME, true); /* some have expired */
}

/* A reader has the lock for too long. */
static void held(void)
{
	int fd;

	call(REQUEST_ADD, A, LIFETIME, NOW, "joe");
	call(REQUEST_ADD, C, LIFETIME, NOW, "");
	commit(NOW, false);
	fd = reader_lock();
	call(REQUEST_ADD, B, LIFETIME, NOW, "joe");
	call(REQUEST_REMOVE, C, 0, NOW, "");
	call(REQUEST_ADD, A, LIFETIME, THEN, "");
	commit(NOW, false);
	call(REQUEST_ADD, D, LIFETIME, NOW, "joe"); /* waits */
	crowd(NOW);
	commit(NOW, false);
	elapsed += PATIENCE_MS;
	commit(NOW, false);
	close(fd);
	commit(NOW, false);
}

/* A map is taken away, and built anew. */
static void removed(void)
{
	call(REQUEST_ADD, A, LIFETIME, NOW, "joe");
	commit(NOW, false);
	unlink(map_path_1);
	capture_begin();
	turn_check_maps(turn);
	capture_end();
	call(REQUEST_ADD, B, LIFETIME, NOW, "joe");
	commit(NOW, false);
}

/* ---- each of them with each failure ---------------------------------------
 */

static void tell(void (*story)(void), int64_t now_s)
{
	int at, refusals = 0;

	for (at = 1; at < TRIES_MAX; at += EACH) {
		bool struck;

		world_setup(NULL);
		elapsed += HOUR_MS; /* it may be logged again */
		refuse_begin(at);
		story();
		struck = refuse_end();
		settle(now_s);
		for (int i = 0; i < answered; i++)
			refusals += answers[i].outcome == OUTCOME_SYSERR;
		assert_sound(now_s, at);
		world_end();
		if (!struck)
			break;
	}
	print_message("%d calls, %d answers refused\n", at - 1, refusals);
	assert_in_range(at, 5, TRIES_MAX - 1);
	assert_in_range(refusals, 3, INT32_MAX);
}

struct telling {
	int what;
	void (*story)(void);
	int64_t end_s;
	enum durability durability;
};

static void each(void **state)
{
	const struct telling *t = *state;

	refuse_what = t->what;
	world_durability = t->durability;
	tell(t->story, t->end_s);
}

int main(void)
{
	static struct telling telling[] = {
	    {WRITES, common_way, NOW + 2 * LIFETIME, DURABILITY_DISK},
	    {ALLOCATIONS, common_way, NOW + 2 * LIFETIME, DURABILITY_OS},
	    {WRITES, held, THEN, DURABILITY_OS},
	    {ALLOCATIONS, held, THEN, DURABILITY_OS},
	    {WRITES, removed, THEN, DURABILITY_OS},
	    {ALLOCATIONS, removed, THEN, DURABILITY_OS},
	};
#define EACH(name, i)                                                          \
	{                                                                      \
		name, each, NULL, world_teardown, &telling[i]                  \
	}
	const struct CMUnitTest tests[] = {
	    EACH("common_way_and_each_write", 0),
	    EACH("common_way_and_each_allocation", 1),
	    EACH("held_and_each_write", 2),
	    EACH("held_and_each_allocation", 3),
	    EACH("removed_and_each_write", 4),
	    EACH("removed_and_each_allocation", 5),
	};

	map_library_init();
	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

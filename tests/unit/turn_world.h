/*
 * turn_world: a turn with a real table, journal and maps in the scratch
 * directory, and a list of what it has answered. For the tests of the turn.
 */
#ifndef TESTS_TURN_WORLD_H
#define TESTS_TURN_WORLD_H

#include <inttypes.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock_at.h"
#include "map_reader.h"
#include "maps.h"
#include "record.h"
#include "restore.h"
#include "turn.h"

enum { ANSWERS_MAX = 20000, NOW = 1900000000, LIFETIME = 1800 };

struct answer {
	struct address address;
	enum request_kind kind;
	enum outcome outcome;
	int64_t expiry_s;
};

static struct answer answers[ANSWERS_MAX];
static int answered;

static struct map_config world_maps[2];
static struct config config;
static struct stats stats;
static struct audit *audit;
static struct table *table;
static struct journal *journal;
static struct maps *maps;
static struct turn *turn;
static struct timebase world_clock;
static int64_t world_now_s = NOW; /* when it begins */
static enum durability world_durability;

static char map_path_1[64], map_path_2[64];
static char journal_path[] = "journal", copy_path[] = "copy";

/*
 * However long the test takes, running time stands still, and the turn's clock
 * moves by a millisecond a commit. The flush thread has the real one.
 */
static int64_t elapsed = 1000000;

static inline int64_t elapsed_ms(void)
{
	return elapsed;
}

static inline void elapse_s(int64_t seconds)
{
	elapsed += 1000 * seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock == CLOCK_BOOTTIME)
		*now = (struct timespec){.tv_sec = NOW / 2};
	else if ((clock == CLOCK_MONOTONIC ||
		  clock == CLOCK_MONOTONIC_COARSE) &&
		 gettid() == getpid())
		*now = (struct timespec){.tv_sec = elapsed / 1000,
					 .tv_nsec = elapsed % 1000 * 1000000};
	else
		return (int)syscall(SYS_clock_gettime, clock, now);
	return 0;
}

static inline void note_answer(const struct request *request,
			       enum outcome outcome, int64_t expiry_s)
{
	assert_in_range(answered, 0, ANSWERS_MAX - 1);
	answers[answered++] =
	    (struct answer){request->address, request->kind, outcome, expiry_s};
}

static inline void world_begin(void)
{
	bool clean;

	memset(&stats, 0, sizeof stats);
	answered = 0;
	capture_begin();
	table = table_create();
	assert_non_null(table);
	world_clock = clock_at(world_now_s);
	journal = restore(&config, table, &world_clock, &clean);
	maps = journal ? maps_open(&config, table, true) : NULL;
	capture_end();
	assert_non_null(maps);
	audit = audit_create();
	assert_non_null(audit);
	if (config.max_addresses_per_user > 0)
		assert_true(table_know_users(table));
	turn = turn_create(&config, table, journal, maps, &stats, audit,
			   note_answer);
	assert_non_null(turn);
}

static inline void world_end(void)
{
	turn_free(turn);
	maps_close(maps);
	journal_close(journal, 0);
	table_free(table);
	audit_free(audit);
	turn = NULL;
}

static inline int world_setup_at(const char *first, const char *second)
{
	remove_tree(journal_path);
	mkdir(journal_path, 0700);
	snprintf(map_path_1, sizeof map_path_1, "%s", first);
	snprintf(map_path_2, sizeof map_path_2, "%s", second);
	unlink(map_path_1);
	unlink(map_path_2);
	world_maps[0] =
	    (struct map_config){.type = MAP_BTREE, .path = map_path_1};
	world_maps[1] = (struct map_config){
	    .type = MAP_HASH, .path = map_path_2, .nul = true};
	config = (struct config){
	    .maps = world_maps,
	    .map_count = 2,
	    .journal = journal_path,
	    .durability = world_durability,
	    .max_entries = 100000,
	};
	world_begin();
	return 0;
}

static inline int world_setup(void **state)
{
	(void)state;
	return world_setup_at("first.db", "second.db");
}

static inline int world_teardown(void **state)
{
	(void)state;
	if (turn != NULL)
		world_end();
	return 0;
}

/* ---- asking ---- */

/* The end of a pass; what was logged. */
static inline const char *commit(int64_t now_s, bool idle)
{
	world_clock.base_ns = clock_at(now_s).base_ns;
	elapsed++;
	capture_begin();
	turn_commit(turn, now_s, idle);
	return capture_end();
}

static inline void ask_as(enum request_kind kind, const char *text,
			  int64_t lifetime_s, int64_t now_s, const char *user,
			  uint32_t caller)
{
	struct request request = {
	    .kind = kind,
	    .address = address_of(text),
	    .lifetime_s = lifetime_s,
	    .origin = {.caller = address_from_v4(caller)},
	};
	size_t service_len = user[0] != '\0' ? 4 : 0;

	assert_true(
	    who_create(&request.who, user, strlen(user), "pop3", service_len));
	turn_request(turn, &request, now_s);
}

static inline void ask(enum request_kind kind, const char *text,
		       int64_t lifetime_s, int64_t now_s)
{
	ask_as(kind, text, lifetime_s, now_s, "joe", 0x7f000001);
}

static inline void add(const char *text, int64_t now_s)
{
	ask(REQUEST_ADD, text, LIFETIME, now_s);
}

static inline void del(const char *text, int64_t now_s)
{
	ask(REQUEST_REMOVE, text, 0, now_s);
}

/* The answer with this index, counted from 0. */
static inline void assert_answer(int index, const char *text,
				 enum outcome outcome, int64_t expiry_s)
{
	struct address address = address_of(text);

	assert_in_range(index, 0, answered - 1);
	assert_true(address_equal(&answers[index].address, &address));
	assert_int_equal(answers[index].outcome, outcome);
	assert_true(answers[index].expiry_s == expiry_s);
}

/* ---- looking ---- */

static inline int64_t table_says(const char *text)
{
	struct address address = address_of(text);
	const struct entry *entry = table_find(table, &address);

	return entry ? entry->expiry_s : 0;
}

/*
 * As it is at one moment: the flush thread may be removing old segments, and a
 * copy without a younger one says what never was.
 */
static inline void copy_journal(void)
{
	int status, tries = 1000;

	do
		status =
		    system("rm -rf copy && cp -r journal copy 2>/dev/null");
	while (status != 0 && --tries > 0);
	assert_int_equal(status, 0);
}

/* What a daemon would find that started now. The caller's to free. */
static inline struct table *journal_table(int64_t now_s)
{
	struct config copy = config;
	struct timebase clock = clock_at(now_s);
	struct table *found = table_create();
	struct journal *reopened;
	bool clean;

	copy_journal();
	copy.journal = copy_path;
	capture_begin();
	reopened = restore(&copy, found, &clock, &clean);
	capture_end();
	assert_non_null(reopened);
	journal_close(reopened, 0);
	return found;
}

struct said {
	struct address address;
	int64_t expiry_s;
};

static inline void note_said(void *context, struct journal *opening,
			     const struct record *record, uint32_t segment)
{
	struct said *said = context;

	(void)opening;
	(void)segment;
	if (address_equal(&record->address, &said->address))
		said->expiry_s =
		    record->type == RECORD_PUT ? record->expiry_s : 0;
}

/* Whether it has expired or not; 0: nothing. */
static inline int64_t journal_says(const char *text)
{
	struct said said = {.address = address_of(text)};
	struct journal_start start;
	struct journal *reopened;

	copy_journal();
	capture_begin();
	reopened = journal_open(copy_path, DURABILITY_OS, false, &world_clock,
				note_said, &said, &start);
	capture_end();
	assert_non_null(reopened);
	journal_close(reopened, 0);
	return said.expiry_s;
}

static inline void assert_map_says(const char *text, int64_t expiry_s)
{
	char value[32];
	size_t len = 0;
	const char *second;

	snprintf(value, sizeof value, "%" PRId64, expiry_s);
	assert_pair(map_path_1, text, expiry_s ? value : NULL);
	second = reader_get(map_path_2, text, strlen(text) + 1, &len);
	assert_int_equal(second != NULL, expiry_s != 0);
	if (second != NULL)
		assert_string_equal(second, value);
}

/* All three; 0: nowhere. */
static inline void assert_everywhere(const char *text, int64_t expiry_s)
{
	assert_true(table_says(text) == expiry_s);
	assert_map_says(text, expiry_s);
	assert_true(journal_says(text) == expiry_s);
}

/* ---- trouble ---- */

static inline int reader_lock(void)
{
	int fd = open(map_path_1, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	return fd;
}

/* Commits as the loop would until there are so many answers; the last log. */
static inline const char *commit_until(int count, int64_t now_s)
{
	int64_t end_ms = elapsed_ms() + 5000;
	const char *text = "";

	while (answered < count && elapsed_ms() < end_ms)
		text = commit(now_s, true);
	assert_int_equal(answered, count);
	return text;
}

#endif

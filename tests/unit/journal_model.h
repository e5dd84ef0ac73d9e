/*
 * journal_model: a journal in the scratch directory and the smallest table
 * that can go with it: an array of addresses, each with its expiry and the
 * segment it counts on. For the tests of the journal.
 */
#ifndef TESTS_JOURNAL_MODEL_H
#define TESTS_JOURNAL_MODEL_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "clock_at.h"
#include "journal.h"
#include "replay.h"
#include "scratch.h"

#define JOURNAL_DIR "journal"

enum {
	ADDRESSES = 64,
	FILLER = ADDRESSES - 1, /* the one that fill_segment() refreshes */
	FILL_BATCH = 512,
};

struct model_entry {
	uint32_t segment; /* 0: not there */
	int64_t expiry_s;
	char user[256], service[256];
};

static struct model_entry model[ADDRESSES];
static struct journal *journal;
static struct journal_start start;
static int records_seen;
static struct timebase model_clock;

static inline struct address address_of(int i)
{
	return address_from_v4(0x0a000000 + (uint32_t)i);
}

static inline void model_put(int i, int64_t expiry_s, uint32_t segment)
{
	struct model_entry *entry = &model[i];
	uint32_t old = entry->segment;

	journal_ref(journal, segment);
	entry->segment = segment;
	entry->expiry_s = expiry_s;
	if (old != 0)
		journal_unref(journal, old);
}

static inline void model_remove(int i)
{
	uint32_t old = model[i].segment;

	model[i].segment = 0;
	if (old != 0)
		journal_unref(journal, old);
}

static inline void model_see(void *context, struct journal *opening,
			     const struct record *record, uint32_t segment)
{
	int i = record->address.byte[15];

	assert_ptr_equal(context, model);
	journal = opening;
	if (record->type == RECORD_CLOCK)
		return;
	records_seen++;
	if (record->type == RECORD_REMOVE)
		model_remove(i);
	if (record->type != RECORD_PUT)
		return;
	assert_in_range(i, 0, ADDRESSES - 1);
	model_put(i, record->expiry_s, segment);
	snprintf(model[i].user, sizeof model[i].user, "%.*s", record->user_len,
		 record->user ? record->user : "");
	snprintf(model[i].service, sizeof model[i].service, "%.*s",
		 record->service_len, record->service ? record->service : "");
}

static inline bool model_open_as(enum durability durability, bool initialize)
{
	memset(model, 0, sizeof model);
	records_seen = 0;
	if (model_clock.base_ns == 0)
		timebase_begin(&model_clock);
	journal = journal_open(JOURNAL_DIR, durability, initialize,
			       &model_clock, model_see, model, &start);
	return journal != NULL;
}

static inline void model_open(void)
{
	assert_true(model_open_as(DURABILITY_OS, false));
}

/* As a death of the process would leave it. */
static inline void model_close(void)
{
	journal_close(journal, 0);
	journal = NULL;
}

static inline struct record record_put(int i, int64_t expiry_s)
{
	return (struct record){
	    .type = RECORD_PUT,
	    .address = address_of(i),
	    .expiry_s = expiry_s,
	    .user = "joe",
	    .service = "pop3",
	    .user_len = 3,
	    .service_len = 4,
	};
}

static inline struct journal_mark put(int i, int64_t expiry_s)
{
	struct record record = record_put(i, expiry_s);
	struct journal_mark mark;

	assert_true(journal_add(journal, &record));
	assert_int_equal(journal_commit(journal, &mark), 0);
	model_put(i, expiry_s, mark.segment);
	return mark;
}

static inline void take(int i)
{
	struct record record = {.type = RECORD_REMOVE,
				.address = address_of(i)};
	struct journal_mark mark;

	assert_true(journal_add(journal, &record));
	assert_int_equal(journal_commit(journal, &mark), 0);
	model_remove(i);
}

/* Refreshes one address until the next segment has begun; its number. */
static inline uint32_t fill_segment(void)
{
	static char text[255];
	struct record record = record_put(FILLER, 1);
	struct journal_mark mark = put(FILLER, 1);
	uint32_t from = mark.segment;

	memset(text, 'x', sizeof text);
	record.user = record.service = text;
	record.user_len = record.service_len = sizeof text;
	while (mark.segment == from) {
		for (int i = 0; i < FILL_BATCH; i++)
			assert_true(journal_add(journal, &record));
		assert_int_equal(journal_commit(journal, &mark), 0);
		model_put(FILLER, 1, mark.segment);
		journal_tend(journal);
		mark = put(FILLER, 1);
	}
	return mark.segment;
}

/* ---- files ---- */

static inline const char *segment_path(uint32_t number)
{
	static char path[64];
	char name[SEGMENT_NAME_MAX];

	replay_name(name, number);
	snprintf(path, sizeof path, JOURNAL_DIR "/%s", name);
	return path;
}

static inline bool segment_exists(uint32_t number)
{
	return access(segment_path(number), F_OK) == 0;
}

static inline off_t size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* How many there are, of any name. */
static inline int files(void)
{
	DIR *dir = opendir(JOURNAL_DIR);
	const struct dirent *found;
	int count = 0;

	assert_non_null(dir);
	while ((found = readdir(dir)) != NULL)
		count += found->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* For each test: an empty directory. */
static inline int journal_setup(void **state)
{
	(void)state;
	journal = NULL;
	remove_tree(JOURNAL_DIR);
	return mkdir(JOURNAL_DIR, 0700);
}

#endif

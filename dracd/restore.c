/*
 * restore: see restore.h. Owns what has been read and not yet looked up;
 * never writes to a map.
 */
#include "restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "mapfile.h"
#include "maps.h"
#include "record.h"

/* What a record says, before the table has followed. */
struct statement {
	bool put; /* else: the address is not, or no longer, authorized */
	uint32_t segment;
	struct address address;
	int64_t expiry_s;
	struct address caller;
	uint32_t last_s;
	struct who *who; /* ours until the entry has it */
};

struct restoring {
	const struct config *config;
	struct table *table;
	struct journal *journal;
	int64_t now_s;
	int64_t latest_s; /* the last time that the journal tells */
	bool failed;      /* out of memory */
	struct statement batch[TABLE_BATCH];
	int batched;
};

static bool remember(struct restoring *restoring, struct entry **entry,
		     const struct address *address, int64_t expiry_s)
{
	if (*entry != NULL)
		return table_set_expiry(restoring->table, *entry, expiry_s);
	*entry = table_insert(restoring->table, address, expiry_s);
	return *entry != NULL;
}

/* The table follows. A put has counted on its segment since it was read. */
static void follow(struct restoring *restoring, struct statement *said)
{
	struct journal *journal = restoring->journal;
	struct entry *entry = table_find(restoring->table, &said->address);
	bool known = entry != NULL;
	if (known)
		journal_unref(journal, entry->segment);
	if (!said->put) {
		if (known)
			table_remove(restoring->table, entry);
		return;
	}
	if (!remember(restoring, &entry, &said->address, said->expiry_s)) {
		who_free(said->who);
		restoring->failed = true;
		return;
	}
	who_free(entry->who);
	entry->who = said->who;
	entry->last_s = said->last_s;
	table_drop_caller(restoring->table, entry->caller);
	entry->caller = table_take_caller(restoring->table, &said->caller);
	entry->segment = said->segment;
}

static void follow_all(struct restoring *restoring)
{
	for (int i = 0; i < restoring->batched; i++)
		table_prefetch_entry(restoring->table,
				     &restoring->batch[i].address);
	for (int i = 0; i < restoring->batched; i++)
		table_prefetch_next(restoring->table,
				    &restoring->batch[i].address);
	for (int i = 0; i < restoring->batched; i++)
		follow(restoring, &restoring->batch[i]);
	restoring->batched = 0;
}

/* Version 1 of the journal did not say when, how often, nor by whom. */
static bool take_account(const struct restoring *restoring,
			 struct statement *said, const struct record *record)
{
	bool told = record->adds > 0;
	uint32_t now_s = clock_fit(restoring->now_s);
	said->caller = record->caller;
	said->last_s = told ? record->last_s : now_s;
	if (!who_create(&said->who, record->user, record->user_len,
			record->service, record->service_len))
		return false;
	if (said->who == NULL &&
	    (record->adds > 1 || record->first_s != record->last_s))
		said->who = who_nameless();
	else if (said->who == NULL)
		return true;
	if (said->who == NULL)
		return false;
	said->who->first_s = told ? record->first_s : now_s;
	said->who->adds = told ? record->adds : 1;
	return true;
}

static void restore_record(void *context, struct journal *journal,
			   const struct record *record, uint32_t segment)
{
	struct restoring *restoring = context;
	struct statement *said = &restoring->batch[restoring->batched];
	restoring->journal = journal;
	if (record->last_s > restoring->latest_s)
		restoring->latest_s = record->last_s;
	if (record->type != RECORD_PUT && record->type != RECORD_REMOVE)
		return;
	*said = (struct statement){
	    .put = record->type == RECORD_PUT &&
		   record->expiry_s > restoring->now_s &&
		   config_may_relay(restoring->config, &record->address),
	    .segment = segment,
	    .address = record->address,
	    .expiry_s = record->expiry_s,
	};
	if (said->put) {
		if (!take_account(restoring, said, record)) {
			restoring->failed = true;
			return;
		}
		journal_ref(journal, segment);
	}
	table_prefetch_bucket(restoring->table, &said->address);
	if (++restoring->batched == TABLE_BATCH)
		follow_all(restoring);
}

/*
 * The wall clock was set back while the system was down: what is left of an
 * entry is at most what was left when we knew the time last.
 */
static void go_back(struct restoring *restoring)
{
	int64_t step_s = restoring->now_s - restoring->latest_s;
	struct entry *entry;
	table_step(restoring->table, step_s);
	journal_step(restoring->journal, step_s);
	while ((entry = table_first(restoring->table)) != NULL &&
	       entry->expiry_s <= restoring->now_s) {
		journal_unref(restoring->journal, entry->segment);
		table_remove(restoring->table, entry);
	}
	log_write(LOG_NOTICE,
		  "clock is %" PRId64 " s behind the journal: entries keep "
		  "what they had left then, entries=%" PRIu32,
		  -step_s, table_count(restoring->table));
}

/* An address in a map of DRAC 1.12. */
static void import_entry(void *context, const struct address *address,
			 int64_t expiry_s)
{
	struct restoring *restoring = context;
	struct entry *entry = table_find(restoring->table, address);
	if (expiry_s <= restoring->now_s ||
	    expiry_s - restoring->now_s > CONFIG_LIFETIME_MAX_S ||
	    !config_may_relay(restoring->config, address) ||
	    (entry != NULL && entry->expiry_s >= expiry_s))
		return;
	if (!remember(restoring, &entry, address, expiry_s))
		restoring->failed = true;
	else
		entry->last_s = clock_fit(restoring->now_s);
}

static bool journal_all(struct restoring *restoring)
{
	struct journal_mark mark;
	struct entry *entry;
	for (entry = table_first(restoring->table); entry != NULL;
	     entry = table_next(restoring->table, entry)) {
		struct record record = record_of(restoring->table, entry);
		if (!journal_add(restoring->journal, &record))
			return false;
	}
	int error = journal_commit(restoring->journal, &mark);
	if (error != 0) {
		errno = error;
		log_errno(LOG_CRIT, "journal=%s cannot be written",
			  restoring->config->journal);
		return false;
	}
	for (entry = table_first(restoring->table); entry != NULL;
	     entry = table_next(restoring->table, entry)) {
		journal_ref(restoring->journal, mark.segment);
		entry->segment = mark.segment;
	}
	return true;
}

/* The first start on a host where DRAC 1.12 ran until a moment ago. */
static bool take_over(struct restoring *restoring)
{
	const struct map_config *map = &restoring->config->maps[0];
	if (!mapfile_import(map, import_entry, restoring))
		return true;
	log_write(LOG_NOTICE, "map=%s taken over entries=%u", map->path,
		  table_count(restoring->table));
	return journal_all(restoring);
}

struct journal *restore(const struct config *config, struct table *table,
			const struct timebase *clock, bool *verify)
{
	struct restoring restoring = {
	    .config = config,
	    .table = table,
	    .now_s = timebase_now_s(clock),
	};
	struct journal_start start;
	table_begin_filling(table);
	struct journal *journal = journal_open(
	    config->journal, config->durability, config->initialize, clock,
	    restore_record, &restoring, &start);
	if (journal == NULL) {
		for (int i = 0; i < restoring.batched; i++)
			who_free(restoring.batch[i].who);
		return NULL;
	}
	restoring.journal = journal;
	follow_all(&restoring);
	if (restoring.latest_s > restoring.now_s)
		go_back(&restoring);
	*verify = start.stamp != maps_stamp(config);
	bool done =
	    start.existed || config->initialize || take_over(&restoring);
	table_end_filling(table);
	if (done && !restoring.failed) {
		log_write(LOG_INFO, "restored entries=%u journal=%s%s",
			  table_count(table), config->journal,
			  start.existed && start.stamp == 0
			      ? " (the last stop was not clean)"
			      : "");
		return journal;
	}
	if (restoring.failed)
		log_write(LOG_CRIT, "not enough memory for all entries");
	journal_close(journal, 0);
	return NULL;
}

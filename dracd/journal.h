/*
 * journal: the durable record of the table: numbered segments in one
 * directory, appended to, replayed at start, deleted oldest first when no
 * entry's newest record is in them any more. It does not know the table: the
 * turn tells it which segment each entry counts on.
 *
 * Each segment says on which clock its times are. What comes in and goes out
 * here is on the clock as it is now.
 */
#ifndef DRACD_JOURNAL_H
#define DRACD_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "segment.h"
#include "timebase.h"

struct journal;

struct journal_start {
	bool existed;   /* there were segments */
	uint32_t stamp; /* of the last clean stop; 0: it was none */
};

/*
 * One intact record, oldest first; the last one about an address counts. For
 * a RECORD_PUT that is kept: journal_ref(segment).
 */
typedef void journal_see(void *context, struct journal *journal,
			 const struct record *record, uint32_t segment);

/*
 * Locks the directory against a second daemon, replays it, begins a segment
 * and starts the flush thread. initialize: forget what is there (-i). The
 * clock must outlive the journal. NULL after logging why.
 */
struct journal *journal_open(const char *path, enum durability durability,
			     bool initialize, const struct timebase *clock,
			     journal_see *see, void *context,
			     struct journal_start *start);
/* stamp: not 0 when all is in good order; the next start gets it back. */
void journal_close(struct journal *journal, uint32_t stamp);

/* Adds to the next commit. False: out of memory. */
bool journal_add(struct journal *journal, const struct record *record);
/* Drops what was added since the last commit. */
void journal_forget(struct journal *journal);

/* What a commit wrote, for journal_rollback(). */
struct journal_mark {
	uint32_t segment;
	uint64_t from, to;
};
/*
 * Writes what was added: 0, or errno with nothing written and nothing added
 * any more. Afterwards it survives the death of the process or, with
 * DURABILITY_DISK, of the system.
 */
int journal_commit(struct journal *journal, struct journal_mark *mark);
/* Takes back a commit, if nothing was written since; false: it stands. */
bool journal_rollback(struct journal *journal, const struct journal_mark *mark);

/*
 * The wall clock was set: all times move, those in former records too. Between
 * turns. It lasts when the next segment has begun, at once if that can be.
 */
void journal_step(struct journal *journal, int64_t step_s);

/*
 * At the end of a turn: cuts off what could not be before, and begins the next
 * segment when this one is full. What is in the file by then stays there.
 */
void journal_tend(struct journal *journal);

/* An entry's newest record is in this segment, or no longer. */
void journal_ref(struct journal *journal, uint32_t segment);
void journal_unref(struct journal *journal, uint32_t segment);

/*
 * After a failed flush: the number of a segment. What is in it and in older
 * ones may not be on the disk, and no segment is removed, until the records of
 * all entries that count on them have been written anew. Otherwise 0.
 */
uint32_t journal_suspect(const struct journal *journal);

/*
 * When the journal has become long for what it says, the oldest segment is
 * read again: true gives the next address in it whose record may have to be
 * written anew. Cheap when there is nothing to do.
 */
bool journal_survivor(struct journal *journal, struct address *address,
		      uint32_t *segment);

uint64_t journal_bytes(const struct journal *journal);
uint32_t journal_segments(const struct journal *journal);

#endif

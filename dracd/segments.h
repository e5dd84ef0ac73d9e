/*
 * segments: which segments there are, how long each is, and how many entries
 * count on it. Removes the oldest when none does, and finds what keeps it.
 * Only for journal.c.
 *
 * Oldest first, because a segment may hold the record that removes what an
 * older one still says.
 */
#ifndef DRACD_SEGMENTS_H
#define DRACD_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "flush.h"

enum { SEGMENT_BYTES = 4 * 1024 * 1024 }; /* then the next one is begun */

struct segment {
	uint64_t bytes;
	uint32_t live; /* entries whose newest record is here */
	bool exists;
	bool damaged; /* set aside, not removed, in the end */
};

/* Begins as zeros. */
struct segments {
	/* first .. first + count - 1; the last one is written to */
	struct segment *segment;
	uint32_t first, count, room;
	uint64_t bytes, live; /* of all of them */

	/* the oldest one, as segments_survivor() reads it */
	const uint8_t *victim;
	size_t victim_len, victim_at;
	uint32_t victim_number;
};

void segments_free(struct segments *segments);

/* Appends up to this number; those between do not exist. False: no memory. */
bool segments_extend(struct segments *segments, uint32_t number);
struct segment *segments_at(struct segments *segments, uint32_t number);
static inline uint32_t segments_newest(const struct segments *segments)
{
	return segments->first + segments->count - 1;
}
/* It is so long now. */
void segments_resize(struct segments *segments, uint32_t number,
		     uint64_t bytes);

void segments_ref(struct segments *segments, uint32_t number);
/* True: it is time for segments_release(). */
bool segments_unref(struct segments *segments, uint32_t number);
/* Removes what is at the old end and says nothing any more; true: some. */
bool segments_release(struct segments *segments, struct flush *flush);

/* See journal_survivor(). */
bool segments_survivor(struct segments *segments, int dir_fd,
		       struct address *address, uint32_t *number);

#endif

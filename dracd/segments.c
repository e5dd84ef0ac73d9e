/*
 * segments: see segments.h. Owns the list, and the mapping of the segment that
 * is read once more; never writes to one.
 */
#include "segments.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "replay.h"

enum {
	/*
	 * The journal is long for what it says when it has more than
	 * LONG_FACTOR times the bytes of its live records, and LONG_BYTES on
	 * top; or more than LONG_SEGMENTS files with little in them.
	 */
	LONG_FACTOR = 4,
	LONG_RECORD = 72,
	LONG_BYTES = 4 * SEGMENT_BYTES,
	LONG_SEGMENTS = 32,
};

static void victim_close(struct segments *segments)
{
	if (segments->victim != NULL)
		munmap((void *)(uintptr_t)segments->victim,
		       segments->victim_len ? segments->victim_len : 1);
	segments->victim = NULL;
}

void segments_free(struct segments *segments)
{
	victim_close(segments);
	free(segments->segment);
}

bool segments_extend(struct segments *segments, uint32_t number)
{
	if (segments->count == 0)
		segments->first = number;
	uint32_t count = number - segments->first + 1;
	if (count > segments->room) {
		uint32_t room = count + 64;
		struct segment *grown =
		    reallocarray(segments->segment, room, sizeof(*grown));
		if (grown == NULL)
			return false;
		segments->segment = grown;
		segments->room = room;
	}
	memset(segments->segment + segments->count, 0,
	       (count - segments->count) * sizeof(*segments->segment));
	segments->count = count;
	return true;
}

struct segment *segments_at(struct segments *segments, uint32_t number)
{
	return &segments->segment[number - segments->first];
}

void segments_resize(struct segments *segments, uint32_t number, uint64_t bytes)
{
	struct segment *segment = segments_at(segments, number);
	segments->bytes += bytes - segment->bytes;
	segment->bytes = bytes;
}

/* ---- live and gone ------------------------------------------------------ */

void segments_ref(struct segments *segments, uint32_t number)
{
	segments_at(segments, number)->live++;
	segments->live++;
}

bool segments_unref(struct segments *segments, uint32_t number)
{
	segments->live--;
	return --segments_at(segments, number)->live == 0 &&
	       number == segments->first;
}

/* False: it is tried again later. */
static bool dispose(struct flush *flush, uint32_t number,
		    const struct segment *segment)
{
	char name[SEGMENT_NAME_MAX];
	replay_name(name, number);
	return !segment->exists || flush_remove(flush, name, segment->damaged);
}

bool segments_release(struct segments *segments, struct flush *flush)
{
	uint32_t gone = 0;
	while (gone + 1 < segments->count &&
	       segments->segment[gone].live == 0) {
		const struct segment *segment = &segments->segment[gone];
		uint32_t number = segments->first + gone;
		if (!dispose(flush, number, segment))
			break;
		if (segments->victim_number == number) {
			victim_close(segments);
			segments->victim_number = 0;
		}
		segments->bytes -= segment->bytes;
		gone++;
	}
	if (gone == 0)
		return false;
	segments->first += gone;
	segments->count -= gone;
	memmove(segments->segment, segments->segment + gone,
		segments->count * sizeof(*segments->segment));
	return true;
}

/* ---- survivors ---------------------------------------------------------- */

static bool is_long(const struct segments *segments)
{
	uint64_t live = segments->live * LONG_RECORD;
	return segments->count > 1 &&
	       (segments->bytes > LONG_FACTOR * live + LONG_BYTES ||
		segments->count >
		    LONG_SEGMENTS + LONG_FACTOR * live / SEGMENT_BYTES);
}

static bool victim_open(struct segments *segments, int dir_fd)
{
	uint32_t number = segments->first;
	if (segments->victim_number == number)
		return segments->victim != NULL;
	victim_close(segments);
	segments->victim_number = number;
	segments->victim = replay_map(dir_fd, number, &segments->victim_len);
	segments->victim_at = SEGMENT_HEADER;
	return segments->victim != NULL;
}

bool segments_survivor(struct segments *segments, int dir_fd,
		       struct address *address, uint32_t *number)
{
	if (!is_long(segments) || !victim_open(segments, dir_fd))
		return false;
	while (segments->victim_at < segments->victim_len) {
		struct record record;
		size_t at = segments->victim_at;
		size_t taken = segment_decode(segments->victim + at,
					      segments->victim_len - at,
					      segments->victim_number, &record);
		segments->victim_at += taken ? taken : SEGMENT_ALIGN;
		if (taken == 0 || record.type != RECORD_PUT)
			continue;
		*address = record.address;
		*number = segments->victim_number;
		return true;
	}
	segments->victim_at = SEGMENT_HEADER; /* some could not be written */
	return false;
}

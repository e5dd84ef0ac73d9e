/*
 * replay: reads the segments a former daemon has left, mends what a crash did
 * to them, and puts what they say on the clock as it is now. Only for
 * journal.c and segments.c.
 */
#ifndef DRACD_REPLAY_H
#define DRACD_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "segment.h"
#include "timebase.h"

enum { SEGMENT_NAME_MAX = 24 };
void replay_name(char name[SEGMENT_NAME_MAX], uint32_t number);

/* A segment, as it was found. */
struct replay_file {
	uint32_t number;
	/* since its times were written the wall clock was set by that */
	int64_t moved_s;
	/* as replay_segment() leaves it */
	uint64_t bytes;
	uint32_t stamp; /* if the last record is RECORD_CLEAN, else 0 */
	bool damaged;   /* to be set aside rather than removed */
};

/* All segments, ascending. False: errno says why. */
bool replay_list(int dir_fd, struct replay_file **files, size_t *count);

/*
 * Learns moved_s of all of them. Returns the step since the newest one that
 * tells of the clock, if the system has not been restarted. What nobody can
 * know, as the clock was set while the system was down, is none here.
 */
int64_t replay_clocks(int dir_fd, struct replay_file *files, size_t count,
		      const struct timebase *clock);

/* As it would be said after the clock was set. */
struct record replay_moved(const struct record *record, int64_t step_s);

/* The times of the record are on the clock as it is now. */
typedef void replay_see(void *context, const struct record *record,
			uint32_t segment);

/*
 * Calls see() for the intact records of a segment. The newest one is cut off
 * at its first bad record; an older one is read on behind it. False: it must
 * not be touched (another version, no permission), and the log says so.
 */
bool replay_segment(int dir_fd, struct replay_file *file, bool newest,
		    replay_see *see, void *context);

/* A whole segment in memory: to unmap with munmap(2). NULL: errno. */
const uint8_t *replay_map(int dir_fd, uint32_t number, size_t *len);

#endif

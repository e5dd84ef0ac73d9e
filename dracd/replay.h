/*
 * replay: reads the segments a former daemon has left and mends what a crash
 * did to them. Only for journal.c.
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

/*
 * On which clock the times of a segment are, and by how many seconds it had
 * been set since the segment before. False: the segment does not say.
 */
bool replay_clock(int dir_fd, uint32_t number, struct timebase *clock,
		  int64_t *step_s);

/* The numbers of all segments, ascending. False: errno says why. */
bool replay_list(int dir_fd, uint32_t **numbers, size_t *count);

typedef void replay_see(void *context, const struct record *record,
			uint32_t segment);

struct replay_result {
	uint64_t bytes;
	uint32_t stamp; /* if the last record is RECORD_CLEAN, else 0 */
	bool damaged;   /* to be set aside rather than removed */
};

/*
 * Calls see() for the intact records of a segment. The newest one is cut off
 * at its first bad record; an older one is read on behind it. False: it must
 * not be touched (another version, no permission), and the log says so.
 */
bool replay_segment(int dir_fd, uint32_t number, bool newest, replay_see *see,
		    void *context, struct replay_result *result);

/* A whole segment in memory: to unmap with munmap(2). NULL: errno. */
const uint8_t *replay_map(int dir_fd, uint32_t number, size_t *len);

#endif

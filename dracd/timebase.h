/*
 * timebase: the time that entries live by. They go by running time, which
 * nobody sets and which goes on while the host sleeps (CLOCK_BOOTTIME), and
 * are written as seconds of the wall clock, which is that plus a base. When
 * somebody sets the wall clock by a second or more, the base follows, and
 * whoever keeps seconds of the wall clock moves them by the same step.
 */
#ifndef DRACD_TIMEBASE_H
#define DRACD_TIMEBASE_H

#include <stdint.h>

enum { TIMEBASE_BOOT_MAX = 40 }; /* the kernel's id has 36 characters */

struct timebase {
	char boot[TIMEBASE_BOOT_MAX]; /* this start of the system; "": ? */
	int64_t base_ns;              /* wall clock minus running time */
	int64_t ahead_ns; /* the wall clock, of ours: less than a second */
};

/* As of now. */
void timebase_begin(struct timebase *timebase);

int64_t timebase_now_s(const struct timebase *timebase);
/*
 * Looks at the wall clock: by how many seconds it has been set since the last
 * look, nearly always 0. timebase_now_s() has followed.
 */
int64_t timebase_step(struct timebase *timebase);

/* By how many seconds it was set between the two; 0 if nobody can tell. */
int64_t timebase_apart_s(const struct timebase *then,
			 const struct timebase *now);

/* The id of this start of the system; "" if the kernel does not tell. */
void timebase_boot(char boot[TIMEBASE_BOOT_MAX]);

#endif

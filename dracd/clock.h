/*
 * clock: what time it is. Expiries are wall clock seconds (timebase.h); what
 * is measured or waited for is monotonic.
 */
#ifndef DRACD_CLOCK_H
#define DRACD_CLOCK_H

#include <stdint.h>
#include <time.h>

enum { CLOCK_NS_PER_S = 1000000000 };

static inline int64_t clock_ns(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * CLOCK_NS_PER_S + now.tv_nsec;
}

static inline int64_t clock_wall_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

static inline int64_t clock_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

/* Since the system was started, whether it slept or not. */
static inline int64_t clock_running_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

/* The same moment after the wall clock was set by step_s. */
static inline int64_t clock_moved(int64_t wall_s, int64_t step_s)
{
	int64_t moved_s;
	if (__builtin_add_overflow(wall_s, step_s, &moved_s))
		return step_s < 0 ? INT64_MIN : INT64_MAX;
	return moved_s;
}

/* Unix time in 32 bits, which are enough until February 2106. */
static inline uint32_t clock_fit(int64_t wall_s)
{
	if (wall_s < 0)
		return 0;
	return wall_s > UINT32_MAX ? UINT32_MAX : (uint32_t)wall_s;
}

static inline int64_t clock_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* To the tick of the kernel; cheap. */
static inline int64_t clock_monotonic_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec;
}

#endif

/* clock_at: a wall clock that shows what the test wants. */
#ifndef TESTS_CLOCK_AT_H
#define TESTS_CLOCK_AT_H

#include "clock.h"
#include "timebase.h"

/* It goes on from there, and nobody knows when the system was started. */
static inline struct timebase clock_at(int64_t now_s)
{
	return (struct timebase){.base_ns = now_s * INT64_C(1000000000) -
					    clock_running_ns()};
}

#endif

/*
 * measure: what the load generators share: the clock, a growing record of
 * latencies, and its figures as JSON members. Failures end the program.
 */
#ifndef TESTS_MEASURE_H
#define TESTS_MEASURE_H

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL
#define NS_PER_US 1000.0

/* Latencies in nanoseconds; beyond 4.2 s they are cut to that. */
struct samples {
	uint32_t *ns;
	size_t count;
	size_t room;
	uint32_t max_ns;
	int64_t max_at_ns; /* when the longest one began */
};

static inline int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static inline void sleep_until(int64_t at_ns)
{
	struct timespec t = {at_ns / NS_PER_S, at_ns % NS_PER_S};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
		;
}

static inline void samples_reserve(struct samples *s, size_t room)
{
	if (room <= s->room)
		return;
	s->room = room;
	s->ns = realloc(s->ns, room * sizeof *s->ns);
	if (s->ns == NULL)
		err(1, "memory for %zu samples", room);
}

static inline void samples_add(struct samples *s, int64_t begin_ns,
			       int64_t end_ns)
{
	int64_t ns = end_ns - begin_ns;
	uint32_t cut = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;

	if (s->count == s->room)
		samples_reserve(s, s->room ? 2 * s->room : 1 << 16);
	s->ns[s->count++] = cut;
	if (cut > s->max_ns) {
		s->max_ns = cut;
		s->max_at_ns = begin_ns;
	}
}

/* Appends all of from to to. */
static inline void samples_merge(struct samples *to, const struct samples *from)
{
	samples_reserve(to, to->count + from->count);
	for (size_t i = 0; i < from->count; i++)
		to->ns[to->count++] = from->ns[i];
	if (from->max_ns > to->max_ns) {
		to->max_ns = from->max_ns;
		to->max_at_ns = from->max_at_ns;
	}
}

static inline int samples_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Sorts s and prints "p50_us": ... "max_at_s": ... without braces. */
static inline void samples_print(struct samples *s, int64_t start_ns)
{
	static const struct {
		const char *name;
		double part;
	} quantiles[] = {{"p50_us", .5}, {"p99_us", .99}, {"p999_us", .999}};

	if (s->count > 0)
		qsort(s->ns, s->count, sizeof *s->ns, samples_order);
	for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
		size_t at = (size_t)(quantiles[i].part * (double)s->count);

		printf("\"%s\": %.1f, ", quantiles[i].name,
		       s->count > 0 ? s->ns[at] / NS_PER_US : 0);
	}
	printf("\"max_us\": %.1f, \"max_at_s\": %.3f", s->max_ns / NS_PER_US,
	       s->max_ns > 0 ? (double)(s->max_at_ns - start_ns) / NS_PER_S
			     : 0);
}

#endif

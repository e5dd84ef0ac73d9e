/*
 * timebase: see timebase.h. Owns nothing, reads clocks, sets none; who keeps
 * times moves them himself.
 */
#include "timebase.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

void timebase_boot(char boot[TIMEBASE_BOOT_MAX])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, boot, TIMEBASE_BOOT_MAX - 1) : 0;
	if (fd >= 0)
		close(fd);
	boot[len > 0 ? len : 0] = '\0';
	boot[strcspn(boot, "\n")] = '\0';
}

/* To the nearest: the clocks are not read in the same instant. */
static int64_t whole_s(int64_t ns)
{
	return ns / CLOCK_NS_PER_S + ns % CLOCK_NS_PER_S / (CLOCK_NS_PER_S / 2);
}

static int64_t apart_ns(void)
{
	return clock_wall_ns() - clock_running_ns();
}

void timebase_begin(struct timebase *timebase)
{
	*timebase = (struct timebase){.base_ns = apart_ns()};
	timebase_boot(timebase->boot);
}

int64_t timebase_now_s(const struct timebase *timebase)
{
	return (clock_running_ns() + timebase->base_ns) / CLOCK_NS_PER_S;
}

/* Whether it was set by so much that entries must follow. */
static bool is_set(struct timebase *timebase)
{
	timebase->ahead_ns = apart_ns() - timebase->base_ns;
	return timebase->ahead_ns >= CLOCK_NS_PER_S ||
	       timebase->ahead_ns <= -CLOCK_NS_PER_S;
}

int64_t timebase_step(struct timebase *timebase)
{
	/* Again, since we may have been stopped between the two clocks. */
	bool set = is_set(timebase);
	if (!set || !is_set(timebase))
		return 0;
	int64_t step_s = whole_s(timebase->ahead_ns);
	timebase->base_ns += step_s * CLOCK_NS_PER_S;
	timebase->ahead_ns -= step_s * CLOCK_NS_PER_S;
	return step_s;
}

int64_t timebase_apart_s(const struct timebase *then,
			 const struct timebase *now)
{
	int64_t ns;
	if (then->boot[0] == '\0' || strcmp(then->boot, now->boot) != 0 ||
	    __builtin_sub_overflow(now->base_ns, then->base_ns, &ns))
		return 0;
	return whole_s(ns);
}

/*
 * clock: a preload with which a test sets the clocks of a program, not those
 * of the host.
 *
 *	CLOCK_FILE  two numbers of 64 bits in the byte order of the host, in
 *	            nanoseconds, read anew whenever the program looks at a
 *	            clock: how much is added to the wall clock, and how much to
 *	            it and to the time since the start of the system, as if the
 *	            host had slept.
 *	CLOCK_BOOT  a file in the place of the kernel's boot_id, as if the
 *	            system had been started anew
 *
 * A timer that was armed before the clock was set goes off when it would have:
 * here a program has to look at the clock by itself.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { NS = 1000000000, US = 1000000 };

struct shift {
	volatile int64_t wall_ns, slept_ns;
};

static int real_open(const char *path, int flags, mode_t mode)
{
	static int (*next)(const char *, int, ...);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "open64");
	return next(path, flags, mode);
}

static struct shift shift(void)
{
	static const struct shift none, *file;

	if (file == NULL) {
		const char *path = getenv("CLOCK_FILE");
		int fd = path ? real_open(path, O_RDONLY | O_CLOEXEC, 0) : -1;
		void *data = fd >= 0 ? mmap(NULL, sizeof none, PROT_READ,
					    MAP_SHARED, fd, 0)
				     : MAP_FAILED;

		if (fd >= 0)
			close(fd);
		file = data != MAP_FAILED ? data : &none;
	}
	return *file;
}

/* What is added to a clock. */
static int64_t added_ns(clockid_t clock)
{
	struct shift now = shift();

	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_TAI:
		return now.wall_ns + now.slept_ns;
	case CLOCK_BOOTTIME:
		return now.slept_ns;
	default:
		return 0;
	}
}

static void add(struct timespec *when, int64_t ns)
{
	int64_t sum = (int64_t)when->tv_sec * NS + when->tv_nsec + ns;

	when->tv_sec = sum / NS;
	when->tv_nsec = sum % NS;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*next)(clockid_t, struct timespec *);
	int error;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
	error = next(clock, now);
	if (error == 0)
		add(now, added_ns(clock));
	return error;
}

time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec exact;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &exact);
	now->tv_sec = exact.tv_sec;
	now->tv_usec = exact.tv_nsec / (NS / US);
	return 0;
}

/* The one timer here with absolute times is on the wall clock. */
int timerfd_settime(int fd, int flags, const struct itimerspec *new,
		    struct itimerspec *old)
{
	static int (*next)(int, int, const struct itimerspec *,
			   struct itimerspec *);
	struct itimerspec when = *new;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "timerfd_settime");
	if (flags & TFD_TIMER_ABSTIME)
		add(&when.it_value, -added_ns(CLOCK_REALTIME));
	return next(fd, flags, &when, old);
}

static const char *instead(const char *path)
{
	const char *boot = getenv("CLOCK_BOOT");

	return boot != NULL &&
		       strcmp(path, "/proc/sys/kernel/random/boot_id") == 0
		   ? boot
		   : path;
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(ap, mode_t);
	va_end(ap);
	return real_open(instead(path), flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

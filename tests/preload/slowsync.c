/*
 * slowsync: a preload that makes fdatasync() last as long as on a disk that
 * is slower than the one here: SLOWSYNC_US microseconds at least.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_US 1000LL
#define NS_PER_S 1000000000LL

int fdatasync(int fd)
{
	static int (*next)(int);
	const char *us = getenv("SLOWSYNC_US");
	struct timespec end;
	int64_t end_ns;
	int result, error;

	clock_gettime(CLOCK_MONOTONIC, &end);
	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
	result = next(fd);
	error = errno;
	end_ns = end.tv_nsec + NS_PER_US * (us ? strtoll(us, NULL, 10) : 0);
	end.tv_sec += end_ns / NS_PER_S;
	end.tv_nsec = end_ns % NS_PER_S;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) ==
	       EINTR)
		;
	errno = error;
	return result;
}

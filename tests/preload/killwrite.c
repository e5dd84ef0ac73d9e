/*
 * killwrite: a preload that ends the process with SIGKILL at the Nth write of
 * a page to one file, as a crash at the worst instant would.
 *
 *	KILLWRITE_PATH  the file; one beside it whose name begins with its name
 *	                (one that will replace it) counts too
 *	KILLWRITE_AT    N, counted from 1
 *	KILLWRITE_WHEN  before or after that write
 *
 * Does nothing unless all three are set.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Prototypes here: <unistd.h> may map one name to the other. */
ssize_t pwrite(int fd, const void *buf, size_t count, off_t offset);
ssize_t pwrite64(int fd, const void *buf, size_t count, off64_t offset);
ssize_t writev(int fd, const struct iovec *iov, int count);

static bool is_target(int fd)
{
	const char *path = getenv("KILLWRITE_PATH");
	char link[64], name[4096];
	ssize_t len;

	if (path == NULL)
		return false;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = readlink(link, name, sizeof name);
	return len >= (ssize_t)strlen(path) &&
	       memcmp(name, path, strlen(path)) == 0;
}

/* Counts one write to the target; kills when it is its turn. */
static void count(bool after)
{
	static long done;
	const char *at = getenv("KILLWRITE_AT");
	const char *when = getenv("KILLWRITE_WHEN");

	if (!after)
		done++;
	if (at == NULL || when == NULL || done != strtol(at, NULL, 10))
		return;
	if ((strcmp(when, "after") == 0) == after)
		kill(getpid(), SIGKILL);
}

static ssize_t forward(int fd, const void *buf, size_t size, off64_t offset)
{
	static ssize_t (*next)(int, const void *, size_t, off64_t);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "pwrite64");
	return next(fd, buf, size, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t size, off64_t offset)
{
	bool target = is_target(fd);
	ssize_t written;

	if (target)
		count(false);
	written = forward(fd, buf, size, offset);
	if (target)
		count(true);
	return written;
}

ssize_t pwrite(int fd, const void *buf, size_t size, off_t offset)
{
	return pwrite64(fd, buf, size, offset);
}

/* LMDB writes neighbouring pages so; only the first when it is killed after. */
ssize_t writev(int fd, const struct iovec *iov, int iov_count)
{
	static ssize_t (*next)(int, const struct iovec *, int);
	bool target = is_target(fd);
	ssize_t written;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "writev");
	if (!target || iov_count == 0)
		return next(fd, iov, iov_count);
	count(false);
	written = next(fd, iov, 1);
	count(true);
	if (written == (ssize_t)iov[0].iov_len && iov_count > 1) {
		ssize_t rest = next(fd, iov + 1, iov_count - 1);

		return rest < 0 ? rest : written + rest;
	}
	return written;
}

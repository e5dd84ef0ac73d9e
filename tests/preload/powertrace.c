/*
 * powertrace: a preload that writes down what a process does to the files of
 * one directory tree, in order, so that a test can say what a disk may hold
 * when power fails at any instant (tests/integration/powercut.py reads it).
 *
 *	POWERTRACE_ROOT	the tree: an absolute path
 *	POWERTRACE_LOG	where to; created
 *	POWERTRACE_SYNC_US	how long a flush takes (nothing is flushed)
 *	POWERTRACE_FAIL	"A-B": flushes of files, counted from 1, that fail
 *
 * What is done is written down after it, the beginning of a flush before it:
 * so whatever stands before a flush in the log was done before the flush, and
 * anything else may only look less durable than it was. Does nothing unless
 * root and log are set.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PATHS_MAX = 2 * PATH_MAX };

/* Then `len` bytes: data, or names that end with NUL. Little-endian. */
struct line {
	uint64_t stamp_ns; /* CLOCK_MONOTONIC */
	uint64_t ino;
	uint64_t at; /* offset; new size; of an end: stamp of its beginning */
	uint32_t len;
	char what; /* Create Dir Unlink Rename Link Write Truncate Begin End
		    Fail */
	char pad[3];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static dev_t device;
static char root[PATH_MAX];
static long sync_us, fail_from, fail_to;

__attribute__((constructor)) static void begin(void)
{
	const char *tree = getenv("POWERTRACE_ROOT");
	const char *path = getenv("POWERTRACE_LOG");
	const char *us = getenv("POWERTRACE_SYNC_US");
	const char *fail = getenv("POWERTRACE_FAIL");
	struct stat st;

	if (tree == NULL || path == NULL || stat(tree, &st) != 0)
		return;
	snprintf(root, sizeof root, "%s/", tree);
	device = st.st_dev;
	sync_us = us != NULL ? atol(us) : 0;
	if (fail == NULL || sscanf(fail, "%ld-%ld", &fail_from, &fail_to) != 2)
		fail_from = fail_to = 0;
	log_fd = (int)syscall(SYS_openat, AT_FDCWD, path,
			      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* The stamp it got. Nothing comes between stamp and line. */
static uint64_t note(char what, uint64_t ino, uint64_t at, const void *data,
		     size_t len)
{
	struct line line = {
	    .ino = ino, .at = at, .len = (uint32_t)len, .what = what};
	struct iovec parts[2] = {{&line, sizeof line},
				 {(void *)(uintptr_t)data, len}};
	struct timespec now;
	int saved = errno;

	pthread_mutex_lock(&mutex);
	clock_gettime(CLOCK_MONOTONIC, &now);
	line.stamp_ns =
	    (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	if (syscall(SYS_writev, log_fd, parts, 2) != (long)(sizeof line + len))
		abort(); /* a trace with a hole proves nothing */
	pthread_mutex_unlock(&mutex);
	errno = saved;
	return line.stamp_ns;
}

/* A file or directory of the device the tree is on. */
static bool is_ours(int fd, struct stat *st)
{
	return log_fd >= 0 && fd >= 0 && fd != log_fd && fstat(fd, st) == 0 &&
	       st->st_dev == device &&
	       (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode));
}

/* False: not in the tree. */
static bool full_name(int dir_fd, const char *name, char out[PATH_MAX])
{
	char link[64];
	ssize_t len = 0;

	if (log_fd < 0)
		return false;
	if (name[0] != '/') {
		if (dir_fd == AT_FDCWD)
			snprintf(link, sizeof link, "/proc/self/cwd");
		else
			snprintf(link, sizeof link, "/proc/self/fd/%d", dir_fd);
		len = readlink(link, out, PATH_MAX - 1);
		if (len < 0)
			return false;
		out[len++] = '/';
	}
	return snprintf(out + len, (size_t)(PATH_MAX - len), "%s", name) <
		   PATH_MAX - len &&
	       strncmp(out, root, strlen(root)) == 0;
}

#define NEXT(function) dlsym(RTLD_NEXT, function)

/* ---- names ----------------------------------------------------------------
 */

static int do_open(int dir_fd, const char *name, int flags, mode_t mode)
{
	char path[PATH_MAX];
	struct stat st;
	bool ours =
	    (flags & (O_CREAT | O_TRUNC)) != 0 && full_name(dir_fd, name, path);
	bool existed = ours && lstat(path, &st) == 0;
	int fd = (int)syscall(SYS_openat, dir_fd, name, flags, mode);

	if (fd < 0 || !ours || !is_ours(fd, &st))
		return fd;
	if (!existed)
		note('C', st.st_ino, 0, path, strlen(path) + 1);
	else if (flags & O_TRUNC)
		note('T', st.st_ino, 0, NULL, 0);
	return fd;
}

#define OPEN_MODE(flags)                                                       \
	mode_t mode = 0;                                                       \
	if ((flags) & (O_CREAT | O_TMPFILE)) {                                 \
		va_list list;                                                  \
		va_start(list, flags);                                         \
		mode = va_arg(list, mode_t);                                   \
		va_end(list);                                                  \
	}

int open(const char *name, int flags, ...)
{
	OPEN_MODE(flags)
	return do_open(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...)
{
	OPEN_MODE(flags)
	return do_open(AT_FDCWD, name, flags, mode);
}

int openat(int dir_fd, const char *name, int flags, ...)
{
	OPEN_MODE(flags)
	return do_open(dir_fd, name, flags, mode);
}

int openat64(int dir_fd, const char *name, int flags, ...)
{
	OPEN_MODE(flags)
	return do_open(dir_fd, name, flags, mode);
}

int mkdir(const char *name, mode_t mode)
{
	char path[PATH_MAX];
	struct stat st;
	int result = (int)syscall(SYS_mkdir, name, mode);

	if (result == 0 && full_name(AT_FDCWD, name, path) &&
	    stat(path, &st) == 0)
		note('D', st.st_ino, 0, path, strlen(path) + 1);
	return result;
}

int unlinkat(int dir_fd, const char *name, int flags)
{
	char path[PATH_MAX];
	int result = (int)syscall(SYS_unlinkat, dir_fd, name, flags);

	if (result == 0 && full_name(dir_fd, name, path))
		note('U', 0, 0, path, strlen(path) + 1);
	return result;
}

int unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

static int note_two(char what, int result, int from_fd, const char *from,
		    int to_fd, const char *to)
{
	char paths[PATHS_MAX], second[PATH_MAX];
	size_t len;

	if (result != 0 || !full_name(from_fd, from, paths) ||
	    !full_name(to_fd, to, second))
		return result;
	len = strlen(paths) + 1;
	memcpy(paths + len, second, strlen(second) + 1);
	note(what, 0, 0, paths, len + strlen(second) + 1);
	return result;
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return note_two(
	    'R', (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0),
	    from_fd, from, to_fd, to);
}

int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int link(const char *from, const char *to)
{
	return note_two(
	    'L', (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0),
	    AT_FDCWD, from, AT_FDCWD, to);
}

/* ---- contents -------------------------------------------------------------
 */

static ssize_t note_write(int fd, const void *data, ssize_t written, off_t at)
{
	struct stat st;

	if (written > 0 && is_ours(fd, &st))
		note('W', st.st_ino, (uint64_t)at, data, (size_t)written);
	return written;
}

ssize_t write(int fd, const void *data, size_t size)
{
	ssize_t written = syscall(SYS_write, fd, data, size);
	off_t end = log_fd >= 0 && written > 0 ? lseek(fd, 0, SEEK_CUR) : -1;

	return end < 0 ? written : note_write(fd, data, written, end - written);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
	return note_write(fd, data, syscall(SYS_pwrite64, fd, data, size, at),
			  at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	return pwrite64(fd, data, size, at);
}

/* Part by part, which is within what writev(2) may do. */
ssize_t writev(int fd, const struct iovec *part, int count)
{
	struct stat st;
	ssize_t done = 0;

	if (!is_ours(fd, &st))
		return syscall(SYS_writev, fd, part, count);
	for (int i = 0; i < count; i++) {
		ssize_t written = write(fd, part[i].iov_base, part[i].iov_len);
		if (written < 0)
			return done > 0 ? done : written;
		done += written;
		if (written < (ssize_t)part[i].iov_len)
			break;
	}
	return done;
}

int ftruncate64(int fd, off64_t size)
{
	struct stat st;
	int result = (int)syscall(SYS_ftruncate, fd, size);

	if (result == 0 && is_ours(fd, &st))
		note('T', st.st_ino, (uint64_t)size, NULL, 0);
	return result;
}

int ftruncate(int fd, off_t size)
{
	return ftruncate64(fd, size);
}

int truncate(const char *name, off_t size)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);
	int result = fd >= 0 ? ftruncate64(fd, size) : -1;
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return result;
}

/* ---- flushes --------------------------------------------------------------
 */

static bool must_fail(const struct stat *st)
{
	static long count;
	long number = S_ISREG(st->st_mode)
			  ? __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST)
			  : 0;

	return number > 0 && number >= fail_from && number <= fail_to;
}

static int flush(int fd, long number)
{
	struct stat st;

	if (!is_ours(fd, &st))
		return (int)syscall(number, fd);
	bool failing = must_fail(&st);
	uint64_t stamp_ns = note('B', st.st_ino, 0, NULL, 0);
	usleep((useconds_t)sync_us);
	note(failing ? 'F' : 'E', st.st_ino, stamp_ns, NULL, 0);
	if (!failing)
		return 0;
	errno = EIO;
	return -1;
}

int fdatasync(int fd)
{
	return flush(fd, SYS_fdatasync);
}

int fsync(int fd)
{
	return flush(fd, SYS_fsync);
}

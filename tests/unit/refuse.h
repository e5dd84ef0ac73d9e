/*
 * refuse: what the system may refuse, refused when a test wants it. Each call
 * by the main thread of one of the functions below is counted, also those of
 * libraries; the one numbered refuse_at fails. Or else, as refuse_what says,
 * the calls that write are counted, or the allocations of the program itself:
 * some libraries do not look at what they get. Whole lives of a daemon with
 * those are the business of tests/preload/fault.c.
 */
#ifndef TESTS_REFUSE_H
#define TESTS_REFUSE_H

/* Its recv(3) and others are inline; ours take the place of the real ones. */
#undef _FORTIFY_SOURCE

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int refuse_at; /* 0: none */
static int refuse_count;
static enum { CALLS, WRITES, ALLOCATIONS } refuse_what;
static const char *refused_call; /* the one that failed; NULL: none yet */

static inline bool refuse_counted(const char *name, int error)
{
	if (syscall(SYS_gettid) != getpid() || ++refuse_count != refuse_at)
		return false;
	refused_call = name;
	errno = error;
	return true;
}

static inline bool refused(const char *name, int error)
{
	return refuse_at != 0 && refuse_what == CALLS &&
	       refuse_counted(name, error);
}

static inline void refuse_begin(int at)
{
	refuse_at = at;
	refuse_count = 0;
	refused_call = NULL;
}

/* Whether one was; there were not so many calls otherwise. */
static inline bool refuse_end(void)
{
	refuse_at = 0;
	return refused_call != NULL;
}

static inline size_t refuse_descriptors(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

#define REFUSABLE(result, name, failure, error, parameters, ...)               \
	result name parameters                                                 \
	{                                                                      \
		static result(*next) parameters;                               \
		if (refused(#name, error))                                     \
			return failure;                                        \
		if (next == NULL)                                              \
			*(void **)&next = dlsym(RTLD_NEXT, #name);             \
		return next(__VA_ARGS__);                                      \
	}

#define ADDRESS __CONST_SOCKADDR_ARG
REFUSABLE(int, socket, -1, EMFILE, (int domain, int type, int protocol), domain,
	  type, protocol)
REFUSABLE(int, bind, -1, EACCES, (int fd, ADDRESS at, socklen_t len), fd, at,
	  len)
REFUSABLE(int, listen, -1, EADDRINUSE, (int fd, int backlog), fd, backlog)
REFUSABLE(int, connect, -1, EACCES, (int fd, ADDRESS at, socklen_t len), fd, at,
	  len)
REFUSABLE(int, getsockname, -1, ENOBUFS,
	  (int fd, __SOCKADDR_ARG at, socklen_t *len), fd, at, len)
REFUSABLE(int, getsockopt, -1, ENOBUFS,
	  (int fd, int level, int name, void *value, socklen_t *len), fd, level,
	  name, value, len)
REFUSABLE(int, setsockopt, -1, ENOBUFS,
	  (int fd, int level, int name, const void *value, socklen_t len), fd,
	  level, name, value, len)
REFUSABLE(ssize_t, send, -1, ECONNRESET,
	  (int fd, const void *data, size_t size, int flags), fd, data, size,
	  flags)
REFUSABLE(ssize_t, recv, -1, ECONNRESET,
	  (int fd, void *data, size_t size, int flags), fd, data, size, flags)
REFUSABLE(int, accept4, -1, EMFILE,
	  (int fd, __SOCKADDR_ARG at, socklen_t *len, int flags), fd, at, len,
	  flags)
REFUSABLE(ssize_t, sendmsg, -1, ECONNRESET,
	  (int fd, const struct msghdr *message, int flags), fd, message, flags)
REFUSABLE(int, recvmmsg, -1, ENOBUFS,
	  (int fd, struct mmsghdr *messages, unsigned count, int flags,
	   struct timespec *timeout),
	  fd, messages, count, flags, timeout)
REFUSABLE(int, sendmmsg, -1, ENOBUFS,
	  (int fd, struct mmsghdr *messages, unsigned count, int flags), fd,
	  messages, count, flags)
REFUSABLE(int, timerfd_settime, -1, EINVAL,
	  (int fd, int flags, const struct itimerspec *value,
	   struct itimerspec *old),
	  fd, flags, value, old)
REFUSABLE(int, epoll_create1, -1, EMFILE, (int flags), flags)
REFUSABLE(int, epoll_ctl, -1, ENOSPC,
	  (int fd, int op, int other, struct epoll_event *event), fd, op, other,
	  event)
REFUSABLE(int, signalfd, -1, EMFILE, (int fd, const sigset_t *set, int flags),
	  fd, set, flags)
REFUSABLE(int, timerfd_create, -1, EMFILE, (clockid_t clock, int flags), clock,
	  flags)
REFUSABLE(FILE *, fopen, NULL, EMFILE, (const char *path, const char *mode),
	  path, mode)
REFUSABLE(DIR *, fdopendir, NULL, ENOMEM, (int fd), fd)
REFUSABLE(struct dirent *, readdir, NULL, EIO, (DIR * dir), dir)
REFUSABLE(int, dup, -1, EMFILE, (int fd), fd)
REFUSABLE(ssize_t, read, -1, EIO, (int fd, void *data, size_t size), fd, data,
	  size)
REFUSABLE(ssize_t, pread, -1, EIO,
	  (int fd, void *data, size_t size, off_t offset), fd, data, size,
	  offset)
REFUSABLE(int, fstat, -1, EIO, (int fd, struct stat *st), fd, st)
REFUSABLE(int, stat, -1, EACCES, (const char *path, struct stat *st), path, st)
REFUSABLE(int, getifaddrs, -1, EMFILE, (struct ifaddrs * *all), all)
REFUSABLE(int, pthread_create, EAGAIN, EAGAIN,
	  (pthread_t * thread, const pthread_attr_t *attributes,
	   void *(*run)(void *), void *argument),
	  thread, attributes, run, argument)
#undef ADDRESS

#define REFUSABLE_OPEN(name, parameters, ...)                                  \
	int name parameters                                                    \
	{                                                                      \
		static int(*next) parameters;                                  \
		mode_t mode = 0;                                               \
		va_list more;                                                  \
		if (refused(#name, EMFILE))                                    \
			return -1;                                             \
		if (next == NULL)                                              \
			*(void **)&next = dlsym(RTLD_NEXT, #name);             \
		va_start(more, flags);                                         \
		if (flags & (O_CREAT | __O_TMPFILE))                           \
			mode = va_arg(more, mode_t);                           \
		va_end(more);                                                  \
		return next(__VA_ARGS__, mode);                                \
	}
REFUSABLE_OPEN(open, (const char *path, int flags, ...), path, flags)
REFUSABLE_OPEN(openat, (int dir_fd, const char *path, int flags, ...), dir_fd,
	       path, flags)
#undef REFUSABLE_OPEN
#undef REFUSABLE

/* ---- writes -----------------------------------------------------------------
 */

static inline bool no_write(const char *name)
{
	return refuse_at != 0 && refuse_what == WRITES &&
	       refuse_counted(name, ENOSPC);
}

/* Pages are many, and one like the other. */
static inline bool no_page(void)
{
	enum { EACH_PAGE = 16 };
	static unsigned pages; /* goes on: others next time */

	return refuse_at != 0 && ++pages % EACH_PAGE == 0 && no_write("pwrite");
}

#define WRITING(result, name, is_refused, parameters, ...)                     \
	result name parameters                                                 \
	{                                                                      \
		static result(*next) parameters;                               \
		if (is_refused)                                                \
			return -1;                                             \
		if (next == NULL)                                              \
			*(void **)&next = dlsym(RTLD_NEXT, #name);             \
		return next(__VA_ARGS__);                                      \
	}
WRITING(ssize_t, write, no_write("write"),
	(int fd, const void *data, size_t size), fd, data, size)
WRITING(ssize_t, pwrite, no_page(),
	(int fd, const void *data, size_t size, off_t offset), fd, data, size,
	offset)
WRITING(ssize_t, pwrite64, no_page(),
	(int fd, const void *data, size_t size, off64_t offset), fd, data, size,
	offset)
WRITING(int, ftruncate, no_write("ftruncate"), (int fd, off_t len), fd, len)
WRITING(int, truncate, no_write("truncate"), (const char *path, off_t len),
	path, len)
WRITING(int, fallocate, no_write("fallocate"),
	(int fd, int mode, off_t offset, off_t len), fd, mode, offset, len)
WRITING(int, fsync, no_write("fsync"), (int fd), fd)
WRITING(int, fdatasync, no_write("fdatasync"), (int fd), fd)
WRITING(int, futimens, no_write("futimens"),
	(int fd, const struct timespec times[2]), fd, times)
WRITING(int, fchmod, no_write("fchmod"), (int fd, mode_t mode), fd, mode)
WRITING(int, fchown, no_write("fchown"), (int fd, uid_t uid, gid_t gid), fd,
	uid, gid)
WRITING(int, mkdir, no_write("mkdir"), (const char *path, mode_t mode), path,
	mode)
WRITING(int, unlink, no_write("unlink"), (const char *path), path)
WRITING(int, unlinkat, no_write("unlinkat"),
	(int dir_fd, const char *path, int flags), dir_fd, path, flags)
WRITING(int, rename, no_write("rename"), (const char *old, const char *new),
	old, new)
WRITING(int, renameat, no_write("renameat"),
	(int old_fd, const char *old, int new_fd, const char *new), old_fd, old,
	new_fd, new)
#undef WRITING

/* ---- allocations -----------------------------------------------------------
 */

extern const char __executable_start, etext;

/* How often this place has allocated: what follows is like what was before. */
static inline bool refuse_often(const char *caller)
{
	enum { PLACES = 512, OFTEN = 8 };
	static struct {
		const char *caller;
		int count, at;
	} place[PLACES];
	int i = 0;

	while (i < PLACES - 1 && place[i].caller != NULL &&
	       place[i].caller != caller)
		i++;
	if (place[i].at != refuse_at)
		place[i].count = 0;
	place[i].caller = caller;
	place[i].at = refuse_at;
	return ++place[i].count > OFTEN;
}

static inline bool no_memory(const char *name, const char *caller)
{
	return refuse_at != 0 && refuse_what == ALLOCATIONS &&
	       caller >= &__executable_start && caller < &etext &&
	       !refuse_often(caller) && refuse_counted(name, ENOMEM);
}

#define ALLOCATION(name, parameters, ...)                                      \
	void *name parameters                                                  \
	{                                                                      \
		static void *(*next)parameters;                                \
		if (no_memory(#name, __builtin_return_address(0)))             \
			return NULL;                                           \
		if (next == NULL)                                              \
			*(void **)&next = dlsym(RTLD_NEXT, #name);             \
		return next(__VA_ARGS__);                                      \
	}
ALLOCATION(malloc, (size_t size), size)
ALLOCATION(calloc, (size_t count, size_t size), count, size)
ALLOCATION(realloc, (void *old, size_t size), old, size)
ALLOCATION(reallocarray, (void *old, size_t count, size_t size), old, count,
	   size)
ALLOCATION(aligned_alloc, (size_t alignment, size_t size), alignment, size)
#undef ALLOCATION

#define COPY(name, parameters, ...)                                            \
	char *name parameters                                                  \
	{                                                                      \
		static char *(*next)parameters;                                \
		if (no_memory(#name, __builtin_return_address(0)))             \
			return NULL;                                           \
		if (next == NULL)                                              \
			*(void **)&next = dlsym(RTLD_NEXT, #name);             \
		return next(__VA_ARGS__);                                      \
	}
COPY(strdup, (const char *text), text)
COPY(strndup, (const char *text, size_t size), text, size)
#undef COPY

#endif

/*
 * fault: a preload that makes the n-th call that writes, or the n-th
 * allocation, go wrong; or ends the process there with SIGKILL.
 *
 *	FAULT_CONTROL  a file, mapped here and by the test: struct control
 *	FAULT_UNDER    how the paths of files begin whose writes count
 *
 * What counts as a write: whatever changes a file or a directory. Calls of one
 * thread (the loop's or the other's) and of one sort are counted, so that the
 * same number is the same call in every run, though threads wait for each other
 * more or less. What goes wrong for longer than a call does so in all of them.
 * Besides, it tells when the loop is waiting, so that a test may do one thing
 * after the other, and lets time pass without waiting for it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CALLS_MAX = 65536, SORTS_MAX = 16, NAME_LEN = 64 };

enum target { WRITES = 1, ALLOCATIONS };

enum what {
	NOTHING,
	KILL,
	KILL_HALF, /* a write stops half way, and the process ends */
	SHORT,     /* a write stops half way; calls after it fail */
	FAIL,
};

/* tests/integration/fault.py has the same. */
struct control {
	_Atomic uint32_t target, what, error;
	_Atomic uint32_t waiting;  /* the loop has nothing to do */
	_Atomic uint32_t aside;    /* not the loop's calls, but the other's */
	_Atomic uint32_t sort;     /* of the calls that are counted; 0: all */
	_Atomic uint64_t at, span; /* which calls, counted from 1 */
	_Atomic uint64_t count;    /* calls of the target so far */
	_Atomic uint64_t struck;   /* calls that went wrong */
	_Atomic int64_t ahead_s;   /* clocks are ahead by so much */
	char by[NAME_LEN];         /* the library whose allocation did */
	char only[SORTS_MAX];      /* the sorts of calls that may */
	char call[CALLS_MAX];      /* what sort each call was */
};

/* The library may map one of these names to the other. */
ssize_t pwrite(int fd, const void *buf, size_t size, off_t offset);
ssize_t pwrite64(int fd, const void *buf, size_t size, off64_t offset);
int ftruncate(int fd, off_t len);
int ftruncate64(int fd, off64_t len);
int truncate(const char *path, off_t len);
int truncate64(const char *path, off64_t len);
int fallocate(int fd, int mode, off_t offset, off_t len);
int fallocate64(int fd, int mode, off64_t offset, off64_t len);
int open(const char *path, int flags, ...);
int open64(const char *path, int flags, ...);
int openat(int dir_fd, const char *path, int flags, ...);
int openat64(int dir_fd, const char *path, int flags, ...);

static struct control *control;

__attribute__((constructor)) static void map_control(void)
{
	const char *path = getenv("FAULT_CONTROL");
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path,
				     O_RDWR | O_CLOEXEC, 0)
		      : -1;
	if (fd < 0)
		return;
	void *shared = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE,
			    MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	if (shared != MAP_FAILED)
		control = shared;
}

static void die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

static bool is_loop(void)
{
	return syscall(SYS_gettid) == getpid();
}

static bool is_counted(char call)
{
	return is_loop() == (control->aside == 0) &&
	       (control->sort == 0 || control->sort == (unsigned char)call);
}

/* Counts one of those in question; whether its turn has come. */
static bool is_struck(enum target target, char call)
{
	uint64_t number;
	if (control == NULL || control->target != target)
		return false;
	if (is_counted(call)) {
		number = atomic_fetch_add(&control->count, 1) + 1;
		if (number <= CALLS_MAX)
			control->call[number - 1] = call;
	} else if (control->struck > 0) {
		number = control->count + 1; /* as the next of those */
	} else {
		return false;
	}
	if (control->at == 0 || number < control->at ||
	    number - control->at >= control->span)
		return false;
	if (strchr(control->only, call) == NULL)
		return false;
	atomic_fetch_add(&control->struck, 1);
	return true;
}

/* ---- writes ---------------------------------------------------------------
 */

static bool begins(const char *path, size_t len)
{
	const char *under = getenv("FAULT_UNDER");
	return under != NULL && len >= strlen(under) &&
	       memcmp(path, under, strlen(under)) == 0;
}

static bool is_under_fd(int fd)
{
	char link[64], name[4096];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, name, sizeof(name));
	return len > 0 && begins(name, (size_t)len);
}

static bool is_under(int dir_fd, const char *path)
{
	if (path[0] == '/' || dir_fd == AT_FDCWD)
		return begins(path, strlen(path));
	return is_under_fd(dir_fd);
}

static enum what strike(char call, bool under)
{
	if (!under || !is_struck(WRITES, call))
		return NOTHING;
	enum what what = control->what;
	if (what == KILL)
		die();
	if (what == SHORT && control->struck > 1)
		what = FAIL;
	if (what == FAIL)
		errno = (int)control->error;
	return what;
}

static ssize_t written(enum what what, ssize_t size)
{
	if (what == KILL_HALF)
		die();
	return size;
}

/* Whether the disk must give room for a write that ends there. */
static char sort_of(int fd, off64_t end)
{
	enum { BLOCK = 512 }; /* stat(2) */
	struct stat st;
	return fstat(fd, &st) == 0 && end <= st.st_blocks * BLOCK ? 'p' : 'w';
}

/* Appends, and what a new file begins with. */
ssize_t write(int fd, const void *buf, size_t size)
{
	enum what what = strike('w', is_under_fd(fd));
	if (what == FAIL)
		return -1;
	if (what != NOTHING)
		size /= 2;
	return written(what, syscall(SYS_write, fd, buf, size));
}

ssize_t pwrite64(int fd, const void *buf, size_t size, off64_t offset)
{
	char sort = sort_of(fd, offset + (off64_t)size);
	enum what what = strike(sort, is_under_fd(fd));
	if (what == FAIL)
		return -1;
	if (what != NOTHING)
		size /= 2;
	return written(what, syscall(SYS_pwrite64, fd, buf, size, offset));
}

ssize_t pwrite(int fd, const void *buf, size_t size, off_t offset)
{
	return pwrite64(fd, buf, size, offset);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	struct iovec half;
	off64_t end = lseek(fd, 0, SEEK_CUR);
	for (int i = 0; i < count; i++)
		end += (off64_t)iov[i].iov_len;
	enum what what = strike(sort_of(fd, end), is_under_fd(fd));
	if (what == FAIL)
		return -1;
	if (what != NOTHING && count == 1) {
		half = (struct iovec){iov[0].iov_base, iov[0].iov_len / 2};
		iov = &half;
	} else if (what != NOTHING) {
		count /= 2;
	}
	return written(what, syscall(SYS_writev, fd, iov, count));
}

#define UNLESS_STRUCK(call, under, ...)                                        \
	(strike(call, under) == FAIL ? -1 : (int)syscall(__VA_ARGS__))

int ftruncate64(int fd, off64_t len)
{
	return UNLESS_STRUCK('t', is_under_fd(fd), SYS_ftruncate, fd, len);
}

int ftruncate(int fd, off_t len)
{
	return ftruncate64(fd, len);
}

int truncate64(const char *path, off64_t len)
{
	return UNLESS_STRUCK('t', is_under(AT_FDCWD, path), SYS_truncate, path,
			     len);
}

int truncate(const char *path, off_t len)
{
	return truncate64(path, len);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
	return UNLESS_STRUCK('a', is_under_fd(fd), SYS_fallocate, fd, mode,
			     offset, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	return fallocate64(fd, mode, offset, len);
}

int fsync(int fd)
{
	return UNLESS_STRUCK('s', is_under_fd(fd), SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return UNLESS_STRUCK('s', is_under_fd(fd), SYS_fdatasync, fd);
}

int futimens(int fd, const struct timespec times[2])
{
	return UNLESS_STRUCK('m', is_under_fd(fd), SYS_utimensat, fd, NULL,
			     times, 0);
}

int utimensat(int dir_fd, const char *path, const struct timespec times[2],
	      int flags)
{
	return UNLESS_STRUCK('m', is_under(dir_fd, path), SYS_utimensat, dir_fd,
			     path, times, flags);
}

int fchmod(int fd, mode_t mode)
{
	return UNLESS_STRUCK('c', is_under_fd(fd), SYS_fchmod, fd, mode);
}

int chmod(const char *path, mode_t mode)
{
	return UNLESS_STRUCK('c', is_under(AT_FDCWD, path), SYS_fchmodat,
			     AT_FDCWD, path, mode);
}

int mkdir(const char *path, mode_t mode)
{
	return UNLESS_STRUCK('d', is_under(AT_FDCWD, path), SYS_mkdirat,
			     AT_FDCWD, path, mode);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
	return UNLESS_STRUCK('u', is_under(dir_fd, path), SYS_unlinkat, dir_fd,
			     path, flags);
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int renameat(int old_fd, const char *old, int new_fd, const char *new)
{
	return UNLESS_STRUCK('r', is_under(new_fd, new), SYS_renameat2, old_fd,
			     old, new_fd, new, 0);
}

int rename(const char *old, const char *new)
{
	return renameat(AT_FDCWD, old, AT_FDCWD, new);
}

int link(const char *old, const char *new)
{
	return UNLESS_STRUCK('l', is_under(AT_FDCWD, new), SYS_linkat, AT_FDCWD,
			     old, AT_FDCWD, new, 0);
}

static int open_at(int dir_fd, const char *path, int flags, mode_t mode)
{
	bool creates = flags & O_CREAT && faccessat(dir_fd, path, F_OK, 0) != 0;
	if (!creates && (flags & O_TRUNC) == 0)
		return (int)syscall(SYS_openat, dir_fd, path, flags, 0);
	return UNLESS_STRUCK('o', is_under(dir_fd, path), SYS_openat, dir_fd,
			     path, flags, mode);
}

#define OPEN(dir_fd)                                                           \
	va_list more;                                                          \
	va_start(more, flags);                                                 \
	mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;              \
	va_end(more);                                                          \
	return open_at(dir_fd, path, flags, mode)

int open(const char *path, int flags, ...)
{
	OPEN(AT_FDCWD);
}

int open64(const char *path, int flags, ...)
{
	OPEN(AT_FDCWD);
}

int openat(int dir_fd, const char *path, int flags, ...)
{
	OPEN(dir_fd);
}

int openat64(int dir_fd, const char *path, int flags, ...)
{
	OPEN(dir_fd);
}

/* ---- allocations -----------------------------------------------------------
 */

static bool no_memory(const void *caller)
{
	Dl_info library;
	if (!is_struck(ALLOCATIONS, 'h'))
		return false;
	if (dladdr(caller, &library) != 0)
		snprintf(control->by, NAME_LEN, "%s",
			 basename(library.dli_fname));
	errno = ENOMEM;
	return true;
}

#define CALLER __builtin_return_address(0)

/* What a sanitizer puts in its place, or the C library's. */
#define NEXT(name)                                                             \
	static __typeof__(name) *next;                                         \
	if (next == NULL)                                                      \
	*(void **)&next = dlsym(RTLD_NEXT, #name)

static void *allocate(size_t size, const void *caller)
{
	NEXT(malloc);
	return no_memory(caller) ? NULL : next(size);
}

static void *reallocate(void *old, size_t size, const void *caller)
{
	NEXT(realloc);
	return no_memory(caller) ? NULL : next(old, size);
}

static char *copy(const char *text, size_t len, const void *caller)
{
	char *made = allocate(len + 1, caller);
	if (made != NULL) {
		memcpy(made, text, len);
		made[len] = '\0';
	}
	return made;
}

void *malloc(size_t size)
{
	return allocate(size, CALLER);
}

void *calloc(size_t count, size_t size)
{
	NEXT(calloc);
	return no_memory(CALLER) ? NULL : next(count, size);
}

void *realloc(void *old, size_t size)
{
	return reallocate(old, size, CALLER);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;
	if (!__builtin_mul_overflow(count, size, &bytes))
		return reallocate(old, bytes, CALLER);
	errno = ENOMEM;
	return NULL;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	NEXT(aligned_alloc);
	return no_memory(CALLER) ? NULL : next(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	NEXT(posix_memalign);
	return no_memory(CALLER) ? ENOMEM : next(out, alignment, size);
}

char *strndup(const char *text, size_t size)
{
	return copy(text, strnlen(text, size), CALLER);
}

char *strdup(const char *text)
{
	return copy(text, strlen(text), CALLER);
}

/* ---- time ------------------------------------------------------------------
 */

/* What counts how often lines run writes that down at the very end. */
static void leave_alone(void)
{
	control = NULL;
}

int epoll_wait(int fd, struct epoll_event *events, int room, int timeout_ms)
{
	static bool begun; /* before main() it would be too early for atexit */
	if (!begun)
		begun = atexit(leave_alone) == 0;
	if (control != NULL && timeout_ms != 0)
		control->waiting = 1;
	int ready = (int)syscall(SYS_epoll_pwait, fd, events, room, timeout_ms,
				 NULL, 0);
	if (control != NULL)
		control->waiting = 0;
	return ready;
}

/* Other threads wait by the kernel's clock. */
static int64_t ahead_s(void)
{
	return control != NULL && is_loop() ? control->ahead_s : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int status = (int)syscall(SYS_clock_gettime, clock, now);
	if (status == 0)
		now->tv_sec += ahead_s();
	return status;
}

time_t time(time_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}

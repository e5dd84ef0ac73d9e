/*
 * turn_refusals: a turn_world in which the system refuses what a turn writes
 * and reads, when a test wants it.
 */
#ifndef TESTS_TURN_REFUSALS_H
#define TESTS_TURN_REFUSALS_H

#include <dlfcn.h>
#include <errno.h>
#include <sys/syscall.h>

#include "turn_world.h"

#define A "192.0.2.1"
#define B "192.0.2.2"
#define C "2001:db8::fe80:1"
#define D "192.0.2.4"

enum { ALL = 1 << 30, RETRY_S = 2, SHORT = 1, PAGE_BYTES = 4096 };

/* ---- in the place of the C library's ---- */

/* Calls for files of this name, but for the first ones, fail. */
struct refusal {
	const char *name;
	int error, skip, times;
};

static struct refusal writes, reads, appends, cuts;
static bool no_memory;
static bool look_at_locks;
static int written, unlocked;

static inline bool refused(struct refusal *refusal, int fd)
{
	char link[64], path[512];
	ssize_t len;

	if (refusal->times == 0)
		return false;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof path - 1);
	path[len > 0 ? len : 0] = '\0';
	if (strstr(path, refusal->name) == NULL || refusal->skip-- > 0)
		return false;
	refusal->skip = 0;
	refusal->times--;
	errno = refusal->error;
	return true;
}

/* A reader that asks for the lock while a map is written gets none. */
static inline void look(int map_fd)
{
	char link[64];
	int fd;

	snprintf(link, sizeof link, "/proc/self/fd/%d", map_fd);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	written++;
	unlocked += flock(fd, LOCK_SH | LOCK_NB) == 0;
	close(fd);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
	if (look_at_locks)
		look(fd);
	return refused(&writes, fd) ? -1
				    : syscall(SYS_pwrite64, fd, data, size, at);
}

/*
 * What Berkeley DB tries when it cannot pwrite(2), and the journal. Of a SHORT
 * one so much is written that one record is whole.
 */
ssize_t write(int fd, const void *data, size_t size)
{
	if (refused(&writes, fd))
		return -1;
	if (!refused(&appends, fd))
		return syscall(SYS_write, fd, data, size);
	return appends.error == SHORT
		   ? syscall(SYS_write, fd, data, size * 3 / 4)
		   : -1;
}

/* Pages, not what is looked at of the free list. */
ssize_t pread(int fd, void *data, size_t size, off_t at)
{
	return size >= PAGE_BYTES && refused(&reads, fd)
		   ? -1
		   : syscall(SYS_pread64, fd, data, size, at);
}

ssize_t read(int fd, void *data, size_t size)
{
	return refused(&reads, fd) ? -1 : syscall(SYS_read, fd, data, size);
}

void *realloc(void *old, size_t size)
{
	static void *(*next)(void *, size_t);

	if (no_memory) {
		errno = ENOMEM;
		return NULL;
	}
	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "realloc");
	return next(old, size);
}

int ftruncate(int fd, off_t len)
{
	return refused(&cuts, fd) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

static inline int setup(void **state)
{
	writes = reads = appends = cuts = (struct refusal){0};
	elapse_s(10); /* so that what was logged may be logged again */
	return world_setup(state);
}

/* ---- requests that are refused ---- */

/* From this answer on; nothing is left of what they asked for. */
static inline void assert_all_refused(int first)
{
	for (int i = first; i < answered; i++)
		assert_int_equal(answers[i].outcome, OUTCOME_SYSERR);
	assert_everywhere(A, NOW + LIFETIME);
	assert_everywhere(B, 0);
	assert_everywhere(C, 0);
	assert_everywhere(D, NOW + LIFETIME);
}

static inline void assert_works(void)
{
	uint64_t bytes;

	elapse_s(RETRY_S);
	answered = 0;
	add(B, NOW);
	del(D, NOW);
	commit(NOW, false);
	assert_int_equal(answered, 2);
	assert_answer(0, B, OUTCOME_OK, NOW + LIFETIME);
	assert_answer(1, D, OUTCOME_OK, 0);
	assert_everywhere(A, NOW + LIFETIME);
	assert_everywhere(B, NOW + LIFETIME);
	assert_everywhere(C, 0);
	assert_everywhere(D, 0);
	assert_verifies(map_path_1);
	bytes = journal_bytes(journal);
	commit(NOW, true); /* nothing is owed any more */
	assert_int_equal(journal_bytes(journal), bytes);
}

/* What each test begins with, or each part of one. */
static inline void begin(void)
{
	world_end();
	setup(NULL);
	add(A, NOW);
	add(D, NOW);
	commit(NOW, false);
	assert_int_equal(answered, 2);
}

static inline void ask_for_all(void)
{
	add(B, NOW);
	add(C, NOW);
	del(D, NOW);
	add(B, NOW);
}

#endif

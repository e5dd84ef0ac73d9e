/*
 * journal_disk: what of a journal has reached the disk. The calls for that
 * stand in the place of the C library's, and fail when a test wants it.
 */
#ifndef TESTS_JOURNAL_DISK_H
#define TESTS_JOURNAL_DISK_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "journal_model.h"

enum { NUMBERS = 64 };

static struct {
	pthread_t loop;      /* the thread of the tests */
	int by_loop;         /* fdatasync(2) in it */
	atomic_int by_other; /* and in the thread that flushes */
	int sync_error;      /* what fdatasync(2) fails with, in it */
	bool truncate_fails; /* ftruncate(2) */
	/* by inode: how much of a segment has been flushed */
	ino_t inode[NUMBERS];
	off_t flushed[NUMBERS];
	/* at the removal of a segment: the bytes of later ones at risk */
	off_t at_risk;
	int removals;
	pthread_mutex_t mutex;
} sys = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static inline void note_flushed(const struct stat *st)
{
	int i = 0;

	pthread_mutex_lock(&sys.mutex);
	while (i < NUMBERS - 1 && sys.inode[i] != 0 &&
	       sys.inode[i] != st->st_ino)
		i++;
	sys.inode[i] = st->st_ino;
	sys.flushed[i] = st->st_size;
	pthread_mutex_unlock(&sys.mutex);
}

static inline off_t flushed(ino_t inode)
{
	for (int i = 0; i < NUMBERS; i++)
		if (sys.inode[i] == inode)
			return sys.flushed[i];
	return 0;
}

int fdatasync(int fd)
{
	struct stat st;

	if (pthread_equal(pthread_self(), sys.loop)) {
		sys.by_loop++;
		if (sys.sync_error != 0) {
			errno = sys.sync_error;
			return -1;
		}
	}
	if (fstat(fd, &st) == 0)
		note_flushed(&st);
	sys.by_other += !pthread_equal(pthread_self(), sys.loop);
	return 0;
}

int ftruncate(int fd, off_t len)
{
	if (sys.truncate_fails) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_ftruncate, fd, len);
}

/* Adds up what a power failure just after it could still take. */
int unlinkat(int dir, const char *name, int flags)
{
	uint32_t number = (uint32_t)strtoul(name, NULL, 10);
	struct stat st;
	char later[SEGMENT_NAME_MAX];

	pthread_mutex_lock(&sys.mutex);
	sys.removals++;
	for (uint32_t i = number + 1; i < NUMBERS; i++) {
		replay_name(later, i);
		if (fstatat(dir, later, &st, 0) == 0)
			sys.at_risk += st.st_size - flushed(st.st_ino);
	}
	pthread_mutex_unlock(&sys.mutex);
	return (int)syscall(SYS_unlinkat, dir, name, flags);
}

/* A setup of cmocka. */
static inline int setup(void **state)
{
	limit_file_size(-1);
	sys.loop = pthread_self();
	sys.by_loop = sys.sync_error = sys.removals = 0;
	sys.truncate_fails = false;
	sys.at_risk = 0;
	memset(sys.inode, 0, sizeof sys.inode);
	return journal_setup(state);
}

#endif

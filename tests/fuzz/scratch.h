/*
 * scratch: a directory in memory for a target that needs files, removed at the
 * end. After a crash it stays; tests/fuzz/run removes that too, by TMPDIR.
 */
#ifndef TESTS_FUZZ_SCRATCH_H
#define TESTS_FUZZ_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "../unit/remove_tree.h"

static char scratch_dir[128];

/* A promise; the line says which one is broken when its input is run again. */
#define require(condition)                                                     \
	((condition) ? (void)0 : require_broken(__FILE__, __LINE__, #condition))

static inline void require_broken(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	abort();
}

static inline void scratch_end(void)
{
	remove_tree(scratch_dir);
}

static inline void scratch_begin(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(scratch_dir, sizeof scratch_dir, "%s/dracd-fuzz-XXXXXX",
		 tmp != NULL ? tmp : "/dev/shm");
	require(mkdtemp(scratch_dir) != NULL);
	atexit(scratch_end);
}

/* A path in it; 256 bytes, the caller's array. */
static inline char *scratch_path(char path[256], const char *name)
{
	snprintf(path, 256, "%s/%s", scratch_dir, name);
	return path;
}

#endif

/*
 * scratch: a directory of its own for a test program, and what it writes to
 * standard error meanwhile. For the tests of one thread only.
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "remove_tree.h"

enum { SCRATCH_TEXT_MAX = 64 * 1024 };

static char scratch_dir[256];
static char scratch_text[SCRATCH_TEXT_MAX];
static int scratch_stderr = -1;

/* Makes the directory and goes there; a group setup of cmocka. */
static inline int scratch_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(scratch_dir, sizeof scratch_dir, "%s/dracd-unit-XXXXXX",
		 tmp != NULL ? tmp : "/tmp");
	return mkdtemp(scratch_dir) == NULL || chdir(scratch_dir) != 0;
}

static inline int scratch_teardown(void **state)
{
	(void)state;
	return chdir("/") != 0 || remove_tree(scratch_dir) != 0;
}

static inline void scratch_write_bytes(const char *path, const void *bytes,
				       size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static inline void scratch_write(const char *path, const char *text)
{
	scratch_write_bytes(path, text, strlen(text));
}

/* The whole file; the caller's to free. */
static inline uint8_t *scratch_read_bytes(const char *path, size_t *len)
{
	FILE *f = fopen(path, "r");
	struct stat st;
	uint8_t *bytes;

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	*len = (size_t)st.st_size;
	bytes = malloc(*len + 1);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, *len, f), *len);
	fclose(f);
	return bytes;
}

/* No file may become longer than this; -1: as before. */
static inline void limit_file_size(off_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes < 0 ? limit.rlim_max : (rlim_t)bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* From here to capture_end() standard error goes to memory. */
static inline void capture_begin(void)
{
	int fd = memfd_create("stderr", MFD_CLOEXEC);

	assert_true(fd >= 0);
	fflush(stderr);
	scratch_stderr = dup(STDERR_FILENO);
	assert_true(scratch_stderr >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
}

/* What was written; valid until the next capture. */
static inline const char *capture_end(void)
{
	ssize_t n;

	fflush(stderr);
	n = pread(STDERR_FILENO, scratch_text, sizeof scratch_text - 1, 0);
	dup2(scratch_stderr, STDERR_FILENO);
	close(scratch_stderr);
	assert_true(n >= 0);
	scratch_text[n] = '\0';
	return scratch_text;
}

static inline void assert_contains(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", part, text);
}

#endif

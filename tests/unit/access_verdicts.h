/*
 * access_verdicts: who may call, by the file "allow" in the scratch directory.
 * For the tests of access.
 */
#ifndef TESTS_ACCESS_VERDICTS_H
#define TESTS_ACCESS_VERDICTS_H

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#include "access.h"
#include "origin.h"
#include "scratch.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static inline bool verdict(struct access *access, const struct address *caller)
{
	struct origin origin = {.caller = *caller};

	access_unsigned(access, &origin);
	return origin.allowed;
}

static inline struct access *opened(bool hosts_access)
{
	struct access *access = access_open("allow", hosts_access, NULL);

	assert_non_null(access);
	return access;
}

static inline bool permitted(struct access *access, const char *text)
{
	struct address a;
	bool first;

	assert_true(address_from_text(&a, text));
	first = verdict(access, &a);
	/* the second answer comes from the cache */
	assert_int_equal(verdict(access, &a), first);
	return first;
}

/* Refreshes; returns what was logged. */
static inline const char *refreshed(struct access *access)
{
	capture_begin();
	access_refresh(access);
	return capture_end();
}

#endif

/* patterns_impl: what patterns.c has read and match.c tries; for both only. */
#ifndef WATCH_PATTERNS_IMPL_H
#define WATCH_PATTERNS_IMPL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>

#include "drac.h"
#include "line.h"

enum {
	PATTERNS_MAX = 128,
	PATTERN_NAME_MAX = 31,
	PATTERN_PROGRAMS_MAX = 16,
};

struct pattern_program {
	char name[LINE_PROGRAM_MAX + 1];
	char service[DRAC_SERVICE_MAX + 1]; /* "": the line says it */
};

struct pattern {
	char name[PATTERN_NAME_MAX + 1];
	int line; /* of the file, where it begins */
	size_t program_count;
	struct pattern_program program[PATTERN_PROGRAMS_MAX];
	pcre2_code *join; /* the first of two lines; NULL: one says it all */
	pcre2_code *login;
};

struct patterns {
	size_t count;
	struct pattern pattern[PATTERNS_MAX];
	pcre2_match_data *match;
	pcre2_match_context *limits;
};

/* The number of a named group; -1: there is none. */
int pattern_group(const pcre2_code *code, const char *name);

#endif

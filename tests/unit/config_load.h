/*
 * config_load: a configuration loaded from a command line, and from a file in
 * the scratch directory. For the tests of config and options.
 */
#ifndef TESTS_CONFIG_LOAD_H
#define TESTS_CONFIG_LOAD_H

#include <stdio.h>
#include <sysexits.h>

#include "config.h"
#include "scratch.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
enum { ARGS_MAX = 16 };

/* Splits a command line at blanks, "''" being an empty word. */
static inline int load_line(const char *line, struct config **out)
{
	static char copy[512], empty[] = "", name[] = "dracd";
	char *argv[ARGS_MAX + 1] = {name};
	int argc = 1;

	snprintf(copy, sizeof copy, "%s", line);
	for (char *word = strtok(copy, " "); word != NULL;
	     word = strtok(NULL, " ")) {
		assert_true(argc < ARGS_MAX);
		argv[argc++] = strcmp(word, "''") == 0 ? empty : word;
	}
	return config_load(argc, argv, out);
}

static inline struct config *loaded(const char *line)
{
	struct config *c = NULL;
	const char *text;
	int rc;

	capture_begin();
	rc = load_line(line, &c);
	text = capture_end();
	if (rc != 0)
		fail_msg("\"%s\": %d: %s", line, rc, text);
	assert_non_null(c);
	assert_string_equal(text, "");
	return c;
}

static inline struct config *with_file(const char *text)
{
	scratch_write("t.conf", text);
	return loaded("-c t.conf");
}

/* Loads a wrong file; returns the one line that is logged. */
static inline const char *refused(const char *text)
{
	struct config *c = (void *)1;
	const char *log;
	int rc;

	scratch_write("t.conf", text);
	capture_begin();
	rc = load_line("-c t.conf", &c);
	log = capture_end();
	if (rc != EX_CONFIG)
		fail_msg("%d for: %s", rc, text);
	assert_null(c);
	if (strchr(log, '\n') != log + strlen(log) - 1)
		fail_msg("not one line: %s", log);
	return log;
}

static inline void assert_path(const char *path, const char *name)
{
	char want[512];

	snprintf(want, sizeof want, "%s/%s", scratch_dir, name);
	assert_string_equal(path, want);
}

#endif

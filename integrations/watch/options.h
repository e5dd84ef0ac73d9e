/*
 * options: the command line of dracwatch(8) as it was written.
 */
#ifndef WATCH_OPTIONS_H
#define WATCH_OPTIONS_H

#include <stddef.h>

#define OPTIONS_SERVER "localhost"
#define OPTIONS_STATE "/var/lib/dracwatch/state"
#ifndef OPTIONS_PATTERNS
#define OPTIONS_PATTERNS "/etc/mail/dracwatch.patterns"
#endif

struct options {
	const char *servers;  /* -s */
	const char *patterns; /* -p */
	const char *state;    /* -S */
	const char *test;     /* --test: a log to try; NULL: not given */
	char *const *source;  /* KIND:WHAT, as they were written */
	size_t source_count;
};

/*
 * The texts stay argv's. Returns 0, or EX_USAGE after logging what is wrong.
 * -h, --help and --version print and end the process with 0.
 */
int options_parse(int argc, char *argv[], struct options *options);

#endif

/*
 * options: the command line of dracctl(8), taken apart. It knows how each verb
 * is written, not what it does.
 */
#ifndef DRACCTL_OPTIONS_H
#define DRACCTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OPTIONS_LIFETIME_MAX_S = 366 * 24 * 3600 }; /* as in dracd.conf(5) */

struct options {
	const char *server;  /* -s */
	bool json;           /* --json */
	bool openmetrics;    /* --openmetrics */
	bool no_header;      /* -H */
	bool quiet;          /* -q */
	bool yes;            /* --yes */
	uint32_t lifetime_s; /* --for; 0: not given */
	/* NULL: not given. */
	const char *user, *service, *caller;
	char *const *operand;
	size_t operands;
};

/* What a verb takes besides -s and --help. */
enum {
	OPTIONS_JSON = 1 << 0,
	OPTIONS_OPENMETRICS = 1 << 1,
	OPTIONS_NO_HEADER = 1 << 2,
	OPTIONS_QUIET = 1 << 3,
	OPTIONS_YES = 1 << 4,
	OPTIONS_FOR = 1 << 5,
	OPTIONS_USER = 1 << 6,
	OPTIONS_SERVICE = 1 << 7,
	OPTIONS_CALLER = 1 << 8,
	OPTIONS_MANY = 1000000, /* operands: no limit */
};

struct talk;

struct verb {
	const char *name;
	const char *synopsis; /* what follows the name */
	const char *summary;  /* one line */
	const char *help;     /* more lines, or "" */
	unsigned int takes;
	size_t operands_min, operands_max;
	/* Returns the exit status; what failed has been said. */
	int (*run)(struct talk *talk, const struct options *options);
};

/*
 * verbs: ends with one without a name. Sets *verb. Returns 0, or EX_USAGE when
 * it has said what is wrong. --help and --version print and end the process.
 */
int options_parse(int argc, char *argv[], const struct verb *verbs,
		  const struct verb **verb, struct options *options);

/* Says what is wrong with the verb's operands or options: EX_USAGE. */
int options_wrong(const char *verb, const char *what, const char *value);

#endif

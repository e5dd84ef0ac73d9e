/*
 * options: the command line of dracd(8) as it was written, not yet joined
 * with the configuration file.
 */
#ifndef DRACD_OPTIONS_H
#define DRACD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
	const char *file;   /* -c; NULL: CONFIG_FILE, which may be missing */
	const char *dbfile; /* NULL: not given */
	int64_t lifetime_s; /* -e; 0: not given */
	bool initialize;    /* -i */
	bool foreground;    /* -f */
	bool check_only;    /* -t */
};

/*
 * The texts stay argv's. Returns 0, or EX_USAGE after logging what is wrong.
 * -h, --help and --version print and end the process with 0.
 */
int options_parse(int argc, char *const argv[], struct options *options);

#endif

/*
 * import: lines of what `dracctl export` or `db5.3_dump -p` printed, one after
 * the other. It reads no file and knows no server.
 */
#ifndef DRACCTL_IMPORT_H
#define DRACCTL_IMPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "drac.h"

/* The first line of an export, and the beginning of its last. */
#define IMPORT_HEADER "# dracctl export 1"
#define IMPORT_END "# end"

enum { IMPORT_LINE_MAX = 1024 }; /* bytes; no line of either is longer */

enum import_result {
	IMPORT_NOTHING, /* not an entry, as it should be */
	IMPORT_ENTRY,
	IMPORT_BAD,   /* this line; the next may be good */
	IMPORT_ALIEN, /* nothing more can be read */
};

struct import {
	/* What is expected next. */
	enum {
		IMPORT_FIRST,
		IMPORT_LINES,
		IMPORT_DUMP_HEADER,
		IMPORT_DUMP_KEY,
		IMPORT_DUMP_VALUE,
		IMPORT_DUMP_END
	} state;
	bool needs_end; /* began as an export or a dump */
	bool has_end;
	bool bad_key;                    /* of the value to come */
	char address[DRAC_ADDRESS_SIZE]; /* the same */
	const char *error;               /* for IMPORT_BAD and IMPORT_ALIEN */
};

void import_begin(struct import *import);
/* line: without its newline; may hold any bytes. */
enum import_result import_line(struct import *import, const char *line,
			       size_t len, struct drac_entry *entry);
/* False: what began as an export or a dump was cut off. */
bool import_is_whole(const struct import *import);

#endif

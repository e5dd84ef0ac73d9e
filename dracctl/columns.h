/*
 * columns: entries as a table on standard output. Piped, nothing is cut and
 * nothing left out. On a terminal the table is as wide as that: long names
 * are cut (the last character is then ~), and columns left out from the right.
 */
#ifndef DRACCTL_COLUMNS_H
#define DRACCTL_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#include "drac.h"

enum { COLUMNS_COUNT = 8 };

struct columns {
	int64_t now_s;
	uint64_t adds;            /* the most that were measured */
	int width[COLUMNS_COUNT]; /* 0: left out */
};

void columns_begin(struct columns *columns, int64_t now_s);
/* For every entry, before the first row. */
void columns_measure(struct columns *columns, const struct drac_entry *entry);
/* After the last of them. header: print that. */
void columns_fit(struct columns *columns, bool header);
void columns_row(const struct columns *columns, const struct drac_entry *entry);

#endif

/* record: an entry as a record of the journal. */
#ifndef DRACD_RECORD_H
#define DRACD_RECORD_H

#include "segment.h"
#include "table.h"

/* A RECORD_PUT whose strings live in the entry. */
struct record record_of(const struct table *table, const struct entry *entry);

#endif

/*
 * restore: the table as a former daemon has left it, from the journal or from
 * the map of DRAC 1.12. Used once at start.
 */
#ifndef DRACD_RESTORE_H
#define DRACD_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "journal.h"
#include "table.h"
#include "timebase.h"

/*
 * Opens the journal and fills the table with what is still valid and may still
 * relay. *verify: the maps may be damaged. The clock must outlive the journal.
 * NULL after logging why.
 */
struct journal *restore(const struct config *config, struct table *table,
			const struct timebase *clock, bool *verify);

#endif

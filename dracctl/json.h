/*
 * json: one object a line on standard output. Times are Unix times.
 */
#ifndef DRACCTL_JSON_H
#define DRACCTL_JSON_H

#include <stdbool.h>

#include "drac.h"

/* Each: false when memory is short or the output is at its end. */
bool json_entry(const struct drac_entry *entry);
bool json_event(const struct drac_event *event, const char *kind);
bool json_lost(uint64_t count);
bool json_counters(const struct drac_counter *counters, size_t count);

#endif

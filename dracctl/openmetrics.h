/*
 * openmetrics: counters in the text format of OpenMetrics 1.0, such that
 * node_exporter's textfile collector, which reads the older one, takes it too.
 */
#ifndef DRACCTL_OPENMETRICS_H
#define DRACCTL_OPENMETRICS_H

#include <stddef.h>

#include "drac.h"

void openmetrics_print(const struct drac_counter *counters, size_t count);

#endif

/*
 * sort: any number of entries in the order of their expiry, in a fixed amount
 * of memory. What has no room waits in a temporary file without a name.
 */
#ifndef DRACCTL_SORT_H
#define DRACCTL_SORT_H

#include <stdbool.h>

#include "drac.h"

struct sort;

typedef void sort_fn(void *context, const struct drac_entry *entry);

/* NULL, or false: errno says why, and the sort is of no more use. */
struct sort *sort_new(void);
bool sort_add(struct sort *sort, const struct drac_entry *entry);
/* Once, after all were added; ties in the order of the address's text. */
bool sort_each(struct sort *sort, sort_fn *fn, void *context);
void sort_free(struct sort *sort);

#endif

/*
 * audit: the lines that say who was let in and who was put out. So many a
 * second at most, since a line costs more than an add; how many were left out
 * is said as well.
 */
#ifndef DRACD_AUDIT_H
#define DRACD_AUDIT_H

#include <stdint.h>

#include "origin.h"
#include "table.h"

void audit_authorize(const struct entry *entry, const struct origin *origin);
void audit_remove(const struct entry *entry, const struct origin *origin);

/* "192.0.2.1", or "local" for a caller on a unix socket; returns buf. */
const char *audit_caller(const struct origin *origin,
			 char buf[ADDRESS_TEXT_MAX]);

#endif

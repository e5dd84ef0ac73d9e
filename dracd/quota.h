/*
 * quota: how many connections each caller has. A caller is a key of 16 bytes
 * that the user of this room makes.
 */
#ifndef DRACD_QUOTA_H
#define DRACD_QUOTA_H

#include <stdint.h>

#include "address.h"

struct quota;
struct caller;

struct quota *quota_create(void); /* NULL: out of memory */
void quota_free(struct quota *quota);

/* One more; NULL: it has max of them (or there is no memory). */
struct caller *quota_enter(struct quota *quota, const struct address *key,
			   uint32_t max);
/* One less. */
void quota_leave(struct quota *quota, struct caller *caller);

#endif

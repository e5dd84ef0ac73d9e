/*
 * audit: who was let in, prolonged, put out, and denied: a line in the log and
 * an event for those who watch. So many lines a second at most, since a line
 * costs more than an add; how many were left out is said as well.
 */
#ifndef DRACD_AUDIT_H
#define DRACD_AUDIT_H

#include <stdint.h>

#include "caller.h"
#include "events.h"
#include "origin.h"
#include "table.h"

struct audit;

struct audit *audit_create(void); /* NULL: out of memory */
void audit_free(struct audit *audit);

/* by: who asks. */
void audit_authorize(struct audit *audit, const struct entry *entry,
		     const struct address *by);
void audit_refresh(struct audit *audit, const struct entry *entry,
		   const struct address *by);
void audit_remove(struct audit *audit, const struct entry *entry,
		  const struct address *by);
/* caller: of its last add. */
void audit_expire(struct audit *audit, const struct entry *entry,
		  const struct address *caller);

/* The caller may not; address: NULL, or what may not relay. */
void audit_deny(struct audit *audit, const struct address *caller,
		const struct address *address, const char *reason);
/* A call that is not signed as it should be; key: as it says, or NULL. */
void audit_deny_key(struct audit *audit, const struct address *caller,
		    const char *key, const char *reason);
/* A user has reached max-addresses-per-user. */
void audit_deny_limit(struct audit *audit, const struct address *caller,
		      const struct address *address, const struct who *who,
		      uint32_t max);

const struct events *audit_events(const struct audit *audit);

#endif

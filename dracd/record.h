/*
 * record: an entry as a journal record, and the names that belong to it.
 * "who" is one allocation, "user\0service\0"; NULL when both are empty.
 */
#ifndef DRACD_RECORD_H
#define DRACD_RECORD_H

#include <stdbool.h>
#include <stddef.h>

#include "segment.h"
#include "table.h"

/* False: out of memory. *who is NULL when both are empty. */
bool who_create(char **who, const char *user, size_t user_len,
		const char *service, size_t service_len);
/* Never NULL. */
const char *who_user(const char *who);
const char *who_service(const char *who);
bool who_equal(const char *a, const char *b);

/* A RECORD_PUT whose strings live in the entry. */
struct record record_of(const struct entry *entry);

#endif

/*
 * who: what an entry keeps besides its address and its times: who logged in,
 * since when, and how often. One allocation, and none at all for an entry that
 * has no names and was added once: NULL says so.
 */
#ifndef DRACD_WHO_H
#define DRACD_WHO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct who {
	uint32_t first_s; /* of the first add; Unix time, until 2106 */
	uint32_t adds;    /* stays at UINT32_MAX */
	char names[];     /* "user\0service\0" */
};

/* *who is NULL when both names are empty. False: out of memory. */
bool who_create(struct who **who, const char *user, size_t user_len,
		const char *service, size_t service_len);
/* For an entry without names. NULL: out of memory. */
struct who *who_nameless(void);
void who_free(struct who *who); /* NULL is fine */

/* Never NULL. */
const char *who_user(const struct who *who);
const char *who_service(const struct who *who);
bool who_equal(const struct who *a, const struct who *b);

#endif

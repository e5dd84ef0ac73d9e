/*
 * allow: the list of dracd.allow(5), read from its file. Knows nothing of
 * hosts_access(5) and keeps no verdicts; that is access.
 */
#ifndef DRACD_ALLOW_H
#define DRACD_ALLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "address.h"

struct keys;

/* One line. */
struct allow_rule {
	struct prefix prefix;
	bool tcp;  /* connections only */
	char *key; /* only calls signed by it; NULL: all */
};

struct allow_list {
	struct allow_rule *rules;
	size_t count;
	bool missing; /* there is no file; count is 0 */
};

enum {
	ALLOW_LINE_MAX = 1023,            /* bytes without the newline */
	ALLOW_FILE_MAX = 4 * 1024 * 1024, /* bytes */
	ALLOW_FAULTS_MAX = 50,            /* lines reported one by one */
};

/*
 * A missing file is success. Otherwise false after logging what is wrong,
 * every bad line as FILE:LINE; *list is then empty. To be freed with
 * allow_free(). keys: those that may be named, or NULL.
 */
bool allow_read(const char *path, const struct keys *keys,
		struct allow_list *list);
/* The same for text in memory; name stands for the file in messages. */
bool allow_parse(const char *name, const char *text, size_t len,
		 const struct keys *keys, struct allow_list *list);
void allow_free(struct allow_list *list);

enum {
	ALLOW_UDP = 1,
	ALLOW_TCP = 2,
	ALLOW_WITH_KEY = 2, /* bits to the left: the same, with some key */
};
/*
 * How a caller at that address may call, by any of the lines. key: the name of
 * the key that he signs with, or NULL for none.
 */
unsigned allow_ways(const struct allow_list *list, const struct address *a,
		    const char *key);

#endif

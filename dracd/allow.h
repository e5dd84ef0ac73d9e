/*
 * allow: the list of dracd.allow(5), read from its file. Knows nothing of
 * hosts_access(5) and keeps no verdicts; that is access.
 */
#ifndef DRACD_ALLOW_H
#define DRACD_ALLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "address.h"

struct allow_list {
	struct prefix *prefixes;
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
 * allow_free().
 */
bool allow_read(const char *path, struct allow_list *list);
/* The same for text in memory; name stands for the file in messages. */
bool allow_parse(const char *name, const char *text, size_t len,
		 struct allow_list *list);
void allow_free(struct allow_list *list);

bool allow_contains(const struct allow_list *list, const struct address *a);

#endif

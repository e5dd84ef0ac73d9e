/*
 * rights: whom the daemon becomes, and what must belong to him before. Used
 * once at start.
 */
#ifndef DRACD_RIGHTS_H
#define DRACD_RIGHTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "config.h"

struct identity {
	uid_t uid;
	gid_t gid;
	bool change; /* we are root, and shall become somebody else */
};

/* Looks the configured user up. False after logging why. */
bool rights_find(const struct config *config, struct identity *identity);
/*
 * As root: makes the directories of journal, maps and unix sockets if they are
 * missing, and gives a map in a directory of root's to the user. False after
 * logging why.
 */
bool rights_prepare(const struct config *config,
		    const struct identity *identity);
/* Becomes the user, for good, without capabilities. False after logging why. */
bool rights_drop(const struct identity *identity);

#endif

/*
 * talk: the server, and what becomes of its answers: exit statuses.
 */
#ifndef DRACCTL_TALK_H
#define DRACCTL_TALK_H

#include "drac.h"

enum { TALK_NOT_FOUND = 1 }; /* exit status of what is not there */

struct talk {
	struct drac *drac;
	const char *server; /* as the user named it */
};

/* 0, or the exit status, said. */
int talk_open(struct talk *talk, const char *server);
void talk_close(struct talk *talk);

/* The exit status for what a call of libdrac returned. */
int talk_status(int result);
/*
 * Says that "what which" failed, as in "add 192.0.2.7", with drac_error();
 * which may be "". Returns the exit status.
 */
int talk_failed(const struct talk *talk, const char *what, const char *which,
		int result);

/* Gets every entry, cleaned; anything but 0 ends it and is returned. */
typedef int talk_fn(void *context, const struct drac_entry *entry);

/* 0, what fn returned, or the exit status, said. */
int talk_each(struct talk *talk, talk_fn *fn, void *context);

#endif

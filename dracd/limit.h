/*
 * limit: how many addresses a user may have at a time. It judges an add; what
 * follows from that is the turn's. Only for admit.c.
 */
#ifndef DRACD_LIMIT_H
#define DRACD_LIMIT_H

#include "turn_impl.h"

enum { LIMIT_VICTIMS_MAX = 16 }; /* entries that one add puts out */

struct verdict {
	enum {
		LIMIT_KEPT,    /* with these put out */
		LIMIT_REACHED, /* refuse */
		LIMIT_WAIT,    /* for the end of this turn */
	} what;
	bool counts; /* it is one more of the user's */
	size_t count;
	struct entry *victim[LIMIT_VICTIMS_MAX];
};

/* entry: what the table has for the address, or NULL. */
void limit_judge(const struct turn *turn, const struct request *request,
		 const struct entry *entry, int64_t now_s,
		 struct verdict *verdict);

#endif

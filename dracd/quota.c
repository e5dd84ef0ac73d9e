/* quota: see quota.h. Has an element for each caller with a connection. */
#include "quota.h"

#include <bsd/sys/tree.h>
#include <stdlib.h>
#include <string.h>

struct caller {
	RB_ENTRY(caller) node;
	struct address key;
	uint32_t connections;
};
RB_HEAD(callers, caller);

struct quota {
	struct callers callers;
};

static int caller_compare(const struct caller *a, const struct caller *b)
{
	return memcmp(&a->key, &b->key, sizeof(a->key));
}

RB_GENERATE_INTERNAL(callers, caller, node, caller_compare,
		     __attribute__((unused)) static)

struct quota *quota_create(void)
{
	return calloc(1, sizeof(struct quota)); /* an empty tree is zeros */
}

void quota_free(struct quota *quota)
{
	struct caller *caller;
	if (quota == NULL)
		return;
	while ((caller = RB_MIN(callers, &quota->callers)) != NULL) {
		RB_REMOVE(callers, &quota->callers, caller);
		free(caller);
	}
	free(quota);
}

struct caller *quota_enter(struct quota *quota, const struct address *key,
			   uint32_t max)
{
	struct caller wanted = {.key = *key};
	struct caller *caller = RB_FIND(callers, &quota->callers, &wanted);
	if (caller == NULL) {
		caller = malloc(sizeof(*caller));
		if (caller == NULL)
			return NULL;
		*caller = wanted;
		RB_INSERT(callers, &quota->callers, caller);
	}
	if (caller->connections >= max)
		return NULL;
	caller->connections++;
	return caller;
}

void quota_leave(struct quota *quota, struct caller *caller)
{
	if (--caller->connections > 0)
		return;
	RB_REMOVE(callers, &quota->callers, caller);
	free(caller);
}

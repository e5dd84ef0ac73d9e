/*
 * table_users: whose entries are whose (users.h), as the table follows it.
 */
#include <stdlib.h>

#include "table_impl.h"
#include "users.h"

static int last_compare(const void *a, const void *b)
{
	const struct entry *x = *(const struct entry *const *)a;
	const struct entry *y = *(const struct entry *const *)b;
	return (x->last_s > y->last_s) - (x->last_s < y->last_s);
}

/* In their order, since that is quick. */
static bool join_all(struct table *table)
{
	const struct entry **all = calloc(table->count + 1, sizeof(*all));
	uint32_t count = 0;
	bool joined = all != NULL;
	for (uint32_t slot = 1; slot < table->used && joined; slot++) {
		joined = users_reserve(table->users, slot);
		if (joined && table_at(table, slot) != NULL)
			all[count++] = at(table, slot);
	}
	if (joined)
		qsort(all, count, sizeof(struct entry *), last_compare);
	for (uint32_t i = 0; i < count && joined; i++)
		joined = table_join_user(table, all[i]);
	free(all);
	return joined;
}

bool table_know_users(struct table *table)
{
	table->users = users_create();
	return table->users != NULL && join_all(table);
}

bool table_knows_users(const struct table *table)
{
	return table->users != NULL;
}

bool table_join_user(struct table *table, const struct entry *entry)
{
	const char *user = who_user(entry->who);
	return table->users == NULL || user[0] == '\0' ||
	       users_join(table->users, entry->index, user, entry->last_s);
}

void table_leave_user(struct table *table, const struct entry *entry)
{
	if (table->users != NULL)
		users_leave(table->users, entry->index);
}

struct entry *table_user_first(struct table *table, const char *user)
{
	uint32_t slot = table->users ? users_first(table->users, user) : NONE;
	return slot != NONE ? at(table, slot) : NULL;
}

struct entry *table_user_next(struct table *table, const struct entry *entry)
{
	uint32_t slot = users_next(table->users, entry->index);
	return slot != NONE ? at(table, slot) : NULL;
}

/*
 * account: what an entry keeps of its adds (who, when, how often, by whom),
 * as an add changes it and as an undone one leaves it. For turn.c and admit.c
 * only.
 */
#include <stdlib.h>

#include "clock.h"
#include "turn_impl.h"

bool account_open(struct turn *turn, struct change *change, int64_t now_s)
{
	struct entry *entry = change->entry;
	entry->last_s = clock_fit(now_s);
	entry->caller =
	    table_take_caller(turn->table, &change->request.origin.caller);
	entry->who = change->request.who;
	change->request.who = NULL;
	if (entry->who != NULL)
		entry->who->first_s = entry->last_s;
	return table_join_user(turn->table, entry);
}

/*
 * An add without names leaves those that are there, unless they are of an
 * authorization that is over.
 */
static bool take_names(struct change *change)
{
	struct entry *entry = change->entry;
	struct who *who = change->request.who;
	uint32_t first_s = entry_first_s(entry);
	if (who == NULL && entry->who == NULL && !change->revived) {
		who = who_nameless();
		if (who == NULL)
			return false;
	} else if (!change->revived &&
		   (who == NULL ||
		    (entry->who != NULL && who_equal(entry->who, who)))) {
		return true;
	}
	change->who_changed = true;
	change->old_who = entry->who;
	change->request.who = NULL;
	entry->who = who;
	if (who != NULL)
		who->first_s = first_s;
	return true;
}

bool account_continue(struct turn *turn, struct change *change, int64_t now_s)
{
	struct entry *entry = change->entry;
	uint32_t adds = entry_adds(entry);
	change->old_adds = adds;
	change->old_last_s = entry->last_s;
	change->old_caller = entry->caller;
	change->revived = entry->expiry_s <= now_s;
	if (!take_names(change))
		return false;
	entry->last_s = clock_fit(now_s);
	if (change->revived && entry->who != NULL)
		entry->who->first_s = entry->last_s;
	else if (entry->who != NULL)
		entry->who->adds = adds + (adds < UINT32_MAX);
	entry->caller =
	    table_take_caller(turn->table, &change->request.origin.caller);
	table_leave_user(turn->table, entry);
	if (table_join_user(turn->table, entry))
		return true;
	account_undo(turn, change);
	return false;
}

void account_undo(struct turn *turn, struct change *change)
{
	struct entry *entry = change->entry;
	if (change->who_changed) {
		who_free(entry->who);
		entry->who = change->old_who;
	} else {
		entry->who->adds = change->old_adds;
	}
	entry->last_s = change->old_last_s;
	table_drop_caller(turn->table, entry->caller);
	entry->caller = change->old_caller;
	/* Without memory for it the user may have one address too many. */
	table_leave_user(turn->table, entry);
	table_join_user(turn->table, entry);
}

void account_settle(struct turn *turn, struct change *change)
{
	table_drop_caller(turn->table, change->old_caller);
	if (change->who_changed)
		who_free(change->old_who);
}

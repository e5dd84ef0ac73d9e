/* limit: see limit.h. No state; the table knows whose entries are whose. */
#include "limit.h"

#include <string.h>

enum { LOOK_MAX = 4 * CONFIG_PER_USER_MAX }; /* entries of one user */

static bool is_live(const struct entry *entry, int64_t now_s)
{
	return entry->expiry_s > now_s;
}

/* Entries on their way out are no user's any more. */
static uint32_t count_live(const struct turn *turn, const char *user,
			   int64_t now_s)
{
	uint32_t live = 0, looked = 0;
	for (const struct entry *entry = table_user_first(turn->table, user);
	     entry != NULL && looked < LOOK_MAX;
	     entry = table_user_next(turn->table, entry), looked++)
		live += is_live(entry, now_s);
	return live;
}

/* The oldest ones, but none that a change under way is about. */
static void choose(const struct turn *turn, const char *user, int64_t now_s,
		   uint32_t wanted, struct verdict *verdict)
{
	struct entry *entry = table_user_first(turn->table, user);
	for (int looked = 0;
	     entry != NULL && verdict->count < wanted &&
	     verdict->count < LIMIT_VICTIMS_MAX && looked < LOOK_MAX;
	     entry = table_user_next(turn->table, entry), looked++)
		if (is_live(entry, now_s) && !(entry->flags & ENTRY_PENDING))
			verdict->victim[verdict->count++] = entry;
	if (verdict->count == 0)
		verdict->what = LIMIT_WAIT;
}

void limit_judge(const struct turn *turn, const struct request *request,
		 const struct entry *entry, int64_t now_s,
		 struct verdict *verdict)
{
	uint32_t max = turn->config->max_addresses_per_user;
	const char *user = who_user(request->who);
	verdict->what = LIMIT_KEPT;
	verdict->counts = false;
	verdict->count = 0;
	if (max == 0 || request->kind != REQUEST_ADD || user[0] == '\0' ||
	    (entry != NULL && is_live(entry, now_s) &&
	     strcmp(who_user(entry->who), user) == 0))
		return;
	verdict->counts = true;
	uint32_t live = count_live(turn, user, now_s);
	if (live < max)
		return;
	if (turn->config->on_limit == LIMIT_REFUSE)
		verdict->what = LIMIT_REACHED;
	else
		choose(turn, user, now_s, live - max + 1, verdict);
}

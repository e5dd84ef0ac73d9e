/*
 * turn_impl: what turn.c (the pass), admit.c (requests, and how the table
 * follows them) with account.c and limit.c, and commit.c (how journal and maps
 * follow the table) share. For those only.
 */
#ifndef DRACD_TURN_IMPL_H
#define DRACD_TURN_IMPL_H

#include "chores.h"
#include "turn.h"

/* One request, applied to the table, with what undoes it. */
struct change {
	struct request request;
	struct entry *entry;
	int64_t old_expiry_s;
	struct who *old_who;  /* when who_changed */
	uint32_t old_segment; /* when journaled */
	uint32_t old_last_s, old_adds;
	uint16_t old_caller; /* ours to drop, unless inserted */
	uint8_t old_flags;
	bool inserted, who_changed;
	bool revived;   /* it had expired, and had not gone yet */
	bool publish;   /* needs the maps before the answer */
	bool journaled; /* counted in entry->segment */
};

struct changes {
	struct change *change;
	size_t count, room;
};

struct turn {
	const struct config *config;
	struct table *table;
	struct journal *journal;
	struct maps *maps;
	struct stats *stats;
	struct audit *audit;
	turn_answer *answer;
	struct chores *chores;

	struct changes now, held;
	int64_t held_until_ns;
	struct journal_mark mark, held_mark; /* of the last commit; of `held` */
	/* requests that came while something was held */
	struct request *waiting;
	size_t waiting_count, waiting_room;
	/* addresses of which the journal says more than it should */
	struct address *debt;
	size_t debt_count, debt_room;
};

/* Makes room for the element of an array that has this many before it. */
bool turn_reserve(void **array, size_t count, size_t *room, size_t size);

/* turn.c: the answer; the request is done with. */
void turn_reply(struct turn *turn, struct request *request,
		enum outcome outcome, int64_t expiry_s);
void turn_refuse(struct turn *turn, struct request *request);
/* turn.c: the change stands, and is answered. */
void turn_finish(struct turn *turn, struct change *change);
/* As if the requests had never come; the newest change first. */
void turn_undo_all(struct turn *turn, struct changes *changes);
/* Answers all with OUTCOME_SYSERR and empties the list. */
void turn_refuse_all(struct turn *turn, struct changes *changes);

/* account.c: the account of a new entry. False: out of memory; remove it. */
bool account_open(struct turn *turn, struct change *change, int64_t now_s);
/* Of one that is there: one add more. False: out of memory, nothing changed. */
bool account_continue(struct turn *turn, struct change *change, int64_t now_s);
void account_undo(struct turn *turn, struct change *change);
/* The change stands, what would undo it goes. */
void account_settle(struct turn *turn, struct change *change);

/* commit.c: `now` goes to the journal, and is answered or held. */
void commit_journal(struct turn *turn);
/* `held`, and a share of the chores, go to the maps. */
void commit_maps(struct turn *turn, int64_t now_s, bool idle);
/* Undoes and refuses what is held, in table and journal. */
void commit_take_back(struct turn *turn);

#endif

/*
 * turn: the one way in which entries change. Requests are applied to the table
 * as they come; at the end of each pass of the loop all of them go to the
 * journal with one write, to the maps under one lock, and only then are they
 * answered. A request that cannot go all the way is undone and answered so.
 *
 * It decodes nothing and sends nothing: requests come decoded, answers go to
 * the function given at the start.
 */
#ifndef DRACD_TURN_H
#define DRACD_TURN_H

#include <stdbool.h>
#include <stdint.h>

#include "audit.h"
#include "config.h"
#include "journal.h"
#include "maps.h"
#include "origin.h"
#include "stats.h"
#include "table.h"

enum request_kind { REQUEST_ADD, REQUEST_REMOVE };

enum outcome {
	OUTCOME_OK,
	OUTCOME_SYSERR,   /* undone */
	OUTCOME_NOTFOUND, /* remove: no such entry */
	OUTCOME_PERM,     /* add: the user has max-addresses-per-user */
};

struct request {
	enum request_kind kind;
	uint32_t version; /* of the protocol; the answer's business */
	struct address address;
	int64_t lifetime_s;
	bool silent;     /* nobody waits for the answer */
	struct who *who; /* or NULL; from here on the turn's */
	struct origin origin;
};

typedef void turn_answer(const struct request *request, enum outcome outcome,
			 int64_t expiry_s);

struct turn;

/* All of these must outlive the turn. */
struct turn *turn_create(const struct config *config, struct table *table,
			 struct journal *journal, struct maps *maps,
			 struct stats *stats, struct audit *audit,
			 turn_answer *answer);
/* Answers what is still held with OUTCOME_SYSERR, after undoing it. */
void turn_free(struct turn *turn);

/* Takes the request: it is answered now or at the end of a turn. */
void turn_request(struct turn *turn, const struct request *request,
		  int64_t now_s);
/*
 * Until when the entry may relay as far as anybody has been told; 0: not at
 * all. What is under way does not count yet, and what is being removed not any
 * more.
 */
int64_t turn_expiry_s(const struct turn *turn, const struct entry *entry);
/* Whether a commit has something to write. */
bool turn_is_open(const struct turn *turn);

/*
 * The end of a pass. idle: nothing else was there to do, so that chores
 * (expiries, values that refreshes have changed, the journal's tidiness) may
 * have their share.
 */
void turn_commit(struct turn *turn, int64_t now_s, bool idle);

/*
 * How long the loop may sleep before it calls turn_commit() again, in
 * milliseconds; -1: until the expiry turn_next_expiry() tells (0: no entry).
 */
int turn_timeout_ms(struct turn *turn, int64_t now_s);
int64_t turn_next_expiry(struct turn *turn);

/* Between passes: the wall clock was set, and all times move by step_s. */
void turn_step(struct turn *turn, int64_t step_s);

/* Once a second: are the maps still those that MTAs see? */
void turn_check_maps(struct turn *turn);

#endif

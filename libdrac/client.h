/*
 * client: a handle: the servers, the budget, and one kept connection. It runs
 * requests: finds the server that accepts, within the budget.
 */
#ifndef LIBDRAC_CLIENT_H
#define LIBDRAC_CLIENT_H

#include <rpc/rpc.h>
#include <stdbool.h>

#include "call.h"
#include "drac.h"
#include "server.h"

/* What drac_run() returns besides the server's answer, as dracauth(3) does. */
enum { DRAC_NO_SERVER = -1, DRAC_NO_ANSWER = -2 };

/* "PATH: what is wrong with the key file" */
enum { DRAC_FAULT_MAX = DRAC_KEY_PATH_MAX + DRAC_SIGN_FAULT_MAX + 8 };

struct drac_request {
	/* Its result begins with the answer, an enum: 1 and 2 are refusals. */
	struct drac_call call;
	/* For a server that does not know the call's version; or NULL. */
	const struct drac_call *older;
	bool stream;    /* what reads: answers are longer than their calls */
	bool open_only; /* connect and keep the connection; answer 0 */
};

struct drac_outcome {
	int answer; /* also returned by drac_run() */
	bool older; /* the older call was the one that was answered */
	/* For DRAC_NO_SERVER and DRAC_NO_ANSWER. */
	const char *server; /* a name that is the handle's */
	struct rpc_err error;
	char key[DRAC_SIGN_NAME_MAX + 1]; /* of the call; "": not signed */
	char fault[DRAC_FAULT_MAX];       /* "", or of the key file */
};

/*
 * Every server is tried in order until one answers and does not refuse; an
 * equal share of what is left of the budget belongs to each. When none does:
 * the first refusal, or else the last failure, where that of a call outranks
 * that of a connection. The result of the answered call is filled; xdr_free()
 * it when the answer is not negative.
 */
int drac_run(struct drac *drac, const struct drac_request *request,
	     struct drac_outcome *outcome);

/* For DRAC_NO_ANSWER, as drac_message_call(); more where a key is the matter.
 */
char *drac_outcome_message(const char *prefix,
			   const struct drac_outcome *outcome);

/* One more drac_close() is needed from now on. */
void drac_hold(struct drac *drac);

#endif

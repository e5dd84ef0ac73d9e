/* verb_change: add, remove and flush. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "../integrations/common/mailclient.h" /* libdrac has a client.h, too */
#include "say.h"
#include "selector.h"
#include "verb.h"

int verb_add(struct talk *talk, const struct options *options)
{
	char address[DRAC_ADDRESS_SIZE], until[SAY_TIME_SIZE];
	char span[SAY_SPAN_SIZE];
	int64_t expiry_s;
	int result;

	if (!mailclient_from_text(options->operand[0], address))
		return options_wrong("add", "not an address",
				     options->operand[0]);
	result = drac_add(talk->drac, address, options->lifetime_s,
			  options->user, options->service, &expiry_s);
	if (result != DRAC_OK)
		return talk_failed(talk, "add", address, result);
	if (expiry_s == 0)
		printf("%s may relay; %s is DRAC 1.12 and does not say how "
		       "long\n",
		       address, talk->server);
	else
		printf("%s may relay until %s (%s)\n", address,
		       say_time(expiry_s, until),
		       say_span(expiry_s - time(NULL), span));
	return EX_OK;
}

/* ---- removing ------------------------------------------------------------ */

struct removal {
	struct talk *talk;
	struct selector selector;
	uint64_t count;
};

static int remove_entry(void *context, const struct drac_entry *entry)
{
	struct removal *removal = context;
	int result;

	if (!selector_matches(&removal->selector, entry))
		return EX_OK;
	result = drac_remove(removal->talk->drac, entry->address);
	if (result == DRAC_NOTFOUND) /* has just expired */
		return EX_OK;
	if (result != DRAC_OK)
		return talk_failed(removal->talk, "remove", entry->address,
				   result);
	removal->count++;
	return EX_OK;
}

/* Everything that the selector means; says how many there were. */
static int remove_all(struct talk *talk, const char *user, uint64_t *count)
{
	struct removal removal = {.talk = talk, .selector = {.user = user}};
	int rc = talk_each(talk, remove_entry, &removal);

	*count = removal.count;
	printf("removed %" PRIu64 "\n", removal.count);
	return rc;
}

static int remove_addresses(struct talk *talk, const struct options *options)
{
	char address[DRAC_ADDRESS_SIZE];
	int worst = EX_OK;

	for (size_t i = 0; i < options->operands; i++)
		if (!mailclient_from_text(options->operand[i], address))
			return options_wrong("remove", "not an address",
					     options->operand[i]);
	for (size_t i = 0; i < options->operands; i++) {
		int result, status;

		mailclient_from_text(options->operand[i], address);
		result = drac_remove(talk->drac, address);
		if (result == DRAC_OK) {
			printf("%s removed\n", address);
			continue;
		}
		if (result == DRAC_NOTFOUND)
			say_error("remove %s: no entry at %s", address,
				  talk->server);
		else
			talk_failed(talk, "remove", address, result);
		status = talk_status(result);
		if (status > worst)
			worst = status;
		if (result == DRAC_NOANSWER) /* nor for the others */
			break;
	}
	return worst;
}

int verb_remove(struct talk *talk, const struct options *options)
{
	uint64_t count;
	int rc;

	if ((options->user != NULL) == (options->operands > 0))
		return options_wrong(
		    "remove", "takes addresses, or --user and a name", "");
	if (options->user == NULL)
		return remove_addresses(talk, options);
	if (*options->user == '\0') /* an unset variable of a script */
		return options_wrong("remove", "--user without a name", "");
	rc = remove_all(talk, options->user, &count);
	if (rc != EX_OK || count > 0)
		return rc;
	say_error("remove --user %s: no entry at %s", options->user,
		  talk->server);
	return TALK_NOT_FOUND;
}

/* ---- flush --------------------------------------------------------------- */

static bool confirmed(const char *server)
{
	char answer[sizeof "yes\n"];

	fprintf(stderr,
		"Remove every entry at %s? Nobody may relay then. [y/N] ",
		server);
	return fgets(answer, sizeof answer, stdin) != NULL &&
	       (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0);
}

int verb_flush(struct talk *talk, const struct options *options)
{
	uint64_t count;

	if (!options->yes && !isatty(STDIN_FILENO))
		return options_wrong("flush",
				     "removes every entry; without a terminal "
				     "it takes --yes",
				     "");
	if (!options->yes && !confirmed(talk->server)) {
		say_error("flush: nothing was removed");
		return TALK_NOT_FOUND;
	}
	return remove_all(talk, NULL, &count);
}

/* verb_read: list and query. Changes nothing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "../integrations/common/mailclient.h" /* libdrac has a client.h, too */
#include "columns.h"
#include "json.h"
#include "say.h"
#include "selector.h"
#include "sort.h"
#include "verb.h"

struct listing {
	struct selector selector;
	struct columns columns;
	struct sort *sort;
	bool json;
};

static int collect(void *context, const struct drac_entry *entry)
{
	struct listing *listing = context;

	if (!selector_matches(&listing->selector, entry))
		return EX_OK;
	columns_measure(&listing->columns, entry);
	if (sort_add(listing->sort, entry))
		return EX_OK;
	say_error("list: cannot sort in a temporary file: %s", strerror(errno));
	return EX_IOERR;
}

static void print(void *context, const struct drac_entry *entry)
{
	struct listing *listing = context;

	if (listing->json)
		json_entry(entry);
	else
		columns_row(&listing->columns, entry);
}

static int list(struct talk *talk, struct listing *listing, bool header)
{
	int rc = talk_each(talk, collect, listing);

	if (rc != EX_OK)
		return rc;
	if (!listing->json)
		columns_fit(&listing->columns, header);
	if (sort_each(listing->sort, print, listing))
		return EX_OK;
	say_error("list: cannot sort in a temporary file: %s", strerror(errno));
	return EX_IOERR;
}

int verb_list(struct talk *talk, const struct options *options)
{
	struct listing listing = {
	    .selector = {.user = options->user,
			 .service = options->service,
			 .caller = options->caller},
	    .json = options->json,
	};
	const char *wrong =
	    options->operands > 0
		? selector_parse(&listing.selector, options->operand[0])
		: NULL;
	int rc;

	if (wrong != NULL)
		return options_wrong("list", wrong, options->operand[0]);
	listing.sort = sort_new();
	if (listing.sort == NULL) {
		say_error("list: %s", strerror(errno));
		return EX_OSERR;
	}
	columns_begin(&listing.columns, time(NULL));
	rc = list(talk, &listing, !options->no_header);
	sort_free(listing.sort);
	return rc;
}

int verb_query(struct talk *talk, const struct options *options)
{
	char address[DRAC_ADDRESS_SIZE];
	struct columns columns;
	struct drac_entry entry;
	int result;

	if (!mailclient_from_text(options->operand[0], address))
		return options_wrong("query", "not an address",
				     options->operand[0]);
	result = drac_query(talk->drac, address, &entry);
	if (result == DRAC_NOTFOUND) {
		if (!options->quiet)
			say_error("%s may not relay: no entry at %s", address,
				  talk->server);
		return TALK_NOT_FOUND;
	}
	if (result != DRAC_OK)
		return talk_failed(talk, "query", address, result);
	if (options->quiet)
		return EX_OK;
	say_clean_entry(&entry);
	if (options->json) {
		json_entry(&entry);
		return EX_OK;
	}
	columns_begin(&columns, time(NULL));
	columns_measure(&columns, &entry);
	columns_fit(&columns, !options->no_header);
	columns_row(&columns, &entry);
	return EX_OK;
}

/* talk: see talk.h. */
#include "talk.h"

#include <stdbool.h>
#include <sysexits.h>

#include "say.h"

int talk_open(struct talk *talk, const char *server)
{
	*talk = (struct talk){.drac = drac_open(server, 0), .server = server};
	if (talk->drac != NULL)
		return EX_OK;
	say_error("-s %s: %s", server, drac_error());
	return EX_USAGE;
}

void talk_close(struct talk *talk)
{
	drac_close(talk->drac);
}

int talk_status(int result)
{
	switch (result) {
	case DRAC_OK:
		return EX_OK;
	case DRAC_NOTFOUND:
		return TALK_NOT_FOUND;
	case DRAC_PERM:
		return EX_NOPERM;
	case DRAC_INVALID:
		return EX_USAGE;
	default:
		return EX_UNAVAILABLE;
	}
}

static const char *advice(int result)
{
	switch (result) {
	case DRAC_PERM:
		return "; who may call, who may read, and which addresses may "
		       "never relay: dracctl(8), RIGHTS";
	case DRAC_SYSERR:
		return "; the log of dracd says why";
	case DRAC_INVALID:
		return "; a lifetime is at most 366d, a name has no control "
		       "characters";
	case DRAC_NOANSWER:
		return "; does dracd run there? Reading needs TCP";
	default:
		return "";
	}
}

int talk_failed(const struct talk *talk, const char *what, const char *which,
		int result)
{
	/* Those that are not the server's own words begin with its name. */
	bool named = result == DRAC_NOANSWER || result == DRAC_UNSUPPORTED;

	say_error("%s%s%s%s%s: %s%s", what, *which ? " " : "", which,
		  named ? "" : " at ", named ? "" : talk->server, drac_error(),
		  advice(result));
	return talk_status(result);
}

int talk_each(struct talk *talk, talk_fn *fn, void *context)
{
	struct drac_entry page[DRAC_PAGE_MAX];
	uint64_t cookie = 0;

	do {
		size_t count = DRAC_PAGE_MAX;
		int result = drac_list(talk->drac, &cookie, page, &count);

		if (result != DRAC_OK)
			return talk_failed(talk, "list", "", result);
		for (size_t i = 0; i < count; i++) {
			int rc;

			say_clean_entry(&page[i]);
			rc = fn(context, &page[i]);
			if (rc != 0)
				return rc;
		}
	} while (cookie != 0);
	return EX_OK;
}

/*
 * verb_backup: export and import. What lines look like is import.c's business.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "import.h"
#include "say.h"
#include "verb.h"

enum { COMPLAINTS_MAX = 20 }; /* then they are only counted */

/* ---- export -------------------------------------------------------------- */

/* Clean strings have no tab and no newline. */
static int export_entry(void *context, const struct drac_entry *entry)
{
	uint64_t *count = context;

	printf("%s\t%" PRId64 "\t%s\t%s\t%" PRId64 "\t%" PRId64 "\t%" PRIu64
	       "\t%s\n",
	       entry->address, entry->expiry_s, entry->user, entry->service,
	       entry->first_s, entry->last_s, entry->adds, entry->caller);
	++*count;
	return ferror(stdout) ? EX_IOERR : EX_OK;
}

int verb_export(struct talk *talk, const struct options *options)
{
	uint64_t count = 0;
	int rc;

	(void)options;
	puts(IMPORT_HEADER);
	rc = talk_each(talk, export_entry, &count);
	if (rc == EX_OK)
		printf(IMPORT_END " entries=%" PRIu64 "\n", count);
	return rc;
}

/* ---- import -------------------------------------------------------------- */

struct intake {
	struct talk *talk;
	const char *name; /* of the file */
	FILE *file;
	uint64_t line;
	uint64_t added, expired, refused, bad;
	uint64_t complaints;
	int status; /* of the process, the first that was not 0 */
};

static void complain(struct intake *intake, const char *what, const char *why,
		     int status)
{
	if (intake->status == EX_OK)
		intake->status = status;
	intake->complaints++;
	if (intake->complaints <= COMPLAINTS_MAX)
		say_error("%s:%" PRIu64 ": %s%s%s", intake->name, intake->line,
			  what, *what ? ": " : "", why);
	else if (intake->complaints == COMPLAINTS_MAX + 1)
		say_error("%s: more like that follow", intake->name);
}

/* False: nobody answers. */
static bool add(struct intake *intake, const struct drac_entry *entry)
{
	int64_t left_s = entry->expiry_s - time(NULL);
	int result;

	if (left_s <= 0) {
		intake->expired++;
		return true;
	}
	if (left_s > OPTIONS_LIFETIME_MAX_S) {
		intake->bad++;
		complain(intake, entry->address,
			 "expires later than 366 days from now", EX_DATAERR);
		return true;
	}
	result = drac_add(intake->talk->drac, entry->address, (uint32_t)left_s,
			  entry->user, entry->service, NULL);
	if (result == DRAC_OK) {
		intake->added++;
		return true;
	}
	intake->refused++;
	complain(intake, entry->address, drac_error(), talk_status(result));
	return result != DRAC_NOANSWER;
}

/*
 * Without its newline; of one that is too long only so much that it shows.
 * False: there is none.
 */
static bool read_line(FILE *file, char line[IMPORT_LINE_MAX + 1], size_t *len)
{
	int c = getc(file);

	*len = 0;
	if (c == EOF)
		return false;
	for (; c != EOF && c != '\n'; c = getc(file))
		if (*len <= IMPORT_LINE_MAX)
			line[(*len)++] = (char)c;
	return true;
}

static void read_all(struct intake *intake, struct import *import)
{
	char line[IMPORT_LINE_MAX + 1];
	struct drac_entry entry;
	size_t len;

	while (read_line(intake->file, line, &len)) {
		intake->line++;
		switch (import_line(import, line, len, &entry)) {
		case IMPORT_NOTHING:
			break;
		case IMPORT_ENTRY:
			if (!add(intake, &entry))
				return;
			break;
		case IMPORT_BAD:
			intake->bad++;
			complain(intake, "", import->error, EX_DATAERR);
			break;
		case IMPORT_ALIEN:
			intake->bad++;
			complain(intake, "", import->error, EX_DATAERR);
			return;
		}
	}
	if (ferror(intake->file))
		complain(intake, "", strerror(errno), EX_IOERR);
	else if (!import_is_whole(import))
		complain(intake, "", "it was cut off here: its end is missing",
			 EX_DATAERR);
}

static void report(const struct intake *intake)
{
	printf("added %" PRIu64 ", expired %" PRIu64 ", refused %" PRIu64
	       ", unreadable %" PRIu64 "\n",
	       intake->added, intake->expired, intake->refused, intake->bad);
	if (intake->status == EX_UNAVAILABLE)
		say_error("%s:%" PRIu64 ": import at %s did not succeed for "
			  "all; it may be repeated",
			  intake->name, intake->line, intake->talk->server);
}

int verb_import(struct talk *talk, const struct options *options)
{
	struct intake intake = {
	    .talk = talk, .name = "standard input", .file = stdin};
	struct import import;
	bool from_file =
	    options->operands > 0 && strcmp(options->operand[0], "-") != 0;

	if (from_file) {
		intake.name = options->operand[0];
		intake.file = fopen(intake.name, "re");
	}
	if (intake.file == NULL) {
		say_error("import %s: %s", intake.name, strerror(errno));
		return EX_NOINPUT;
	}
	import_begin(&import);
	read_all(&intake, &import);
	if (from_file)
		fclose(intake.file);
	report(&intake);
	return intake.status;
}

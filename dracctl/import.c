/* import: see import.h. The format is that of dracctl(8), EXPORT FORMAT. */
#include "import.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../dracd/text.h"
#include "../integrations/common/mailclient.h" /* libdrac has a client.h, too */

#define DUMP_HEADER "VERSION="
#define EXPORT_HEADER "# dracctl export "

enum { FIELDS_MIN = 2, FIELDS_MAX = 8, HEX = 16, NIBBLE_BITS = 4 };

void import_begin(struct import *import)
{
	*import = (struct import){.state = IMPORT_FIRST};
}

bool import_is_whole(const struct import *import)
{
	return !import->needs_end || import->has_end;
}

static enum import_result bad(struct import *import, const char *error)
{
	import->error = error;
	return IMPORT_BAD;
}

static enum import_result alien(struct import *import, const char *error)
{
	import->error = error;
	return IMPORT_ALIEN;
}

static bool starts_with(const char *line, const char *prefix)
{
	return strncmp(line, prefix, strlen(prefix)) == 0;
}

static bool parse_number(const char *text, int64_t *number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*number = strtoll(text, &end, 10);
	return *end == '\0' && errno == 0;
}

/* ---- an export ----------------------------------------------------------- */

static bool copy_name(const char *from, char *to, size_t size)
{
	size_t len = strlen(from);

	if (len >= size || !text_is_clean(from, len))
		return false;
	memcpy(to, from, len + 1);
	return true;
}

/* Splits the line in place; 0: more than fields has room for. */
static size_t split(char *line, const char *fields[FIELDS_MAX])
{
	size_t count = 0;
	char *field;

	while ((field = strsep(&line, "\t")) != NULL) {
		if (count == FIELDS_MAX)
			return 0;
		fields[count++] = field;
	}
	return count;
}

static enum import_result take_fields(struct import *import, char *line,
				      struct drac_entry *entry)
{
	const char *field[FIELDS_MAX] = {"", "", "", "", "0", "0", "0", ""};
	size_t count = split(line, field);
	int64_t adds;

	if (count < FIELDS_MIN)
		return bad(import, "not 2 to 8 fields with a tab between them");
	if (!mailclient_from_text(field[0], entry->address))
		return bad(import, "the first field is not an address");
	if (!parse_number(field[1], &entry->expiry_s))
		return bad(import, "the second field is not a Unix time");
	if (!copy_name(field[2], entry->user, sizeof entry->user))
		return bad(import, "the third field is not a user: at most "
				   "255 bytes of UTF-8");
	if (!copy_name(field[3], entry->service, sizeof entry->service))
		return bad(import, "the fourth field is not a service: at "
				   "most 32 bytes of UTF-8");
	if (!parse_number(field[4], &entry->first_s) ||
	    !parse_number(field[5], &entry->last_s) ||
	    !parse_number(field[6], &adds))
		return bad(import, "fields five to seven are not numbers");
	if (!copy_name(field[7], entry->caller, sizeof entry->caller))
		return bad(import, "the last field is not a caller: at most "
				   "63 bytes of UTF-8");
	entry->adds = (uint64_t)adds;
	return IMPORT_ENTRY;
}

static enum import_result take_line(struct import *import, char *line,
				    struct drac_entry *entry)
{
	if (starts_with(line, IMPORT_END))
		import->has_end = true;
	if (*line == '\0' || *line == '#')
		return IMPORT_NOTHING;
	return take_fields(import, line, entry);
}

/* ---- a dump -------------------------------------------------------------- */

static enum import_result take_dump_header(struct import *import,
					   const char *line)
{
	if (strcmp(line, "HEADER=END") == 0)
		import->state = IMPORT_DUMP_KEY;
	else if (starts_with(line, "format=") &&
		 strcmp(line, "format=print") != 0)
		return alien(import, "not what db5.3_dump -p prints; was -p "
				     "forgotten?");
	return IMPORT_NOTHING;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * Undoes db_dump(1) -p in place: a blank before all, \\ and \hex. A NUL at the
 * end, as maps with "nul = true" have it, ends the string.
 */
static bool decode(char *line, char **text)
{
	char *to = line, *from = line + 1;

	*text = line;
	if (*line != ' ')
		return false;
	while (*from != '\0') {
		if (from[0] == '\\' && from[1] == '\\') {
			from++;
		} else if (from[0] == '\\') {
			int high = hex_digit(from[1]);
			int low = high < 0 ? -1 : hex_digit(from[2]);

			if (low < 0)
				return false;
			from += 2;
			*from = (char)(high << NIBBLE_BITS | low);
			if (*from == '\0' && from[1] != '\0')
				return false;
		}
		*to++ = *from++;
	}
	*to = '\0';
	return true;
}

static enum import_result take_key(struct import *import, char *line)
{
	static const char sendmail_v6[] = "ipv6:";
	char *key;

	if (strcmp(line, "DATA=END") == 0) {
		import->state = IMPORT_DUMP_END;
		import->has_end = true;
		return IMPORT_NOTHING;
	}
	import->state = IMPORT_DUMP_VALUE;
	import->bad_key = true;
	if (!decode(line, &key))
		return bad(import, "not a key as db5.3_dump -p prints it");
	if (starts_with(key, sendmail_v6))
		key += sizeof sendmail_v6 - 1;
	if (!mailclient_from_text(key, import->address))
		return bad(import, "the key is not an address");
	import->bad_key = false;
	return IMPORT_NOTHING;
}

static enum import_result take_value(struct import *import, char *line,
				     struct drac_entry *entry)
{
	char *value;

	import->state = IMPORT_DUMP_KEY;
	if (import->bad_key) /* said already */
		return IMPORT_NOTHING;
	if (!decode(line, &value) || !parse_number(value, &entry->expiry_s))
		return bad(import, "the value is not a Unix time");
	memcpy(entry->address, import->address, sizeof entry->address);
	return IMPORT_ENTRY;
}

/* ---- both ---------------------------------------------------------------- */

static enum import_result take_first(struct import *import, char *line,
				     struct drac_entry *entry)
{
	import->state = IMPORT_LINES;
	if (starts_with(line, DUMP_HEADER)) {
		import->state = IMPORT_DUMP_HEADER;
		import->needs_end = true;
		return IMPORT_NOTHING;
	}
	if (strcmp(line, IMPORT_HEADER) == 0)
		import->needs_end = true;
	else if (starts_with(line, EXPORT_HEADER))
		return alien(import, "an export of a newer dracctl");
	return take_line(import, line, entry);
}

enum import_result import_line(struct import *import, const char *line,
			       size_t len, struct drac_entry *entry)
{
	char copy[IMPORT_LINE_MAX + 1];

	memset(entry, 0, sizeof *entry);
	if (len > IMPORT_LINE_MAX)
		return bad(import, "the line is too long");
	if (memchr(line, '\0', len) != NULL)
		return bad(import, "the line has a NUL in it");
	memcpy(copy, line, len);
	copy[len] = '\0';
	switch (import->state) {
	case IMPORT_FIRST:
		return take_first(import, copy, entry);
	case IMPORT_LINES:
		return take_line(import, copy, entry);
	case IMPORT_DUMP_HEADER:
		return take_dump_header(import, copy);
	case IMPORT_DUMP_KEY:
		return take_key(import, copy);
	case IMPORT_DUMP_VALUE:
		return take_value(import, copy, entry);
	default:
		return *copy == '\0'
			   ? IMPORT_NOTHING
			   : bad(import, "something after the end of the dump");
	}
}

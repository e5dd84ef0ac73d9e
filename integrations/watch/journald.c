/*
 * journald: see journald.h. The time of a line is when the journal got it,
 * which its sender cannot choose.
 */
#include "journald.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#ifdef HAVE_SYSTEMD
#include <errno.h>
#include <inttypes.h>
#include <systemd/sd-journal.h>

#include "clock.h"

enum {
	LINES_MAX = 1000, /* a read */
	US_IN_S = 1000000,
	MATCH_MAX = 4096,
};

struct journald {
	sd_journal *journal;
	int fd;
	journald_fn *fn;
	void *ctx;
	char *cursor;     /* the last line that was given; NULL: none */
	int64_t since_us; /* from where, as long as there is no cursor */
	bool placed;
	bool standing; /* on a line that has not been given */
	struct log_limit trouble;
};

/* ---- opening ------------------------------------------------------------- */

/* sd-journal returns negative errno. */
static bool works(int rc, const char *what)
{
	if (rc >= 0)
		return true;
	errno = -rc;
	log_errno(LOG_ERR, "journal: %s", what);
	return false;
}

static bool add_match(struct journald *journald, const char *from)
{
	char match[MATCH_MAX];
	int len = snprintf(match, sizeof match, "%s=%s",
			   from[0] == '/' ? "_EXE" : "_SYSTEMD_UNIT", from);

	return len < MATCH_MAX &&
	       works(
		   sd_journal_add_match(journald->journal, match, (size_t)len),
		   from);
}

static void warn_if_blind(const struct journald *journald)
{
	if (sd_journal_has_runtime_files(journald->journal) == 0 &&
	    sd_journal_has_persistent_files(journald->journal) == 0)
		log_write(LOG_WARNING,
			  "journal: no files that we may read; is the user in "
			  "the group systemd-journal or adm?");
}

static bool restore(struct journald *journald, const json_t *saved)
{
	const char *cursor =
	    json_string_value(json_object_get(saved, "cursor"));
	const json_t *since = json_object_get(saved, "since");

	journald->since_us = json_is_integer(since) ? json_integer_value(since)
						    : clock_wall_s() * US_IN_S;
	if (cursor == NULL)
		return true;
	journald->cursor = strdup(cursor);
	return journald->cursor != NULL;
}

struct journald *journald_open(const char *from, const json_t *saved,
			       journald_fn *fn, void *ctx)
{
	struct journald *journald = calloc(1, sizeof *journald);

	if (journald == NULL)
		return NULL;
	*journald = (struct journald){.fd = -1, .fn = fn, .ctx = ctx};
	if (works(sd_journal_open(&journald->journal,
				  SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM),
		  "cannot be opened") &&
	    add_match(journald, from) && restore(journald, saved)) {
		journald->fd = sd_journal_get_fd(journald->journal);
		if (works(journald->fd, "cannot be watched")) {
			warn_if_blind(journald);
			return journald;
		}
	}
	journald_close(journald);
	return NULL;
}

void journald_close(struct journald *journald)
{
	if (journald == NULL)
		return;
	sd_journal_close(journald->journal);
	free(journald->cursor);
	free(journald);
}

int journald_fd(const struct journald *journald)
{
	return journald->fd;
}

/* ---- reading ------------------------------------------------------------- */

/*
 * At the last line that was given; if the journal has dropped it, at the one
 * after it. False: there is none yet.
 */
static bool place_at_cursor(struct journald *journald)
{
	if (sd_journal_seek_cursor(journald->journal, journald->cursor) < 0) {
		log_write(LOG_WARNING,
			  "journal: the state names no line of it; reading "
			  "from where dracwatch began");
		free(journald->cursor);
		journald->cursor = NULL;
		return false;
	}
	if (sd_journal_next(journald->journal) <= 0)
		return false;
	journald->standing =
	    sd_journal_test_cursor(journald->journal, journald->cursor) <= 0;
	return true;
}

/* From the tail one cannot start: with a match, that loses lines. */
static bool place(struct journald *journald)
{
	if (journald->placed)
		return true;
	if (journald->cursor != NULL)
		journald->placed = place_at_cursor(journald);
	else
		journald->placed =
		    sd_journal_seek_realtime_usec(
			journald->journal, (uint64_t)journald->since_us) >= 0;
	return journald->placed;
}

/* The value of a field of the present line; false: it has none. */
static bool get_field(const struct journald *journald, const char *name,
		      const char **value, size_t *len)
{
	const void *data;
	size_t size, skip = strlen(name) + 1;

	if (sd_journal_get_data(journald->journal, name, &data, &size) < 0 ||
	    size < skip)
		return false;
	*value = (const char *)data + skip;
	*len = size - skip;
	return true;
}

static int64_t get_pid(const struct journald *journald)
{
	char digits[24] = "";
	const char *value;
	size_t len;

	if (!get_field(journald, "_PID", &value, &len) || len >= sizeof digits)
		return 0;
	memcpy(digits, value, len);
	return strtoll(digits, NULL, 10);
}

/* What get_data() gives is valid until the next call of it: message is last. */
static bool read_line(const struct journald *journald, int64_t now_s,
		      struct line *line)
{
	uint64_t time_us;
	const char *value;
	size_t len;

	*line = (struct line){.pid = get_pid(journald)};
	if (sd_journal_get_realtime_usec(journald->journal, &time_us) < 0 ||
	    !get_field(journald, "SYSLOG_IDENTIFIER", &value, &len) ||
	    len > LINE_PROGRAM_MAX)
		return false;
	line->time_s = (int64_t)(time_us / US_IN_S);
	if (line->time_s > now_s)
		line->time_s = now_s;
	memcpy(line->program, value, len);
	return get_field(journald, "MESSAGE", &line->message, &line->len) &&
	       line->len <= LINE_MAX_LEN &&
	       line_is_clean(line->message, line->len);
}

static void remember(struct journald *journald)
{
	char *cursor;

	if (sd_journal_get_cursor(journald->journal, &cursor) < 0)
		return;
	free(journald->cursor);
	journald->cursor = cursor;
}

/* 1: on the next line to be given; 0: there is none; negative errno. */
static int next_line(struct journald *journald)
{
	if (!journald->standing)
		return sd_journal_next(journald->journal);
	journald->standing = false;
	return 1;
}

static int give_lines(struct journald *journald)
{
	int64_t now_s = clock_wall_s();
	struct line line;
	int given = 0, rc = 0;

	while (given < LINES_MAX && (rc = next_line(journald)) > 0) {
		if (read_line(journald, now_s, &line))
			journald->fn(journald->ctx, &line);
		given++;
	}
	if (given > 0)
		remember(journald);
	return rc < 0 ? rc : given;
}

bool journald_read(struct journald *journald)
{
	int rc = sd_journal_process(journald->journal);

	if (rc >= 0 && place(journald))
		rc = give_lines(journald);
	if (rc < 0 && log_allowed(&journald->trouble)) {
		errno = -rc;
		log_errno(LOG_WARNING, "journal: cannot be read");
	}
	return rc == LINES_MAX;
}

/*
 * Looks anew from the last line on. journald counts an entry before the index
 * of its fields leads to it (systemd, journal_file_link_entry());
 * sd_journal_next(), if it looks between the two, finds nothing, remembers the
 * count, and does not look again before the next entry of anybody.
 */
void journald_tick(struct journald *journald)
{
	if (!journald->standing)
		journald->placed = false;
}

json_t *journald_save(const struct journald *journald)
{
	json_t *saved =
	    json_pack("{s:I}", "since", (json_int_t)journald->since_us);

	if (journald->cursor != NULL)
		json_object_set_new(saved, "cursor",
				    json_string(journald->cursor));
	return saved;
}

#else

struct journald *journald_open(const char *from, const json_t *saved,
			       journald_fn *fn, void *ctx)
{
	(void)saved;
	(void)fn;
	(void)ctx;
	log_write(LOG_ERR, "journal:%s: built without libsystemd", from);
	return NULL;
}

void journald_close(struct journald *journald)
{
	(void)journald;
}

int journald_fd(const struct journald *journald)
{
	(void)journald;
	return -1;
}

bool journald_read(struct journald *journald)
{
	(void)journald;
	return false;
}

void journald_tick(struct journald *journald)
{
	(void)journald;
}

json_t *journald_save(const struct journald *journald)
{
	(void)journald;
	return NULL;
}

#endif

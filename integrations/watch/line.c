/* line: see line.h. Pure functions; no state but the time zone. */
#include "line.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	CLASSIC_LEN = sizeof "Nov 22 03:27:14" - 1,
	STAMP_MAX = sizeof "2026-11-22T03:27:14.123456789+01:00",
	YEAR_BASE = 1900, /* of struct tm */
	DAY_S = 24 * 3600,
	AHEAD_MAX_S = 3600,  /* a clock may be wrong by so much, not a year */
	PID_DIGITS_MAX = 18, /* fit in an int64_t */
};

/* The rest of a line. */
struct rest {
	const char *at, *end;
};

bool line_is_clean(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)text[i];

		if ((byte < ' ' && byte != '\t') || byte == 0x7f)
			return false;
	}
	return true;
}

/* ---- time ---------------------------------------------------------------- */

/* Whether mktime(3) had to move it, as with a daylight time that is none. */
static bool is_same_clock(const struct tm *wanted, time_t time)
{
	struct tm got;

	return localtime_r(&time, &got) != NULL &&
	       got.tm_mon == wanted->tm_mon && got.tm_mday == wanted->tm_mday &&
	       got.tm_hour == wanted->tm_hour && got.tm_min == wanted->tm_min;
}

/*
 * The newest time not after limit that a clock on the wall would show so; in
 * autumn there are two for an hour. 0: there is none. (Asked for one of the
 * two by tm_isdst, mktime(3) may search for years.)
 */
static int64_t newest(const struct tm *wanted, int year, int64_t limit_s)
{
	static const int shift_s[] = {3600, 1800, 0, -1800, -3600};

	for (int back = 0; back < 2; back++) {
		struct tm tm = *wanted;
		time_t time;

		tm.tm_year = year - back;
		tm.tm_isdst = -1;
		time = mktime(&tm);
		for (size_t i = 0; i < sizeof shift_s / sizeof shift_s[0]; i++)
			if (time + shift_s[i] <= limit_s &&
			    is_same_clock(wanted, time + shift_s[i]))
				return time + shift_s[i];
	}
	return 0;
}

static bool take_classic(struct rest *rest, int64_t now_s, int64_t *time_s)
{
	char text[CLASSIC_LEN + 1] = "";
	time_t latest = (time_t)(now_s + AHEAD_MAX_S);
	struct tm tm = {0}, now;

	if (rest->end - rest->at <= CLASSIC_LEN)
		return false;
	memcpy(text, rest->at, CLASSIC_LEN);
	if (strptime(text, "%b %d %H:%M:%S", &tm) != text + CLASSIC_LEN ||
	    localtime_r(&latest, &now) == NULL)
		return false;
	*time_s = newest(&tm, now.tm_year, now_s);
	/* rather a clock that is ahead than an old line */
	if (now_s - *time_s > DAY_S)
		*time_s = newest(&tm, now.tm_year, now_s + AHEAD_MAX_S);
	rest->at += CLASSIC_LEN;
	return *time_s != 0;
}

/* "Z", "+01:00" or "+0100"; the whole of text. */
static bool parse_zone(const char *text, int *offset_s)
{
	unsigned int hours, minutes;
	char sign;
	int used = 0;

	*offset_s = 0;
	if (strcmp(text, "Z") == 0)
		return true;
	if ((sscanf(text, "%c%2u:%2u%n", &sign, &hours, &minutes, &used) != 3 &&
	     sscanf(text, "%c%2u%2u%n", &sign, &hours, &minutes, &used) != 3) ||
	    text[used] != '\0' || (sign != '+' && sign != '-'))
		return false;
	*offset_s = (int)(hours * 3600 + minutes * 60);
	if (sign == '-')
		*offset_s = -*offset_s;
	return true;
}

static bool take_rfc3339(struct rest *rest, int64_t *time_s)
{
	char text[STAMP_MAX + 1] = "", *after;
	size_t len = (size_t)(rest->end - rest->at);
	const char *blank = memchr(rest->at, ' ', len);
	struct tm tm = {0};
	int offset_s;

	if (blank == NULL || blank - rest->at > STAMP_MAX)
		return false;
	memcpy(text, rest->at, (size_t)(blank - rest->at));
	after = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (after == NULL)
		return false;
	if (*after == '.')
		after += 1 + strspn(after + 1, "0123456789");
	if (!parse_zone(after, &offset_s))
		return false;
	*time_s = timegm(&tm) - offset_s;
	rest->at = blank;
	return true;
}

/* ---- host, program[pid]: ------------------------------------------------- */

/* Up to the next blank, which is taken too. */
static struct rest take_word(struct rest *rest)
{
	struct rest word = {rest->at, rest->at};

	while (word.end < rest->end && *word.end != ' ')
		word.end++;
	rest->at = word.end < rest->end ? word.end + 1 : word.end;
	return word;
}

static bool copy_word(char *out, size_t size, struct rest word)
{
	size_t len = (size_t)(word.end - word.at);

	if (len >= size)
		return false;
	memcpy(out, word.at, len);
	out[len] = '\0';
	return true;
}

/* Takes "[123]" from the end of word. */
static int64_t take_pid(struct rest *word)
{
	const char *open =
	    memrchr(word->at, '[', (size_t)(word->end - word->at));
	int64_t pid = 0;

	if (open == NULL || word->end[-1] != ']' ||
	    word->end - open > PID_DIGITS_MAX)
		return 0;
	for (const char *digit = open + 1; digit < word->end - 1; digit++) {
		if (*digit < '0' || *digit > '9')
			return 0;
		pid = pid * 10 + (*digit - '0');
	}
	word->end = open;
	return pid;
}

/* word: "program:" or "program[pid]:" */
static bool parse_tag(struct rest word, struct line *line)
{
	if (word.end == word.at || word.end[-1] != ':')
		return false;
	word.end--;
	line->pid = take_pid(&word);
	return word.end > word.at &&
	       copy_word(line->program, sizeof line->program, word);
}

bool line_parse(const char *text, size_t len, int64_t now_s, struct line *line)
{
	struct rest rest = {text, text + len}, word;

	*line = (struct line){0};
	if (!line_is_clean(text, len) ||
	    (!take_classic(&rest, now_s, &line->time_s) &&
	     !take_rfc3339(&rest, &line->time_s)) ||
	    *rest.at++ != ' ')
		return false;
	if (line->time_s > now_s)
		line->time_s = now_s;
	word = take_word(&rest);
	if (!parse_tag(word, line)) {
		if (!copy_word(line->host, sizeof line->host, word) ||
		    !parse_tag(take_word(&rest), line))
			return false;
	}
	line->message = rest.at;
	line->len = (size_t)(rest.end - rest.at);
	return true;
}

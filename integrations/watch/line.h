/*
 * line: one line of a log as its parts. What a syslog daemon puts before the
 * text is taken off here, by code, so that no pattern has to.
 */
#ifndef WATCH_LINE_H
#define WATCH_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LINE_MAX_LEN = 8192, /* bytes; longer ones are never read */
	LINE_HOST_MAX = 255,
	LINE_PROGRAM_MAX = 63,
};

struct line {
	int64_t time_s;               /* Unix time */
	char host[LINE_HOST_MAX + 1]; /* "": not named */
	char program[LINE_PROGRAM_MAX + 1];
	int64_t pid;         /* 0: not named */
	const char *message; /* belongs to the caller; not ended by NUL */
	size_t len;
};

/*
 * text: a line of a log file, without its newline:
 *	Nov 22 03:27:14 host program[pid]: message
 *	2026-11-22T03:27:14.123+01:00 host program[pid]: message
 * in which host and [pid] may be missing. False: it is none, or has control
 * characters. line->message points into text. now_s: the classic stamp has
 * neither year nor zone; the newest time not after now_s is taken, in local
 * time, which is never after now_s.
 */
bool line_parse(const char *text, size_t len, int64_t now_s, struct line *line);

/* Whether there are no control characters in it but tabs. */
bool line_is_clean(const char *text, size_t len);

#endif

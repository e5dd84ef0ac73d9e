/*
 * log: one line an event, to syslog (facility mail) or standard error.
 * Lines end in key=value pairs; a value that has blanks, quotes or control
 * characters is the caller's to quote with log_quote().
 */
#ifndef DRACD_LOG_H
#define DRACD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <syslog.h>

/* to_stderr: `-f`, -t and everything before the daemon has detached. */
void log_open(const char *program, bool to_stderr);

/* priority: LOG_DEBUG .. LOG_CRIT of syslog(3). */
void log_write(int priority, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same with the text of errno added: "...: No space left on device". */
void log_errno(int priority, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * For events that a stranger can cause as often as he likes: at most one line
 * in LOG_LIMIT_S seconds a limit; the next line says how many were left out.
 *	static struct log_limit limit;
 *	if (log_allowed(&limit)) log_write(...);
 */
struct log_limit {
	int64_t next_s; /* monotonic second from which it may speak */
	uint64_t suppressed;
};
enum { LOG_LIMIT_S = 5 };
bool log_allowed(struct log_limit *limit);

/* text in double quotes with \xNN for what is not printable; returns buf. */
const char *log_quote(const char *text, char *buf, size_t size);

#endif

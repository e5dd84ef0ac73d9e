/*
 * log: formats a line and hands it to syslog(3) or standard error with one
 * write. Keeps errno; nothing that is logged can break a line in two.
 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_MAX_LEN = 2048, /* longer ones are cut */
	ESCAPE_LEN = 4,      /* "\xNN" */
};

static struct {
	const char *program;
	bool to_syslog;
	bool to_journal; /* standard error is the journal: <N> before a line */
} state = {.program = "dracd"};

/* What log_allowed() left out before the line this thread writes next. */
static _Thread_local uint64_t left_out;

/* systemd.exec(5): JOURNAL_STREAM holds device:inode of the stream. */
static bool stderr_is_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return text != NULL && sscanf(text, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
	       st.st_ino == ino;
}

void log_open(const char *program, bool to_stderr)
{
	state.program = program;
	state.to_syslog = !to_stderr;
	state.to_journal = to_stderr && stderr_is_journal();
	if (state.to_syslog)
		openlog(program, LOG_PID | LOG_NDELAY, LOG_MAIL);
	else
		closelog();
}

/* Appends to line, which has LINE_MAX_LEN bytes, and cuts what is too long. */
__attribute__((format(printf, 3, 0))) static size_t
append(char *line, size_t len, const char *format, va_list ap)
{
	int n = vsnprintf(line + len, LINE_MAX_LEN - len, format, ap);

	if (n < 0)
		return len;
	len += (size_t)n;
	return len < LINE_MAX_LEN ? len : LINE_MAX_LEN - 1;
}

__attribute__((format(printf, 3, 4))) static size_t
appendf(char *line, size_t len, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	len = append(line, len, format, ap);
	va_end(ap);
	return len;
}

static void write_stderr(int priority, const char *line)
{
	char out[LINE_MAX_LEN];
	size_t len = 0;

	if (state.to_journal)
		len = appendf(out, len, "<%d>", LOG_PRI(priority));
	len = appendf(out, len, "%s: %s", state.program, line);
	if (len == sizeof out - 1)
		len--;
	out[len++] = '\n';
	if (write(STDERR_FILENO, out, len) < 0) {
		/* Nobody is left who could be told. */
	}
}

/* error: an errno whose text is added, or 0. */
__attribute__((format(printf, 3, 0))) static void
emit(int priority, int error, const char *format, va_list ap)
{
	char line[LINE_MAX_LEN], buf[128];
	size_t len = append(line, 0, format, ap);

	if (error != 0)
		len = appendf(line, len, ": %s",
			      strerror_r(error, buf, sizeof buf));
	if (left_out > 0) {
		len = appendf(line, len, " suppressed=%llu",
			      (unsigned long long)left_out);
		left_out = 0;
	}
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == '\x7f')
			line[i] = '?';
	if (state.to_syslog)
		syslog(LOG_MAIL | LOG_PRI(priority), "%s", line);
	else
		write_stderr(priority, line);
}

void log_write(int priority, const char *format, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, format);
	emit(priority, 0, format, ap);
	va_end(ap);
	errno = saved;
}

void log_errno(int priority, const char *format, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, format);
	emit(priority, saved, format, ap);
	va_end(ap);
	errno = saved;
}

bool log_allowed(struct log_limit *limit)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_sec < limit->next_s) {
		limit->suppressed++;
		return false;
	}
	limit->next_s = now.tv_sec + LOG_LIMIT_S;
	left_out = limit->suppressed;
	limit->suppressed = 0;
	return true;
}

/* Writes one byte of a quoted text; returns its length, 1, 2 or ESCAPE_LEN. */
static size_t escape(char out[ESCAPE_LEN + 1], char c)
{
	unsigned char byte = (unsigned char)c;

	if (c == '"' || c == '\\')
		return (size_t)snprintf(out, ESCAPE_LEN + 1, "\\%c", c);
	if (byte < ' ' || byte > '~')
		return (size_t)snprintf(out, ESCAPE_LEN + 1, "\\x%02x", byte);
	out[0] = c;
	return 1;
}

const char *log_quote(const char *text, char *buf, size_t size)
{
	static const char cut[] = "...\"";
	size_t len = 0, whole = 0, n;
	char out[ESCAPE_LEN + 1];

	if (size <= sizeof cut + 1) {
		if (size > 0)
			buf[0] = '\0';
		return buf;
	}
	buf[len++] = '"';
	for (; *text != '\0'; text++) {
		/* whole: how much still leaves room for the mark of a cut */
		if (len + sizeof cut <= size)
			whole = len;
		n = escape(out, *text);
		if (len + n + sizeof "\"" > size) {
			memcpy(buf + whole, cut, sizeof cut);
			return buf;
		}
		memcpy(buf + len, out, n);
		len += n;
	}
	buf[len++] = '"';
	buf[len] = '\0';
	return buf;
}

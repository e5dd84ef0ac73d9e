/*
 * log: formats a line and hands it to the log daemon or standard error with
 * one write. Keeps errno; nothing that is logged can break a line in two.
 *
 * Never waits, as syslog(3) does while the log daemon does not read: a line
 * that does not go out at once is lost, and the next one that does says how
 * many were (lost=N).
 */
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_MAX_LEN = 2048, /* longer ones are cut */
	FRAME_MAX_LEN = 128, /* what is added to it on the way out */
	STAMP_LEN = sizeof "Mmm dd hh:mm:ss",
	ESCAPE_LEN = 4, /* "\xNN" */
};

static struct {
	const char *program;
	bool to_syslog;
	bool to_journal; /* standard error is the journal: <N> before a line */
	pthread_mutex_t mutex; /* for what follows; nobody waits holding it */
	int fd;                /* connected to the log daemon, or -1 */
	uint64_t lost;         /* lines since the last one that went out */
} state = {
    .program = "dracd",
    .mutex = PTHREAD_MUTEX_INITIALIZER,
    .fd = -1,
};

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

/* Again after the log daemon has been restarted. */
static bool reach_daemon(void)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX,
					    .sun_path = _PATH_LOG};

	if (state.fd >= 0)
		close(state.fd);
	state.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return state.fd >= 0 &&
	       connect(state.fd, (const struct sockaddr *)&address,
		       sizeof address) == 0;
}

void log_open(const char *program, bool to_stderr)
{
	int saved = errno;

	pthread_mutex_lock(&state.mutex);
	state.program = program;
	state.to_syslog = !to_stderr;
	state.to_journal = to_stderr && stderr_is_journal();
	/* a log daemon that is not there yet is tried with each line */
	if (state.to_syslog)
		reach_daemon();
	pthread_mutex_unlock(&state.mutex);
	errno = saved;
}

/* Appends to line, which has size bytes, and cuts what is too long. */
__attribute__((format(printf, 4, 0))) static size_t
append(char *line, size_t len, size_t size, const char *format, va_list ap)
{
	int n = vsnprintf(line + len, size - len, format, ap);

	if (n < 0)
		return len;
	len += (size_t)n;
	return len < size ? len : size - 1;
}

__attribute__((format(printf, 4, 5))) static size_t
appendf(char *line, size_t len, size_t size, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	len = append(line, len, size, format, ap);
	va_end(ap);
	return len;
}

/* RFC 3164 section 4.1, without the host name, as syslog(3) writes it. */
static size_t frame(int priority, char *out, size_t size)
{
	time_t now_s = time(NULL);
	struct tm now;
	char stamp[STAMP_LEN] = "";

	if (!state.to_syslog) {
		/* the journal knows the program */
		if (state.to_journal)
			return appendf(out, 0, size, "<%d>", LOG_PRI(priority));
		return appendf(out, 0, size, "%s: ", state.program);
	}
	if (localtime_r(&now_s, &now) != NULL)
		strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", &now);
	return appendf(out, 0, size,
		       "<%d>%s %s[%d]: ", LOG_MAIL | LOG_PRI(priority), stamp,
		       state.program, (int)getpid());
}

static bool send_daemon(const char *out, size_t len)
{
	return send(state.fd, out, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static bool write_syslog(const char *out, size_t len)
{
	if (send_daemon(out, len))
		return true;
	if (errno == EAGAIN || errno == ENOBUFS)
		return false; /* it is there and does not read */
	return reach_daemon() && send_daemon(out, len);
}

/* What is ready takes so short a line without waiting (pipe(7), PIPE_BUF). */
static bool write_stderr(const char *out, size_t len)
{
	struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&ready, 1, 0) == 1 && write(STDERR_FILENO, out, len) >= 0;
}

static void write_line(int priority, const char *line)
{
	char out[LINE_MAX_LEN + FRAME_MAX_LEN];
	size_t size = sizeof out - 1, len;
	bool written;

	pthread_mutex_lock(&state.mutex);
	len = frame(priority, out, size);
	len = appendf(out, len, size, "%s", line);
	if (state.lost > 0)
		len = appendf(out, len, size, " lost=%llu",
			      (unsigned long long)state.lost);
	if (state.to_syslog) {
		written = write_syslog(out, len);
	} else {
		out[len++] = '\n';
		written = write_stderr(out, len);
	}
	state.lost = written ? 0 : state.lost + 1;
	pthread_mutex_unlock(&state.mutex);
}

/* error: an errno whose text is added, or 0. */
__attribute__((format(printf, 3, 0))) static void
emit(int priority, int error, const char *format, va_list ap)
{
	char line[LINE_MAX_LEN], buf[128];
	size_t len = append(line, 0, sizeof line, format, ap);

	if (error != 0)
		len = appendf(line, len, sizeof line, ": %s",
			      strerror_r(error, buf, sizeof buf));
	if (left_out > 0) {
		len = appendf(line, len, sizeof line, " suppressed=%llu",
			      (unsigned long long)left_out);
		left_out = 0;
	}
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == '\x7f')
			line[i] = '?';
	write_line(priority, line);
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

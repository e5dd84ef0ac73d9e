/* log: lines, limits, quoting; standard error and the log daemon. */
#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "scratch.h"

/* ---- a log daemon of our own ---- */

enum { MANY = 5000 }; /* lines, more than any socket or pipe holds */

#define LOG_SOCKET "log.sock" /* in the scratch directory */

/* In the place of the C library's: /dev/log is elsewhere. */
int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t len)
{
	const struct sockaddr *address = to.__sockaddr__;
	struct sockaddr_un un;

	if (address->sa_family == AF_UNIX) {
		memcpy(&un, address, sizeof un);
		assert_string_equal(un.sun_path, "/dev/log");
		strcpy(un.sun_path, LOG_SOCKET);
		address = (const struct sockaddr *)&un;
		len = sizeof un;
	}
	return (int)syscall(SYS_connect, fd, address, len);
}

static int daemon_start(void)
{
	const struct sockaddr_un un = {.sun_family = AF_UNIX,
				       .sun_path = LOG_SOCKET};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&un, sizeof un), 0);
	return fd;
}

static void daemon_stop(int fd)
{
	close(fd);
	assert_int_equal(unlink(LOG_SOCKET), 0);
}

/* The next datagram, or NULL; valid until the next call. */
static const char *daemon_read(int fd)
{
	static char line[8192];
	ssize_t n = recv(fd, line, sizeof line - 1, MSG_DONTWAIT);

	if (n < 0) {
		assert_int_equal(errno, EAGAIN);
		return NULL;
	}
	line[n] = '\0';
	return line;
}

/* "<PRI>Mmm dd hh:mm:ss dracd[pid]: text", as syslog(3) writes it. */
static void assert_syslog(const char *line, int priority, const char *text)
{
	char head[64], tail[64];
	struct tm tm;
	const char *end;
	time_t now_s = time(NULL), then_s;

	assert_non_null(line);
	snprintf(head, sizeof head, "<%d>", priority);
	assert_memory_equal(line, head, strlen(head));
	line += strlen(head);
	localtime_r(&now_s, &tm); /* the year and the hour's rules */
	end = strptime(line, "%b %e %H:%M:%S", &tm);
	assert_ptr_equal(end, line + strlen("Mmm dd hh:mm:ss"));
	then_s = mktime(&tm);
	assert_in_range(now_s - then_s, 0, 5);
	snprintf(tail, sizeof tail, " dracd[%d]: ", (int)getpid());
	assert_memory_equal(end, tail, strlen(tail));
	assert_string_equal(end + strlen(tail), text);
}

/* ---- the tests ---- */

static void before_it_is_opened(void **state)
{
	(void)state;
	capture_begin();
	log_write(LOG_ERR, "a=%d", 1);
	assert_string_equal(capture_end(), "dracd: a=1\n");
}

static void names_the_error(void **state)
{
	const char *text;

	(void)state;
	log_open("dracd", true);
	capture_begin();
	errno = ENOSPC;
	log_errno(LOG_ERR, "%s", "/x/map.db");
	assert_int_equal(errno, ENOSPC);
	log_write(LOG_ERR, "plain");
	assert_int_equal(errno, ENOSPC);
	text = capture_end();
	assert_string_equal(text, "dracd: /x/map.db: No space left on device\n"
				  "dracd: plain\n");
}

static void one_line_an_event(void **state)
{
	(void)state;
	log_open("dracd", true);
	capture_begin();
	log_write(LOG_INFO, "user=%s", "a\nb\rc\td\033[31m\177");
	assert_string_equal(capture_end(), "dracd: user=a?b?c?d?[31m?\n");
}

static void long_lines_are_cut(void **state)
{
	static char big[10000];
	const char *text;

	(void)state;
	memset(big, 'x', sizeof big - 1);
	log_open("dracd", true);
	for (int with_errno = 0; with_errno < 2; with_errno++) {
		capture_begin();
		errno = EIO;
		if (with_errno)
			log_errno(LOG_INFO, "%s", big);
		else
			log_write(LOG_INFO, "%s", big);
		text = capture_end();
		assert_in_range(strlen(text), 1000, 4096);
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	}
}

static void goes_to_syslog(void **state)
{
	int fd = daemon_start();

	(void)state;
	log_open("dracd", false);
	capture_begin();
	log_write(LOG_WARNING, "100%% %s\n", "%n%s");
	assert_string_equal(capture_end(), "");
	assert_syslog(daemon_read(fd), LOG_MAIL | LOG_WARNING, "100% %n%s?");
	errno = EACCES;
	log_errno(LOG_CRIT, "f");
	assert_int_equal(errno, EACCES);
	assert_syslog(daemon_read(fd), LOG_MAIL | LOG_CRIT,
		      "f: Permission denied");
	log_write(LOG_INFO, "%5000s", "x");
	assert_in_range(strlen(daemon_read(fd)), 2000, 2200);
	assert_null(daemon_read(fd));
	daemon_stop(fd);
	log_open("dracd", true);
}

/* syslog(3) would stand still here for ever. */
static void a_log_daemon_that_does_not_read(void **state)
{
	int fd = daemon_start(), arrived = 0;
	char text[64];

	(void)state;
	log_open("dracd", false);
	alarm(10);
	for (int i = 0; i < MANY; i++) {
		errno = ENOENT;
		log_write(LOG_INFO, "line=%d", i);
		assert_int_equal(errno, ENOENT);
	}
	alarm(0);
	for (const char *line; (line = daemon_read(fd)) != NULL; arrived++) {
		snprintf(text, sizeof text, "line=%d", arrived);
		assert_syslog(line, LOG_MAIL | LOG_INFO, text);
	}
	assert_in_range(arrived, 1, MANY - 1);
	log_write(LOG_INFO, "again");
	snprintf(text, sizeof text, "again lost=%d", MANY - arrived);
	assert_syslog(daemon_read(fd), LOG_MAIL | LOG_INFO, text);
	log_write(LOG_INFO, "as ever");
	assert_syslog(daemon_read(fd), LOG_MAIL | LOG_INFO, "as ever");
	daemon_stop(fd);
	log_open("dracd", true);
}

static int descriptors(void)
{
	int count = 0;
	DIR *dir = opendir("/proc/self/fd");

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void a_log_daemon_that_comes_and_goes(void **state)
{
	int fd, before;

	(void)state;
	log_open("dracd", false); /* before there is one */
	log_write(LOG_INFO, "1");
	before = descriptors();
	fd = daemon_start();
	log_write(LOG_INFO, "2");
	assert_syslog(daemon_read(fd), LOG_MAIL | LOG_INFO, "2 lost=1");

	daemon_stop(fd);
	fd = daemon_start();
	log_write(LOG_INFO, "3"); /* restarted: nothing is lost */
	assert_syslog(daemon_read(fd), LOG_MAIL | LOG_INFO, "3");

	daemon_stop(fd);
	for (int i = 0; i < 100; i++)
		log_write(LOG_INFO, "4");
	assert_int_equal(descriptors(), before);
	fd = daemon_start();
	log_write(LOG_INFO, "5");
	assert_syslog(daemon_read(fd), LOG_MAIL | LOG_INFO, "5 lost=100");
	assert_null(daemon_read(fd));
	daemon_stop(fd);
	log_open("dracd", true);
}

/* `dracd -f | something` that has stopped reading. */
static void a_pipe_that_is_full(void **state)
{
	int ends[2], saved = dup(STDERR_FILENO), arrived = 0;
	char text[64], *line;
	FILE *reader;
	size_t room = 0;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	log_open("dracd", true);
	dup2(ends[1], STDERR_FILENO);
	alarm(10);
	for (int i = 0; i < MANY; i++)
		log_write(LOG_INFO, "line=%d %32s", i, "");
	alarm(0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	reader = fdopen(ends[0], "r");
	line = NULL;
	while (getline(&line, &room, reader) > 0)
		arrived++;
	clearerr(reader);
	log_write(LOG_INFO, "again");
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_in_range(arrived, 1, MANY - 1);
	assert_true(getline(&line, &room, reader) > 0);
	snprintf(text, sizeof text, "dracd: again lost=%d\n", MANY - arrived);
	assert_string_equal(line, text);
	free(line);
	fclose(reader);
	close(ends[1]);
}

/* Only when standard error is the journal's stream, not inherited from one. */
static void level_for_the_journal(void **state)
{
	char stream[64];
	struct stat st;

	(void)state;
	capture_begin();
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof stream, "%llu:%llu",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open("dracd", true);
	log_write(LOG_ERR, "x");
	assert_string_equal(capture_end(), "<3>x\n");

	capture_begin();
	setenv("JOURNAL_STREAM", "1:2", 1);
	log_open("dracd", true);
	log_write(LOG_ERR, "x");
	unsetenv("JOURNAL_STREAM");
	assert_string_equal(capture_end(), "dracd: x\n");
}

static void a_stranger_cannot_fill_the_log(void **state)
{
	struct log_limit limit = {0}, other = {0};
	int allowed = 0;

	(void)state;
	log_open("dracd", true);
	capture_begin();
	for (int i = 0; i < 1000; i++) {
		if (log_allowed(&limit)) {
			allowed++;
			log_write(LOG_WARNING, "refused caller=192.0.2.1");
		}
	}
	/* 1 unless the machine stood still for LOG_LIMIT_S meanwhile */
	assert_int_equal(allowed, 1);
	assert_int_equal(limit.suppressed, 999);
	assert_true(log_allowed(&other));
	log_write(LOG_WARNING, "other");
	limit.next_s = 0; /* as if the time had passed */
	assert_true(log_allowed(&limit));
	log_write(LOG_WARNING, "again caller=192.0.2.1");
	log_write(LOG_WARNING, "unrelated");
	assert_string_equal(capture_end(),
			    "dracd: refused caller=192.0.2.1\n"
			    "dracd: other\n"
			    "dracd: again caller=192.0.2.1 suppressed=999\n"
			    "dracd: unrelated\n");
	assert_int_equal(limit.suppressed, 0);
	assert_false(log_allowed(&limit));
}

static void quotes_what_strangers_write(void **state)
{
	char buf[64];

	(void)state;
	assert_string_equal(log_quote("", buf, sizeof buf), "\"\"");
	assert_string_equal(log_quote("joe smith", buf, sizeof buf),
			    "\"joe smith\"");
	assert_string_equal(log_quote("a\"b\\c\n\x1b\x7f", buf, sizeof buf),
			    "\"a\\\"b\\\\c\\x0a\\x1b\\x7f\"");
	assert_string_equal(log_quote("\xc3\xa4", buf, sizeof buf),
			    "\"\\xc3\\xa4\"");
	assert_ptr_equal(log_quote("x", buf, sizeof buf), buf);
}

/* Whatever the size: inside it, closed, cut between escapes only. */
static void quotes_into_any_room(void **state)
{
	static const char *const texts[] = {"\n\n\n\n\n\n", "abcdefghijklmnop",
					    "\"\"\"\"\"\"\"\"", "a"};

	(void)state;
	for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
		for (size_t size = 0; size < 48; size++) {
			char *buf = malloc(size + 1), whole[64];
			size_t len;

			buf[size] = '#';
			log_quote(texts[t], buf, size);
			assert_int_equal(buf[size], '#');
			log_quote(texts[t], whole, sizeof whole);
			len = size > 0 ? strlen(buf) : 0;
			if (size > 0 && len > 0 && strcmp(buf, whole) != 0) {
				assert_true(len >= 5);
				assert_string_equal(buf + len - 4, "...\"");
				assert_memory_equal(buf, whole, len - 4);
			}
			if (size > strlen(whole) && size > 6)
				assert_string_equal(buf, whole);
			free(buf);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(before_it_is_opened),
	    cmocka_unit_test(names_the_error),
	    cmocka_unit_test(one_line_an_event),
	    cmocka_unit_test(long_lines_are_cut),
	    cmocka_unit_test(goes_to_syslog),
	    cmocka_unit_test(a_log_daemon_that_does_not_read),
	    cmocka_unit_test(a_log_daemon_that_comes_and_goes),
	    cmocka_unit_test(a_pipe_that_is_full),
	    cmocka_unit_test(level_for_the_journal),
	    cmocka_unit_test(a_stranger_cannot_fill_the_log),
	    cmocka_unit_test(quotes_what_strangers_write),
	    cmocka_unit_test(quotes_into_any_room),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

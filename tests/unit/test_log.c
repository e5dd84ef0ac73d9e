/* log: lines, limits, quoting; standard error and syslog. */
#include "log.h"

#include <errno.h>

#include "scratch.h"

/* ---- in the place of the C library's ---- */

static int sys_option, sys_facility, sys_priority;
static char sys_ident[32], sys_line[4096];

void openlog(const char *ident, int option, int facility)
{
	snprintf(sys_ident, sizeof sys_ident, "%s", ident);
	sys_option = option;
	sys_facility = facility;
}

static void take(int priority, const char *format, va_list ap)
{
	sys_priority = priority;
	vsnprintf(sys_line, sizeof sys_line, format, ap);
}

void syslog(int priority, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	take(priority, format, ap);
	va_end(ap);
}

/* What syslog() is with _FORTIFY_SOURCE. */
void __syslog_chk(int priority, int flag, const char *format, ...);
void __syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list ap;

	(void)flag;
	va_start(ap, format);
	take(priority, format, ap);
	va_end(ap);
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
	(void)state;
	log_open("dracd", false);
	assert_string_equal(sys_ident, "dracd");
	assert_int_equal(sys_facility, LOG_MAIL);
	assert_true(sys_option & LOG_PID);
	capture_begin();
	log_write(LOG_WARNING, "100%% %s\n", "%n%s");
	assert_string_equal(capture_end(), "");
	assert_string_equal(sys_line, "100% %n%s?");
	assert_int_equal(sys_priority, LOG_MAIL | LOG_WARNING);
	errno = EACCES;
	log_errno(LOG_CRIT, "f");
	assert_string_equal(sys_line, "f: Permission denied");
	assert_int_equal(sys_priority, LOG_MAIL | LOG_CRIT);
	log_open("dracd", true);
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
	assert_string_equal(capture_end(), "<3>dracd: x\n");

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
	    cmocka_unit_test(level_for_the_journal),
	    cmocka_unit_test(a_stranger_cannot_fill_the_log),
	    cmocka_unit_test(quotes_what_strangers_write),
	    cmocka_unit_test(quotes_into_any_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

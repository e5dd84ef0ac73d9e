/* line: time stamps, tags, and what is no line. */
#include "line.h"

#include <time.h>

#include "scratch.h"

enum { HOUR_S = 3600, DAY_S = 24 * HOUR_S };

static struct line line;

static bool parse(const char *text, int64_t now_s)
{
	return line_parse(text, strlen(text), now_s, &line);
}

static int64_t utc(int year, int month, int day, int hour, int minute)
{
	struct tm tm = {.tm_year = year - 1900,
			.tm_mon = month - 1,
			.tm_mday = day,
			.tm_hour = hour,
			.tm_min = minute};

	return timegm(&tm);
}

static void zone(const char *name)
{
	setenv("TZ", name, 1);
	tzset();
}

static void parts(void **state)
{
	int64_t now_s = utc(2026, 11, 22, 12, 0);

	(void)state;
	zone("UTC");
	assert_true(
	    parse("Nov 22 03:27:14 relay cyrus/imap[23]: a b: c", now_s));
	assert_int_equal(line.time_s, utc(2026, 11, 22, 3, 27) + 14);
	assert_string_equal(line.host, "relay");
	assert_string_equal(line.program, "cyrus/imap");
	assert_int_equal(line.pid, 23);
	assert_int_equal(line.len, strlen("a b: c"));
	assert_memory_equal(line.message, "a b: c", line.len);
	assert_true(parse("Nov  2 03:27:14 p: ", now_s));
	assert_string_equal(line.host, "");
	assert_string_equal(line.program, "p");
	assert_int_equal(line.pid, 0);
	assert_int_equal(line.len, 0);
	assert_true(parse("Nov  2 03:27:14 h p[x]: m", now_s));
	assert_string_equal(line.program, "p[x]");
	assert_int_equal(line.pid, 0);
	assert_true(
	    parse("Nov  2 03:27:14 h p[99999999999999999999]: m", now_s));
	assert_int_equal(line.pid, 0);
}

static void no_line(void **state)
{
	static const char *const texts[] = {
	    "",
	    " ",
	    "Nov 22 03:27:14",
	    "Nov 22 03:27:14 ",
	    "Nov 22 03:27:14 h",
	    "Nov 22 03:27:14 h p",
	    "Nov 22 03:27:14 h p m",
	    "Nov 22 03:27:14 h :",
	    "Nov 22 03:27:14 h [1]: m",
	    "Nov 22 03:27 h p: m",
	    "Nov 22 25:27:14 h p: m",
	    "Feb 30 03:27:14 h p: m",
	    "Nov 22 03:27:14h p: m",
	    "2026-11-22T03:27:14 h p: m",
	    "2026-11-22T03:27:14+1 h p: m",
	    "2026-11-22T03:27:14+01:00x h p: m",
	    "2026-11-22T03:27:14*01:00 h p: m",
	    "2026-13-22T03:27:14Z h p: m",
	    "Nov 22 03:27:14 h p: a\nb",
	    "Nov 22 03:27:14 h p: a\x7f",
	    "Nov 22 03:27:14 h p: a\x1b[0m",
	};

	(void)state;
	zone("UTC");
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (parse(texts[i], utc(2026, 12, 1, 0, 0)))
			fail_msg("\"%s\" is taken for a line", texts[i]);
	assert_false(line_parse("Nov 22 03:27:14 h p: a\0b", 24,
				utc(2026, 12, 1, 0, 0), &line));
	assert_true(
	    parse("Nov 22 03:27:14 h p: a\tb\xf6", utc(2026, 12, 1, 0, 0)));
}

/* A program or a host that has no room is none, not a shorter one. */
static void long_names(void **state)
{
	char text[LINE_HOST_MAX + 64];
	int64_t now_s = utc(2026, 12, 1, 0, 0);

	(void)state;
	zone("UTC");
	snprintf(text, sizeof text, "Nov 22 03:27:14 h %0*d: m",
		 LINE_PROGRAM_MAX, 0);
	assert_true(parse(text, now_s));
	snprintf(text, sizeof text, "Nov 22 03:27:14 h %0*d: m",
		 LINE_PROGRAM_MAX + 1, 0);
	assert_false(parse(text, now_s));
	snprintf(text, sizeof text, "Nov 22 03:27:14 %0*d p: m",
		 LINE_HOST_MAX + 1, 0);
	assert_false(parse(text, now_s));
}

static int64_t at(const char *stamp, int64_t now_s)
{
	char text[64];

	snprintf(text, sizeof text, "%s h p: m", stamp);
	assert_true(parse(text, now_s));
	return line.time_s;
}

static void full_stamps(void **state)
{
	int64_t now_s = utc(2027, 1, 1, 0, 0),
		then_s = utc(2026, 11, 22, 3, 27);

	(void)state;
	zone("Asia/Kolkata"); /* must not matter */
	assert_int_equal(at("2026-11-22T03:27:00Z", now_s), then_s);
	assert_int_equal(at("2026-11-22T03:27:00.999999+00:00", now_s), then_s);
	assert_int_equal(at("2026-11-22T04:27:00+01:00", now_s), then_s);
	assert_int_equal(at("2026-11-22T04:27:00+0100", now_s), then_s);
	assert_int_equal(at("2026-11-21T22:57:00-04:30", now_s), then_s);
	/* never in the future */
	assert_int_equal(at("2027-11-22T03:27:00Z", now_s), now_s);
}

static void classic_stamps(void **state)
{
	int64_t new_year_s = utc(2027, 1, 1, 0, 0);

	(void)state;
	zone("UTC");
	/* last year's */
	assert_int_equal(at("Dec 31 23:59:00", new_year_s), new_year_s - 60);
	assert_int_equal(at("Jan  1 00:00:00", new_year_s), new_year_s);
	/* a clock that is ahead a little; too far is a year ago */
	assert_int_equal(at("Jan  1 00:30:00", new_year_s), new_year_s);
	assert_int_equal(at("Jan  1 03:00:00", new_year_s),
			 utc(2026, 1, 1, 3, 0));
	zone("Asia/Kolkata");
	assert_int_equal(at("Jan  1 05:00:00", new_year_s),
			 new_year_s - HOUR_S / 2);
}

/* The clock shows 02:30 twice on 25 October 2026: 00:30 and 01:30 UTC. */
static void summer_ends(void **state)
{
	int64_t first_s = utc(2026, 10, 25, 0, 30), second_s = first_s + HOUR_S;

	(void)state;
	zone("Europe/Berlin");
	assert_int_equal(at("Oct 25 02:30:00", first_s), first_s);
	assert_int_equal(at("Oct 25 02:30:00", first_s + 60), first_s);
	assert_int_equal(at("Oct 25 02:30:00", second_s), second_s);
	assert_int_equal(at("Oct 25 02:30:00", second_s + DAY_S), second_s);
	assert_int_equal(at("Jul  1 12:00:00", second_s),
			 utc(2026, 7, 1, 10, 0));
	zone("UTC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parts),          cmocka_unit_test(no_line),
	    cmocka_unit_test(long_names),     cmocka_unit_test(full_stamps),
	    cmocka_unit_test(classic_stamps), cmocka_unit_test(summer_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

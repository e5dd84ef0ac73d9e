/*
 * patterns: the lines of tests/unit/data/watch_lines, and what is wrong in
 * pattern files.
 */
#include "patterns.h"

#include <time.h>

#include "scratch.h"

#define PATTERNS "integrations/watch/patterns"
#define LINES "tests/unit/data/watch_lines"

enum {
	TEXT_ROOM = 2048,
	HOSTILE_LINES = 100, /* a tenth of a second */
#ifdef MEMCHECK
	HOSTILE_MAX_S = 600,
#else
	HOSTILE_MAX_S = 10,
#endif
	NOW_S = 1796083200, /* 1 December 2026, after all stamps */
};

static struct patterns *shipped;

/* ---- lines --------------------------------------------------------------- */

/* \xNN becomes a byte; returns the length. */
static size_t unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in != '\0'; in++) {
		if (in[0] == '\\' && in[1] == 'x') {
			const char digits[] = {in[2], in[3], '\0'};

			*out++ = (char)strtol(digits, NULL, 16);
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	return (size_t)(out - text);
}

/* "" or "PATTERN ADDRESS SERVICE USER" */
static void judge(const char *text, size_t len, struct joins *joins, char *out)
{
	/* exactly as long as it is, for the sanitizer */
	char *exact = malloc(len + 1);
	const char *name = NULL;
	struct event event;
	struct line line;

	assert_non_null(exact);
	memcpy(exact, text, len);
	if (line_parse(exact, len, NOW_S, &line))
		name = patterns_match(shipped, joins, &line, &event);
	out[0] = '\0';
	if (name != NULL)
		snprintf(out, TEXT_ROOM, "%s %s %s%s%s", name, event.address,
			 event.service, event.user[0] ? " " : "", event.user);
	free(exact);
}

static void all_lines(void **state)
{
	FILE *f = fopen(LINES, "re");
	struct joins *joins = joins_create();
	char text[TEXT_ROOM], before[TEXT_ROOM] = "", is[TEXT_ROOM] = "";
	int number = 0, logins = 0, wrong = 0;
	bool more = true;

	(void)state;
	assert_non_null(f);
	while (more) {
		const char *wanted = "";

		more = fgets(text, sizeof text, f) != NULL;
		number++;
		text[strcspn(text, "\n")] = '\0';
		if (more && (text[0] == '#' || text[0] == '\0'))
			continue;
		if (more && strncmp(text, "+ ", 2) == 0) {
			wanted = text + 2;
			logins++;
		}
		if (strcmp(wanted, is) != 0) {
			print_error("%s:%d: \"%s\"\n\tis \"%s\", not \"%s\"\n",
				    LINES, number, before, is, wanted);
			wrong++;
		}
		is[0] = '\0';
		if (!more || *wanted != '\0')
			continue;
		snprintf(before, sizeof before, "%s", text);
		judge(text, unescape(text), joins, is);
	}
	fclose(f);
	joins_free(joins);
	assert_int_equal(wrong, 0);
	assert_true(logins > 25);
}

static struct patterns *parse(const char *text)
{
	return patterns_parse("file", text, strlen(text));
}

/* What patterns makes of one message of the program "p". */
static bool matches(const struct patterns *patterns, const char *message,
		    struct event *event)
{
	struct joins *joins = joins_create();
	struct line line = {.time_s = 1, .program = "p", .message = message};
	const char *name;

	line.len = strlen(message);
	name = patterns_match(patterns, joins, &line, event);
	joins_free(joins);
	return name != NULL;
}

/* Whatever the pattern says: the whole message or nothing. */
static void whole_messages(void **state)
{
	struct patterns *patterns =
	    parse("pattern a\nprogram p s\n"
		  "login from (?<address>\\S+)|at (?<there>x)?\n");
	struct event event;

	(void)state;
	assert_null(patterns); /* "there" is no group of ours */
	patterns = parse("# x\n\n  pattern a \r\n\tprogram p s\n"
			 "\tlogin\tfrom (?<address>\\S+)|at home\n");
	assert_non_null(patterns);
	assert_true(matches(patterns, "from 1.2.3.4", &event));
	assert_string_equal(event.address, "1.2.3.4");
	assert_string_equal(event.service, "s");
	assert_int_equal(event.time_s, 1);
	assert_true(matches(patterns, "from ::FFFF:1.2.3.4", &event));
	assert_string_equal(event.address, "1.2.3.4");
	assert_true(matches(patterns, "from FD00:0::5", &event));
	assert_string_equal(event.address, "fd00::5");
	assert_false(matches(patterns, "x from 1.2.3.4", &event));
	assert_false(matches(patterns, "from 1.2.3.4 x", &event));
	assert_false(matches(patterns, "from 1.2.3.4\n", &event));
	assert_false(matches(patterns, "at home", &event));
	assert_false(matches(patterns, "from localhost", &event));
	assert_false(matches(patterns, "from fe80::1%lo", &event));
	assert_false(matches(patterns, "from [::1]", &event));
	patterns_free(patterns);
}

/* A pattern that would search for ever is given up. */
static void endless(void **state)
{
	struct patterns *patterns =
	    parse("pattern a\nprogram p\nlogin (a+)+(?<address>[bc])\n");
	time_t begin_s = time(NULL);
	char message[TEXT_ROOM];
	struct event event;

	(void)state;
	assert_non_null(patterns);
	memset(message, 'a', sizeof message);
	message[sizeof message - 1] = '\0';
	capture_begin();
	for (int i = 0; i < HOSTILE_LINES; i++)
		assert_false(matches(patterns, message, &event));
	assert_contains(capture_end(), "pattern=a gives up");
	assert_true(time(NULL) - begin_s < HOSTILE_MAX_S);
	patterns_free(patterns);
}

/* A user that has no room is left out, not cut. */
static void long_user(void **state)
{
	struct patterns *patterns = parse(
	    "pattern a\nprogram p\nlogin (?<user>\\S+) (?<address>\\S+)\n");
	char message[TEXT_ROOM];
	struct event event;

	(void)state;
	snprintf(message, sizeof message, "%0*d ::1", DRAC_USER_MAX, 0);
	assert_true(matches(patterns, message, &event));
	assert_int_equal(strlen(event.user), DRAC_USER_MAX);
	snprintf(message, sizeof message, "%0*d ::1", DRAC_USER_MAX + 1, 0);
	assert_true(matches(patterns, message, &event));
	assert_string_equal(event.user, "");
	patterns_free(patterns);
}

/* ---- files --------------------------------------------------------------- */

static void wrong_files(void **state)
{
	static const struct {
		const char *text, *message;
	} wrong[] = {
	    {"", "file:0: no pattern"},
	    {"login x\n", "file:1: login outside of a pattern"},
	    {"\nregex x\n", "file:2: \"regex\": unknown; write pattern"},
	    {"pattern\n", "file:1: write \"pattern NAME\""},
	    {"pattern a b\n", "file:1: write \"pattern NAME\""},
	    {"pattern a/b\n", "file:1: write \"pattern NAME\""},
	    {"pattern a\nlogin (?<address>.)\n", "file:1: pattern a has no "
						 "program"},
	    {"pattern a\nprogram p\n", "file:1: pattern a has no login"},
	    {"pattern a\nprogram p\nlogin x\n", "file:1: pattern a has no "
						"address"},
	    {"pattern a\nprogram p q r\n", "file:2: write \"program NAME\""},
	    {"pattern a\nprogram\n", "file:2: write \"program NAME\""},
	    {"pattern a\nprogram p\nlogin (?<adress>.)\n",
	     "file:3: group \"adress\" means nothing here: use address"},
	    {"pattern a\nprogram p\nlogin (\n", "file:3: the regular "
						"expression is wrong at "
						"character 2"},
	    {"pattern a\nprogram p\nlogin\n", "file:3: write the regular"},
	    {"pattern a\nprogram p\nlogin (?<address>.)\nlogin x\n",
	     "file:4: pattern a has a login already"},
	    {"pattern a\nprogram p\njoin x\n", "file:3: a join tells"},
	    {"pattern a\nprogram p\njoin (?<address>.)\n"
	     "login (?<address>.)\n",
	     "file:1: pattern a has two addresses"},
	    {"pattern a\nprogram p\nlogin (?<address>.)\npattern a\n",
	     "file:4: pattern a is there already, in line 1"},
	    {"pattern a\x01\n", "file:1: longer than"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		capture_begin();
		assert_null(parse(wrong[i].text));
		assert_contains(capture_end(), wrong[i].message);
	}
	capture_begin();
	assert_null(patterns_load("/nonexistent/patterns"));
	assert_contains(capture_end(), "/nonexistent/patterns: No such file");
}

/* What text says, with one line many times before its end. */
static void too_many(const char *begin, const char *line, int count,
		     const char *message)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	fputs(begin, f);
	for (int i = 0; i < count; i++)
		fprintf(f, line, i);
	fclose(f);
	capture_begin();
	assert_null(parse(text));
	assert_contains(capture_end(), message);
	free(text);
}

static void limits(void **state)
{
	enum { MANY = 2000, LARGE = 2 << 20 };
	int fd = memfd_create("large", MFD_CLOEXEC);
	char path[64];

	(void)state;
	too_many("", "pattern p%d\nprogram p\nlogin (?<address>.)\n", MANY,
		 "patterns: leave out some");
	too_many("pattern a\n", "program p%d\n", MANY,
		 "programs: write a second pattern");
	assert_int_equal(ftruncate(fd, LARGE), 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	capture_begin();
	assert_null(patterns_load(path));
	assert_contains(capture_end(), ": larger than");
	close(fd);
}

static int setup(void **state)
{
	(void)state;
	shipped = patterns_load(PATTERNS);
	return shipped == NULL;
}

static int teardown(void **state)
{
	(void)state;
	patterns_free(shipped);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_lines),   cmocka_unit_test(whole_messages),
	    cmocka_unit_test(endless),     cmocka_unit_test(long_user),
	    cmocka_unit_test(wrong_files), cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

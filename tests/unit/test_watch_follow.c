/*
 * follow and tail: every line once and whole, whatever is done to the file,
 * with and without a restart in between.
 */
#include "follow.h"

#include <fcntl.h>

#include "line.h"
#include "scratch.h"

#define LOG "mail.log"
#define OLD "mail.log.1"

enum { GOT_ROOM = 1 << 20 };

static char got[GOT_ROOM];
static size_t got_len;
static struct follow *follow;

static void take(void *ctx, const char *text, size_t len)
{
	(void)ctx;
	assert_true(got_len + len + 2 < sizeof got);
	memcpy(got + got_len, text, len);
	got_len += len;
	got[got_len++] = '|';
	got[got_len] = '\0';
}

static void forget(void)
{
	got_len = 0;
	got[0] = '\0';
}

/* ---- doing --------------------------------------------------------------- */

static void append(const char *path, const char *text)
{
	FILE *f = fopen(path, "ae");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void copy(const char *from, const char *to)
{
	static char bytes[GOT_ROOM];
	FILE *f = fopen(from, "re");
	size_t len;

	assert_non_null(f);
	len = fread(bytes, 1, sizeof bytes, f);
	fclose(f);
	scratch_write_bytes(to, bytes, len);
}

static void restart(void)
{
	json_t *saved = follow_save(follow);
	char *text = json_dumps(saved, 0);

	json_decref(saved);
	follow_close(follow);
	saved = json_loads(text, 0, NULL);
	free(text);
	follow = follow_open(LOG, saved, take, NULL);
	json_decref(saved);
	assert_non_null(follow);
}

static bool restarting;

static void expect(const char *lines)
{
	while (follow_read(follow))
		;
	assert_string_equal(got, lines);
	forget();
	if (restarting)
		restart();
}

static int begin(void **state)
{
	(void)state;
	unlink(LOG);
	unlink(OLD);
	append(LOG, "before\n");
	forget();
	follow = follow_open(LOG, NULL, take, NULL);
	return follow == NULL;
}

static int end(void **state)
{
	(void)state;
	follow_close(follow);
	follow = NULL;
	return 0;
}

/* ---- tests, each also with a restart after each step --------------------- */

static void whole_lines(void **state)
{
	(void)state;
	expect("");
	append(LOG, "a\nb\nhal");
	expect("a|b|");
	append(LOG, "f");
	expect("");
	append(LOG, "\n\nc\n");
	expect("half||c|");
	expect("");
}

static void renamed(void **state)
{
	(void)state;
	append(LOG, "a\n");
	expect("a|");
	append(LOG, "b\n");
	assert_int_equal(rename(LOG, OLD), 0);
	append(OLD, "c\n");
	expect("b|c|");
	append(OLD, "d\n");
	append(LOG, "e\n");
	expect("d|e|");
	/* whoever has it open may still write to it */
	append(OLD, "f\n");
	append(LOG, "g\n");
	expect("f|g|");
	/* and once more */
	append(LOG, "h\n");
	assert_int_equal(rename(LOG, OLD), 0);
	append(LOG, "i\n");
	expect("h|i|");
}

static void copied_and_truncated(void **state)
{
	(void)state;
	append(LOG, "a\n");
	expect("a|");
	append(LOG, "b\n");
	copy(LOG, OLD);
	assert_int_equal(truncate(LOG, 0), 0);
	expect("b|");
	append(LOG, "c\n");
	expect("c|");
	/* grown beyond what it was, before we look */
	append(LOG, "d\n");
	copy(LOG, OLD);
	assert_int_equal(truncate(LOG, 0), 0);
	append(LOG, "a long line, longer than all before\ne\n");
	expect("d|a long line, longer than all before|e|");
}

static void truncated(void **state)
{
	(void)state;
	append(LOG, "a\n");
	expect("a|");
	assert_int_equal(truncate(LOG, 0), 0);
	append(LOG, "b\n");
	capture_begin();
	while (follow_read(follow))
		;
	assert_contains(capture_end(), "logins may be missing");
	expect("b|");
}

static void removed(void **state)
{
	(void)state;
	append(LOG, "a\n");
	expect("a|");
	assert_int_equal(unlink(LOG), 0);
	capture_begin();
	expect("");
	capture_end();
	append(LOG, "b\n");
	expect("b|");
}

static void too_long(void **state)
{
	static char line[3 * LINE_MAX_LEN];

	(void)state;
	memset(line, 'x', sizeof line - 1);
	memcpy(line + LINE_MAX_LEN + 1, "\nlong\n", 6);
	line[LINE_MAX_LEN + 7] = '\0';
	append(LOG, "a\n");
	append(LOG, line);
	expect("a|long|");
	/* in parts, so that its end looks like a line */
	memset(line, 'x', sizeof line - 1);
	append(LOG, line);
	append(LOG, line);
	expect("");
	append(LOG, line);
	append(LOG, "forged");
	expect("");
	append(LOG, "\nb\n");
	expect("b|");
	/* as long as a line may be */
	line[LINE_MAX_LEN] = '\0';
	append(LOG, line);
	append(LOG, "\n");
	while (follow_read(follow))
		;
	assert_int_equal(strlen(got), LINE_MAX_LEN + 1);
	forget();
}

static void much(void **state)
{
	static char text[GOT_ROOM / 2], lines[GOT_ROOM / 2];
	size_t len = 0;

	(void)state;
	while (len < sizeof text - 64)
		len += (size_t)snprintf(text + len, sizeof text - len,
					"line at %zu\n", len);
	memcpy(lines, text, len + 1);
	for (char *newline = lines; (newline = strchr(newline, '\n')) != NULL;)
		*newline = '|';
	append(LOG, text);
	expect(lines);
}

static void no_file_yet(void **state)
{
	(void)state;
	follow_close(follow);
	unlink(LOG);
	capture_begin();
	follow = follow_open(LOG, NULL, take, NULL);
	assert_contains(capture_end(), "waiting for it");
	assert_non_null(follow);
	expect("");
	append(LOG, "a\n");
	expect("a|");
	/* a directory is no log */
	unlink(LOG);
	assert_int_equal(mkdir(LOG, 0700), 0);
	capture_begin();
	expect("");
	capture_end();
	assert_int_equal(rmdir(LOG), 0);
	append(LOG, "b\n");
	expect("b|");
}

/* What is there at the first start stays unread, but for a line under way. */
static void from_now_on(void **state)
{
	(void)state;
	append(LOG, "begun");
	follow_close(follow);
	follow = follow_open(LOG, NULL, take, NULL);
	append(LOG, " and ended\na\n");
	expect("begun and ended|a|");
}

/*
 * Rotated while nobody looked, twice: what is gone is said, and the file in its
 * place is another one, long as it is.
 */
static void lost(void **state)
{
	json_t *saved;

	(void)state;
	append(OLD, "another log\nthat was\nnever read\nhere\n");
	append(LOG, "a\n");
	expect("a|");
	saved = follow_save(follow);
	follow_close(follow);
	unlink(LOG);
	append(LOG, "a new one\n");
	capture_begin();
	follow = follow_open(LOG, saved, take, NULL);
	json_decref(saved);
	assert_non_null(follow);
	/* it may have the inode of the old one */
	follow_read(follow);
	assert_contains(capture_end(), "logins may be missing");
	expect("a new one|");
}

/* What cannot be a state is none. */
static void bad_state(void **state)
{
	static const char *const texts[] = {
	    "{}", "[]", "{\"now\":{}}",
	    "{\"now\":{\"inode\":1,\"offset\":-1,"
	    "\"sum\":0}}",
	    "{\"now\":{\"inode\":1,\"offset\":9223372036854775807,\"sum\":0},"
	    "\"old\":7}"};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		json_t *saved = json_loads(texts[i], 0, NULL);

		assert_non_null(saved);
		follow_close(follow);
		capture_begin();
		follow = follow_open(LOG, saved, take, NULL);
		capture_end();
		json_decref(saved);
		assert_non_null(follow);
		expect("before|");
	}
}

static int begin_restarting(void **state)
{
	restarting = true;
	return begin(state);
}

static int end_restarting(void **state)
{
	restarting = false;
	return end(state);
}

#define BOTH(test)                                                             \
	cmocka_unit_test_setup_teardown(test, begin, end),                     \
	{                                                                      \
#test " with restarts", test, begin_restarting,                \
		    end_restarting, NULL                                       \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(whole_lines), BOTH(renamed),     BOTH(copied_and_truncated),
	    BOTH(truncated),   BOTH(removed),     BOTH(too_long),
	    BOTH(much),        BOTH(no_file_yet), BOTH(from_now_on),
	    BOTH(lost),        BOTH(bad_state),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

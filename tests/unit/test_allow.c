/* allow: each kind of line, and what DRAC 1.12 did with the wrong ones. */
#include "allow.h"

#include <stdio.h>
#include <sys/stat.h>

#include "scratch.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct allow_list parsed(const char *text)
{
	struct allow_list list;
	bool ok;

	capture_begin();
	ok = allow_parse("f", text, strlen(text), NULL, &list);
	if (!ok || capture_end()[0] != '\0')
		fail_msg("\"%s\": %s", text, scratch_text);
	assert_false(list.missing);
	return list;
}

/* What is logged for a file that must be refused. */
static const char *refused_bytes(const char *text, size_t len)
{
	struct allow_list list;
	/* a copy without a NUL behind it, so that ASan sees a read too far */
	char *copy = malloc(len + 1);
	bool ok;

	memcpy(copy, text, len);
	copy = realloc(copy, len > 0 ? len : 1);
	capture_begin();
	ok = allow_parse("f", copy, len, NULL, &list);
	capture_end();
	free(copy);
	if (ok)
		fail_msg("taken: \"%s\"", text);
	assert_null(list.rules);
	assert_int_equal(list.count, 0);
	return scratch_text;
}

static const char *refused(const char *text)
{
	return refused_bytes(text, strlen(text));
}

static bool holds(const struct allow_list *list, const char *text)
{
	struct address a;

	assert_true(address_from_text(&a, text));
	return allow_ways(list, &a, NULL) != 0;
}

static void lines_and_whom_they_name(void **state)
{
	static const struct {
		const char *line, *in, *out;
	} rows[] = {
	    /* the classic form of securenets */
	    {"255.255.255.0 192.0.2.0", "192.0.2.9", "192.0.3.9"},
	    {"255.255.255.255 192.0.2.1", "192.0.2.1", "192.0.2.2"},
	    {"255.0.0.0 127.0.0.0", "127.0.0.1", "128.0.0.1"},
	    {"0.0.0.0 0.0.0.0", "203.0.113.1", "2001:db8::1"},
	    {"255.0.255.0 10.0.5.0", "10.77.5.1", "10.77.6.1"},
	    {"255.255.255.0\t192.0.2.0", "192.0.2.9", "192.0.3.9"},
	    {"host 192.0.2.1", "192.0.2.1", "192.0.2.2"},
	    {"host 2001:db8::1", "2001:db8::1", "2001:db8::2"},
	    {"192.0.2.0/24", "192.0.2.9", "192.0.3.9"},
	    {"0.0.0.0/0", "203.0.113.1", "::1"},
	    {"2001:db8::/32", "2001:db8:1::1", "2001:db9::1"},
	    {"::/0", "2001:db8:1::1", "192.0.2.1"},
	    {"192.0.2.1", "192.0.2.1", "192.0.2.2"},
	    {"2001:DB8::1", "2001:db8::1", "2001:db8::2"},
	    {"::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"},
	    /* what may stand around it */
	    {"  \t host\t 192.0.2.1 \t", "192.0.2.1", "192.0.2.2"},
	    {"host 192.0.2.1 # the POP server", "192.0.2.1", "192.0.2.2"},
	    {"192.0.2.0/24# mail", "192.0.2.1", "192.0.3.2"},
	    {"# first\n\n \t\n192.0.2.1\n", "192.0.2.1", "192.0.2.2"},
	    {"#\r\n192.0.2.1\r\n\r\n", "192.0.2.1", "192.0.2.2"},
	    {"192.0.2.1\r", "192.0.2.1", "192.0.2.2"},
	    {"\n\n# \xff\x01 \x80 a comment may say what it likes\n"
	     "192.0.2.1",
	     "192.0.2.1", "192.0.2.2"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct allow_list list = parsed(rows[i].line);

		assert_int_equal(list.count, 1);
		if (!holds(&list, rows[i].in) || holds(&list, rows[i].out))
			fail_msg("\"%s\"", rows[i].line);
		allow_free(&list);
		assert_null(list.rules);
	}
}

/* Keys and what they permit: tests/integration/test_signed.py. */
static void connections_only(void **state)
{
	static const char *const rows[] = {
	    "192.0.2.1 tcp",
	    "192.0.2.0/24\ttcp # all of them",
	    "host 192.0.2.1 tcp",
	    "255.255.255.0 192.0.2.0 tcp",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct allow_list list = parsed(rows[i]);
		struct address a = address_from_v4(0xc0000201);

		assert_int_equal(allow_ways(&list, &a, NULL), ALLOW_TCP);
		assert_int_equal(allow_ways(&list, &a, "pop1"), ALLOW_TCP);
		allow_free(&list);
	}
}

/* One line that permits it is enough; others take nothing away. */
static void the_widest_line_counts(void **state)
{
	struct allow_list list =
	    parsed("192.0.2.0/24 tcp\n192.0.2.1\n192.0.2.0/28 tcp\n");
	struct address one = address_from_v4(0xc0000201);
	struct address two = address_from_v4(0xc0000202);

	(void)state;
	assert_int_equal(allow_ways(&list, &one, NULL), ALLOW_TCP | ALLOW_UDP);
	assert_int_equal(allow_ways(&list, &two, NULL), ALLOW_TCP);
	allow_free(&list);
}

static void nobody_is_named(void **state)
{
	static const char *const texts[] = {"", "\n", "# nobody",
					    "\r\n\t\n \n"};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct allow_list list = parsed(texts[i]);

		assert_int_equal(list.count, 0);
		assert_false(holds(&list, "127.0.0.1"));
		assert_false(holds(&list, "0.0.0.0"));
		assert_false(holds(&list, "::"));
		allow_free(&list);
	}
}

static void many_lines(void **state)
{
	enum { LINES = 1000 };
	static char text[LINES * 32];
	struct allow_list list;
	size_t len = 0;
	char last[32];

	(void)state;
	for (int i = 0; i < LINES; i++)
		len += (size_t)snprintf(text + len, sizeof text - len,
					"host 10.0.%d.%d\n", i / 250, i % 250);
	list = parsed(text);
	assert_int_equal(list.count, LINES);
	snprintf(last, sizeof last, "10.0.%d.%d", (LINES - 1) / 250,
		 (LINES - 1) % 250);
	assert_true(holds(&list, "10.0.0.0"));
	assert_true(holds(&list, last));
	assert_false(holds(&list, "10.0.4.0"));
	allow_free(&list);
}

static void wrong_lines_are_explained(void **state)
{
	static const char example[] =
	    "write for example \"255.255.255.0 192.0.2.0\" or \"192.0.2.0/24\"";
	static const struct {
		const char *line, *why, *right;
	} rows[] = {
	    /* DRAC 1.12 took this for a host: the original's worst line */
	    {"999.1.1.1 127.0.0.1", "the netmask is not four numbers", example},
	    /* ... this one overflowed its buffer */
	    {"1234567890123456789012345678901234567890123456789012345678901"
	     "2345678901234567890123 127.0.0.1",
	     "the netmask is not four numbers", example},
	    /* ... and this one never matched */
	    {"255.0.0.0 127.0.0.1", "bits are set behind the netmask",
	     "write \"255.0.0.0 127.0.0.0\""},
	    {"255.255.255 192.0.2.0", "the netmask is not", example},
	    {"255.255.255.0. 192.0.2.0", "the netmask is not", example},
	    {"0xffffff00 192.0.2.0", "the netmask is not", example},
	    {"24 192.0.2.0", "the netmask is not", example},
	    {"-1 192.0.2.0", "the netmask is not", example},
	    {"Host 192.0.2.1", "the netmask is not", example},
	    {"allow 192.0.2.1", "the netmask is not", example},
	    {"ffff:: 2001:db8::", "the netmask is not", example},
	    {"255.255.255.0 192.0.2", "behind the netmask is not", example},
	    {"255.255.255.0 2001:db8::1", "behind the netmask is not", example},
	    {"255.255.255.0 mail.example.org", "behind the netmask is not",
	     example},
	    {"255.255.255.0 192.0.2.0/24", "behind the netmask is not",
	     example},
	    {"255.255.255.0", "a netmask without its network", example},
	    {"host", "not an IPv4 or IPv6 address", example},
	    {"host mail.example.org", "not an IPv4 or IPv6 address", example},
	    {"host 192.0.2.0/24", "\"host\" takes one address",
	     "write for example \"host 192.0.2.1\""},
	    {"mail.example.org", "not an IPv4 or IPv6 address", example},
	    {".example.org", "not an IPv4 or IPv6 address", example},
	    {"ALL", "not an IPv4 or IPv6 address", example},
	    {"192.0.2.", "not an IPv4 or IPv6 address", example},
	    {"192.0.2.1/24", "bits are set behind the prefix",
	     "write 192.0.2.0/24"},
	    {"2001:db8::1/32", "bits are set behind the prefix",
	     "write 2001:db8::/32"},
	    {"192.0.2.0/33", "not a number from 0 to 32", example},
	    {"192.0.2.0/255.255.255.0", "not a number from 0 to 32", example},
	    {"192.0.2.0 /24", "the netmask", NULL},
	    {"2001:db8::/129", "not a number from 0 to 128", example},
	    {"fe80::1%eth0", "not an IPv4 or IPv6 address", example},
	    {"255.255.255.0 192.0.2.0 x", "too many words", example},
	    {"host 192.0.2.1 192.0.2.2", "too many words", example},
	    {"192.0.2.1\v", "not an IPv4 or IPv6 address", example},
	    {"\xef\xbb\xbf"
	     "192.0.2.1",
	     "\"\\xef\\xbb\\xbf192.0.2.1\"", example},
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(text, sizeof text, "192.0.2.77\n%s\n", rows[i].line);
		assert_contains(refused(text), "dracd: f:2: \"");
		assert_contains(scratch_text, rows[i].why);
		if (rows[i].right != NULL)
			assert_contains(scratch_text, rows[i].right);
		/* the last line without its newline is the same line */
		refused(rows[i].line);
		assert_contains(scratch_text, "dracd: f:1: \"");
	}
}

static void bytes_that_are_no_text(void **state)
{
	static const char nul[] = "192.0.2.1\0/0\n";
	static const char cr[] = "192.0.2.1\r192.0.2.2\n";
	static const char nul_in_comment[] = "192.0.2.1 # \0 \n";
	struct allow_list list;

	(void)state;
	assert_contains(refused_bytes(nul, sizeof nul - 1), "f:1: ");
	assert_contains(scratch_text, "a NUL byte");
	assert_contains(refused_bytes(cr, sizeof cr - 1), "f:1: ");
	assert_true(allow_parse("f", nul_in_comment, sizeof nul_in_comment - 1,
				NULL, &list));
	assert_int_equal(list.count, 1);
	allow_free(&list);
}

static void lines_that_are_too_long(void **state)
{
	char text[ALLOW_LINE_MAX + 64];
	struct allow_list list;

	(void)state;
	memset(text, ' ', sizeof text);
	memcpy(text, "192.0.2.1", 9);
	assert_true(allow_parse("f", text, ALLOW_LINE_MAX, NULL, &list));
	assert_int_equal(list.count, 1);
	allow_free(&list);
	assert_contains(refused_bytes(text, ALLOW_LINE_MAX + 1),
			"longer than 1023 bytes");
	/* and the lines after it are still counted right */
	text[ALLOW_LINE_MAX + 10] = '\n';
	memcpy(text + ALLOW_LINE_MAX + 11, "bad", 3);
	refused_bytes(text, sizeof text);
	assert_contains(scratch_text, "f:1: ");
	assert_contains(scratch_text, "f:2: \"bad");
}

static void all_wrong_lines_in_one_go(void **state)
{
	enum { LINES = ALLOW_FAULTS_MAX + 7 };
	char text[LINES * 8 + 1] = "";

	(void)state;
	refused("bad1\nhost 192.0.2.1\nbad3\n\nbad5");
	assert_contains(scratch_text, "f:1: \"bad1\"");
	assert_contains(scratch_text, "f:3: \"bad3\"");
	assert_contains(scratch_text, "f:5: \"bad5\"");
	assert_null(strstr(scratch_text, "f:2:"));
	assert_null(strstr(scratch_text, "f:4:"));

	for (int i = 0; i < LINES; i++)
		strcat(text, "bad\n");
	refused(text);
	assert_contains(scratch_text, "f:50: ");
	assert_null(strstr(scratch_text, "f:51: "));
	assert_contains(scratch_text, "f: 7 more lines are wrong");
}

static void files(void **state)
{
	struct allow_list list;

	(void)state;
	assert_true(allow_read("missing", NULL, &list));
	assert_true(list.missing);
	assert_false(holds(&list, "127.0.0.1"));
	allow_free(&list);

	scratch_write("allow", "host 192.0.2.1");
	assert_true(allow_read("allow", NULL, &list));
	assert_false(list.missing);
	assert_true(holds(&list, "192.0.2.1"));
	allow_free(&list);

	scratch_write("allow", "");
	assert_true(allow_read("allow", NULL, &list));
	assert_false(list.missing);
	allow_free(&list);

	scratch_write("allow", "192.0.2.1\nbad\n");
	capture_begin();
	assert_false(allow_read("allow", NULL, &list));
	assert_contains(capture_end(), "allow:2: \"bad\": not an IPv4");

	capture_begin();
	assert_false(allow_read(".", NULL, &list));
	assert_contains(capture_end(), ".: Is a directory");

	capture_begin();
	assert_false(allow_read("/dev/zero", NULL, &list));
	assert_contains(capture_end(), "/dev/zero: File too large");

	/* a FIFO that nobody writes to: empty, and no waiting */
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_true(allow_read("fifo", NULL, &list));
	assert_int_equal(list.count, 0);
	allow_free(&list);
}

static void the_sample_names_loopback(void **state)
{
	char cwd[] = "dracd.allow.sample";
	struct allow_list list;

	(void)state;
	if (access(cwd, R_OK) != 0) {
		print_message("%s: not run from the top of the tree\n", cwd);
		skip();
	}
	assert_true(allow_read(cwd, NULL, &list));
	assert_true(list.count > 0);
	assert_true(holds(&list, "127.0.0.1"));
	assert_false(holds(&list, "203.0.113.1"));
	allow_free(&list);
}

int main(void)
{
	const struct CMUnitTest sample[] = {
	    cmocka_unit_test(the_sample_names_loopback),
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_and_whom_they_name),
	    cmocka_unit_test(connections_only),
	    cmocka_unit_test(the_widest_line_counts),
	    cmocka_unit_test(nobody_is_named),
	    cmocka_unit_test(many_lines),
	    cmocka_unit_test(wrong_lines_are_explained),
	    cmocka_unit_test(bytes_that_are_no_text),
	    cmocka_unit_test(lines_that_are_too_long),
	    cmocka_unit_test(all_wrong_lines_in_one_go),
	    cmocka_unit_test(files),
	};
	int failed = cmocka_run_group_tests(sample, NULL, NULL);

	return failed +
	       cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

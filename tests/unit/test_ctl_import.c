/* import: exports and dumps, whole, torn and wrong. */
#include "import.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct import import;
static struct drac_entry entry;

static enum import_result line(const char *text)
{
	return import_line(&import, text, strlen(text), &entry);
}

static void an_export(void **state)
{
	(void)state;
	import_begin(&import);
	assert_int_equal(line(IMPORT_HEADER), IMPORT_NOTHING);
	assert_int_equal(line("192.0.2.7\t1900000000\tZo\xc3\xab B\\x\timap\t"
			      "1800000000\t1800000001\t3\tlocal uid=0"),
			 IMPORT_ENTRY);
	assert_string_equal(entry.address, "192.0.2.7");
	assert_int_equal(entry.expiry_s, 1900000000);
	assert_string_equal(entry.user, "Zo\xc3\xab B\\x");
	assert_string_equal(entry.service, "imap");
	assert_int_equal(entry.first_s, 1800000000);
	assert_int_equal(entry.last_s, 1800000001);
	assert_int_equal(entry.adds, 3);
	assert_string_equal(entry.caller, "local uid=0");
	assert_int_equal(line("2001:DB8:0::1\t1900000000\t\t\t0\t0\t0\t"),
			 IMPORT_ENTRY);
	assert_string_equal(entry.address, "2001:db8::1");
	assert_string_equal(entry.user, "");
	assert_false(import_is_whole(&import));
	assert_int_equal(line("# end entries=2"), IMPORT_NOTHING);
	assert_true(import_is_whole(&import));
}

/* As an administrator writes or greps them. */
static void loose_lines(void **state)
{
	(void)state;
	import_begin(&import);
	assert_int_equal(line("192.0.2.7\t1900000000"), IMPORT_ENTRY);
	assert_int_equal(line(""), IMPORT_NOTHING);
	assert_int_equal(line("# a comment"), IMPORT_NOTHING);
	assert_int_equal(line("192.0.2.8\t1900000000\tbob"), IMPORT_ENTRY);
	assert_string_equal(entry.user, "bob");
	assert_true(import_is_whole(&import));
}

static void wrong_lines(void **state)
{
	static const char *const texts[] = {
	    "192.0.2.7",
	    "192.0.2.7 1900000000",
	    "192.0.2\t1900000000",
	    "192.0.2.7\t",
	    "192.0.2.7\t-1",
	    "192.0.2.7\t 1",
	    "192.0.2.7\t1900000000x",
	    "192.0.2.7\t99999999999999999999",
	    "192.0.2.7\t1900000000\t\x1b[0m",
	    "192.0.2.7\t1900000000\t\xff",
	    "192.0.2.7\t1900000000\tu\t123456789012345678901234567890123",
	    "192.0.2.7\t1900000000\tu\ts\tx",
	    "192.0.2.7\t1900000000\tu\ts\t1\t2\tmany",
	    "192.0.2.7\t1900000000\tu\ts\t1\t2\t3\tcaller\tmore",
	    " 192.0.2.7\t1900000000",
	    "\t",
	};

	(void)state;
	import_begin(&import);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		assert_int_equal(line(texts[i]), IMPORT_BAD);
		assert_non_null(import.error);
	}
	assert_int_equal(import_line(&import, "192.0.2.7\t1\0", 12, &entry),
			 IMPORT_BAD);
	assert_int_equal(line("192.0.2.7\t1900000000"), IMPORT_ENTRY);
}

static void too_long(void **state)
{
	char text[IMPORT_LINE_MAX + 1];

	(void)state;
	import_begin(&import);
	memset(text, '#', sizeof text);
	assert_int_equal(import_line(&import, text, sizeof text, &entry),
			 IMPORT_BAD);
	assert_int_equal(import_line(&import, text, sizeof text - 1, &entry),
			 IMPORT_NOTHING);
}

static void newer(void **state)
{
	(void)state;
	import_begin(&import);
	assert_int_equal(line("# dracctl export 2"), IMPORT_ALIEN);
}

static void dump_header(void)
{
	import_begin(&import);
	assert_int_equal(line("VERSION=3"), IMPORT_NOTHING);
	assert_int_equal(line("format=print"), IMPORT_NOTHING);
	assert_int_equal(line("type=btree"), IMPORT_NOTHING);
	assert_int_equal(line("HEADER=END"), IMPORT_NOTHING);
}

static void a_dump(void **state)
{
	(void)state;
	dump_header();
	assert_int_equal(line(" 192.0.2.7"), IMPORT_NOTHING);
	assert_int_equal(line(" 1900000000"), IMPORT_ENTRY);
	assert_string_equal(entry.address, "192.0.2.7");
	assert_int_equal(entry.expiry_s, 1900000000);
	assert_string_equal(entry.user, "");
	assert_int_equal(line(" 192.0.2.8\\00"), IMPORT_NOTHING);
	assert_int_equal(line(" 1900000000\\00"), IMPORT_ENTRY);
	assert_string_equal(entry.address, "192.0.2.8");
	assert_int_equal(line(" ::ffff:192.0.2.9"), IMPORT_NOTHING);
	assert_int_equal(line(" 1900000000"), IMPORT_ENTRY);
	assert_string_equal(entry.address, "192.0.2.9");
	assert_int_equal(line(" ipv6:2001:db8:0:0:0:0:0:1"), IMPORT_NOTHING);
	assert_int_equal(line(" 1900000000"), IMPORT_ENTRY);
	assert_string_equal(entry.address, "2001:db8::1");
	assert_false(import_is_whole(&import));
	assert_int_equal(line("DATA=END"), IMPORT_NOTHING);
	assert_true(import_is_whole(&import));
	assert_int_equal(line(" 192.0.2.7"), IMPORT_BAD);
}

/* One that is wrong takes its value along, and not the next key. */
static void wrong_dump(void **state)
{
	static const char *const keys[] = {"192.0.2.7",     " ",
					   " host.example", " 192.0.2.7\\",
					   " 192.0.2.7\\0", " 192.0.2.7\\0g",
					   " \\\\",         " 1\\0092.0.2.7"};
	static const char *const values[] = {"1900000000", " ", " x", " -5",
					     " \\31\\3"};

	(void)state;
	dump_header();
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		assert_int_equal(line(keys[i]), IMPORT_BAD);
		assert_int_equal(line(" 1900000000"), IMPORT_NOTHING);
	}
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		assert_int_equal(line(" 192.0.2.7"), IMPORT_NOTHING);
		assert_int_equal(line(values[i]), IMPORT_BAD);
	}
	assert_int_equal(line(" \\31\\39\\32.0.2.7"), IMPORT_NOTHING);
	assert_int_equal(line(" \\3100"), IMPORT_ENTRY);
	assert_string_equal(entry.address, "192.0.2.7");
	assert_int_equal(entry.expiry_s, 100);
}

static void dump_without_p(void **state)
{
	(void)state;
	import_begin(&import);
	assert_int_equal(line("VERSION=3"), IMPORT_NOTHING);
	assert_int_equal(line("format=bytevalue"), IMPORT_ALIEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_export),   cmocka_unit_test(loose_lines),
	    cmocka_unit_test(wrong_lines), cmocka_unit_test(too_long),
	    cmocka_unit_test(newer),       cmocka_unit_test(a_dump),
	    cmocka_unit_test(wrong_dump),  cmocka_unit_test(dump_without_p),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

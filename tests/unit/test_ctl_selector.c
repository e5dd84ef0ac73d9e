/* selector: prefixes as they are written, and which entries they mean. */
#include "selector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static bool matches(const char *text, const char *address)
{
	struct selector selector = {0};
	struct drac_entry entry = {0};

	assert_null(selector_parse(&selector, text));
	snprintf(entry.address, sizeof entry.address, "%s", address);
	return selector_matches(&selector, &entry);
}

static void prefixes(void **state)
{
	(void)state;
	assert_true(matches("192.0.2.7", "192.0.2.7"));
	assert_false(matches("192.0.2.7", "192.0.2.6"));
	assert_true(matches("::ffff:192.0.2.7", "192.0.2.7"));
	assert_true(matches("192.0.2.0/24", "192.0.2.255"));
	assert_false(matches("192.0.2.0/24", "192.0.3.0"));
	assert_true(matches("192.0.2.128/25", "192.0.2.128"));
	assert_false(matches("192.0.2.128/25", "192.0.2.127"));
	assert_true(matches("192.0.2.6/31", "192.0.2.7"));
	assert_false(matches("192.0.2.6/31", "192.0.2.8"));
	assert_true(matches("::ffff:192.0.2.0/120", "192.0.2.9"));
	assert_true(matches("2001:db8::/32", "2001:db8:ffff::1"));
	assert_false(matches("2001:db8::/32", "2001:db9::1"));
	assert_true(matches("2001:db8::1", "2001:db8::1"));
	assert_true(matches("2001:0DB8:0::1/128", "2001:db8::1"));
}

/* Everything of one kind, and nothing of the other. */
static void whole_families(void **state)
{
	(void)state;
	assert_true(matches("0.0.0.0/0", "203.0.113.1"));
	assert_false(matches("0.0.0.0/0", "2001:db8::1"));
	assert_true(matches("::/0", "2001:db8::1"));
	assert_false(matches("::/0", "203.0.113.1"));
}

static void wrong(void **state)
{
	static const char *const texts[] = {
	    "",
	    "/",
	    "/24",
	    "192.0.2",
	    "192.0.2.0/",
	    "192.0.2.0/33",
	    "192.0.2.0/-1",
	    "192.0.2.0/+1",
	    "192.0.2.0/ 24",
	    "192.0.2.0/24x",
	    "192.0.2.0/24/24",
	    "192.0.2.1/24",
	    "192.0.2.0/99999999999999999999",
	    "2001:db8::/129",
	    "2001:db8::1/32",
	    "localhost",
	    "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111/128",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct selector selector = {0};

		assert_non_null(selector_parse(&selector, texts[i]));
		assert_false(selector.has_prefix);
	}
}

static void names(void **state)
{
	const struct drac_entry entry = {.address = "192.0.2.7",
					 .user = "alice",
					 .service = "imap",
					 .caller = "local uid=0"};
	struct selector selector = {0};

	(void)state;
	assert_true(selector_matches(&selector, &entry));
	selector.user = "alice";
	assert_true(selector_matches(&selector, &entry));
	selector.service = "imap";
	selector.caller = "local uid=0";
	assert_true(selector_matches(&selector, &entry));
	assert_null(selector_parse(&selector, "192.0.2.0/24"));
	assert_true(selector_matches(&selector, &entry));
	selector.user = "alic";
	assert_false(selector_matches(&selector, &entry));
	selector.user = "";
	assert_false(selector_matches(&selector, &entry));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(prefixes),
	    cmocka_unit_test(whole_families),
	    cmocka_unit_test(wrong),
	    cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * pam_drac: what it tells dracd of a login, and what it says when that fails.
 * What servers make of it: test_pam.py.
 */
#include "pam_world.h"

enum {
	BUDGET_MS = 500,
	EARLY_MS = 100,
	LONG_USER = 255, /* the longest that is sent */
};

#define PEER "127.0.0.9"

static void which_address(void **state)
{
	static const struct {
		const char *rhost, *peer, *env, *address;
	} rows[] = {
	    {"192.0.2.1", PEER, "192.0.2.3", "192.0.2.1"},
	    {"::ffff:192.0.2.1", NULL, NULL, "192.0.2.1"},
	    {"2001:DB8:0::1", NULL, NULL, "2001:db8::1"},
	    {"localhost", PEER, "192.0.2.3", PEER},
	    {"192.0.513", PEER, "192.0.2.3", PEER},
	    {"192.0.2.1 ", PEER, NULL, PEER},
	    {"fe80::1%lo", PEER, NULL, PEER},
	    {"", PEER, NULL, PEER},
	    {NULL, PEER, "192.0.2.3", PEER},
	    {NULL, NULL, "192.0.2.3", "192.0.2.3"},
	    {NULL, NULL, "::ffff:192.0.2.3", "192.0.2.3"},
	    {NULL, NULL, "localhost", ""},
	    {NULL, NULL, NULL, ""},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		fresh(state);
		set_stdin(rows[i].peer);
		if (rows[i].env != NULL)
			setenv("TCPREMOTEIP", rows[i].env, 1);
		login("pop3", "joe", rows[i].rhost);
		assert_string_equal(dracd.address, rows[i].address);
		assert_int_equal(dracd.calls, rows[i].address[0] != '\0');
	}
	set_stdin(NULL);
}

static void what_is_sent(void **state)
{
	static const char long_service[] = "a-service-with-a-name-of-33-bytes";
	char longest[LONG_USER + 1] = {0}, longer[LONG_USER + 2] = {0};
	const struct {
		const char *service, *user, *user_sent, *service_sent;
	} rows[] = {
	    {"pop3", "joe", "joe", "pop3"},
	    {"pop3", "j\xc3\xb6rg", "j\xc3\xb6rg", "pop3"},
	    {"pop3", "j\xff", "", "pop3"},
	    {"pop3", "joe\n", "", "pop3"},
	    {"pop3", longest, longest, "pop3"},
	    {"pop3", longer, "", "pop3"},
	    {"pop3", NULL, "", "pop3"},
	    {long_service, "joe", "joe", ""},
	};

	(void)state;
	memset(longest, 'x', LONG_USER);
	memset(longer, 'x', LONG_USER + 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		write_stack(rows[i].service, "");
		login(rows[i].service, rows[i].user, "192.0.2.1");
		assert_string_equal(dracd.user, rows[i].user_sent);
		assert_string_equal(dracd.service, rows[i].service_sent);
	}
	assert_int_equal(lines, 0);
}

static void which_services(void **state)
{
	static const struct {
		const char *options;
		int calls;
	} rows[] = {
	    {"services=pop3", 1},
	    {"services=imap,pop3", 1},
	    {"services=POP3,imap", 1},
	    {"services=,pop3,", 1},
	    {"services=imap", 0},
	    {"services=", 0},
	    {"services=pop,pop3s", 0},
	    {"services=,", 0},
	    {"services=pop3 debug", 0},
	    {"service=pop3", 0},
	    {"services", 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		fresh(state);
		write_stack("pop3", rows[i].options);
		login("pop3", "joe", "192.0.2.1");
		assert_int_equal(dracd.calls, rows[i].calls);
	}
	assert_int_equal(lines, 2); /* one a phase that did nothing */
	assert_contains(logged, "unknown option \"services\"");
}

static void one_call_a_login(void **state)
{
	pam_handle_t *pamh = start("pop3", "joe", "192.0.2.1");

	(void)state;
	assert_int_equal(pam_open_session(pamh, 0), PAM_SUCCESS);
	assert_int_equal(dracd.calls, 1);
	assert_int_equal(pam_open_session(pamh, 0), PAM_SUCCESS);
	assert_int_equal(dracd.calls, 1);
	pam_end(pamh, PAM_SUCCESS);

	login("pop3", "joe", "192.0.2.1");
	assert_int_equal(dracd.calls, 2);
}

static void says_what_failed(void **state)
{
	(void)state;
	dracd.manner = REFUSES;
	login("pop3", "joe", "192.0.2.1");
	assert_contains(logged, "192.0.2.1 is not authorized: Server reports "
				"permission denied");
	assert_int_equal(lines, 1);
	dracd.manner = CLOSES;
	login("pop3", "joe", "192.0.2.1");
	assert_contains(logged, "192.0.2.1 is not authorized: unix:");
	assert_int_equal(lines, 2);
	write_stack("pop3", "server=");
	login("pop3", "joe", "192.0.2.1");
	assert_int_equal(lines, 3);
}

/* Both phases together. */
static void waits_for_its_budget(void **state)
{
	int64_t took_ms;

	(void)state;
	dracd.manner = SAYS_NOTHING;
	took_ms = login("pop3", "joe", "192.0.2.1");
	assert_in_range(took_ms, BUDGET_MS - EARLY_MS, BUDGET_MS + SLACK_MS);
	assert_int_equal(dracd.calls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(which_address, fresh),
	    cmocka_unit_test_setup(what_is_sent, fresh),
	    cmocka_unit_test_setup(which_services, fresh),
	    cmocka_unit_test_setup(one_call_a_login, fresh),
	    cmocka_unit_test_setup(says_what_failed, fresh),
	    cmocka_unit_test_setup(waits_for_its_budget, fresh),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

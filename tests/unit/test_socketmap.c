/*
 * socketmap: every way to cut the bytes, every form of a key, and what is
 * answered while a turn is under way.
 */
#include "socketmap.h"

#include "turn_world.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define A "192.0.2.1"
#define B "192.0.2.2"
#define SIX "2001:db8::5"
#define NEAR "2001:db8::ffff" /* in its /64 */
#define FAR "2001:db8:0:1::5" /* not */

/* Exactly so long, so that a sanitizer sees a read beyond. */
static ssize_t netstring_at(const char *text, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);
	ssize_t found;

	assert_non_null(exact);
	memcpy(exact, text, len);
	found = socketmap_record(exact, len);
	free(exact);
	return found;
}

/* ---- records ---- */

static void whole_records_in_pieces(void **state)
{
	static const char *const rows[] = {
	    "0:,",    "1:x,",     "14:drac 192.0.2.1,",
	    "3:,,,,", "5:1:a,b,", "10:drac \n\t\r \x7f,",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t whole = strlen(rows[i]);
		char behind[64];

		for (size_t len = 0; len < whole; len++)
			assert_int_equal(netstring_at(rows[i], len), 0);
		assert_int_equal(netstring_at(rows[i], whole), whole);
		snprintf(behind, sizeof behind, "%sjunk", rows[i]);
		assert_int_equal(netstring_at(behind, whole + 4), whole);
	}
}

static void lengths(void **state)
{
	char text[SOCKETMAP_RECORD_MAX + 8];
	int head = snprintf(text, sizeof text, "%d:", SOCKETMAP_REQUEST_MAX);

	(void)state;
	memset(text + head, 'x', SOCKETMAP_REQUEST_MAX);
	text[head + SOCKETMAP_REQUEST_MAX] = ',';
	assert_int_equal(head + SOCKETMAP_REQUEST_MAX + 1,
			 SOCKETMAP_RECORD_MAX);
	for (size_t len = 0; len < SOCKETMAP_RECORD_MAX; len++)
		assert_int_equal(netstring_at(text, len), 0);
	assert_int_equal(netstring_at(text, SOCKETMAP_RECORD_MAX),
			 SOCKETMAP_RECORD_MAX);
	snprintf(text, sizeof text, "%d", SOCKETMAP_REQUEST_MAX + 1);
	assert_int_equal(netstring_at(text, 3), -1);
}

/* `at`: the length from which it is known to be none. */
static void what_is_no_netstring(void **state)
{
	static const struct {
		const char *text;
		size_t at;
	} rows[] = {
	    {":", 1},
	    {"x", 1},
	    {" 1:x,", 1},
	    {"-1:x,", 1},
	    {"+1:x,", 1},
	    {",", 1},
	    {"\n", 1},
	    {"00:,", 2},
	    {"01:x,", 2},
	    {"0014:drac 192.0.2.1,", 2},
	    {"1 :x,", 2},
	    {"1,x", 2},
	    {"513:", 3},
	    {"1000:", 4},
	    {"99999999999999999999999999:", 3},
	    {"18446744073709551616:,", 4},
	    {"1:xy", 4},
	    {"0:;", 3},
	    {"14:drac 192.0.2.1;", 18},
	    {"GET / HTTP/1.1\r\n", 1},
	    {"\x80\x00\x00\x28", 1},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t len = 0; len <= strlen(rows[i].text); len++) {
			ssize_t want = len < rows[i].at ? 0 : -1;

			if (netstring_at(rows[i].text, len) != want)
				fail_msg("\"%.*s\"", (int)len, rows[i].text);
		}
}

/* ---- keys ---- */

static bool asks_for(const char *request, size_t len, struct address *address)
{
	char text[SOCKETMAP_RECORD_MAX + 1];
	int head = snprintf(text, sizeof text, "%zu:", len);
	size_t whole = (size_t)head + len + 1;
	uint8_t *exact = malloc(whole);
	bool found;

	assert_non_null(exact);
	memcpy(exact, text, (size_t)head);
	memcpy(exact + head, request, len);
	exact[whole - 1] = ',';
	assert_int_equal(socketmap_record(exact, whole), whole);
	found = socketmap_address(exact, whole, address);
	free(exact);
	return found;
}

static void keys_that_are_addresses(void **state)
{
	static const struct {
		const char *request, *address;
	} rows[] = {
	    {"drac " A, A},
	    {"any-other.name " A, A},
	    {" " A, A},
	    {"drac 255.255.255.255", "255.255.255.255"},
	    {"drac 2001:db8::5", SIX},
	    {"drac 2001:db8:0:0:0:0:0:5", SIX},
	    {"drac 2001:0db8:0000:0000:0000:0000:0000:0005", SIX},
	    {"drac 2001:DB8::5", SIX},
	    {"drac IPv6:2001:db8:0:0:0:0:0:5", SIX},
	    {"drac ipv6:2001:db8::5", SIX},
	    {"drac IPV6:2001:db8::5", SIX},
	    {"drac ::ffff:192.0.2.1", A},
	    {"drac ::FFFF:c000:201", A},
	    {"drac 0:0:0:0:0:ffff:192.0.2.1", A},
	    {"drac 0000:0000:0000:0000:0000:ffff:192.000.2.1", NULL},
	    {"drac 0000:0000:0000:0000:0000:ffff:192.100.200.100",
	     "192.100.200.100"},
	    {"drac IPv6:::ffff:192.0.2.1", A},
	};
	struct address found, wanted;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		bool is =
		    asks_for(rows[i].request, strlen(rows[i].request), &found);

		if (is != (rows[i].address != NULL))
			fail_msg("%s", rows[i].request);
		if (!is)
			continue;
		wanted = address_of(rows[i].address);
		assert_true(address_equal(&found, &wanted));
	}
}

static void keys_that_are_none(void **state)
{
	static const char *const rows[] = {
	    "",
	    "drac",
	    "drac ",
	    " ",
	    A,
	    "drac unknown",
	    "drac mail.example.org",
	    "drac 127.0.0",
	    "drac 127",
	    "drac 127.0.0.0.1",
	    "drac 127.0.0.01",
	    "drac 127.0.0.256",
	    "drac 0177.0.0.1",
	    "drac 0x7f.0.0.1",
	    "drac 2130706433",
	    "drac 192.0.2.1 ",
	    "drac  192.0.2.1",
	    "drac 192.0.2.1\n",
	    "drac 192.0.2.1/32",
	    "drac [192.0.2.1]",
	    "drac [2001:db8::5]",
	    "drac IPv6:192.0.2.1",
	    "drac IPv6:",
	    "drac IPv6:IPv6:2001:db8::5",
	    "drac IPv4:192.0.2.1",
	    "drac 2001:db8:",
	    "drac 2001:db8",
	    "drac 2001:db8::5::",
	    "drac 2001:db8::5/64",
	    "drac fe80::1%eth0",
	    "drac 12345::",
	    "drac 2001:db8:0:0:0:0:0:5:6",
	    "drac 2001.0db8.0000.0000.0000.0000.0000.0005",
	};
	static const char nul[] = "drac 192.0.2.1\0x";
	char longest[SOCKETMAP_REQUEST_MAX + 1];
	struct address found;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (asks_for(rows[i], strlen(rows[i]), &found))
			fail_msg("\"%s\"", rows[i]);
	for (size_t len = sizeof("drac " A); len < sizeof nul; len++)
		assert_false(asks_for(nul, len, &found));
	memset(longest, '1', sizeof longest - 1);
	memcpy(longest, "drac ", 5);
	assert_false(asks_for(longest, sizeof longest - 1, &found));
	memset(longest + 5, ':', sizeof longest - 6);
	assert_false(asks_for(longest, sizeof longest - 1, &found));
}

/* ---- answers ---- */

static struct service service;

static int setup(void **state)
{
	world_setup(state);
	service = (struct service){
	    .config = &config, .table = table, .turn = turn, .stats = &stats};
	return 0;
}

static int setup_with_prefix(void **state)
{
	setup(state);
	assert_true(table_share_prefix(table, 64));
	return 0;
}

/* The expiry that is answered; 0: not found. */
static int64_t look_up(const char *key, int64_t now_s)
{
	char out[SOCKETMAP_REPLY_MAX], value[32], want[64];
	char request[128];
	int64_t expiry_s = 0;
	size_t len;

	service.now_s = now_s;
	snprintf(request, sizeof request, "%zu:drac %s,", 5 + strlen(key), key);
	len = socketmap_answer(&service, (const uint8_t *)request,
			       strlen(request), out);
	if (len == 12 && memcmp(out, "9:NOTFOUND ,", 12) == 0)
		return 0;
	assert_in_range(len, 1, sizeof out - 1);
	out[len] = '\0';
	assert_int_equal(sscanf(out, "%*u:OK %" SCNd64 ",", &expiry_s), 1);
	snprintf(value, sizeof value, "OK %" PRId64, expiry_s);
	snprintf(want, sizeof want, "%zu:%s,", strlen(value), value);
	assert_string_equal(out, want);
	return expiry_s;
}

#define assert_found(key, now_s, expiry_s)                                     \
	assert_int_equal(look_up(key, now_s), expiry_s)

static void found_until_its_second(void **state)
{
	(void)state;
	add(A, NOW);
	add(SIX, NOW);
	assert_found(A, NOW, 0);
	commit(NOW, false);
	assert_found(A, NOW, NOW + LIFETIME);
	assert_found("::ffff:" A, NOW, NOW + LIFETIME);
	assert_found("IPv6:2001:db8:0:0:0:0:0:5", NOW, NOW + LIFETIME);
	assert_found(A, NOW + LIFETIME - 1, NOW + LIFETIME);
	/* the table has it still */
	assert_found(A, NOW + LIFETIME, 0);
	assert_found(SIX, NOW + LIFETIME, 0);
	assert_found(NEAR, NOW, 0);
	assert_found(B, NOW, 0);
	assert_found("mail.example.org", NOW, 0);
	assert_int_equal(stats.lookups_found, 4);
	assert_int_equal(stats.lookups_not_found, 6);
}

static void removed_and_refreshed(void **state)
{
	(void)state;
	add(A, NOW);
	commit(NOW, false);
	add(A, NOW + 10);
	assert_true(look_up(A, NOW + 10) != 0);
	commit(NOW + 10, false);
	assert_found(A, NOW + 10, NOW + 10 + LIFETIME);
	del(A, NOW + 20);
	commit(NOW + 20, false);
	assert_found(A, NOW + 20, 0);
}

/* Nothing that is held has been acknowledged. */
static void while_a_reader_has_the_lock(void **state)
{
	int64_t soon_s = NOW + LIFETIME - 1, end_s = NOW + LIFETIME;
	int fd;

	(void)state;
	add(A, NOW);
	commit(NOW, false);
	fd = reader_lock();
	add(B, soon_s);
	add(A, soon_s);
	assert_found(A, soon_s, end_s);
	commit(soon_s, false);
	assert_int_equal(answered, 1);
	assert_found(B, soon_s, 0);
	assert_found(A, soon_s, end_s); /* what has been said is true */
	assert_found(A, end_s, 0);      /* what has not, is not */
	close(fd);
	commit(soon_s, false);
	assert_int_equal(answered, 3);
	assert_found(A, end_s, soon_s + LIFETIME);
	assert_found(B, end_s, soon_s + LIFETIME);
}

/* In the table and in the maps, expired, and then asked for again. */
static void back_from_expiry(void **state)
{
	int64_t end_s = NOW + LIFETIME;
	int fd;

	(void)state;
	add(A, NOW);
	commit(NOW, false);
	fd = reader_lock();
	add(A, end_s);
	assert_found(A, end_s, 0);
	commit(end_s, false);
	assert_found(A, end_s, 0);
	commit_until(2, end_s);
	assert_answer(1, A, OUTCOME_SYSERR, 0);
	assert_found(A, end_s, 0);
	close(fd);
}

static void never_found(void **state)
{
	static struct prefix never[2];

	(void)state;
	assert_true(prefix_from_text(&never[0], A));
	assert_true(prefix_from_text(&never[1], NEAR));
	add(A, NOW);
	add(B, NOW);
	add(SIX, NOW);
	commit(NOW, false);
	config.never = never;
	config.never_count = 2;
	assert_found(A, NOW, 0);
	assert_found(B, NOW, NOW + LIFETIME);
	assert_found(SIX, NOW, NOW + LIFETIME);
	assert_found(NEAR, NOW, 0);
	assert_found("2001:db8::6", NOW, NOW + LIFETIME);
}

/* ---- by prefix ---- */

static void neighbours(void **state)
{
	(void)state;
	add(A, NOW);
	add(SIX, NOW);
	assert_found(NEAR, NOW, 0);
	commit(NOW, false);
	assert_found(NEAR, NOW, NOW + LIFETIME);
	assert_found(FAR, NOW, 0);
	assert_found("192.0.2.0", NOW, 0);
	assert_found("::ffff:192.0.2.0", NOW, 0);
	add("2001:db8::6", NOW + 10);
	commit(NOW + 10, false);
	assert_found(SIX, NOW + 10, NOW + 10 + LIFETIME);
	assert_found(NEAR, NOW + LIFETIME, NOW + 10 + LIFETIME);
	assert_found(NEAR, NOW + 10 + LIFETIME, 0);
	del("2001:db8::6", NOW + 10);
	commit(NOW + 10, false);
	assert_found(NEAR, NOW + 10, NOW + LIFETIME);
	del(SIX, NOW + 10);
	commit(NOW + 10, false);
	assert_found(NEAR, NOW + 10, 0);
}

static void neighbours_of_what_is_held(void **state)
{
	int64_t soon_s = NOW + LIFETIME - 1, end_s = NOW + LIFETIME;
	int fd;

	(void)state;
	add(SIX, NOW);
	commit(NOW, false);
	fd = reader_lock();
	add(SIX, soon_s);
	add(FAR, soon_s);
	commit(soon_s, false);
	assert_found(NEAR, soon_s, end_s);
	assert_found(NEAR, end_s, 0);
	assert_found(FAR, soon_s, 0);
	commit_until(3, soon_s);
	assert_answer(1, SIX, OUTCOME_SYSERR, 0);
	assert_found(NEAR, soon_s, end_s);
	assert_found(NEAR, end_s, 0);
	assert_found(FAR, soon_s, 0);
	close(fd);
	for (int i = 0; i < 5000 && table_count(table) > 0; i++) {
		commit(end_s, true); /* it expires, when chores go on */
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	assert_int_equal(table_count(table), 0);
	assert_found(NEAR, soon_s, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole_records_in_pieces),
	    cmocka_unit_test(lengths),
	    cmocka_unit_test(what_is_no_netstring),
	    cmocka_unit_test(keys_that_are_addresses),
	    cmocka_unit_test(keys_that_are_none),
	    cmocka_unit_test_setup_teardown(found_until_its_second, setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(removed_and_refreshed, setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(while_a_reader_has_the_lock, setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(back_from_expiry, setup,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(never_found, setup_with_prefix,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(neighbours, setup_with_prefix,
					    world_teardown),
	    cmocka_unit_test_setup_teardown(neighbours_of_what_is_held,
					    setup_with_prefix, world_teardown),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

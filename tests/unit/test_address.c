/* address: text forms, map keys, prefixes. */
#include "address.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#include "scratch.h"

enum { RANDOM_ROUNDS = 200000 };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct address from(const char *text)
{
	struct address a;

	if (!address_from_text(&a, text))
		fail_msg("%s is refused", text);
	return a;
}

static void text_is_rfc_5952(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
	    {"192.0.2.1", "192.0.2.1"},
	    {"0.0.0.0", "0.0.0.0"},
	    {"255.255.255.255", "255.255.255.255"},
	    {"10.100.9.99", "10.100.9.99"},
	    {"::ffff:192.0.2.1", "192.0.2.1"},
	    {"::FFFF:C000:0201", "192.0.2.1"},
	    {"::", "::"},
	    {"::1", "::1"},
	    {"1::", "1::"},
	    {"2001:DB8::ABCD", "2001:db8::abcd"},
	    {"2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"},
	    /* one zero group is never shortened */
	    {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
	    {"0:1:1:1:1:1:1:1", "0:1:1:1:1:1:1:1"},
	    {"1:1:1:1:1:1:1:0", "1:1:1:1:1:1:1:0"},
	    /* the longest run, the first of equals */
	    {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
	    {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
	    {"1:0:0:2:3:0:0:0", "1:0:0:2:3::"},
	    {"0:0:1:2:3:4:0:0", "::1:2:3:4:0:0"},
	    /* no dotted tail where inet_ntop(3) writes one */
	    {"::192.0.2.1", "::c000:201"},
	    {"::1:2", "::1:2"},
	    {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
	    {"::ffff:0:192.0.2.1", "::ffff:0:c000:201"},
	    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	    {"fedc:ba98:7654:3210:f:e0:d00:c000",
	     "fedc:ba98:7654:3210:f:e0:d00:c000"},
	};
	char buf[ADDRESS_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address a = from(rows[i].in);

		assert_string_equal(address_text(&a, buf), rows[i].out);
		assert_ptr_equal(address_text(&a, buf), buf);
	}
}

/* Bytes of which most are 0 or 255, so that runs of all kinds come. */
static struct address random_address(bool v4)
{
	struct address a;

	for (size_t i = 0; i < sizeof a.byte; i++) {
		long r = random();

		a.byte[i] = r % 4 == 0 ? (uint8_t)(r >> 8) : 0;
		if (r % 16 == 1)
			a.byte[i] = 0xff;
	}
	return v4 ? address_from_v4((uint32_t)random()) : a;
}

static void text_agrees_with_inet_ntop(void **state)
{
	char ours[ADDRESS_TEXT_MAX], theirs[INET6_ADDRSTRLEN];
	struct address back;

	(void)state;
	srandom(1);
	for (int i = 0; i < RANDOM_ROUNDS; i++) {
		bool v4 = i % 4 == 0;
		struct address a = random_address(v4);

		address_text(&a, ours);
		assert_true(address_from_text(&back, ours));
		assert_true(address_equal(&a, &back));
		assert_non_null(
		    v4 ? inet_ntop(AF_INET, a.byte + 12, theirs, sizeof theirs)
		       : inet_ntop(AF_INET6, a.byte, theirs, sizeof theirs));
		if (v4 || strchr(theirs, '.') == NULL)
			assert_string_equal(ours, theirs);
	}
}

static void keys_of_a_map(void **state)
{
	static const struct {
		const char *in;
		int count;
		const char *keys[ADDRESS_KEYS_MAX];
	} rows[] = {
	    {"192.0.2.1", 1, {"192.0.2.1"}},
	    {"::ffff:192.0.2.1", 1, {"192.0.2.1"}},
	    {"fd00:beef::5",
	     3,
	     {"fd00:beef::5", "fd00:beef:0:0:0:0:0:5",
	      "ipv6:fd00:beef:0:0:0:0:0:5"}},
	    {"2001:DB8:1:2:3:4:5:6",
	     2,
	     {"2001:db8:1:2:3:4:5:6", "ipv6:2001:db8:1:2:3:4:5:6"}},
	    {"2001:db8:0:1:1:1:1:1",
	     2,
	     {"2001:db8:0:1:1:1:1:1", "ipv6:2001:db8:0:1:1:1:1:1"}},
	    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	     2,
	     {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	      "ipv6:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}},
	    {"::", 3, {"::", "0:0:0:0:0:0:0:0", "ipv6:0:0:0:0:0:0:0:0"}},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address a = from(rows[i].in);
		struct address_keys keys;

		memset(&keys, 0x55, sizeof keys);
		address_keys(&a, &keys);
		assert_int_equal(keys.count, rows[i].count);
		for (int k = 0; k < keys.count; k++) {
			assert_string_equal(keys.text[k], rows[i].keys[k]);
			assert_int_equal(keys.len[k], strlen(keys.text[k]));
		}
	}
}

static void what_is_no_address(void **state)
{
	static const char *const rows[] = {
	    "",
	    " ",
	    "localhost",
	    "192.0.2",
	    "192.0.2.1 ",
	    " 192.0.2.1",
	    "192.0.2.256",
	    "192.0.2.01",
	    "192.0.2.1.",
	    "192.0.2.1/24",
	    "0x7f.0.0.1",
	    "3221225985",
	    ":::",
	    "::1::",
	    "[::1]",
	    "fe80::1%lo",
	    "::1/128",
	    "12345::",
	    "1:2:3:4:5:6:7",
	    "::g",
	    "ipv6:::1",
	    "1:2:3:4:5:6:7:8:9",
	    "-1.2.3.4",
	};
	struct address a;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (address_from_text(&a, rows[i]))
			fail_msg("\"%s\" is taken", rows[i]);
}

/* Of the characters of dotted quads, mostly wrong. */
static void quads_agree_with_inet_pton(void **state)
{
	static const char letters[] = "0123456789..........125:x";
	int right = 0;

	(void)state;
	srandom(2);
	for (int i = 0; i < 20 * RANDOM_ROUNDS; i++) {
		char text[18];
		struct in_addr in;
		struct address a;
		size_t len = (size_t)random() % (sizeof text - 1);

		for (size_t at = 0; at < len; at++)
			text[at] =
			    i % 2 && at % 2
				? '.'
				: letters[random() % (long)strlen(letters)];
		text[len] = '\0';
		bool theirs = inet_pton(AF_INET, text, &in) == 1;
		if (strchr(text, ':') != NULL)
			continue; /* IPv6, perhaps */
		assert_int_equal(address_from_text(&a, text), theirs);
		if (!theirs)
			continue;
		right++;
		assert_memory_equal(a.byte + 12, &in, sizeof in);
		assert_true(address_is_v4(&a));
	}
	assert_in_range(right, 10, INT_MAX);
}

static void from_other_forms(void **state)
{
	static const uint8_t v4[4] = {192, 0, 2, 1};
	struct address want = from("192.0.2.1"), want6 = from("2001:db8::1");
	struct address a = address_from_v4(0xc0000201);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = 7};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = 7};
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	(void)state;
	assert_true(address_equal(&a, &want));
	assert_true(address_from_bytes(&a, v4, sizeof v4));
	assert_true(address_equal(&a, &want));
	assert_true(address_from_bytes(&a, want6.byte, sizeof want6.byte));
	assert_true(address_equal(&a, &want6));
	for (size_t len = 0; len < 16; len++)
		assert_int_equal(address_from_bytes(&a, want6.byte, len),
				 len == 4);

	memcpy(&in.sin_addr, v4, sizeof v4);
	assert_true(address_from_sockaddr(&a, (struct sockaddr *)&in));
	assert_true(address_equal(&a, &want));
	memcpy(&in6.sin6_addr, want6.byte, sizeof want6.byte);
	assert_true(address_from_sockaddr(&a, (struct sockaddr *)&in6));
	assert_true(address_equal(&a, &want6));
	memcpy(&in6.sin6_addr, want.byte, sizeof want.byte);
	assert_true(address_from_sockaddr(&a, (struct sockaddr *)&in6));
	assert_true(address_equal(&a, &want) && address_is_v4(&a));
	assert_false(address_from_sockaddr(&a, (struct sockaddr *)&un));
}

static void v4_is_told_from_v6(void **state)
{
	struct address v4 = from("0.0.0.0"), compatible = from("::1.2.3.4"),
		       other = from("1::ffff:1.2.3.4");

	(void)state;
	assert_true(address_is_v4(&v4));
	assert_false(address_is_v4(&compatible));
	assert_false(address_is_v4(&other));
	assert_false(address_equal(&v4, &compatible));
}

/* Of what callers are: hosts of a network, hosts of a /64, local users. */
static void callers_are_spread(void **state)
{
	enum { MANY = 16384, BITS = 10, MOST = 3 * MANY >> BITS };
	static int count[1 << BITS];

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		memset(count, 0, sizeof count);
		for (uint32_t i = 0; i < MANY; i++) {
			struct address a = address_from_v4(0xc0000000 + i);

			if (kind > 0)
				memset(a.byte, kind == 1 ? 0x20 : 0xff, 12);
			if (kind == 2)
				memset(a.byte + 12, 0, 2);
			if (++count[address_hash(&a, BITS)] > MOST)
				fail_msg("kind %d: too many in one", kind);
		}
	}
}

static void prefix_holds(void **state)
{
	static const struct {
		const char *prefix, *address;
		bool holds;
	} rows[] = {
	    {"192.0.2.0/24", "192.0.2.255", true},
	    {"192.0.2.0/24", "192.0.3.0", false},
	    {"192.0.2.1", "192.0.2.1", true},
	    {"192.0.2.1", "192.0.2.0", false},
	    {"192.0.2.1/32", "::ffff:192.0.2.1", true},
	    {"192.0.2.128/25", "192.0.2.127", false},
	    {"192.0.2.128/25", "192.0.2.128", true},
	    {"0.0.0.0/0", "203.0.113.9", true},
	    {"0.0.0.0/0", "2001:db8::1", false},
	    {"0.0.0.0/0", "::", false},
	    {"::/0", "2001:db8::1", true},
	    {"::/0", "192.0.2.1", false},
	    {"::ffff:192.0.2.0/120", "192.0.2.9", true},
	    {"::ffff:0:0/96", "192.0.2.9", true},
	    {"2001:db8::/32", "2001:db8:ffff::1", true},
	    {"2001:db8::/32", "2001:db9::1", false},
	    {"2001:db8::/33", "2001:db8:8000::", false},
	    {"::1", "::1", true},
	    {"::1/128", "::2", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address a = from(rows[i].address);
		char why[PREFIX_FAULT_MAX];
		struct prefix p;

		assert_null(prefix_fault(rows[i].prefix, why));
		assert_true(prefix_from_text(&p, rows[i].prefix));
		if (prefix_contains(&p, &a) != rows[i].holds)
			fail_msg("%s in %s", rows[i].address, rows[i].prefix);
	}
}

/* Every length, against a loop over the bits. */
static void prefix_of_each_length(void **state)
{
	struct address ones = from("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");

	(void)state;
	for (int len = 0; len <= 128; len++) {
		char text[ADDRESS_TEXT_MAX + 8], net[ADDRESS_TEXT_MAX];
		struct address a = {0};
		struct prefix p;

		for (int bit = 0; bit < len; bit++)
			a.byte[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		snprintf(text, sizeof text, "%s/%d", address_text(&a, net),
			 len);
		assert_true(prefix_from_text(&p, text));
		assert_true(prefix_contains(&p, &ones));
		for (int bit = 0; bit < 128; bit++) {
			struct address b = ones;

			b.byte[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
			assert_int_equal(prefix_contains(&p, &b), bit >= len);
		}
	}
}

static void masks_with_holes(void **state)
{
	struct prefix p = {.net = from("10.0.3.0"),
			   .mask =
			       from("ffff:ffff:ffff:ffff:ffff:ffff:ff00:ff00")};
	struct address in = from("10.200.3.7"), out = from("10.200.4.7");

	(void)state;
	assert_true(prefix_contains(&p, &in));
	assert_false(prefix_contains(&p, &out));
}

static void wrong_prefixes_are_explained(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
	    {"", "not an IPv4 or IPv6 address"},
	    {"/24", "not an IPv4 or IPv6 address"},
	    {"mail.example.org", "not an IPv4 or IPv6 address"},
	    {"192.0.2/24", "not an IPv4 or IPv6 address"},
	    {"192.0.2.0/33", "number from 0 to 32"},
	    {"192.0.2.0/", "number from 0 to 32"},
	    {"192.0.2.0/-1", "number from 0 to 32"},
	    {"192.0.2.0/+8", "number from 0 to 32"},
	    {"192.0.2.0/ 8", "number from 0 to 32"},
	    {"192.0.2.0/08", "number from 0 to 32"},
	    {"192.0.2.0/24/24", "number from 0 to 32"},
	    {"192.0.2.0/255.255.255.0", "number from 0 to 32"},
	    {"192.0.2.0/4294967320", "number from 0 to 32"},
	    {"2001:db8::/129", "number from 0 to 128"},
	    {"192.0.2.1/24", "write 192.0.2.0/24"},
	    {"192.0.2.1/0", "write 0.0.0.0/0"},
	    {"2001:db8::1/32", "write 2001:db8::/32"},
	    {"::ffff:192.0.2.1/120", "write 192.0.2.0/24"},
	    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/8",
	     "not an IPv4 or IPv6 address"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char why[PREFIX_FAULT_MAX];
		struct prefix p;

		assert_false(prefix_from_text(&p, rows[i].text));
		assert_ptr_equal(prefix_fault(rows[i].text, why), why);
		assert_contains(why, rows[i].why);
	}
}

static void who_can_be_a_client(void **state)
{
	static const struct {
		const char *address;
		bool client;
	} rows[] = {
	    {"192.0.2.1", true},
	    {"127.0.0.1", true},
	    {"1.0.0.0", true},
	    {"223.255.255.255", true},
	    {"255.255.255.254", true},
	    {"240.0.0.0", true},
	    {"::1", true},
	    {"2001:db8::1", true},
	    {"fe80::1", true},
	    {"0.0.0.0", false},
	    {"0.255.255.255", false},
	    {"224.0.0.1", false},
	    {"239.255.255.255", false},
	    {"255.255.255.255", false},
	    {"::ffff:224.0.0.1", false},
	    {"::", false},
	    {"ff02::1", false},
	    {"ff00::", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address a = from(rows[i].address);

		if (address_is_client(&a) != rows[i].client)
			fail_msg("%s", rows[i].address);
	}
}

/* What looks for callers must not find all of one network in one place. */
static void hash_tells_neighbours_apart(void **state)
{
	enum { BITS_MOST = 12, FEW = 256 };
	static const char *const first[] = {"10.1.0.0", "192.0.2.0",
					    "2001:db8::", "2001:db8:0:7::1:0",
					    "ffff:ffff:ffff:ffff:ffff:ffff::"};

	(void)state;
	for (size_t i = 0; i < COUNT(first); i++) {
		bool seen[1 << BITS_MOST] = {false};
		struct address a = from(first[i]);

		for (int n = 0; n < FEW; n++) {
			a.byte[15] = (uint8_t)n;
			uint32_t hash = address_hash(&a, BITS_MOST);

			assert_in_range(hash, 0, (1 << BITS_MOST) - 1);
			if (seen[hash])
				fail_msg("%s: %d shares", first[i], n);
			seen[hash] = true;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_is_rfc_5952),
	    cmocka_unit_test(text_agrees_with_inet_ntop),
	    cmocka_unit_test(keys_of_a_map),
	    cmocka_unit_test(what_is_no_address),
	    cmocka_unit_test(quads_agree_with_inet_pton),
	    cmocka_unit_test(from_other_forms),
	    cmocka_unit_test(v4_is_told_from_v6),
	    cmocka_unit_test(hash_tells_neighbours_apart),
	    cmocka_unit_test(callers_are_spread),
	    cmocka_unit_test(prefix_holds),
	    cmocka_unit_test(prefix_of_each_length),
	    cmocka_unit_test(masks_with_holes),
	    cmocka_unit_test(wrong_prefixes_are_explained),
	    cmocka_unit_test(who_can_be_a_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * sign: the layout of signed messages, against bytes that were computed by
 * another program from what sign.h says, and key files.
 */
#include "sign.h"

#include <errno.h>

#include "scratch.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SECRET "0123456789abcdef0123456789abcdef"

enum { TIME_S = 1700000000, MAC_AT = 76 };

static char fault[DRAC_SIGN_FAULT_MAX];

static size_t from_hex(const char *hex, uint8_t *bytes)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++)
		assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &bytes[i]), 1);
	return n;
}

static const char credential_hex[] = "00000001"
				     "000000006553f100"
				     "000102030405060708090a0b0c0d0e0f"
				     "00000004"
				     "706f7031";

static struct drac_sign_credential credential(const char *name)
{
	struct drac_sign_credential c = {.time_s = TIME_S};

	snprintf(c.name, sizeof c.name, "%s", name);
	for (uint8_t i = 0; i < sizeof c.nonce; i++)
		c.nonce[i] = i;
	return c;
}

static void credential_as_written(void **state)
{
	struct drac_sign_credential c = credential("pop1"), back;
	uint8_t body[DRAC_SIGN_CREDENTIAL_MAX], right[sizeof body];
	size_t len = from_hex(credential_hex, right);

	(void)state;
	assert_int_equal(drac_sign_encode(&c, body), len);
	assert_memory_equal(body, right, len);
	assert_true(drac_sign_decode(body, len, &back));
	assert_string_equal(back.name, "pop1");
	assert_int_equal(back.time_s, TIME_S);
	assert_memory_equal(back.nonce, c.nonce, sizeof c.nonce);
}

static void names_of_every_length(void **state)
{
	char name[DRAC_SIGN_NAME_MAX + 1] = "";

	(void)state;
	for (size_t n = 1; n <= DRAC_SIGN_NAME_MAX; n++) {
		struct drac_sign_credential c, back;
		uint8_t body[DRAC_SIGN_CREDENTIAL_MAX];
		size_t len;

		name[n - 1] = 'a';
		c = credential(name);
		len = drac_sign_encode(&c, body);
		assert_int_equal(len % 4, 0);
		assert_true(drac_sign_decode(body, len, &back));
		assert_string_equal(back.name, name);
		/* Neither shorter nor longer, nor with other padding. */
		assert_false(drac_sign_decode(body, len - 4, &back));
		assert_false(len < sizeof body &&
			     drac_sign_decode(body, len + 4, &back));
		body[len - 1] = n % 4 == 0 ? 0 : 'a';
		assert_false(drac_sign_decode(body, len, &back));
	}
}

/* Scheme, time below zero, lengths of the name, bytes of the name. */
static void credentials_that_are_none(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} rows[] = {{3, 2},  {0, 1},    {4, 0x80}, {28, 1},
		    {31, 0}, {31, 5},   {31, 65},  {32, ' '},
		    {33, 0}, {34, '@'}, {35, '/'}};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint8_t body[DRAC_SIGN_CREDENTIAL_MAX];
		struct drac_sign_credential back;
		size_t len = from_hex(credential_hex, body);

		body[rows[i].at] = rows[i].byte;
		assert_false(drac_sign_decode(body, len, &back));
	}
}

static size_t right_call(uint8_t *message)
{
	return from_hex("01020304"
			"00000000"
			"00000002"
			"000dbc05"
			"00000001"
			"00000001"
			"20d7ac01"
			"00000024"
			"00000001"
			"000000006553f100"
			"000102030405060708090a0b0c0d0e0f"
			"00000004"
			"706f7031"
			"20d7ac01"
			"00000020"
			"2f0f14eb04cacf1754204d31d5e16925"
			"6b1a661b1ff1e6509ef6d3f176fd57e2"
			"c0000201",
			message);
}

static size_t right_reply(uint8_t *message)
{
	return from_hex("01020304"
			"00000001"
			"00000000"
			"20d7ac01"
			"00000020"
			"91d3fc71fc079a56ab85f8c91a7b9689"
			"4dc94a1d010325329c9f0c9dc586a879"
			"00000000"
			"00000000",
			message);
}

static void a_call_as_written(void **state)
{
	uint8_t right[128], message[128], mac[DRAC_SIGN_MAC];
	size_t len = right_call(right);

	(void)state;
	memcpy(message, right, len);
	memset(message + MAC_AT, 0xee, DRAC_SIGN_MAC);
	assert_true(
	    drac_sign_message(SECRET, strlen(SECRET), message, len, MAC_AT));
	assert_memory_equal(message, right, len);
	assert_true(
	    drac_sign_check(SECRET, strlen(SECRET), message, len, MAC_AT, mac));
	assert_memory_equal(mac, right + MAC_AT, sizeof mac);
}

static void a_reply_as_written(void **state)
{
	uint8_t call[128], right[128], reply[128], mac[DRAC_SIGN_MAC];
	uint8_t key[DRAC_SIGN_MAC], right_key[DRAC_SIGN_MAC];
	size_t len = right_reply(right);

	(void)state;
	right_call(call);
	from_hex("419d64b801ebfd1b456f1e74f4d90c6f"
		 "97821ab142d3cf87fb8900d68fc524e2",
		 right_key);
	assert_true(
	    drac_sign_reply_key(SECRET, strlen(SECRET), call + MAC_AT, key));
	assert_memory_equal(key, right_key, sizeof key);
	memcpy(reply, right, len);
	assert_true(drac_sign_message(key, sizeof key, reply, len,
				      DRAC_SIGN_REPLY_MAC_AT));
	assert_memory_equal(reply, right, len);
	assert_true(drac_sign_check(key, sizeof key, reply, len,
				    DRAC_SIGN_REPLY_MAC_AT, mac));
}

static void every_bit_counts(void **state)
{
	uint8_t right[128], message[128], mac[DRAC_SIGN_MAC];
	size_t len = right_call(right);

	(void)state;
	for (size_t bit = 0; bit < len * 8; bit++) {
		memcpy(message, right, len);
		message[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(drac_sign_check(SECRET, strlen(SECRET), message,
					     len, MAC_AT, mac));
	}
	memcpy(message, right, len);
	assert_false(drac_sign_check(SECRET, strlen(SECRET) - 1, message, len,
				     MAC_AT, mac));
	memcpy(message, right, len);
	assert_false(drac_sign_check(SECRET, strlen(SECRET), message, len - 1,
				     MAC_AT, mac));
}

static void a_mac_beyond_the_message(void **state)
{
	uint8_t message[64] = {0}, mac[DRAC_SIGN_MAC];

	(void)state;
	for (size_t len = 0; len < DRAC_SIGN_MAC; len++)
		assert_false(drac_sign_check(SECRET, 32, message, len, 0, mac));
	assert_false(drac_sign_check(SECRET, 32, message, 40, 9, mac));
	assert_false(
	    drac_sign_check(SECRET, 32, message, 40, SIZE_MAX - 8, mac));
	assert_false(drac_sign_message(SECRET, 32, message, 40, 9));
}

static void key_files(void **state)
{
	static const struct {
		const char *text, *name;
	} rows[] = {
	    {SECRET, ""},
	    {SECRET "\n", ""},
	    {" \t" SECRET " \t\r\n", ""},
	    {"pop1 " SECRET "\n", "pop1"},
	    {"# made by hand\n\n  # \npop1\t \t" SECRET "\r\n\n", "pop1"},
	    {"A.b-c_9 " SECRET, "A.b-c_9"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct drac_sign_key key;

		assert_null(drac_sign_parse(rows[i].text, strlen(rows[i].text),
					    &key, fault));
		assert_string_equal(key.name, rows[i].name);
		assert_int_equal(key.len, strlen(SECRET));
		assert_memory_equal(key.secret, SECRET, key.len);
	}
}

static void longest_and_shortest(void **state)
{
	char text[DRAC_SIGN_SECRET_MAX + 2];
	struct drac_sign_key key;

	(void)state;
	memset(text, 'x', sizeof text);
	for (size_t len = 1; len < sizeof text; len++) {
		const char *wrong = drac_sign_parse(text, len, &key, fault);

		assert_int_equal(wrong == NULL,
				 len >= DRAC_SIGN_SECRET_MIN &&
				     len <= DRAC_SIGN_SECRET_MAX);
		assert_int_equal(key.len, wrong == NULL ? len : 0);
	}
}

static void files_and_their_rights(void **state)
{
	static const struct {
		mode_t mode;
		gid_t group;
		const char *wrong; /* NULL: taken */
	} rows[] = {
	    {0600, (gid_t)-1, NULL},    {0400, (gid_t)-1, NULL},
	    {0640, (gid_t)-1, NULL},    {0440, (gid_t)-1, NULL},
	    {0600, 4711, NULL},         {0640, 4711, "chgrp"},
	    {0644, (gid_t)-1, "chmod"}, {0604, (gid_t)-1, "chmod"},
	    {0620, (gid_t)-1, "chmod"}, {0610, (gid_t)-1, "chmod"},
	    {0602, (gid_t)-1, "chmod"}, {0601, (gid_t)-1, "chmod"},
	};

	(void)state;
	scratch_write_bytes("key", SECRET, strlen(SECRET));
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct drac_sign_key key;
		const char *wrong;

		assert_int_equal(chmod("key", rows[i].mode), 0);
		wrong = drac_sign_read("key", 0, rows[i].group, &key, fault);
		if (rows[i].wrong == NULL)
			assert_null(wrong);
		else
			assert_non_null(strstr(wrong, rows[i].wrong));
	}
}

static void files_that_are_none(void **state)
{
	static char big[8192];
	struct drac_sign_key key;

	(void)state;
	assert_non_null(drac_sign_read("nothing", 0, (gid_t)-1, &key, fault));
	assert_int_equal(errno, ENOENT);
	assert_non_null(drac_sign_read(".", 0, (gid_t)-1, &key, fault));
	assert_int_equal(errno, 0);
	assert_non_null(drac_sign_read("/dev/zero", 0, (gid_t)-1, &key, fault));
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_non_null(drac_sign_read("fifo", 0, (gid_t)-1, &key, fault));
	memset(big, '\n', sizeof big);
	scratch_write_bytes("big", big, sizeof big);
	assert_int_equal(chmod("big", 0600), 0);
	assert_string_equal(drac_sign_read("big", 0, (gid_t)-1, &key, fault),
			    "too long");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(credential_as_written),
	    cmocka_unit_test(names_of_every_length),
	    cmocka_unit_test(credentials_that_are_none),
	    cmocka_unit_test(a_call_as_written),
	    cmocka_unit_test(a_reply_as_written),
	    cmocka_unit_test(every_bit_counts),
	    cmocka_unit_test(a_mac_beyond_the_message),
	    cmocka_unit_test(key_files),
	    cmocka_unit_test(longest_and_shortest),
	    cmocka_unit_test(files_and_their_rights),
	    cmocka_unit_test(files_that_are_none),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

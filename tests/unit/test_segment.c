/*
 * segment: the bytes of headers and records, and that nothing else is taken
 * for one. The format is fixed: journals outlive the program that wrote them.
 */
#include "segment.h"

#include <endian.h>
#include <zlib.h>

#include "scratch.h"

enum { NUMBER = 0x01020304 };

static const char user[] = "joe", service[] = "pop3";

static struct record example(void)
{
	return (struct record){
	    .type = RECORD_PUT,
	    .address = address_from_v4(0xc0000201),
	    .expiry_s = 0x1122334455,
	    .caller = address_from_v4(0xc6336407),
	    .first_s = 0x01020304,
	    .last_s = 0x11121314,
	    .adds = 0x21222324,
	    .user = user,
	    .service = service,
	    .user_len = sizeof user - 1,
	    .service_len = sizeof service - 1,
	};
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof value);
}

/* The checksum of a record that has been tampered with, made right. */
static void seal(uint8_t *data, size_t len)
{
	put32(data, (uint32_t)crc32(NUMBER, data + 4, (uInt)len - 4));
}

/* From memory that ends where the data do, for the sanitizer. */
static size_t decode(const uint8_t *data, size_t len, uint32_t number)
{
	uint8_t *exact = malloc(len ? len : 1);
	struct record record;
	size_t taken;

	assert_non_null(exact);
	memcpy(exact, data, len);
	taken = segment_decode(exact, len, number, &record);
	free(exact);
	return taken;
}

/* ---- the header ---- */

static void header_bytes(void **state)
{
	uint8_t out[SEGMENT_HEADER],
	    wanted[SEGMENT_HEADER] = "DRACDJNL\3\0\0\0\4\3\2\1";

	(void)state;
	put32(wanted + 16, (uint32_t)crc32(NUMBER, wanted, 16));
	segment_header_write(out, NUMBER);
	assert_memory_equal(out, wanted, sizeof out);
	assert_int_equal(segment_header_check(out, sizeof out, NUMBER),
			 SEGMENT_OK);
	assert_int_equal(segment_header_check(out, sizeof out, NUMBER + 1),
			 SEGMENT_TORN);
}

static void header_damaged(void **state)
{
	uint8_t out[SEGMENT_HEADER];

	(void)state;
	segment_header_write(out, NUMBER);
	for (size_t len = 0; len < sizeof out; len++)
		assert_int_equal(segment_header_check(out, len, NUMBER),
				 SEGMENT_TORN);
	/* the last four bytes mean nothing yet */
	for (size_t bit = 0; bit < 20 * 8; bit++) {
		out[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(segment_header_check(out, sizeof out, NUMBER),
				 SEGMENT_TORN);
		out[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void header_of_a_newer_version(void **state)
{
	uint8_t out[SEGMENT_HEADER];

	(void)state;
	segment_header_write(out, NUMBER);
	put32(out + 8, SEGMENT_VERSION + 1);
	put32(out + 16, (uint32_t)crc32(NUMBER, out, 16));
	assert_int_equal(segment_header_check(out, sizeof out, NUMBER),
			 SEGMENT_NEWER);
}

/* ---- records ---- */

static void record_bytes(void **state)
{
	static const uint8_t fields[] =
	    "\0\0\0\0\x48\0\4\3\x55\x44\x33\x22\x11\0\0\0"
	    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1"
	    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\7"
	    "\4\3\2\1\x14\x13\x12\x11\x24\x23\x22\x21"
	    "\4joepop3\0\0\0"; /* and C's NUL: 72 */
	uint8_t out[SEGMENT_RECORD_MAX], wanted[72];
	struct record record = example();

	(void)state;
	memcpy(wanted, fields, sizeof wanted);
	seal(wanted, sizeof wanted);
	assert_int_equal(segment_encode(out, NUMBER, &record), sizeof wanted);
	assert_memory_equal(out, wanted, sizeof wanted);
}

/* What the first version wrote is read for ever. */
static void record_of_version_1(void **state)
{
	static const uint8_t fields[] =
	    "\0\0\0\0\x28\0\1\3\x55\x44\x33\x22\x11\0\0\0"
	    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1"
	    "\4joepop3"; /* 40 bytes: no padding, the NUL is C's */
	static const struct address unknown;
	uint8_t data[40];
	struct record record, wanted = example();

	(void)state;
	memcpy(data, fields, sizeof data);
	seal(data, sizeof data);
	assert_int_equal(decode(data, sizeof data, NUMBER), sizeof data);
	segment_decode(data, sizeof data, NUMBER, &record);
	assert_int_equal(record.type, RECORD_PUT);
	assert_true(address_equal(&record.address, &wanted.address));
	assert_true(record.expiry_s == wanted.expiry_s);
	assert_true(address_equal(&record.caller, &unknown));
	assert_int_equal(record.first_s | record.last_s | record.adds, 0);
	assert_int_equal(record.user_len, 3);
	assert_memory_equal(record.user, "joe", 3);
	assert_int_equal(record.service_len, 4);
	assert_memory_equal(record.service, "pop3", 4);
	for (size_t cut = 0; cut < sizeof data; cut++)
		assert_int_equal(decode(data, cut, NUMBER), 0);
}

static void header_of_former_versions(void **state)
{
	uint8_t header[SEGMENT_HEADER] = "DRACDJNL\1\0\0\0\4\3\2\1";

	(void)state;
	for (header[8] = 1; header[8] < SEGMENT_VERSION; header[8]++) {
		put32(header + 16, (uint32_t)crc32(NUMBER, header, 16));
		assert_int_equal(
		    segment_header_check(header, sizeof header, NUMBER),
		    SEGMENT_OK);
	}
}

static void clock_bytes(void **state)
{
	static const uint8_t fields[] =
	    "\0\0\0\0\x28\0\5\4\x88\x77\x66\x55\x44\x33\x22\x11"
	    "\xf0\xf1\xff\xff\xff\xff\xff\xff\4\3\2\1\0\0\0\0"
	    "\0boot\0\0"; /* and C's NUL: 40 */
	struct record back, record = {
				.type = RECORD_CLOCK,
				.base_ns = 0x1122334455667788,
				.step_s = -3600,
				.last_s = 0x01020304,
				.user = "boot",
				.user_len = 4,
			    };
	uint8_t out[SEGMENT_RECORD_MAX], wanted[40];

	(void)state;
	memcpy(wanted, fields, sizeof wanted);
	seal(wanted, sizeof wanted);
	assert_int_equal(segment_encode(out, NUMBER, &record), sizeof wanted);
	assert_memory_equal(out, wanted, sizeof wanted);
	assert_int_equal(segment_decode(out, sizeof wanted, NUMBER, &back),
			 sizeof wanted);
	assert_int_equal(back.type, RECORD_CLOCK);
	assert_true(back.base_ns == record.base_ns);
	assert_true(back.step_s == record.step_s);
	assert_int_equal(back.last_s, record.last_s);
	assert_int_equal(back.user_len, record.user_len);
	assert_memory_equal(back.user, "boot", 4);
}

/* The stamp stays what former versions had in both halves. */
static void clean_bytes(void **state)
{
	uint8_t out[SEGMENT_RECORD_MAX];
	struct record back, record = {.type = RECORD_CLEAN,
				      .expiry_s = 0xf1f2f3f4,
				      .last_s = 0xe1e2e3e4};
	size_t len = segment_encode(out, NUMBER, &record);

	(void)state;
	assert_memory_equal(out + 8, "\xf4\xf3\xf2\xf1\xe4\xe3\xe2\xe1", 8);
	assert_int_equal(segment_decode(out, len, NUMBER, &back), len);
	assert_true(back.expiry_s == record.expiry_s);
	assert_int_equal(back.last_s, record.last_s);
}

static void check_round(struct record in)
{
	uint8_t out[SEGMENT_RECORD_MAX];
	struct record back;
	size_t len, fixed = in.type == RECORD_PUT ? 61 : 33;
	size_t used = fixed + (size_t)in.user_len + in.service_len;

	memset(out, 0xa5, sizeof out);
	len = segment_encode(out, NUMBER, &in);
	assert_int_equal(len % SEGMENT_ALIGN, 0);
	assert_in_range(len, used, used + SEGMENT_ALIGN - 1);
	for (size_t i = used; i < len; i++)
		assert_int_equal(out[i], 0);
	memset(&back, 0x5a, sizeof back);
	/* what comes behind it is not its business */
	assert_int_equal(segment_decode(out, sizeof out, NUMBER, &back), len);
	assert_int_equal(decode(out, len, NUMBER), len);
	assert_int_equal(back.type, in.type);
	assert_true(address_equal(&back.address, &in.address));
	assert_true(back.expiry_s == in.expiry_s);
	if (in.type == RECORD_PUT) {
		assert_true(address_equal(&back.caller, &in.caller));
		assert_int_equal(back.first_s, in.first_s);
		assert_int_equal(back.last_s, in.last_s);
		assert_int_equal(back.adds, in.adds);
	}
	assert_int_equal(back.user_len, in.user_len);
	assert_int_equal(back.service_len, in.service_len);
	if (in.user_len > 0)
		assert_memory_equal(back.user, in.user, in.user_len);
	else
		assert_null(back.user);
	if (in.service_len > 0)
		assert_memory_equal(back.service, in.service, in.service_len);
	else
		assert_null(back.service);
}

static void every_field(void **state)
{
	static char text[256];
	static const int64_t expiries[] = {0, 1, -1, INT64_MAX, INT64_MIN};
	struct record record = example();

	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('a' + i % 26);
	record.user = text;
	record.service = text + 1;
	for (int a = 0; a <= SEGMENT_USER_MAX; a++)
		for (int b = 0; b <= SEGMENT_SERVICE_MAX; b += b < 9 ? 1 : 41) {
			record.user_len = (uint8_t)a;
			record.service_len = (uint8_t)b;
			check_round(record);
		}
	record.service_len = SEGMENT_SERVICE_MAX;
	check_round(record); /* the longest */
	for (size_t i = 0; i < sizeof expiries / sizeof expiries[0]; i++) {
		record.expiry_s = expiries[i];
		check_round(record);
	}
	for (int i = 0; i < 16; i++) {
		memset(record.address.byte, 0, 16);
		record.address.byte[i] = 0xff;
		check_round(record);
		memset(record.caller.byte, 0, 16);
		record.caller.byte[i] = 0xff;
		check_round(record);
	}
	record.first_s = record.last_s = record.adds = UINT32_MAX;
	check_round(record);
	record.type = RECORD_REMOVE;
	check_round(record);
	check_round((struct record){.type = RECORD_CLEAN});
}

static void damaged_in_any_bit(void **state)
{
	uint8_t out[SEGMENT_RECORD_MAX];
	struct record record = example();
	size_t len = segment_encode(out, NUMBER, &record);

	(void)state;
	memset(out + len, 0, sizeof out - len);
	for (size_t bit = 0; bit < len * 8; bit++) {
		out[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(decode(out, len, NUMBER), 0);
		assert_int_equal(decode(out, sizeof out, NUMBER), 0);
		out[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(decode(out, len, NUMBER), len);
}

static void cut_at_any_byte(void **state)
{
	uint8_t out[SEGMENT_RECORD_MAX];
	struct record record = example();
	size_t len = segment_encode(out, NUMBER, &record);

	(void)state;
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(decode(out, cut, NUMBER), 0);
}

static void of_another_segment(void **state)
{
	uint8_t out[SEGMENT_RECORD_MAX];
	struct record record = example();
	size_t len = segment_encode(out, NUMBER, &record);

	(void)state;
	for (int bit = 0; bit < 32; bit++)
		assert_int_equal(decode(out, len, NUMBER ^ UINT32_C(1) << bit),
				 0);
}

/* With a right checksum: lengths that do not fit each other. */
static void lengths_that_lie(void **state)
{
	uint8_t out[SEGMENT_RECORD_MAX + 64];
	struct record record = example();
	size_t len = segment_encode(out, NUMBER, &record);

	(void)state;
	memset(out + len, 0, sizeof out - len);
	for (uint16_t length = 0; length < len + 64; length++) {
		bool right = length >= len && length % SEGMENT_ALIGN == 0;
		uint16_t little = htole16(length);

		memcpy(out + 4, &little, sizeof little);
		if (length > 4)
			seal(out, length);
		assert_int_equal(decode(out, sizeof out, NUMBER),
				 right ? length : 0);
	}
	segment_encode(out, NUMBER, &record);
	for (int at = 0; at < 2; at++) { /* user's length, service's length */
		uint8_t *field = out + (at == 0 ? 7 : 60), saved = *field;

		/* the four bytes of padding have room */
		for (unsigned value = saved + 5U; value < 256; value++) {
			*field = (uint8_t)value;
			seal(out, len);
			assert_int_equal(decode(out, len, NUMBER), 0);
		}
		*field = saved;
	}
}

static void zeros_and_noise(void **state)
{
	uint8_t noise[SEGMENT_RECORD_MAX] = {0};

	(void)state;
	assert_int_equal(decode(noise, sizeof noise, NUMBER), 0);
	memset(noise, 0xff, sizeof noise);
	assert_int_equal(decode(noise, sizeof noise, NUMBER), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(header_bytes),
	    cmocka_unit_test(header_damaged),
	    cmocka_unit_test(header_of_a_newer_version),
	    cmocka_unit_test(header_of_former_versions),
	    cmocka_unit_test(clock_bytes),
	    cmocka_unit_test(clean_bytes),
	    cmocka_unit_test(record_bytes),
	    cmocka_unit_test(record_of_version_1),
	    cmocka_unit_test(every_field),
	    cmocka_unit_test(damaged_in_any_bit),
	    cmocka_unit_test(cut_at_any_byte),
	    cmocka_unit_test(of_another_segment),
	    cmocka_unit_test(lengths_that_lie),
	    cmocka_unit_test(zeros_and_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

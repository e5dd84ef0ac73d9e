/*
 * segment: see segment.h. Pure functions; the only place that knows where a
 * field lies.
 */
#include "segment.h"

#include <endian.h>
#include <libdeflate.h>
#include <string.h>

static const char magic[8] = "DRACDJNL";

enum {
	AT_VERSION = 8,
	AT_NUMBER = 12,
	AT_HEADER_CRC = 16,

	AT_LENGTH = 4,
	AT_TYPE = 6,
	AT_USER_LEN = 7,
	AT_EXPIRY = 8,
	AT_ADDRESS = 16,
	AT_CALLER = 32,
	AT_FIRST = 48,
	AT_LAST = 52,
	AT_ADDS = 56,
	AT_SERVICE_LEN = 60,
	AT_STRINGS = 61,

	/* in a record of the clock */
	AT_STEP = AT_ADDRESS,
	AT_TIME = AT_ADDRESS + 8,

	/* in version 1 */
	RECORD_PUT_1 = 1,
	AT_SERVICE_LEN_1 = 32,
	AT_STRINGS_1 = 33,
};

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static void put64(uint8_t *at, int64_t value)
{
	uint64_t little = htole64((uint64_t)value);
	memcpy(at, &little, sizeof(little));
}

static int64_t get64(const uint8_t *at)
{
	uint64_t little;
	memcpy(&little, at, sizeof(little));
	return (int64_t)le64toh(little);
}

static uint32_t checksum(uint32_t number, const uint8_t *data, size_t len)
{
	return libdeflate_crc32(number, data, len);
}

void segment_header_write(uint8_t out[SEGMENT_HEADER], uint32_t number)
{
	memset(out, 0, SEGMENT_HEADER);
	memcpy(out, magic, sizeof(magic));
	put32(out + AT_VERSION, SEGMENT_VERSION);
	put32(out + AT_NUMBER, number);
	put32(out + AT_HEADER_CRC, checksum(number, out, AT_HEADER_CRC));
}

enum segment_state segment_header_check(const uint8_t *data, size_t len,
					uint32_t number)
{
	if (len < SEGMENT_HEADER || memcmp(data, magic, sizeof(magic)) != 0 ||
	    get32(data + AT_NUMBER) != number ||
	    get32(data + AT_HEADER_CRC) !=
		checksum(number, data, AT_HEADER_CRC))
		return SEGMENT_TORN;
	return get32(data + AT_VERSION) > SEGMENT_VERSION ? SEGMENT_NEWER
							  : SEGMENT_OK;
}

/* Where a record of this type has the length of the service. */
static size_t service_len_at(uint8_t type)
{
	return type == RECORD_PUT ? AT_SERVICE_LEN : AT_SERVICE_LEN_1;
}

static void put_account(uint8_t *out, const struct record *record)
{
	memcpy(out + AT_CALLER, record->caller.byte,
	       sizeof(record->caller.byte));
	put32(out + AT_FIRST, record->first_s);
	put32(out + AT_LAST, record->last_s);
	put32(out + AT_ADDS, record->adds);
}

static void get_account(const uint8_t *data, struct record *record)
{
	memcpy(record->caller.byte, data + AT_CALLER,
	       sizeof(record->caller.byte));
	record->first_s = get32(data + AT_FIRST);
	record->last_s = get32(data + AT_LAST);
	record->adds = get32(data + AT_ADDS);
}

/* What lies where a put has expiry and address. */
static void put_fixed(uint8_t *out, const struct record *record)
{
	memcpy(out + AT_ADDRESS, record->address.byte,
	       sizeof(record->address.byte));
	put64(out + AT_EXPIRY, record->expiry_s);
	if (record->type == RECORD_CLEAN)
		put32(out + AT_EXPIRY + 4, record->last_s);
	if (record->type != RECORD_CLOCK)
		return;
	put64(out + AT_EXPIRY, record->base_ns);
	put64(out + AT_STEP, record->step_s);
	put32(out + AT_TIME, record->last_s);
	put32(out + AT_TIME + 4, 0);
}

static void get_fixed(const uint8_t *data, struct record *record)
{
	if (record->type == RECORD_CLOCK) {
		record->base_ns = get64(data + AT_EXPIRY);
		record->step_s = get64(data + AT_STEP);
		record->last_s = get32(data + AT_TIME);
		return;
	}
	memcpy(record->address.byte, data + AT_ADDRESS,
	       sizeof(record->address.byte));
	record->expiry_s = get64(data + AT_EXPIRY);
	if (record->type == RECORD_CLEAN) {
		record->last_s = get32(data + AT_EXPIRY + 4);
		record->expiry_s = get32(data + AT_EXPIRY);
	}
}

size_t segment_encode(uint8_t out[SEGMENT_RECORD_MAX], uint32_t number,
		      const struct record *record)
{
	size_t at = service_len_at((uint8_t)record->type);
	size_t used = at + 1 + record->user_len + record->service_len;
	size_t len = (used + SEGMENT_ALIGN - 1) & ~(size_t)(SEGMENT_ALIGN - 1);
	uint16_t length = htole16((uint16_t)len);
	memcpy(out + AT_LENGTH, &length, sizeof(length));
	out[AT_TYPE] = (uint8_t)record->type;
	out[AT_USER_LEN] = record->user_len;
	put_fixed(out, record);
	if (record->type == RECORD_PUT)
		put_account(out, record);
	out[at] = record->service_len;
	uint8_t *end = out + at + 1;
	if (record->user_len > 0)
		end = mempcpy(end, record->user, record->user_len);
	if (record->service_len > 0)
		end = mempcpy(end, record->service, record->service_len);
	memset(end, 0, len - used);
	put32(out, checksum(number, out + AT_LENGTH, len - AT_LENGTH));
	return len;
}

size_t segment_decode(const uint8_t *data, size_t len, uint32_t number,
		      struct record *record)
{
	if (len < AT_STRINGS_1 ||
	    (data[AT_TYPE] == RECORD_PUT && len < AT_STRINGS))
		return 0;
	uint16_t length;
	memcpy(&length, data + AT_LENGTH, sizeof(length));
	length = le16toh(length);
	size_t at = service_len_at(data[AT_TYPE]);
	size_t user_len = data[AT_USER_LEN];
	size_t service_len = data[at];
	if (length > len || length % SEGMENT_ALIGN != 0 ||
	    length < at + 1 + user_len + service_len ||
	    get32(data) !=
		checksum(number, data + AT_LENGTH, (size_t)length - AT_LENGTH))
		return 0;
	const char *strings = (const char *)data + at + 1;
	*record = (struct record){
	    .type = data[AT_TYPE] == RECORD_PUT_1
			? RECORD_PUT
			: (enum record_type)data[AT_TYPE],
	    .user = user_len > 0 ? strings : NULL,
	    .service = service_len > 0 ? strings + user_len : NULL,
	    .user_len = (uint8_t)user_len,
	    .service_len = (uint8_t)service_len,
	};
	get_fixed(data, record);
	if (data[AT_TYPE] == RECORD_PUT)
		get_account(data, record);
	return length;
}

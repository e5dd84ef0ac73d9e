/*
 * segment: the format of one journal file. Bytes in, records out, and the
 * other way; no files, no state. All numbers are little-endian.
 *
 *	header	"DRACDJNL", u32 version, u32 number, u32 crc of these 16 bytes,
 *		u32 0
 *	record	u32 crc of the rest, u16 length (a multiple of 8), u8 type,
 *		u8 user length, i64 expiry, 16 bytes address, 16 bytes caller,
 *		u32 first, u32 last, u32 adds, u8 service length, user,
 *		service, zeros up to the length
 *
 * Only a put has what stands between address and service length. Version 1 had
 * another type for a put, which did not; that one is read, and never written.
 *
 * Since version 3 a segment begins with a record of the clock: which start of
 * the system (as its user), wall clock minus running time in nanoseconds (as
 * its expiry), and in the place of the address i64 step, u32 time, u32 0. Step
 * is by how many seconds the wall clock was set since the segment before: the
 * times in all former ones move by it. A clean stop has its time in the upper
 * half of its expiry.
 *
 * Every crc (zlib's CRC-32) starts from the segment's number, so a record only
 * counts in the file it was written to.
 */
#ifndef DRACD_SEGMENT_H
#define DRACD_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include "address.h"

enum {
	SEGMENT_HEADER = 24,
	SEGMENT_VERSION = 3,
	SEGMENT_USER_MAX = 255,
	SEGMENT_SERVICE_MAX = 255,
	SEGMENT_RECORD_MAX = 576, /* 61 + both, rounded up */
	SEGMENT_ALIGN = 8,
	SEGMENT_CLOCK_MAX = 80, /* 33 + the id of a start, rounded up */
};

enum record_type {
	RECORD_REMOVE = 2, /* address */
	RECORD_CLEAN = 3,  /* a stop in good order; expiry: its stamp */
	RECORD_PUT = 4,    /* all fields; adds is 0 in one of version 1 */
	RECORD_CLOCK = 5,  /* base, step; user: the start of the system */
};

struct record {
	enum record_type type;
	struct address address;
	int64_t expiry_s;
	struct address caller;          /* see caller.h */
	uint32_t first_s, last_s, adds; /* last: of clock and clean, too */
	int64_t base_ns, step_s;
	/* not NUL-terminated; NULL when the length is 0 */
	const char *user, *service;
	uint8_t user_len, service_len;
};

enum segment_state { SEGMENT_OK, SEGMENT_TORN, SEGMENT_NEWER };

void segment_header_write(uint8_t out[SEGMENT_HEADER], uint32_t number);
/* TORN: not a header of this number. NEWER: of a version not known here. */
enum segment_state segment_header_check(const uint8_t *data, size_t len,
					uint32_t number);

/* Returns the record's length, a multiple of SEGMENT_ALIGN. */
size_t segment_encode(uint8_t out[SEGMENT_RECORD_MAX], uint32_t number,
		      const struct record *record);
/*
 * Reads the record at data, of which len bytes are there. Returns its length,
 * or 0 when there is no whole, intact record. Its strings point into data.
 */
size_t segment_decode(const uint8_t *data, size_t len, uint32_t number,
		      struct record *record);

#endif

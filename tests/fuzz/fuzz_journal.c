/*
 * libFuzzer: a journal of one or two segments, replayed into a table as at a
 * start. The first byte says whether checksums are put right before, so that
 * what is behind them is tried too; the second where the second segment
 * begins.
 *
 * Promises: a damaged journal does not keep the daemon from starting, only one
 * of a newer version does; what may not relay or is expired does not come
 * back; and a second start finds what the first one has found, unless there
 * are times that no clock has, which are cut off where times end.
 */
#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "../unit/clock_at.h"
#include "replay.h"
#include "restore.h"
#include "scratch.h"
#include "segment.h"
#include "service.h"

enum {
	NOW = 1900000000,
	PUT_RIGHT = 1,
	SPLIT_UNIT = 16, /* bytes, of the second byte of an input */
	INPUT_HEADER = 2,
	CRC_AT = 16, /* segment.h: of the header */
	LENGTH_AT = 4,
	RECORD_MIN = 33,
	TIME_MAX = 2000000000, /* twice that is still below the end of time */
};

#define BOOT "boot"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char map_file[256], journal_dir[256];
static struct map_config map = {.type = MAP_BTREE, .path = map_file};
static struct prefix never;
static struct config config = {
    .maps = &map,
    .map_count = 1,
    .journal = journal_dir,
    .never = &never,
    .never_count = 1,
};
static int dir_fd = -1;
static bool absurd; /* there are such times in the input */
/* Some of the inputs are of this start of the system. */
static struct timebase timebase = {.boot = BOOT};

static void begin(void)
{
	scratch_begin();
	scratch_path(map_file, "map.db");
	require(mkdir(scratch_path(journal_dir, "journal"), 0700) == 0);
	require(prefix_from_text(&never, "192.0.2.128/25"));
	dir_fd = open(journal_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	require(dir_fd >= 0);
}

static void empty_directory(void)
{
	DIR *dir = opendir(journal_dir);
	const struct dirent *found;

	require(dir != NULL);
	while ((found = readdir(dir)) != NULL)
		if (found->d_name[0] != '.')
			unlinkat(dir_fd, found->d_name, 0);
	closedir(dir);
}

/* ---- what is written ---- */

static void put_crc(uint8_t *at, uint32_t number, const uint8_t *data,
		    size_t len)
{
	uint32_t crc = htole32((uint32_t)crc32(number, data, (uInt)len));

	memcpy(at, &crc, sizeof crc);
}

static void put_right(uint8_t *data, size_t len, uint32_t number)
{
	size_t at = SEGMENT_HEADER;
	uint16_t length;

	if (len < SEGMENT_HEADER)
		return;
	put_crc(data + CRC_AT, number, data, CRC_AT);
	while (len - at >= RECORD_MIN) {
		memcpy(&length, data + at + LENGTH_AT, sizeof length);
		length = le16toh(length);
		if (length < RECORD_MIN || length > len - at)
			return;
		put_crc(data + at, number, data + at + LENGTH_AT,
			(size_t)length - LENGTH_AT);
		at += length;
	}
}

static bool same_text(const char *a, uint8_t a_len, const char *b,
		      uint8_t b_len)
{
	return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static bool same_record(const struct record *a, const struct record *b)
{
	return a->type == b->type && address_equal(&a->address, &b->address) &&
	       a->expiry_s == b->expiry_s &&
	       address_equal(&a->caller, &b->caller) &&
	       a->first_s == b->first_s && a->last_s == b->last_s &&
	       a->adds == b->adds && a->base_ns == b->base_ns &&
	       a->step_s == b->step_s &&
	       same_text(a->user, a->user_len, b->user, b->user_len) &&
	       same_text(a->service, a->service_len, b->service,
			 b->service_len);
}

/* What can be decoded, of whatever version, can be written anew. */
static void check_records(const uint8_t *data, size_t len, uint32_t number)
{
	uint8_t again[SEGMENT_RECORD_MAX];
	struct record record, copy;
	size_t taken, at = SEGMENT_HEADER;

	while (at < len && (taken = segment_decode(data + at, len - at, number,
						   &record)) > 0) {
		size_t used = segment_encode(again, number, &record);

		require(used <= sizeof again);
		require(segment_decode(again, used, number, &copy) == used);
		require(same_record(&record, &copy));
		at += taken;
	}
}

static bool is_time(int64_t wall_s)
{
	return wall_s >= 0 && wall_s < TIME_MAX;
}

/* Wherever a record may be found behind damage. */
static void look_for_absurd(const uint8_t *data, size_t len, uint32_t number)
{
	struct record record;

	for (size_t at = SEGMENT_HEADER; at < len; at += SEGMENT_ALIGN) {
		if (segment_decode(data + at, len - at, number, &record) == 0)
			continue;
		if (!is_time(record.expiry_s) || !is_time(record.last_s) ||
		    !is_time(record.first_s) || record.step_s > TIME_MAX / 2 ||
		    record.step_s < -(TIME_MAX / 2) || record.base_ns != 0)
			absurd = true;
	}
}

static void write_segment(uint8_t how, const uint8_t *data, size_t len,
			  uint32_t number)
{
	/* Exactly as long, so that a read beyond is seen. */
	uint8_t *exact = calloc(1, len);
	char name[SEGMENT_NAME_MAX];
	int fd;

	require(exact != NULL || len == 0);
	if (len > 0)
		memcpy(exact, data, len);
	if (how & PUT_RIGHT)
		put_right(exact, len, number);
	check_records(exact, len, number);
	look_for_absurd(exact, len, number);
	replay_name(name, number);
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	require(fd >= 0 && write(fd, exact, len) == (ssize_t)len);
	close(fd);
	free(exact);
}

/* ---- what is read ---- */

/* NULL: the daemon does not start. */
static struct table *start(void)
{
	struct table *table = table_create();
	struct journal *journal;
	bool verify;

	require(table != NULL);
	journal = restore(&config, table, &timebase, &verify);
	if (journal == NULL) {
		table_free(table);
		return NULL;
	}
	journal_close(journal, 0);
	return table;
}

static bool is_newer(const uint8_t *data, size_t len)
{
	uint32_t version;

	if (len < SEGMENT_HEADER)
		return false;
	memcpy(&version, data + sizeof "DRACDJNL" - 1, sizeof version);
	return le32toh(version) > SEGMENT_VERSION;
}

static void check_same(struct table *table, struct table *second)
{
	require(second != NULL && table_count(second) == table_count(table));
	for (struct entry *e = table_first(table); e != NULL;
	     e = table_next(table, e)) {
		const struct entry *found = table_find(second, &e->address);

		require(e->expiry_s > NOW);
		require(config_may_relay(&config, &e->address));
		require(found != NULL && found->expiry_s == e->expiry_s);
		require(entry_adds(found) == entry_adds(e));
		require(who_equal(found->who, e->who));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct table *first, *second;
	size_t split;

	if (size < INPUT_HEADER)
		return 0;
	if (dir_fd < 0)
		begin();
	absurd = false;
	split = INPUT_HEADER + (size_t)data[1] * SPLIT_UNIT;
	if (split == INPUT_HEADER || split > size)
		split = size;
	write_segment(data[0], data + INPUT_HEADER, split - INPUT_HEADER, 1);
	if (split < size)
		write_segment(data[0], data + split, size - split, 2);
	/* One clock for both: a base of its own would be a step back. */
	timebase.base_ns = clock_at(NOW).base_ns;
	first = start();
	if (first == NULL) {
		require(is_newer(data + INPUT_HEADER, split - INPUT_HEADER) ||
			is_newer(data + split, size - split));
	} else {
		second = start();
		require(second != NULL);
		if (!absurd)
			check_same(first, second);
		table_free(second);
		table_free(first);
	}
	empty_directory();
	return 0;
}

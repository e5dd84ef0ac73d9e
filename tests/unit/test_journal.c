/* journal: what is read back, after good stops, bad stops and damage. */
#include <zlib.h>

#include "journal_model.h"

/* ---- good stops and bad ones ---- */

static void last_record_wins(void **state)
{
	(void)state;
	model_open();
	assert_false(start.existed);
	put(1, 100);
	put(2, 200);
	put(1, 300);
	put(1, 250); /* the last one, not the latest */
	put(3, 300);
	take(3);
	put(4, 400);
	take(4);
	put(4, 450);
	model_close();

	for (int again = 0; again < 3; again++) {
		model_open();
		assert_true(start.existed);
		assert_int_equal(start.stamp, 0);
		assert_int_equal(records_seen, 9);
		assert_int_equal(model[1].expiry_s, 250);
		assert_int_equal(model[2].expiry_s, 200);
		assert_int_equal(model[3].segment, 0);
		assert_int_equal(model[4].expiry_s, 450);
		assert_string_equal(model[4].user, "joe");
		assert_string_equal(model[4].service, "pop3");
		model_close();
	}
}

static void clean_marker(void **state)
{
	(void)state;
	model_open();
	put(1, 100);
	journal_close(journal, 0xfedcba98);
	model_open();
	assert_int_equal(start.stamp, 0xfedcba98);
	model_close();
	model_open(); /* nothing was written, but something may have been */
	assert_int_equal(start.stamp, 0);
	put(2, 100);
	journal_close(journal, 7);
	model_open();
	assert_int_equal(start.stamp, 7);
	assert_int_equal(model[1].expiry_s, 100);
	put(3, 100);
	model_close();
	model_open();
	assert_int_equal(start.stamp, 0);
	assert_int_equal(model[3].expiry_s, 100);
	/* what was added and not committed is not there */
	assert_true(journal_add(journal, &(struct record){.type = RECORD_PUT}));
	journal_close(journal, 1);
	model_open();
	assert_int_equal(start.stamp, 1);
	assert_int_equal(model[0].segment, 0);
	model_close();
}

static void initialize_forgets(void **state)
{
	(void)state;
	model_open();
	put(1, 100);
	fill_segment();
	model_close();
	assert_true(model_open_as(DURABILITY_OS, true));
	assert_true(start.existed);
	assert_int_equal(start.stamp, 0);
	assert_int_equal(records_seen, 0);
	put(2, 200);
	model_close();
	model_open();
	assert_int_equal(records_seen, 1);
	assert_int_equal(model[2].expiry_s, 200);
	model_close();
}

static void one_at_a_time(void **state)
{
	struct journal *first;

	(void)state;
	model_open();
	first = journal;
	put(1, 100);
	capture_begin();
	assert_false(model_open_as(DURABILITY_OS, false));
	assert_contains(capture_end(), "journal is in use");
	assert_int_equal(files(), 1);
	journal_close(first, 0);
	model_open();
	assert_int_equal(model[1].expiry_s, 100);
	model_close();
}

static void no_directory(void **state)
{
	(void)state;
	assert_int_equal(rmdir(JOURNAL_DIR), 0);
	capture_begin();
	assert_false(model_open_as(DURABILITY_OS, false));
	assert_contains(capture_end(), "No such file or directory");
	scratch_write(JOURNAL_DIR, "");
	capture_begin();
	assert_false(model_open_as(DURABILITY_OS, false));
	assert_contains(capture_end(), "Not a directory");
	assert_int_equal(unlink(JOURNAL_DIR), 0);
}

/* ---- damage in the newest segment ---- */

/* Records 1, 2 and 3 in one segment; what is in the file. */
static uint8_t *three_records(size_t *len, size_t *third)
{
	model_open();
	put(1, 100);
	put(2, 200);
	*third = put(3, 300).from;
	model_close();
	return scratch_read_bytes(segment_path(1), len);
}

/* The journal is one segment with these bytes. */
static const char *open_with(const uint8_t *bytes, size_t len)
{
	const char *text;

	assert_int_equal(journal_setup(NULL), 0);
	scratch_write_bytes(segment_path(1), bytes, len);
	capture_begin();
	model_open();
	text = capture_end();
	assert_true(start.existed);
	assert_int_equal(start.stamp, 0);
	return text;
}

/* What was lost stays lost, and what comes now is kept. */
static void assert_goes_on(void)
{
	put(4, 400);
	model_close();
	capture_begin();
	model_open();
	assert_string_equal(capture_end(), "");
	assert_int_equal(model[1].expiry_s, 100);
	assert_int_equal(model[2].expiry_s, 200);
	assert_int_equal(model[3].segment, 0);
	assert_int_equal(model[4].expiry_s, 400);
	model_close();
}

static void torn_tail(void **state)
{
	size_t len, third;
	uint8_t *bytes = three_records(&len, &third);

	(void)state;
	for (size_t cut = third + 1; cut < len; cut++) {
		const char *text = open_with(bytes, cut);

		assert_contains(text, "0000000001.journal ends in a torn");
		assert_null(strstr(text, ".damaged"));
		assert_int_equal(records_seen, 2);
		assert_int_equal(size_of(segment_path(1)), third);
		assert_goes_on();
		assert_int_equal(files(), 3);
	}
	assert_string_equal(open_with(bytes, third), "");
	assert_goes_on();
	free(bytes);
}

static void flipped_tail(void **state)
{
	size_t len, third;
	uint8_t *bytes = three_records(&len, &third);

	(void)state;
	for (size_t at = third; at < len; at++) {
		bytes[at] ^= 0x10;
		assert_contains(open_with(bytes, len), "torn record");
		assert_goes_on();
		bytes[at] ^= 0x10;
	}
	free(bytes);
}

/* The daemon died between creating the next segment and its header. */
static void torn_header(void **state)
{
	uint8_t header[SEGMENT_HEADER];
	size_t len, third;
	uint8_t *bytes = three_records(&len, &third);

	(void)state;
	segment_header_write(header, 2);
	for (size_t cut = 0; cut < sizeof header; cut++) {
		assert_int_equal(journal_setup(NULL), 0);
		scratch_write_bytes(segment_path(1), bytes, third);
		scratch_write_bytes(segment_path(2), header, cut);
		capture_begin();
		model_open();
		assert_int_equal(strstr(capture_end(), "torn") != NULL,
				 cut > 0);
		assert_int_equal(records_seen, 2);
		assert_goes_on();
	}
	free(bytes);
}

/* More than one write can have left: whoever wants to may look at it. */
static void garbage_behind(void **state)
{
	enum { GARBAGE = 4 * SEGMENT_RECORD_MAX };
	size_t len, third, aside_len;
	uint8_t *bytes = three_records(&len, &third), *aside;

	(void)state;
	bytes = realloc(bytes, third + GARBAGE);
	assert_non_null(bytes);
	for (size_t i = 0; i < GARBAGE; i++)
		bytes[third + i] = (uint8_t)(i * 7 + 1);
	assert_contains(open_with(bytes, third + GARBAGE), ".damaged");
	aside = scratch_read_bytes(JOURNAL_DIR "/0000000001.journal.damaged",
				   &aside_len);
	assert_int_equal(aside_len, third + GARBAGE);
	assert_memory_equal(aside, bytes, aside_len);
	free(aside);
	assert_goes_on();

	memset(bytes + third, 0, GARBAGE); /* what a file system leaves */
	assert_null(strstr(open_with(bytes, third + GARBAGE), ".damaged"));
	assert_goes_on();
	free(bytes);
}

/* ---- damage in an older one ---- */

static void flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void damaged_and_read_on(void **state)
{
	const char *aside = JOURNAL_DIR "/0000000001.journal.damaged";
	struct journal_mark mark;
	size_t len, aside_len;
	uint8_t *bytes, *kept;

	(void)state;
	model_open();
	put(1, 100);
	mark = put(2, 200);
	put(3, 300);
	put(4, 400);
	model_close();
	model_open();
	put(5, 500);
	model_close();
	flip(segment_path(1), (off_t)mark.from + 20);
	bytes = scratch_read_bytes(segment_path(1), &len);

	for (int again = 0; again < 2; again++) {
		capture_begin();
		model_open();
		assert_contains(capture_end(), "0000000001.journal is damaged");
		assert_int_equal(model[1].expiry_s, 100);
		assert_int_equal(model[2].segment, 0);
		assert_int_equal(model[3].expiry_s, 300);
		assert_int_equal(model[4].expiry_s, 400);
		assert_int_equal(model[5].expiry_s, 500);
		assert_true(segment_exists(1));
		if (again == 0)
			model_close();
	}
	put(1, 101);
	put(3, 301);
	assert_true(segment_exists(1));
	capture_begin();
	put(4, 401); /* now nothing depends on it */
	model_close();
	assert_contains(capture_end(), "set aside");
	assert_false(segment_exists(1));
	kept = scratch_read_bytes(aside, &aside_len);
	assert_int_equal(aside_len, len);
	assert_memory_equal(kept, bytes, len);
	free(kept);
	free(bytes);
	capture_begin();
	model_open();
	assert_string_equal(capture_end(), "");
	assert_int_equal(model[4].expiry_s, 401);
	model_close();
}

/* All of it unreadable, its header too: not fatal, not thrown away. */
static void unreadable(void **state)
{
	static const uint8_t noise[5000] = "this is no journal";

	(void)state;
	model_open();
	model_close();
	model_open();
	put(1, 100);
	model_close();
	scratch_write_bytes(segment_path(1), noise, sizeof noise);
	capture_begin();
	model_open();
	assert_contains(capture_end(), "unreadable=5000");
	assert_int_equal(model[1].expiry_s, 100);
	model_close();
	assert_int_equal(size_of(JOURNAL_DIR "/0000000001.journal.damaged"),
			 sizeof noise);
}

/* Somebody has removed one: the others still count. */
static void missing(void **state)
{
	(void)state;
	for (int i = 1; i <= 3; i++) {
		model_open();
		put(i, 100 * i);
		model_close();
	}
	assert_int_equal(unlink(segment_path(2)), 0);
	scratch_write(JOURNAL_DIR "/notes", "not ours");
	scratch_write(JOURNAL_DIR "/12.journal", "not ours");
	model_open();
	assert_int_equal(model[1].expiry_s, 100);
	assert_int_equal(model[2].segment, 0);
	assert_int_equal(model[3].expiry_s, 300);
	put(1, 101);
	put(3, 301);
	model_close();
	assert_int_equal(files(), 3);
	model_open();
	assert_int_equal(model[1].expiry_s, 101);
	assert_int_equal(model[3].expiry_s, 301);
	model_close();
}

/* ---- length ---- */

/* What is said by many bytes, but by many entries, is not written anew. */
static void long_and_full(void **state)
{
	enum { MANY = 300000 };
	struct address address;
	uint32_t segment;

	(void)state;
	model_open();
	put(1, 100);
	while (fill_segment() < 6)
		;
	segment = model[FILLER].segment;
	for (int i = 0; i < MANY; i++)
		journal_ref(journal, segment);
	assert_false(journal_survivor(journal, &address, &segment));
	for (int i = 0; i < MANY; i++)
		journal_unref(journal, segment);
	assert_true(journal_survivor(journal, &address, &segment));
	assert_int_equal(segment, 1);
	model_close();
}

/* ---- another version ---- */

static void newer_version(void **state)
{
	uint8_t header[SEGMENT_HEADER + 10];
	uint32_t crc;
	size_t len;
	uint8_t *before, *after;

	(void)state;
	model_open();
	put(1, 100);
	model_close();
	memset(header, 0x77, sizeof header);
	segment_header_write(header, 2);
	header[8] = SEGMENT_VERSION + 1;
	crc = htole32((uint32_t)crc32(2, header, 16));
	memcpy(header + 16, &crc, sizeof crc);
	scratch_write_bytes(segment_path(2), header, sizeof header);
	before = scratch_read_bytes(segment_path(1), &len);
	capture_begin();
	assert_false(model_open_as(DURABILITY_OS, false));
	assert_contains(capture_end(), "newer dracd");
	assert_int_equal(files(), 2);
	assert_int_equal(size_of(segment_path(1)), len);
	after = scratch_read_bytes(segment_path(1), &len);
	assert_memory_equal(before, after, len);
	free(before);
	free(after);
	after = scratch_read_bytes(segment_path(2), &len);
	assert_int_equal(len, sizeof header);
	assert_memory_equal(after, header, len);
	free(after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(last_record_wins, journal_setup),
	    cmocka_unit_test_setup(clean_marker, journal_setup),
	    cmocka_unit_test_setup(initialize_forgets, journal_setup),
	    cmocka_unit_test_setup(one_at_a_time, journal_setup),
	    cmocka_unit_test_setup(no_directory, journal_setup),
	    cmocka_unit_test_setup(torn_tail, journal_setup),
	    cmocka_unit_test_setup(flipped_tail, journal_setup),
	    cmocka_unit_test_setup(torn_header, journal_setup),
	    cmocka_unit_test_setup(garbage_behind, journal_setup),
	    cmocka_unit_test_setup(damaged_and_read_on, journal_setup),
	    cmocka_unit_test_setup(unreadable, journal_setup),
	    cmocka_unit_test_setup(missing, journal_setup),
	    cmocka_unit_test_setup(long_and_full, journal_setup),
	    cmocka_unit_test_setup(newer_version, journal_setup),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

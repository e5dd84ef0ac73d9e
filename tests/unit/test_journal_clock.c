/*
 * journal: when the wall clock is set, before and after what is written, and
 * while nobody writes. What comes out is always on the clock as it is.
 */
#include <endian.h>
#include <zlib.h>

#include "journal_model.h"

#define NS INT64_C(1000000000)

enum { HOUR = 3600, ALL = 80 };

static int clock_setup(void **state)
{
	timebase_begin(&model_clock);
	strcpy(model_clock.boot, "one");
	return journal_setup(state);
}

/* The clock is set; nobody tells the journal. */
static void set_clock(int64_t step_s)
{
	model_clock.base_ns += step_s * NS;
}

static void step(int64_t step_s)
{
	set_clock(step_s);
	journal_step(journal, step_s);
	for (int i = 0; i < ADDRESSES; i++)
		model[i].expiry_s += step_s;
}

static void assert_says(int i, int64_t expiry_s)
{
	assert_int_not_equal(model[i].segment, 0);
	assert_true(model[i].expiry_s == expiry_s);
}

static void before_and_after(void **state)
{
	(void)state;
	model_open();
	put(1, 100000);
	step(HOUR);
	put(2, 200000);
	step(-3 * HOUR);
	put(3, 300000);
	for (int i = 0; i < 3; i++) { /* and it says the same each time */
		model_close();
		model_open();
		assert_says(1, 100000 - 2 * HOUR);
		assert_says(2, 200000 - 3 * HOUR);
		assert_says(3, 300000);
	}
	model_close();
}

static void while_nobody_looked(void **state)
{
	(void)state;
	model_open();
	put(1, 100000);
	model_close();
	set_clock(2 * HOUR);
	model_open();
	assert_says(1, 100000 + 2 * HOUR);
	put(2, 200000);
	model_close();
	set_clock(-HOUR);
	for (int i = 0; i < 2; i++) {
		model_open();
		assert_says(1, 100000 + HOUR);
		assert_says(2, 200000 - HOUR);
		model_close();
	}
	set_clock(HOUR);
	assert_true(model_open_as(DURABILITY_OS, true)); /* -i */
	put(3, 300000);
	model_close();
	model_open();
	assert_says(3, 300000);
	assert_int_equal(model[1].segment, 0);
	model_close();
}

/* Between two starts of the system nobody can tell; within each one can. */
static void over_starts_of_the_system(void **state)
{
	(void)state;
	model_open();
	put(1, 100000);
	step(HOUR);
	put(2, 200000);
	model_close();
	strcpy(model_clock.boot, "two");
	set_clock(12345);
	model_open();
	assert_says(1, 100000 + HOUR);
	assert_says(2, 200000);
	step(-10 * HOUR);
	model_close();
	strcpy(model_clock.boot, "one"); /* not the start before */
	set_clock(54321);
	model_open();
	assert_says(1, 100000 - 9 * HOUR);
	assert_says(2, 200000 - 10 * HOUR);
	model_close();
	model_clock.boot[0] = '\0'; /* the kernel does not tell */
	for (int i = 0; i < 2; i++) {
		set_clock(777);
		model_open();
		assert_says(1, 100000 - 9 * HOUR);
		step(1);
		step(-1);
		model_close();
	}
}

/* The next segment cannot be begun: what is written goes into this one. */
static void without_a_new_segment(void **state)
{
	(void)state;
	model_open();
	put(1, 100000);
	scratch_write(segment_path(2), ""); /* in its way */
	capture_begin();
	step(HOUR);
	assert_contains(capture_end(), "cannot begin a new segment");
	put(2, 200000);
	step(HOUR);
	assert_int_equal(put(3, 300000).segment, 1);
	model_close();

	capture_begin();
	model_open(); /* the same start of the system */
	capture_end();
	assert_says(1, 100000 + 2 * HOUR);
	assert_says(2, 200000 + HOUR);
	assert_says(3, 300000);
	scratch_write(segment_path(4), "");
	capture_begin();
	step(-HOUR);
	put(4, 400000);
	capture_end();
	unlink(segment_path(4));
	journal_tend(journal); /* now it can be */
	assert_int_equal(put(5, 500000).segment, 4);
	model_close();
	strcpy(model_clock.boot, "two");
	model_open();
	assert_says(1, 100000 + HOUR);
	assert_says(2, 200000);
	assert_says(3, 300000 - HOUR);
	assert_says(4, 400000);
	assert_says(5, 500000);
	model_close();
}

static void put_back(void **state)
{
	struct journal_mark mark;
	const struct record record = record_put(1, 100000);

	(void)state;
	model_open();
	assert_true(journal_add(journal, &record));
	assert_int_equal(journal_commit(journal, &mark), 0);
	step(HOUR);
	/* It is in a former segment; records take it back. */
	assert_false(journal_rollback(journal, &mark));
	model_close();
}

static void write_segment(uint32_t number, uint32_t version,
			  const struct record *record)
{
	uint8_t data[SEGMENT_HEADER + SEGMENT_RECORD_MAX];
	uint32_t crc, little = htole32(version);
	size_t len;

	segment_header_write(data, number);
	memcpy(data + 8, &little, sizeof little);
	crc = htole32((uint32_t)crc32(number, data, 16));
	memcpy(data + 16, &crc, sizeof crc);
	len = segment_encode(data + SEGMENT_HEADER, number, record);
	scratch_write_bytes(segment_path(number), data, SEGMENT_HEADER + len);
}

/* What former versions have left has no clock, and no step until now. */
static void of_a_former_version(void **state)
{
	struct record record = record_put(1, 100000);

	(void)state;
	write_segment(1, 2, &record);
	model_open();
	assert_says(1, 100000);
	step(HOUR);
	model_close();
	model_open();
	assert_says(1, 100000 + HOUR);
	model_close();
}

/* Numbers that no clock has; nothing is added up beyond what there is. */
static void absurd(void **state)
{
	static const int64_t numbers[] = {
	    INT64_MIN, INT64_MAX, INT64_MIN / 2, INT64_MAX / 2 + 1, -1, 0};
	struct record put_1 = record_put(1, INT64_MAX - 5);
	uint32_t number = 1;

	(void)state;
	write_segment(number++, SEGMENT_VERSION, &put_1);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		for (size_t k = 0; k < sizeof numbers / sizeof numbers[0];
		     k++) {
			struct record record = {.type = RECORD_CLOCK,
						.base_ns = numbers[i],
						.step_s = numbers[k],
						.user = "one",
						.user_len = 3};

			write_segment(number++, SEGMENT_VERSION, &record);
			model_open();
			assert_int_not_equal(model[1].segment, 0);
			model_close();
			number += 1;
		}
}

/* The times of a clean stop and of adds move, those that are none do not. */
static uint32_t clean_s, put_s, remove_s;

static void note_times(void *context, struct journal *opening,
		       const struct record *record, uint32_t segment)
{
	(void)context;
	(void)opening;
	(void)segment;
	if (record->type == RECORD_CLEAN)
		clean_s = record->last_s;
	if (record->type == RECORD_PUT)
		put_s = record->last_s - record->first_s;
	if (record->type == RECORD_REMOVE)
		remove_s = record->last_s;
}

static void other_times(void **state)
{
	struct record record = record_put(1, 100000);
	struct journal_mark mark;
	int64_t now_s;

	(void)state;
	model_open();
	record.first_s = 1000;
	record.last_s = 5000;
	record.adds = 2;
	assert_true(journal_add(journal, &record));
	record = (struct record){.type = RECORD_REMOVE};
	assert_true(journal_add(journal, &record));
	assert_int_equal(journal_commit(journal, &mark), 0);
	now_s = timebase_now_s(&model_clock);
	journal_close(journal, 7);
	set_clock(-HOUR);
	journal = journal_open(JOURNAL_DIR, DURABILITY_OS, false, &model_clock,
			       note_times, NULL, &start);
	assert_non_null(journal);
	model_close();
	assert_int_equal(start.stamp, 7);
	assert_in_range(clean_s, now_s - HOUR, now_s - HOUR + 2);
	assert_int_equal(put_s, 5000 - HOUR);
	assert_int_equal(remove_s, 0);
}

/* Anything: puts, removals, steps, deaths, starts of the system. */
static void model_run(void **state)
{
	struct model_entry expected[ADDRESSES];
	unsigned seed = 7;

	(void)state;
	model_open();
	for (int round = 0; round < 60; round++) {
		for (int k = 0; k < ALL; k++) {
			int i = rand_r(&seed) % FILLER;

			switch (rand_r(&seed) % 8) {
			case 0:
				step(rand_r(&seed) % 20000 - 10000);
				break;
			case 1:
				take(i);
				break;
			default:
				put(i, rand_r(&seed) % 1000000);
			}
		}
		if (round % 20 == 0)
			fill_segment();
		int64_t missed_s = rand_r(&seed) % 20000 - 10000;
		bool restarted = rand_r(&seed) % 3 == 0;
		memcpy(expected, model, sizeof model);
		model_close();
		set_clock(missed_s);
		if (restarted)
			model_clock.boot[0]++;
		model_open();
		for (int i = 0; i < ADDRESSES; i++) {
			assert_int_equal(model[i].segment, expected[i].segment);
			if (model[i].segment != 0)
				assert_true(model[i].expiry_s ==
					    expected[i].expiry_s +
						(restarted ? 0 : missed_s));
		}
	}
	model_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(before_and_after, clock_setup),
	    cmocka_unit_test_setup(while_nobody_looked, clock_setup),
	    cmocka_unit_test_setup(over_starts_of_the_system, clock_setup),
	    cmocka_unit_test_setup(without_a_new_segment, clock_setup),
	    cmocka_unit_test_setup(put_back, clock_setup),
	    cmocka_unit_test_setup(of_a_former_version, clock_setup),
	    cmocka_unit_test_setup(absurd, clock_setup),
	    cmocka_unit_test_setup(other_times, clock_setup),
	    cmocka_unit_test_setup(model_run, clock_setup),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/* crc: the same as zlib's, for every length, start and place in memory. */
#include "crc.h"

#include <zlib.h>

#include "scratch.h"

static void as_zlib(void **state)
{
	enum { LONGEST = 300, PLACES = 8 };
	uint8_t data[LONGEST + PLACES];

	(void)state;
	srandom(1);
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)random();
	for (size_t len = 0; len <= LONGEST; len++) {
		const uint8_t *at = data + len % PLACES;
		uint32_t start = len % 3 ? (uint32_t)random() : 0;

		assert_int_equal(crc_of(start, at, len),
				 crc32(start, at, (uInt)len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(as_zlib)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* text: UTF-8 (RFC 3629) without control characters, and nothing else. */
#include "text.h"

#include "scratch.h"

/* The bytes of a code point in a sequence of len bytes, right or overlong. */
static void encode(char out[4], uint32_t point, size_t len)
{
	static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

	for (size_t i = len; i-- > 1; point >>= 6)
		out[i] = (char)(0x80 | (point & 0x3f));
	out[0] = (char)(lead[len] | point);
}

static size_t shortest(uint32_t point)
{
	return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

static bool allowed(uint32_t point)
{
	return point >= 0x20 && !(point >= 0x7f && point < 0xa0) &&
	       !(point >= 0xd800 && point < 0xe000) && point <= 0x10ffff;
}

/* Up to what four bytes can hold, in the shortest form and in longer ones. */
static void every_code_point(void **state)
{
	char text[4];

	(void)state;
	for (uint32_t point = 0; point < 0x200000; point++) {
		size_t right = shortest(point);

		for (size_t len = right; len <= 4; len++) {
			encode(text, point, len);
			if (text_is_clean(text, len) !=
			    (len == right && allowed(point)))
				fail_msg("U+%04X in %zu bytes", point, len);
		}
	}
}

static bool clean(const char *text)
{
	return text_is_clean(text, strlen(text));
}

static void strings(void **state)
{
	(void)state;
	assert_true(text_is_clean(NULL, 0));
	assert_true(clean("joe@example.org"));
	assert_true(clean(" ~\xc3\xa4\xe2\x82\xac\xf0\x9f\x93\xac!"));
	assert_false(clean("a\tb"));
	assert_false(clean("a\nb"));
	assert_false(clean("\x7f"));
	assert_false(clean("\x1b[31m"));
	assert_false(clean("a\xc2\x85"));    /* NEL of C1 */
	assert_false(clean("\xe4"));         /* Latin-1 */
	assert_false(clean("\x80"));         /* nothing is continued */
	assert_false(clean("\xc3\xa4\xa4")); /* more than is announced */
	assert_false(clean("\xc3z"));        /* less */
	assert_false(clean("\xe2\x82z"));
	assert_false(clean("\xf0\x9f\x93z"));
	assert_false(clean("\xf8\x88\x80\x80\x80")); /* before RFC 3629 */
	assert_false(clean("\xfe"));
	assert_false(clean("\xff"));
	assert_false(text_is_clean("a\0b", 3));
}

/* Cut at each byte: never read behind, never taken for whole. */
static void cut_sequences(void **state)
{
	static const char *const texts[] = {"\xc3\xa4", "\xe2\x82\xac",
					    "\xf0\x9f\x93\xac"};

	(void)state;
	for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
		for (size_t len = 1; len < strlen(texts[t]); len++) {
			char *exact = malloc(len); /* for the sanitizer */

			assert_non_null(exact);
			memcpy(exact, texts[t], len);
			assert_false(text_is_clean(exact, len));
			free(exact);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_code_point),
	    cmocka_unit_test(strings),
	    cmocka_unit_test(cut_sequences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

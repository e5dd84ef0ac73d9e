/* text: see text.h. */
#include "text.h"

#include <stdint.h>

/* Length of the sequence that this byte begins; 0: it begins none. */
static size_t sequence_length(uint8_t lead)
{
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef)
		return 3;
	if (lead >= 0xf0 && lead <= 0xf4)
		return 4;
	return 0;
}

static bool is_printable(uint32_t point, size_t len)
{
	static const uint32_t smallest[] = {0, 0x20, 0xa0, 0x800, 0x10000};
	return point >= smallest[len] && point != 0x7f &&
	       !(point >= 0xd800 && point <= 0xdfff) && point <= 0x10ffff;
}

bool text_is_clean(const char *text, size_t len)
{
	const uint8_t *byte = (const uint8_t *)text;
	for (size_t at = 0; at < len;) {
		size_t sequence = sequence_length(byte[at]);
		if (sequence == 0 || sequence > len - at)
			return false;
		uint32_t point =
		    sequence == 1 ? byte[at] : byte[at] & (0x7fU >> sequence);
		for (size_t i = 1; i < sequence; i++) {
			if ((byte[at + i] & 0xc0) != 0x80)
				return false;
			point = point << 6 | (byte[at + i] & 0x3fU);
		}
		if (!is_printable(point, sequence))
			return false;
		at += sequence;
	}
	return true;
}

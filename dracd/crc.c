/*
 * crc: see crc.h. Eight bytes a step, by eight tables (slicing by 8, Kounavis
 * and Berry 2005). Tables are made by the first call, which is the start's,
 * before there is a second thread.
 */
#include "crc.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

enum { SLICES = 8 };

static uint32_t table[SLICES][256];
static bool made;

static void make(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ UINT32_C(0xedb88320)
				      : crc >> 1;
		table[0][byte] = crc;
	}
	for (int slice = 1; slice < SLICES; slice++)
		for (int byte = 0; byte < 256; byte++) {
			uint32_t crc = table[slice - 1][byte];
			table[slice][byte] = crc >> 8 ^ table[0][crc & 0xff];
		}
	made = true;
}

static uint32_t word_step(uint32_t crc, uint64_t word)
{
	word = le64toh(word) ^ crc;
	return table[7][word & 0xff] ^ table[6][word >> 8 & 0xff] ^
	       table[5][word >> 16 & 0xff] ^ table[4][word >> 24 & 0xff] ^
	       table[3][word >> 32 & 0xff] ^ table[2][word >> 40 & 0xff] ^
	       table[1][word >> 48 & 0xff] ^ table[0][word >> 56];
}

uint32_t crc_of(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *byte = data;
	uint64_t word;
	if (!made)
		make();
	crc = ~crc;
	for (; len >= sizeof(word); len -= sizeof(word), byte += sizeof(word)) {
		memcpy(&word, byte, sizeof(word));
		crc = word_step(crc, word);
	}
	while (len-- > 0)
		crc = crc >> 8 ^ table[0][(crc ^ *byte++) & 0xff];
	return ~crc;
}

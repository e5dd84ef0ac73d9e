/*
 * crc: the CRC-32 of zlib, gzip and Ethernet (polynomial 0xedb88320), made for
 * records of some dozen bytes: zlib's takes three times as long for those,
 * which was a tenth of a start.
 */
#ifndef DRACD_CRC_H
#define DRACD_CRC_H

#include <stddef.h>
#include <stdint.h>

/* As zlib's crc32(): goes on from crc, which is 0 or anything agreed upon. */
uint32_t crc_of(uint32_t crc, const void *data, size_t len);

#endif

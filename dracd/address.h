/*
 * address: the internet address of a mail client or a caller, its text forms
 * and the prefixes it may lie in. Pure functions; no state, no allocation.
 */
#ifndef DRACD_ADDRESS_H
#define DRACD_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Always 16 bytes in network order. An IPv4 address is held v4-mapped
 * (::ffff:a.b.c.d), so that both spellings of it are one entry.
 */
struct address {
	uint8_t byte[16];
};

/* Matches a when (a & mask) == net. The mask need not be contiguous. */
struct prefix {
	struct address net;
	struct address mask;
};

enum {
	/* "ipv6:" + 8 groups of 4 + 7 colons + NUL, the longest key */
	ADDRESS_TEXT_MAX = 48,
	ADDRESS_KEYS_MAX = 3,
};

/* The keys under which one address stands in a map (dracd(8), FILES). */
struct address_keys {
	int count;                     /* 1 (IPv4) to ADDRESS_KEYS_MAX */
	uint8_t len[ADDRESS_KEYS_MAX]; /* without the NUL */
	char text[ADDRESS_KEYS_MAX][ADDRESS_TEXT_MAX]; /* NUL-terminated */
};

bool address_is_v4(const struct address *a);
bool address_equal(const struct address *a, const struct address *b);

struct address address_from_v4(uint32_t host_order);
/* bytes: len 4 or 16 in network order; false for another len. */
bool address_from_bytes(struct address *a, const void *bytes, size_t len);
/* AF_INET or AF_INET6; false for another family. The port is not looked at. */
bool address_from_sockaddr(struct address *a, const struct sockaddr *sa);
/* Numeric text only, never a name; no zone, no brackets. */
bool address_from_text(struct address *a, const char *text);

/* Dotted quad or RFC 5952; returns buf. */
const char *address_text(const struct address *a, char buf[ADDRESS_TEXT_MAX]);
/*
 * All map keys: IPv4 the dotted quad; IPv6 RFC 5952 text, uncompressed lower
 * case text (left out when the same) and "ipv6:" + uncompressed text.
 */
void address_keys(const struct address *a, struct address_keys *keys);

/* "address" or "address/length" (0..32, 0..128); host bits must be zero. */
bool prefix_from_text(struct prefix *p, const char *text);
/*
 * Why prefix_from_text() refuses text and, where it can be told, what to
 * write instead; NULL when it does not refuse. Returns buf.
 */
enum { PREFIX_FAULT_MAX = 112 };
const char *prefix_fault(const char *text, char buf[PREFIX_FAULT_MAX]);
/* An IPv4 address lies in IPv4 prefixes only: not in ::/0. */
bool prefix_contains(const struct prefix *p, const struct address *a);

/*
 * Whether the address can be a mail client's at all: false for unspecified
 * (0.0.0.0/8, ::), multicast and limited broadcast addresses.
 */
bool address_is_client(const struct address *a);

#endif

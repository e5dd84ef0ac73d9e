/*
 * address: text and prefixes of internet addresses. The text is made here
 * and not by inet_ntop(3), because that one writes ::a.b.c.d for some IPv6
 * addresses and takes longer than the rest of an add's key.
 */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum {
	V4_AT = 12, /* where the four bytes of IPv4 begin */
	GROUPS = 8, /* of 16 bits in an IPv6 address */
	BITS = 128,
	V4_BITS = 32,
	MULTICAST_V4 = 224, /* first byte, 224 to 239 */
	MULTICAST_V4_END = 240,
	MULTICAST_V6 = 0xff,
	LENGTH_DIGITS = 3, /* of "/128" */
};

static const uint8_t mapped[V4_AT] = {[10] = 0xff, [11] = 0xff};

bool address_is_v4(const struct address *a)
{
	return memcmp(a->byte, mapped, sizeof mapped) == 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
	return memcmp(a->byte, b->byte, sizeof a->byte) == 0;
}

uint32_t address_hash(const struct address *a)
{
	uint64_t word[2], value;

	memcpy(word, a->byte, sizeof word);
	value = word[0] * 31 ^ word[1];
	/* Neighbours differ in the last bytes: to be mixed, not only moved. */
	value ^= value >> 32;
	/* An odd constant from the golden ratio mixes into the high bits. */
	return (uint32_t)(value * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

struct address address_from_v4(uint32_t host_order)
{
	struct address a;
	uint32_t net = htonl(host_order);

	memcpy(a.byte, mapped, sizeof mapped);
	memcpy(a.byte + V4_AT, &net, sizeof net);
	return a;
}

bool address_from_bytes(struct address *a, const void *bytes, size_t len)
{
	if (len == sizeof(struct in_addr)) {
		memcpy(a->byte, mapped, sizeof mapped);
		memcpy(a->byte + V4_AT, bytes, len);
		return true;
	}
	if (len == sizeof a->byte) {
		memcpy(a->byte, bytes, len);
		return true;
	}
	return false;
}

bool address_from_sockaddr(struct address *a, const struct sockaddr *sa)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&in, sa, sizeof in);
		return address_from_bytes(a, &in.sin_addr, sizeof in.sin_addr);
	case AF_INET6:
		memcpy(&in6, sa, sizeof in6);
		return address_from_bytes(a, &in6.sin6_addr,
					  sizeof in6.sin6_addr);
	default:
		return false;
	}
}

/* As inet_pton(3), at a fraction of its cost: a start reads all map keys. */
static bool v4_from_text(uint8_t byte[sizeof(struct in_addr)], const char *text)
{
	for (size_t i = 0; i < sizeof(struct in_addr); i++) {
		const char *first = text;
		unsigned n = 0;

		for (; *text >= '0' && *text <= '9'; text++) {
			n = 10 * n + (unsigned)(*text - '0');
			if (n > UINT8_MAX || (*first == '0' && text > first))
				return false;
		}
		if (text == first)
			return false;
		byte[i] = (uint8_t)n;
		if (*text++ != (i < sizeof(struct in_addr) - 1 ? '.' : '\0'))
			return false;
	}
	return true;
}

bool address_from_text(struct address *a, const char *text)
{
	uint8_t in[sizeof(struct in_addr)];
	struct in6_addr in6;

	if (v4_from_text(in, text))
		return address_from_bytes(a, in, sizeof in);
	if (inet_pton(AF_INET6, text, &in6) == 1)
		return address_from_bytes(a, &in6, sizeof in6);
	return false;
}

/* ---- text ---- */

static char *put_decimal(char *p, unsigned n)
{
	if (n >= 100)
		*p++ = (char)('0' + n / 100);
	if (n >= 10)
		*p++ = (char)('0' + n / 10 % 10);
	*p++ = (char)('0' + n % 10);
	return p;
}

/* Lower case without leading zeros, RFC 5952 sections 4.1 and 4.3. */
static char *put_hex(char *p, unsigned n)
{
	static const char digit[] = "0123456789abcdef";

	if (n > 0xfff)
		*p++ = digit[n >> 12];
	if (n > 0xff)
		*p++ = digit[n >> 8 & 0xf];
	if (n > 0xf)
		*p++ = digit[n >> 4 & 0xf];
	*p++ = digit[n & 0xf];
	return p;
}

static unsigned group(const struct address *a, int i)
{
	return (unsigned)a->byte[2 * i] << 8 | a->byte[2 * i + 1];
}

static char *put_v4(char *p, const struct address *a)
{
	for (int i = V4_AT; i < (int)sizeof a->byte; i++) {
		if (i > V4_AT)
			*p++ = '.';
		p = put_decimal(p, a->byte[i]);
	}
	*p = '\0';
	return p;
}

/* The groups skip..skip_end-1 become "::"; -1, -1 for none. */
static char *put_groups(char *p, const struct address *a, int skip,
			int skip_end)
{
	for (int i = 0; i < GROUPS; i++) {
		if (i == skip) {
			*p++ = ':';
			*p++ = ':';
			i = skip_end - 1;
			continue;
		}
		if (i > 0 && i != skip_end)
			*p++ = ':';
		p = put_hex(p, group(a, i));
	}
	*p = '\0';
	return p;
}

static char *put_uncompressed(char *p, const struct address *a)
{
	return put_groups(p, a, -1, -1);
}

/* RFC 5952 section 4.2: the longest run, the first of equals, never one. */
static char *put_compressed(char *p, const struct address *a)
{
	int best = -1, best_len = 1;

	for (int i = 0, run = 0; i < GROUPS; i++) {
		run = group(a, i) == 0 ? run + 1 : 0;
		if (run > best_len) {
			best_len = run;
			best = i + 1 - run;
		}
	}
	if (best < 0)
		return put_uncompressed(p, a);
	return put_groups(p, a, best, best + best_len);
}

const char *address_text(const struct address *a, char buf[ADDRESS_TEXT_MAX])
{
	if (address_is_v4(a))
		put_v4(buf, a);
	else
		put_compressed(buf, a);
	return buf;
}

void address_keys(const struct address *a, struct address_keys *keys)
{
	static const char sendmail_tag[] = "ipv6:";
	char full[ADDRESS_TEXT_MAX];
	size_t full_len, tag_len = sizeof sendmail_tag - 1;
	int n;

	if (address_is_v4(a)) {
		keys->count = 1;
		keys->len[0] =
		    (uint8_t)(put_v4(keys->text[0], a) - keys->text[0]);
		return;
	}
	keys->len[0] =
	    (uint8_t)(put_compressed(keys->text[0], a) - keys->text[0]);
	n = 1;
	full_len = (size_t)(put_uncompressed(full, a) - full);
	if (full_len != keys->len[0]) {
		memcpy(keys->text[n], full, full_len + 1);
		keys->len[n++] = (uint8_t)full_len;
	}
	memcpy(keys->text[n], sendmail_tag, tag_len);
	memcpy(keys->text[n] + tag_len, full, full_len + 1);
	keys->len[n++] = (uint8_t)(tag_len + full_len);
	keys->count = n;
}

/* ---- prefixes ---- */

enum prefix_fault {
	PREFIX_RIGHT,
	PREFIX_NO_ADDRESS,
	PREFIX_LENGTH,
	PREFIX_HOST
};

/* Digits only, no sign and no leading zero; -1 for anything else. */
static int parse_length(const char *text, int max)
{
	int n = 0;

	if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0') ||
	    strlen(text) > LENGTH_DIGITS)
		return -1;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		n = n * 10 + (*text - '0');
	}
	return n <= max ? n : -1;
}

static void mask_of_length(struct address *mask, int bits)
{
	for (size_t i = 0; i < sizeof mask->byte; i++) {
		int here = bits - 8 * (int)i;
		unsigned ones = here < 0 ? 0 : here > 8 ? 8 : (unsigned)here;

		mask->byte[i] = (uint8_t)(0xff00U >> ones & 0xff);
	}
}

/* *bits: the length as it is to be written; set unless there is no address. */
static enum prefix_fault parse_prefix(struct prefix *p, const char *text,
				      int *bits)
{
	const char *slash = strchr(text, '/');
	size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
	char address[ADDRESS_TEXT_MAX];
	bool dotted, clean = true;

	if (len >= sizeof address)
		return PREFIX_NO_ADDRESS;
	memcpy(address, text, len);
	address[len] = '\0';
	if (!address_from_text(&p->net, address))
		return PREFIX_NO_ADDRESS;
	dotted = strchr(address, ':') == NULL;
	*bits = dotted ? V4_BITS : BITS;
	if (slash != NULL && (*bits = parse_length(slash + 1, *bits)) < 0) {
		*bits = dotted ? V4_BITS : BITS;
		return PREFIX_LENGTH;
	}
	mask_of_length(&p->mask, dotted ? BITS - V4_BITS + *bits : *bits);
	for (size_t i = 0; i < sizeof p->net.byte; i++) {
		if ((p->net.byte[i] & ~p->mask.byte[i]) != 0)
			clean = false;
		p->net.byte[i] &= p->mask.byte[i];
	}
	if (!dotted && address_is_v4(&p->net))
		*bits -= BITS - V4_BITS; /* to go with a dotted quad */
	return clean ? PREFIX_RIGHT : PREFIX_HOST;
}

bool prefix_from_text(struct prefix *p, const char *text)
{
	int bits;

	return parse_prefix(p, text, &bits) == PREFIX_RIGHT;
}

const char *prefix_fault(const char *text, char buf[PREFIX_FAULT_MAX])
{
	struct prefix p;
	char net[ADDRESS_TEXT_MAX];
	int bits = 0;

	switch (parse_prefix(&p, text, &bits)) {
	case PREFIX_RIGHT:
		return NULL;
	case PREFIX_NO_ADDRESS:
		snprintf(buf, PREFIX_FAULT_MAX, "not an IPv4 or IPv6 address");
		break;
	case PREFIX_LENGTH:
		snprintf(buf, PREFIX_FAULT_MAX,
			 "the prefix length is not a number from 0 to %d",
			 bits);
		break;
	case PREFIX_HOST:
		snprintf(buf, PREFIX_FAULT_MAX,
			 "bits are set behind the prefix; write %s/%d",
			 address_text(&p.net, net), bits);
		break;
	}
	return buf;
}

bool prefix_contains(const struct prefix *p, const struct address *a)
{
	uint64_t addr[2], net[2], mask[2];

	if (address_is_v4(a) && !address_is_v4(&p->net))
		return false;
	memcpy(addr, a->byte, sizeof addr);
	memcpy(net, p->net.byte, sizeof net);
	memcpy(mask, p->mask.byte, sizeof mask);
	return (addr[0] & mask[0]) == net[0] && (addr[1] & mask[1]) == net[1];
}

bool address_is_client(const struct address *a)
{
	static const struct address unspecified;
	const uint8_t *v4 = a->byte + V4_AT;

	if (!address_is_v4(a))
		return a->byte[0] != MULTICAST_V6 &&
		       !address_equal(a, &unspecified);
	if (v4[0] == 0)
		return false;
	if (v4[0] >= MULTICAST_V4 && v4[0] < MULTICAST_V4_END)
		return false;
	return memcmp(v4, "\xff\xff\xff\xff", sizeof(struct in_addr)) != 0;
}

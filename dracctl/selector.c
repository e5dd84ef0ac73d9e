/* selector: see selector.h. */
#include "selector.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	BYTE_BITS = 8,
	V4_BITS = 32,
	V6_BITS = 128,
	MAPPED_BITS = V6_BITS - V4_BITS,
	MAPPED_BYTES = MAPPED_BITS / BYTE_BITS,
	PREFIX_TEXT_MAX = DRAC_ADDRESS_SIZE + sizeof "/128",
};

static const uint8_t mapped[MAPPED_BYTES] = {[MAPPED_BYTES - 2] = 0xff,
					     [MAPPED_BYTES - 1] = 0xff};

/* 0: not an address. Otherwise how many bits this way of writing has. */
static unsigned int parse_address(const char *text, struct in6_addr *address)
{
	if (inet_pton(AF_INET6, text, address) == 1)
		return V6_BITS;
	memcpy(address->s6_addr, mapped, MAPPED_BYTES);
	return inet_pton(AF_INET, text, &address->s6_addr[MAPPED_BYTES]) == 1
		   ? V4_BITS
		   : 0;
}

static bool is_v4(const struct in6_addr *address)
{
	return memcmp(address->s6_addr, mapped, MAPPED_BYTES) == 0;
}

static bool parse_bits(const char *text, unsigned int max, unsigned int *bits)
{
	char *end;
	unsigned long n;

	if (*text < '0' || *text > '9')
		return false;
	n = strtoul(text, &end, 10);
	if (*end != '\0' || n > max)
		return false;
	*bits = (unsigned int)n;
	return true;
}

static bool bit_of(const struct in6_addr *address, unsigned int i)
{
	unsigned int shift = BYTE_BITS - 1 - i % BYTE_BITS;

	return (address->s6_addr[i / BYTE_BITS] >> shift & 1) != 0;
}

static bool is_clear_after(const struct in6_addr *address, unsigned int bits)
{
	for (unsigned int i = bits; i < V6_BITS; i++)
		if (bit_of(address, i))
			return false;
	return true;
}

const char *selector_parse(struct selector *selector, const char *text)
{
	char address[PREFIX_TEXT_MAX];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned int max;

	if (len >= sizeof address)
		return "not an address";
	memcpy(address, text, len);
	address[len] = '\0';
	max = parse_address(address, &selector->net);
	if (max == 0)
		return "not an address; write for example 192.0.2.7, "
		       "192.0.2.0/24 or 2001:db8::/32";
	selector->bits = max;
	if (slash != NULL && !parse_bits(slash + 1, max, &selector->bits))
		return max == V4_BITS ? "after / stands a number from 0 to 32"
				      : "after / stands a number from 0 to 128";
	selector->bits += V6_BITS - max;
	if (!is_clear_after(&selector->net, selector->bits))
		return "the address has bits outside its mask";
	selector->has_prefix = true;
	selector->is_v4 =
	    is_v4(&selector->net) && selector->bits >= MAPPED_BITS;
	return NULL;
}

static bool prefix_contains(const struct selector *selector, const char *text)
{
	const unsigned int whole = selector->bits / BYTE_BITS;
	struct in6_addr address;

	if (parse_address(text, &address) == 0 ||
	    is_v4(&address) != selector->is_v4 ||
	    memcmp(&address, &selector->net, whole) != 0)
		return false;
	for (unsigned int i = whole * BYTE_BITS; i < selector->bits; i++)
		if (bit_of(&address, i) != bit_of(&selector->net, i))
			return false;
	return true;
}

static bool is_same(const char *wanted, const char *text)
{
	return wanted == NULL || strcmp(wanted, text) == 0;
}

bool selector_matches(const struct selector *selector,
		      const struct drac_entry *entry)
{
	return is_same(selector->user, entry->user) &&
	       is_same(selector->service, entry->service) &&
	       is_same(selector->caller, entry->caller) &&
	       (!selector->has_prefix ||
		prefix_contains(selector, entry->address));
}

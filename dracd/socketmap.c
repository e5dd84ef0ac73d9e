/* socketmap: see socketmap.h. No state. */
#include "socketmap.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_digit(uint8_t byte)
{
	return byte >= '0' && byte <= '9';
}

ssize_t socketmap_record(const uint8_t *in, size_t len)
{
	size_t size = 0, at = 0;

	for (; at < len && is_digit(in[at]); at++) {
		if (at > 0 && size == 0)
			return -1; /* a leading zero */
		size = 10 * size + (size_t)(in[at] - '0');
		if (size > SOCKETMAP_REQUEST_MAX)
			return -1;
	}
	if (at == len)
		return 0;
	if (at == 0 || in[at] != ':')
		return -1;
	size_t whole = at + 1 + size + 1;
	if (len < whole)
		return 0;
	return in[whole - 1] == ',' ? (ssize_t)whole : -1;
}

bool socketmap_address(const uint8_t *record, size_t len,
		       struct address *address)
{
	static const char tag[] = "IPv6:"; /* of sendmail's ${client_addr} */
	enum { TAG = sizeof(tag) - 1 };
	const uint8_t *end = record + len - 1; /* the comma */
	const uint8_t *request = memchr(record, ':', len);
	const uint8_t *blank = memchr(request, ' ', (size_t)(end - request));
	char text[ADDRESS_TEXT_MAX];

	if (blank == NULL)
		return false;
	const uint8_t *key = blank + 1;
	size_t size = (size_t)(end - key);
	bool tagged =
	    size > TAG && strncasecmp((const char *)key, tag, TAG) == 0;
	key += tagged ? TAG : 0;
	size -= tagged ? TAG : 0;
	if (size >= sizeof(text) || memchr(key, '\0', size) != NULL)
		return false;
	memcpy(text, key, size);
	text[size] = '\0';
	return (!tagged || strchr(text, ':') != NULL) &&
	       address_from_text(address, text);
}

/* Until when an MTA may let the address relay; 0: not at all. */
static int64_t expiry_of(struct service *service, const struct address *address)
{
	const struct entry *entry = table_find(service->table, address);
	int64_t expiry_s = entry ? turn_expiry_s(service->turn, entry) : 0;
	int64_t shared_s = table_prefix_expiry(service->table, address);

	if (shared_s > expiry_s)
		expiry_s = shared_s;
	return expiry_s > service->now_s &&
		       config_may_relay(service->config, address)
		   ? expiry_s
		   : 0;
}

size_t socketmap_answer(struct service *service, const uint8_t *record,
			size_t len, char out[SOCKETMAP_REPLY_MAX])
{
	static const char notfound[] = "9:NOTFOUND ,";
	struct address address;
	int64_t expiry_s = 0;
	char value[SOCKETMAP_REPLY_MAX];

	service->calls++;
	if (socketmap_address(record, len, &address))
		expiry_s = expiry_of(service, &address);
	if (expiry_s == 0) {
		service->stats->lookups_not_found++;
		memcpy(out, notfound, sizeof(notfound) - 1);
		return sizeof(notfound) - 1;
	}
	service->stats->lookups_found++;
	int size = snprintf(value, sizeof(value), "OK %" PRId64, expiry_s);
	return (size_t)snprintf(out, SOCKETMAP_REPLY_MAX, "%d:%s,", size,
				value);
}

/*
 * libFuzzer: what arrives at a socketmap socket. The first byte says where the
 * rest is cut in two.
 *
 * Promises: how the bytes were cut changes nothing; each record is answered
 * by one netstring, "OK expiry" for what is in the table and lives, and
 * "NOTFOUND " for all else.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "socketmap.h"

enum { NOW = 1900000000, ANSWERS_MAX = 1 << 16 };

static struct prefix never;
static struct config config = {.never = &never, .never_count = 1};
static struct stats stats;
static struct service service = {
    .config = &config, .stats = &stats, .now_s = NOW};

static void require(int condition)
{
	if (!condition)
		abort();
}

static void insert(const char *text, int64_t expiry_s)
{
	struct address address;
	struct entry *entry;

	require(address_from_text(&address, text));
	entry = table_insert(service.table, &address, expiry_s);
	require(entry != NULL);
	entry->flags = ENTRY_IN_MAP;
	table_grant(service.table, entry);
}

static void begin(void)
{
	service.table = table_create();
	require(service.table != NULL);
	require(table_share_prefix(service.table, 64));
	require(prefix_from_text(&never, "192.0.2.8/29"));
	insert("192.0.2.1", NOW + 1);
	insert("192.0.2.2", NOW);
	insert("192.0.2.9", NOW + 1);
	insert("2001:db8::1", NOW + 2);
	insert("2001:db8:0:1::1", NOW - 1);
}

static void check_answer(const char *answer, size_t len, bool is_address)
{
	static const char *const all[] = {
	    "9:NOTFOUND ,",
	    "13:OK 1900000001,",
	    "13:OK 1900000002,",
	};
	bool right = false;

	for (size_t i = 0; i < (is_address ? 3 : 1); i++)
		if (len == strlen(all[i]) && memcmp(answer, all[i], len) == 0)
			right = true;
	require(right);
}

/* Answers what is whole; the bytes done, or -1 when they are no lookups. */
static ssize_t answer_all(const uint8_t *data, size_t size, char *out,
			  size_t *out_len)
{
	size_t done = 0;
	ssize_t len;

	while ((len = socketmap_record(data + done, size - done)) > 0) {
		struct address address;
		/* Exactly as long, so that a read beyond is seen. */
		uint8_t *exact = malloc((size_t)len);
		char answer[SOCKETMAP_REPLY_MAX];
		size_t n;

		require(exact != NULL && (size_t)len <= SOCKETMAP_RECORD_MAX);
		memcpy(exact, data + done, (size_t)len);
		n = socketmap_answer(&service, exact, (size_t)len, answer);
		check_answer(answer, n,
			     socketmap_address(exact, (size_t)len, &address));
		free(exact);
		require(*out_len + n <= ANSWERS_MAX);
		memcpy(out + *out_len, answer, n);
		*out_len += n;
		done += (size_t)len;
	}
	require(len < 0 || size - done < SOCKETMAP_RECORD_MAX);
	return len < 0 ? -1 : (ssize_t)done;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char whole[ANSWERS_MAX], parts[ANSWERS_MAX];
	size_t whole_len = 0, parts_len = 0, cut;
	ssize_t all, first, second = 0;

	if (service.table == NULL)
		begin();
	if (size == 0 || size > ANSWERS_MAX / 8)
		return 0;
	cut = data[0] < size ? data[0] : size - 1;
	data++;
	size--;
	all = answer_all(data, size, whole, &whole_len);
	first = answer_all(data, cut, parts, &parts_len);
	if (first >= 0)
		second = answer_all(data + first, size - (size_t)first, parts,
				    &parts_len);
	require((all < 0) == (first < 0 || second < 0));
	require(all < 0 || all == first + second);
	require(whole_len == parts_len);
	require(memcmp(whole, parts, whole_len) == 0);
	return 0;
}

/*
 * libFuzzer: RPC calls of all versions, from the message on, with a real
 * table, turn, journal and map. An input is a row of calls, each with a byte
 * of circumstances and two of length before it.
 *
 * Promises: one answer a call, well formed and no longer than fits; none that
 * changes anything for a caller who may not; and the table can be emptied.
 */
#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "rpc.h"
#include "world.h"

enum circumstance {
	IS_DENIED = 1,
	BY_UDP = 2,
	ENDS_PASS = 4,
	HOUR_PASSES = 8,
};

enum {
	HOUR_S = 3600,
	CALLS_MAX = 64,
	CALL_HEADER = 3,
	REPLY_HEADER_MIN = 20, /* a denied call */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned held, answered;

static void check_reply(const struct origin *origin, const uint8_t *reply,
			size_t len)
{
	uint32_t word[2];

	require(len >= REPLY_HEADER_MIN && len % sizeof word[0] == 0);
	require(len <= origin->reply_max);
	memcpy(word, reply, sizeof word);
	require(be32toh(word[0]) == origin->xid && be32toh(word[1]) == REPLY);
}

static void send_held(const struct origin *origin, const void *reply,
		      size_t len)
{
	check_reply(origin, reply, len);
	require(origin->allowed);
	answered++;
}

static void commit(bool idle)
{
	for (int i = 0; i < WORLD_COMMITS_MAX && (i == 0 || answered < held);
	     i++)
		turn_commit(service.turn, service.now_s, idle);
	require(answered == held);
	require(table_count(service.table) <= config.max_entries);
}

static void call(uint8_t how, const uint8_t *data, size_t len)
{
	static uint8_t reply[RPC_REPLY_MAX];
	struct origin origin = {
	    .send = send_held,
	    .reply_max = how & BY_UDP ? RPC_DATAGRAM_MAX : RPC_REPLY_MAX,
	    .local = true,
	    .allowed = !(how & IS_DENIED),
	    .caller = address_from_v4(0x7f000001),
	};
	/* Exactly as long as the call, so that a read beyond is seen. */
	uint8_t *exact = malloc(len);
	ssize_t n;

	require(exact != NULL);
	memcpy(exact, data, len);
	if (how & HOUR_PASSES)
		service.now_s += HOUR_S;
	n = rpc_handle(&service, exact, len, &origin, reply);
	free(exact);
	if (n > 0)
		check_reply(&origin, reply, (size_t)n);
	if (n == 0)
		held++;
	require(n != 0 || origin.allowed);
	if (how & ENDS_PASS)
		commit(false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (service.turn == NULL)
		world_begin();
	for (int i = 0; i < CALLS_MAX && size > CALL_HEADER; i++) {
		size_t len = (size_t)data[1] << 8 | data[2];
		uint8_t how = data[0];

		data += CALL_HEADER;
		size -= CALL_HEADER;
		len = len < size ? len : size;
		len = len < RPC_CALL_MAX ? len : RPC_CALL_MAX;
		call(how, data, len);
		data += len;
		size -= len;
	}
	commit(false);
	world_expire_all();
	return 0;
}

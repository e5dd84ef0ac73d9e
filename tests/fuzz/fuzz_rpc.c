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

#include "maps.h"
#include "restore.h"
#include "rpc.h"
#include "../unit/clock_at.h"
#include "scratch.h"
#include "service.h"

enum circumstance {
	IS_DENIED = 1,
	BY_UDP = 2,
	ENDS_PASS = 4,
	HOUR_PASSES = 8,
};

enum {
	NOW = 1900000000,
	HOUR_S = 3600,
	LATER_S = 2 * CONFIG_LIFETIME_MAX_S, /* nothing lives so long */
	COMMITS_MAX = 100, /* by then all is answered, or expired */
	CALLS_MAX = 64,
	CALL_HEADER = 3,
	REPLY_HEADER_MIN = 20, /* a denied call */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char map_file[256], journal_dir[256];
static struct map_config map = {.type = MAP_BTREE, .path = map_file};
static struct prefix never;
static struct stats stats;
static struct config config = {
    .maps = &map,
    .map_count = 1,
    .journal = journal_dir,
    .lifetime_s = 1800,
    .never = &never,
    .never_count = 1,
    .max_entries = 16,
};
static struct service service = {.config = &config, .stats = &stats};
static struct journal *journal;
static struct timebase timebase;
static struct maps *maps;
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

static void end(void)
{
	turn_free(service.turn);
	maps_close(maps);
	journal_close(journal, 0);
	table_free(service.table);
	audit_free(service.audit);
}

static void begin(void)
{
	bool verify;

	scratch_begin();
	scratch_path(map_file, "map.db");
	require(mkdir(scratch_path(journal_dir, "journal"), 0700) == 0);
	require(prefix_from_text(&never, "192.0.2.128/25"));
	service.table = table_create();
	require(service.table != NULL);
	timebase = clock_at(NOW);
	journal = restore(&config, service.table, &timebase, &verify);
	require(journal != NULL);
	maps = maps_open(&config, service.table, verify);
	require(maps != NULL);
	service.audit = audit_create();
	require(service.audit != NULL);
	service.turn = turn_create(&config, service.table, journal, maps,
				   &stats, service.audit, service_answer);
	require(service.turn != NULL);
	atexit(end);
}

static void commit(bool idle)
{
	for (int i = 0; i < COMMITS_MAX && (i == 0 || answered < held); i++)
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

/* As if nobody had called again for ages; the next input begins anew. */
static void expire_all(void)
{
	commit(false);
	service.now_s = NOW + LATER_S;
	for (int i = 0; i < COMMITS_MAX && table_count(service.table) > 0; i++)
		commit(true);
	require(table_count(service.table) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (service.turn == NULL)
		begin();
	service.now_s = NOW;
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
	expire_all();
	return 0;
}

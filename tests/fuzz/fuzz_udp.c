/*
 * libFuzzer: datagrams to real sockets, one bound to loopback and one to all
 * addresses, served by the real loop, with a real table, turn, journal and
 * map. Two peers send whole calls and raw bytes, several a pass; the map is
 * locked meanwhile.
 *
 * Promises: each call is answered once, to whom it came from; nothing else is
 * answered more than once; and no answer is longer than what it answers, but
 * for those that list entries.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drac_prot.h"
#include "loop.h"
#include "rpc.h"
#include "script.h"
#include "udp.h"
#include "world.h"

enum operation { CALL_, RAW, PASS, LOCK };

enum {
	SOCKETS = 2,
	PEERS = 2,
	SENT_MAX = 200, /* more than a batch */
	PASSES_MAX = 16,
	PASS_UNIT_MS = 4,
	DATAGRAM_MAX = 2048,
	REPLY_HEADER_MIN = 20, /* a denied call */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sent {
	uint32_t xid;
	size_t len;
	bool must, reads, answered;
};

struct peer {
	int fd;
	unsigned count;
	struct sent sent[SENT_MAX];
};

static struct peer peers[PEERS];
static struct udp *udp[SOCKETS];
static struct loop *loop;
static int map_fd = -1;
static uint32_t next_xid;

static void end(void)
{
	for (int i = 0; i < SOCKETS; i++)
		udp_close(udp[i]);
	for (int i = 0; i < PEERS; i++)
		close(peers[i].fd);
	loop_free(loop);
	close(map_fd);
}

static void begin(void)
{
	world_begin();
	loop = loop_create();
	require(loop != NULL);
	for (int i = 0; i < SOCKETS; i++) {
		struct sockaddr_in in = {.sin_family = AF_INET};
		socklen_t len = sizeof in;
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

		in.sin_addr.s_addr = htonl(i ? INADDR_ANY : INADDR_LOOPBACK);
		require(fd >= 0 &&
			bind(fd, (struct sockaddr *)&in, sizeof in) == 0);
		require(getsockname(fd, (struct sockaddr *)&in, &len) == 0);
		udp[i] = udp_open(loop, &service, fd, i);
		require(udp[i] != NULL);
		/* Not the address by which the answer would leave unasked. */
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)i);
		peers[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		require(peers[i].fd >= 0);
		/* From elsewhere nothing comes in. */
		require(connect(peers[i].fd, (struct sockaddr *)&in, len) == 0);
	}
	map_fd = open(world_map_file, O_RDONLY | O_CLOEXEC);
	require(map_fd >= 0);
	atexit(end);
}

/* ---- there ----------------------------------------------------------------
 */

static uint32_t word_at(const uint8_t *data, size_t len, size_t at)
{
	uint32_t word = 0;

	if (at + sizeof word <= len)
		memcpy(&word, data + at, sizeof word);
	return ntohl(word);
}

static void send_one(struct peer *peer, const void *data, size_t len, bool must)
{
	if (peer->count == SENT_MAX ||
	    send(peer->fd, data, len, 0) != (ssize_t)len)
		return;
	peer->sent[peer->count++] = (struct sent){
	    .xid = word_at(data, len, 0),
	    .len = len,
	    .must = must,
	    .reads = word_at(data, len, 16) == DRACVERS3 &&
		     word_at(data, len, 20) >= DRAC3_QUERY,
	};
}

static void send_call(struct peer *peer, uint8_t what)
{
	static const uint32_t procedure[] = {NULLPROC, DRACPROC_ADD,
					     DRAC3_REMOVE, DRAC3_LIST};
	uint32_t version = what % 4 < 2 ? DRACVERS : DRACVERS3;
	uint32_t word[] = {htonl(next_xid++),
			   htonl(CALL),
			   htonl(2),
			   htonl(DRACPROG),
			   htonl(version),
			   htonl(procedure[what % 4]),
			   0,
			   0,
			   0,
			   0,
			   htonl(what % 4 == 2 ? 4 : 0xc0000200 | what),
			   htonl(0xc0000200 | (what ^ 3)),
			   0};

	send_one(peer, word, sizeof word, true);
}

/* ---- and back --------------------------------------------------------------
 */

/* Two may have the same xid, by chance: what must be answered comes first. */
static struct sent *find(struct peer *peer, uint32_t xid, size_t len, bool must)
{
	for (unsigned i = 0; i < peer->count; i++) {
		struct sent *sent = &peer->sent[i];

		if (sent->xid == xid && sent->must == must && !sent->answered &&
		    (len <= sent->len || sent->reads))
			return sent;
	}
	return NULL;
}

static void check_answer(struct peer *peer, const uint8_t *reply, size_t len)
{
	uint32_t xid = word_at(reply, len, 0);
	struct sent *sent = find(peer, xid, len, true);

	require(len >= REPLY_HEADER_MIN && len <= RPC_DATAGRAM_MAX);
	require(word_at(reply, len, 4) == REPLY);
	if (sent == NULL)
		sent = find(peer, xid, len, false);
	require(sent != NULL);
	sent->answered = true;
}

static void pass(void)
{
	uint8_t reply[DATAGRAM_MAX];
	uint64_t calls = service.calls;
	ssize_t n;

	loop_wait(loop, 0);
	loop_dispatch(loop);
	turn_commit(service.turn, service.now_s, calls == service.calls);
	for (int i = 0; i < SOCKETS; i++)
		udp_flush(udp[i]);
	for (int i = 0; i < PEERS; i++)
		while ((n = recv(peers[i].fd, reply, sizeof reply, 0)) >= 0)
			check_answer(&peers[i], reply, (size_t)n);
}

static void operate(struct script *script)
{
	uint8_t code = script_byte(script), arg = script_byte(script);
	struct peer *peer = &peers[code % PEERS];
	const uint8_t *bytes;
	size_t len = arg;

	switch ((enum operation)(code / PEERS % 4)) {
	case CALL_:
		/* So many of them, for the end of a batch. */
		for (int i = 0; i <= code / 16; i++)
			send_call(peer, (uint8_t)(arg + i));
		break;
	case RAW:
		bytes = script_bytes(script, &len);
		send_one(peer, bytes, len, false);
		break;
	case PASS:
		world_ahead_ms += arg * PASS_UNIT_MS;
		pass();
		break;
	case LOCK:
		flock(map_fd, (arg % 2 ? LOCK_UN : LOCK_SH) | LOCK_NB);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script script = {data, size};

	if (loop == NULL)
		begin();
	next_xid = 1;
	for (int i = 0; i < PEERS; i++)
		peers[i].count = 0;
	while (script.left > 0)
		operate(&script);
	flock(map_fd, LOCK_UN);
	for (int i = 0; i < PASSES_MAX; i++)
		pass();
	for (int i = 0; i < PEERS; i++)
		for (unsigned n = 0; n < peers[i].count; n++)
			require(peers[i].sent[n].answered ||
				!peers[i].sent[n].must);
	world_expire_all();
	return 0;
}

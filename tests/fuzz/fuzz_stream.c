/*
 * libFuzzer: connections to a real listener, served by the real loop, with a
 * real table, turn, journal and map. Four peers, the last one an MTA, put
 * whole calls and raw bytes into their pipes and send these in pieces, between
 * passes; they half-close, leave, do not read, and lock the map meanwhile.
 *
 * Promises: what comes back is whole answers, one for each call, in the order
 * of the calls, however these were cut, and none for what came behind junk;
 * nobody is closed without a reason; and when all have gone, no connection is
 * left.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "drac_prot.h"
#include "loop.h"
#include "rpc.h"
#include "script.h"
#include "socketmap.h"
#include "stream.h"
#include "world.h"

enum operation { CALL_, RAW, SEND, PASS, LEAVE, LOCK, DEAF, REAP };

enum {
	FEW_CONNECTIONS = 1, /* flag in the first byte */
	PEERS = 4,
	MTA = 3, /* the peer that is none of RPC */
	SENT_MAX = 1 << 13,
	GOT_MAX = 1 << 18,
	PASSES_MAX = SENT_MAX / RPC_CALL_MIN + 64, /* by then all is answered */
	HELD_PASSES = 3, /* by then what the lock has held back is answered */
	PASS_UNIT_MS = 16,
	MARK = 4,
	LAST_FRAGMENT_BYTE = 0x80,
	NETSTRING_DIGITS = 3,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
	int fd; /* -1: not connected */
	size_t pending, sent, got;
	uint8_t out[SENT_MAX]; /* sent of them have left, pending are there */
	uint8_t in[GOT_MAX];
	bool deaf, half, closed;
	bool may_lose; /* it has done what may cost it answers */
};

static struct peer peers[PEERS];
static struct loop *loop;
static struct streams *streams;
static char socket_path[2][256];
static int map_fd = -1;
static uint32_t next_xid;

/* ---- the daemon ---------------------------------------------------------- */

static void end(void)
{
	streams_free(streams);
	loop_free(loop);
	close(map_fd);
}

static void serve_at(const char *path, enum stream_protocol protocol)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	require(fd >= 0 && bind(fd, (struct sockaddr *)&un, sizeof un) == 0);
	require(listen(fd, 2 * PEERS) == 0);
	require(streams_listen(streams, fd, true, protocol));
}

static void begin(void)
{
	world_begin();
	config.idle_timeout_s = 3600;
	loop = loop_create();
	require(loop != NULL);
	streams = streams_create(loop, &service);
	require(streams != NULL);
	atexit(end);
	serve_at(scratch_path(socket_path[0], "rpc.sock"), STREAM_RPC);
	serve_at(scratch_path(socket_path[1], "map.sock"), STREAM_SOCKETMAP);
	map_fd = open(world_map_file, O_RDONLY | O_CLOEXEC);
	require(map_fd >= 0);
}

static void receive(struct peer *peer)
{
	ssize_t n = 1;

	while (!peer->closed && n > 0) {
		require(peer->got < GOT_MAX);
		n = recv(peer->fd, peer->in + peer->got, GOT_MAX - peer->got,
			 MSG_DONTWAIT);
		if (n > 0)
			peer->got += (size_t)n;
		else if (n == 0 || errno != EAGAIN)
			peer->closed = true;
	}
}

/* What daemon.c does in one. False: there was nothing to do. */
static bool pass(void)
{
	uint64_t calls = service.calls;
	bool busy = loop_wait(loop, 0) > 0 || streams_have_more(streams) ||
		    turn_is_open(service.turn);

	streams_more(streams);
	loop_dispatch(loop);
	turn_commit(service.turn, service.now_s, calls == service.calls);
	streams_settle(streams);
	for (int i = 0; i < PEERS; i++)
		if (peers[i].fd >= 0 && !peers[i].deaf)
			receive(&peers[i]);
	return busy;
}

/* ---- what peers do ------------------------------------------------------- */

static void put(struct peer *peer, const void *data, size_t len)
{
	if (len > SENT_MAX - peer->pending)
		return;
	memcpy(peer->out + peer->pending, data, len);
	peer->pending += len;
}

static void put_call(struct peer *peer, uint8_t what)
{
	static const uint32_t procedure[] = {NULLPROC, DRACPROC_ADD,
					     DRAC3_REMOVE, DRAC3_LIST};
	uint32_t word[] = {0, htonl(next_xid++), htonl(CALL), htonl(2),
			   htonl(DRACPROG), htonl(DRACVERS),
			   htonl(procedure[what % 4]), 0, 0, 0, 0,
			   /* of an add; of a remove; enough for a list */
			   htonl(0xc0000200 | what), 0, 0};
	size_t len = sizeof word;

	if (what % 4 >= 2) {
		word[5] = htonl(DRACVERS3);
		word[11] = what % 4 == 2 ? htonl(4) : 0;
		word[12] = what % 4 == 2 ? htonl(0xc0000200 | (what ^ 3)) : 0;
	}
	word[0] =
	    htonl((uint32_t)(len - MARK) | (uint32_t)LAST_FRAGMENT_BYTE << 24);
	put(peer, word, len);
}

static void put_lookup(struct peer *peer, uint8_t what)
{
	char text[32], all[64];
	int len = snprintf(text, sizeof text, "drac 192.0.2.%d", what);

	len = snprintf(all, sizeof all, "%d:%s,", len, text);
	put(peer, all, (size_t)len);
}

static void forget(struct peer *peer)
{
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
	peer->pending = peer->sent = peer->got = 0;
	peer->deaf = peer->half = peer->closed = false;
	peer->may_lose = config.max_connections < PEERS;
}

static bool open_peer(struct peer *peer)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (peer->fd >= 0)
		return true;
	require(snprintf(un.sun_path, sizeof un.sun_path, "%s",
			 socket_path[peer == &peers[MTA]]) <
		(int)sizeof un.sun_path);
	peer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	require(peer->fd >= 0);
	if (fcntl(peer->fd, F_SETFL, O_NONBLOCK) == 0 &&
	    connect(peer->fd, (struct sockaddr *)&un, sizeof un) == 0)
		return true;
	require(errno == EAGAIN); /* many came and left within a pass */
	forget(peer);
	return false;
}

static void send_some(struct peer *peer, size_t len)
{
	ssize_t n;

	if (!open_peer(peer) || peer->half)
		return;
	if (len > peer->pending - peer->sent)
		len = peer->pending - peer->sent;
	n = send(peer->fd, peer->out + peer->sent, len,
		 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		peer->sent += (size_t)n;
}

static void reap(void)
{
	int64_t timeout_s = config.idle_timeout_s;

	config.idle_timeout_s = -1; /* whoever waits, waits for too long */
	streams_reap(streams);
	config.idle_timeout_s = timeout_s;
	for (int i = 0; i < PEERS; i++)
		peers[i].may_lose = true;
}

static void leave(struct peer *peer, bool half)
{
	if (peer->fd < 0)
		return;
	if (!half) {
		forget(peer);
		return;
	}
	shutdown(peer->fd, SHUT_WR);
	peer->half = true;
}

/* ---- what must have become of it ------------------------------------------
 */

/* The length of the record that the bytes begin with; 0: none; -1: junk. */
static ssize_t call_len(const uint8_t *at, size_t len)
{
	size_t size;

	if (len < MARK)
		return 0;
	size = (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
	if (at[0] != LAST_FRAGMENT_BYTE || size < RPC_CALL_MIN ||
	    size > RPC_CALL_MAX)
		return -1;
	return len < MARK + size ? 0 : (ssize_t)(MARK + size);
}

static ssize_t netstring_len(const uint8_t *at, size_t len, size_t max)
{
	size_t size = 0, i = 0;

	while (i < len && at[i] >= '0' && at[i] <= '9' &&
	       i < NETSTRING_DIGITS + 1 && (i == 0 || at[0] != '0'))
		size = 10 * size + (size_t)(at[i++] - '0');
	if (size > max)
		return -1;
	if (i == len)
		return 0;
	if (i == 0 || at[i] != ':')
		return -1;
	if (len < i + size + 2)
		return 0;
	return at[i + size + 1] == ',' ? (ssize_t)(i + size + 2) : -1;
}

/* Whether nothing in its header can be a reason to close. */
static bool is_plain(const uint8_t *call)
{
	static const uint8_t head[] = {0, 0, 0, CALL, 0, 0, 0, 2};
	static const uint8_t auth[16];

	return memcmp(call + MARK + 4, head, sizeof head) == 0 &&
	       memcmp(call + MARK + 24, auth, sizeof auth) == 0;
}

/* The next answer, to the request given; false: it has not come. */
static bool check_answer(const struct peer *peer, size_t *at,
			 const uint8_t *request)
{
	const uint8_t *reply = peer->in + *at;
	size_t left = peer->got - *at, len;

	if (left == 0)
		return false;
	if (peer == &peers[MTA]) {
		ssize_t n = netstring_len(reply, left, SOCKETMAP_REPLY_MAX);

		require(n > 0 || peer->may_lose);
		*at = n > 0 ? *at + (size_t)n : peer->got;
		return true;
	}
	require(left >= MARK && reply[0] == LAST_FRAGMENT_BYTE);
	len = MARK + ((size_t)reply[2] << 8 | reply[3]);
	require(len <= left || peer->may_lose);
	require(len <= MARK + RPC_REPLY_MAX);
	require(memcmp(reply + MARK, request + MARK, 4) == 0);
	*at = len < left ? *at + len : peer->got;
	return true;
}

static void check(struct peer *peer)
{
	size_t at = 0, done = 0;
	bool excused = peer->may_lose, may_close = excused || peer->half;
	ssize_t len;

	for (;; done += (size_t)len) {
		const uint8_t *request = peer->out + done;
		size_t left = peer->sent - done;

		len = peer == &peers[MTA]
			  ? netstring_len(request, left, SOCKETMAP_REQUEST_MAX)
			  : call_len(request, left);
		if (len <= 0)
			break;
		if (peer != &peers[MTA] && !is_plain(request))
			excused = may_close = true;
		if (!check_answer(peer, &at, request)) {
			require(excused);
			break;
		}
	}
	require(at == peer->got);
	require(!peer->closed || may_close || len < 0);
	/* Junk is the end of it. */
	require(len >= 0 || peer->closed || peer->deaf);
}

static void finish(void)
{
	flock(map_fd, LOCK_UN);
	for (int i = 0; i < PASSES_MAX && (pass() || i < HELD_PASSES); i++)
		;
	for (int i = 0; i < PEERS; i++)
		if (peers[i].fd >= 0) {
			receive(&peers[i]);
			check(&peers[i]);
		}
	for (int i = 0; i < PEERS; i++)
		forget(&peers[i]);
	for (int i = 0; i < PASSES_MAX && pass(); i++)
		;
	require(world_stats.connections == 0);
	world_expire_all();
}

static void operate(struct script *script)
{
	uint8_t code = script_byte(script), arg = script_byte(script);
	struct peer *peer = &peers[code % PEERS];
	const uint8_t *bytes;
	size_t len = arg;

	switch ((enum operation)(code / PEERS % 8)) {
	case CALL_:
		if (peer == &peers[MTA])
			put_lookup(peer, arg);
		else
			put_call(peer, arg);
		break;
	case RAW:
		bytes = script_bytes(script, &len);
		put(peer, bytes, len);
		break;
	case SEND:
		send_some(peer, arg == 0 ? SENT_MAX : arg);
		break;
	case PASS:
		world_ahead_ms += arg / 4 * PASS_UNIT_MS;
		for (int i = 0; i <= arg % 4; i++)
			pass();
		break;
	case LEAVE:
		leave(peer, arg % 2 == 0);
		break;
	case LOCK:
		flock(map_fd, (arg % 2 ? LOCK_UN : LOCK_SH) | LOCK_NB);
		break;
	case DEAF:
		peer->deaf = true;
		peer->may_lose = true;
		break;
	case REAP:
		reap();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script script = {data, size};

	if (size < 1)
		return 0;
	if (loop == NULL)
		begin();
	config.max_connections =
	    script_byte(&script) & FEW_CONNECTIONS ? 2 : 64;
	config.max_connections_per_address = config.max_connections;
	next_xid = 1;
	for (int i = 0; i < PEERS; i++) {
		peers[i].fd = -1;
		forget(&peers[i]);
	}
	while (script.left > 0)
		operate(&script);
	finish();
	return 0;
}

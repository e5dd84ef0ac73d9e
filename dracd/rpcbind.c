/*
 * rpcbind: see rpcbind.h. RFC 1833 version 3 over AF_UNIX; the messages are
 * libtirpc's, the waiting is ours, since its own may take a minute.
 */
#include "rpcbind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <rpc/rpc.h>
#include <rpc/rpcb_prot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "drac_prot.h"
#include "log.h"

#define RPCBIND_SOCKET "/run/rpcbind.sock"

enum {
	ROUND_S = 20,    /* between two rounds */
	ROUND_MAX_S = 5, /* for one round */
	MESSAGE_MAX = 512,
	MARK = 4,
	VERSIONS = 3,
	UADDR_MAX = 64,
	NETID_MAX = 8,
};
#define LAST_FRAGMENT UINT32_C(0x80000000)

struct rpcbind {
	struct watch watch; /* fd -1: no round under way */
	struct loop *loop;
	const struct bounds *bounds;
	int wait_s;  /* until the next round, or until this one is given up */
	size_t step; /* of the round: VERSIONS for each socket */
	bool unsetting; /* before the set of this step is tried again */
	bool registered;
	size_t in_len;
	uint8_t in[MESSAGE_MAX];
};

/* ---- messages -------------------------------------------------------------
 */

/* With its record mark; returns the length. */
static size_t encode_call(uint8_t out[MESSAGE_MAX], uint32_t procedure,
			  RPCB *map)
{
	static uint32_t xid;
	struct rpc_msg call = {.rm_xid = ++xid, .rm_direction = CALL};
	call.rm_call.cb_rpcvers = RPC_MSG_VERSION;
	call.rm_call.cb_prog = RPCBPROG;
	call.rm_call.cb_vers = RPCBVERS;
	call.rm_call.cb_proc = procedure;
	call.rm_call.cb_cred = _null_auth;
	call.rm_call.cb_verf = _null_auth;
	XDR xdr;
	xdrmem_create(&xdr, (char *)out + MARK, MESSAGE_MAX - MARK, XDR_ENCODE);
	if (!xdr_callmsg(&xdr, &call) || !xdr_rpcb(&xdr, map))
		return 0;
	uint32_t mark = htonl(LAST_FRAGMENT | xdr_getpos(&xdr));
	memcpy(out, &mark, sizeof(mark));
	return MARK + xdr_getpos(&xdr);
}

/* A whole reply with its mark: what rpcbind said. */
static bool decode_reply(uint8_t *in, size_t len, bool *yes)
{
	bool_t result = FALSE;
	struct rpc_msg reply = {0};
	reply.acpted_rply.ar_verf = _null_auth;
	reply.acpted_rply.ar_results.where = (char *)&result;
	reply.acpted_rply.ar_results.proc = (xdrproc_t)xdr_bool;
	XDR xdr;
	xdrmem_create(&xdr, (char *)in + MARK, (u_int)(len - MARK), XDR_DECODE);
	bool ok = xdr_replymsg(&xdr, &reply) &&
		  reply.rm_reply.rp_stat == MSG_ACCEPTED &&
		  reply.acpted_rply.ar_stat == SUCCESS;
	*yes = ok && result;
	return ok;
}

/* Bytes of the reply at the front; 0: not whole yet; more than fits: bad. */
static size_t reply_length(const uint8_t *in, size_t len)
{
	uint32_t mark;
	if (len < MARK)
		return 0;
	memcpy(&mark, in, sizeof(mark));
	size_t whole = MARK + (ntohl(mark) & ~LAST_FRAGMENT);
	return whole > MESSAGE_MAX ? MESSAGE_MAX + 1 : len < whole ? 0 : whole;
}

static int connect_rpcbind(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX,
				 .sun_path = RPCBIND_SOCKET};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- unset, waiting
 * ---------------------------------------------------------- */

static bool call_until(int fd, uint32_t procedure, RPCB *map, int64_t until_ms)
{
	uint8_t buf[MESSAGE_MAX];
	bool yes;
	size_t len = encode_call(buf, procedure, map), have = 0, whole;
	if (send(fd, buf, len, MSG_NOSIGNAL) != (ssize_t)len)
		return false;
	while ((whole = reply_length(buf, have)) == 0) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		int64_t left_ms = until_ms - clock_monotonic_ns() / 1000000;
		if (left_ms <= 0 || poll(&ready, 1, (int)left_ms) <= 0)
			return false;
		ssize_t got = recv(fd, buf + have, sizeof(buf) - have, 0);
		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	return whole <= MESSAGE_MAX && decode_reply(buf, whole, &yes);
}

void rpcbind_unset(int timeout_ms)
{
	int64_t until_ms = clock_monotonic_ns() / 1000000 + timeout_ms;
	int fd = connect_rpcbind();
	if (fd < 0)
		return;
	char empty[] = "";
	for (uint32_t version = 1; version <= VERSIONS; version++) {
		RPCB map = {DRACPROG, version, empty, empty, empty};
		if (!call_until(fd, RPCBPROC_UNSET, &map, until_ms))
			break;
	}
	close(fd);
}

/* ---- rounds
 * ------------------------------------------------------------------ */

static bool describe(const struct bound *bound, char netid[NETID_MAX],
		     char uaddr[UADDR_MAX])
{
	char text[INET6_ADDRSTRLEN];
	const void *bytes;
	unsigned port;
	bool v6 = bound->address.ss_family == AF_INET6;
	if (bound->transport == LISTEN_UNIX || bound->lookup)
		return false;
	if (v6) {
		const struct sockaddr_in6 *at = (const void *)&bound->address;
		bytes = &at->sin6_addr;
		port = ntohs(at->sin6_port);
	} else {
		const struct sockaddr_in *at = (const void *)&bound->address;
		bytes = &at->sin_addr;
		port = ntohs(at->sin_port);
	}
	inet_ntop(bound->address.ss_family, bytes, text, sizeof(text));
	snprintf(netid, NETID_MAX, "%s%s",
		 bound->transport == LISTEN_UDP ? "udp" : "tcp", v6 ? "6" : "");
	snprintf(uaddr, UADDR_MAX, "%s.%u.%u", text, port >> 8, port & 0xff);
	return true;
}

/* rpcbind has room for one address a transport: the first one we listen at. */
static bool is_first(const struct bounds *bounds, size_t index)
{
	char netid[NETID_MAX], other[NETID_MAX], uaddr[UADDR_MAX];
	if (!describe(&bounds->bound[index], netid, uaddr))
		return false;
	for (size_t i = 0; i < index; i++)
		if (describe(&bounds->bound[i], other, uaddr) &&
		    strcmp(netid, other) == 0)
			return false;
	return true;
}

static void end_round(struct rpcbind *rpcbind)
{
	loop_close(rpcbind->loop, &rpcbind->watch);
	rpcbind->watch.fd = -1;
	rpcbind->wait_s = ROUND_S;
}

static void give_up(struct rpcbind *rpcbind, const char *why)
{
	if (rpcbind->registered)
		log_write(LOG_NOTICE, "rpcbind does not answer: %s", why);
	rpcbind->registered = false;
	end_round(rpcbind);
}

/* Sends the call of this step; past the last one the round is over. */
static void send_step(struct rpcbind *rpcbind)
{
	char netid[NETID_MAX], uaddr[UADDR_MAX], owner[] = "dracd";
	uint8_t out[MESSAGE_MAX];
	const struct bounds *bounds = rpcbind->bounds;
	while (rpcbind->step < VERSIONS * bounds->count &&
	       !is_first(bounds, rpcbind->step / VERSIONS))
		rpcbind->step++;
	if (rpcbind->step >= VERSIONS * bounds->count) {
		if (!rpcbind->registered)
			log_write(LOG_INFO, "rpcbind knows the program");
		rpcbind->registered = true;
		end_round(rpcbind);
		return;
	}
	describe(&bounds->bound[rpcbind->step / VERSIONS], netid, uaddr);
	RPCB map = {DRACPROG, (rpcvers_t)(1 + rpcbind->step % VERSIONS), netid,
		    uaddr, owner};
	size_t len = encode_call(
	    out, rpcbind->unsetting ? RPCBPROC_UNSET : RPCBPROC_SET, &map);
	rpcbind->in_len = 0;
	if (send(rpcbind->watch.fd, out, len, MSG_NOSIGNAL | MSG_DONTWAIT) !=
	    (ssize_t)len)
		give_up(rpcbind, strerror(errno));
}

/*
 * Setting what is set already is answered with yes; with no when another
 * address is registered. Then that is removed, if it is ours, and set again.
 */
static void next_step(struct rpcbind *rpcbind, bool yes)
{
	static struct log_limit limit;
	if (rpcbind->unsetting && !yes) {
		if (log_allowed(&limit))
			log_write(LOG_WARNING,
				  "rpcbind keeps another address for program "
				  "%d; as root: rpcinfo -d %d 1, 2, 3",
				  DRACPROG, DRACPROG);
		rpcbind->unsetting = false;
		rpcbind->step++;
	} else if (rpcbind->unsetting) {
		rpcbind->unsetting = false;
	} else if (yes) {
		rpcbind->step++;
	} else {
		rpcbind->unsetting = true;
	}
	send_step(rpcbind);
}

static void rpcbind_ready(struct watch *watch, uint32_t events)
{
	struct rpcbind *rpcbind = (struct rpcbind *)watch;
	bool yes;
	(void)events;
	ssize_t got = recv(watch->fd, rpcbind->in + rpcbind->in_len,
			   sizeof(rpcbind->in) - rpcbind->in_len, MSG_DONTWAIT);
	if (got <= 0) {
		if (got == 0 || errno != EAGAIN)
			give_up(rpcbind, "connection closed");
		return;
	}
	rpcbind->in_len += (size_t)got;
	size_t whole = reply_length(rpcbind->in, rpcbind->in_len);
	if (whole == 0)
		return;
	if (whole > MESSAGE_MAX || !decode_reply(rpcbind->in, whole, &yes))
		give_up(rpcbind, "reply not understood");
	else
		next_step(rpcbind, yes);
}

void rpcbind_tick(struct rpcbind *rpcbind)
{
	if (rpcbind == NULL || --rpcbind->wait_s > 0)
		return;
	if (rpcbind->watch.fd >= 0) {
		give_up(rpcbind, "timed out");
		return;
	}
	rpcbind->wait_s = ROUND_S;
	rpcbind->watch.fd = connect_rpcbind();
	if (rpcbind->watch.fd < 0) {
		rpcbind->registered = false;
		return;
	}
	if (!loop_add(rpcbind->loop, &rpcbind->watch, EPOLLIN)) {
		close(rpcbind->watch.fd);
		rpcbind->watch.fd = -1;
		return;
	}
	rpcbind->wait_s = ROUND_MAX_S;
	rpcbind->step = 0;
	rpcbind->unsetting = false;
	send_step(rpcbind);
}

struct rpcbind *rpcbind_create(struct loop *loop, const struct bounds *bounds)
{
	struct rpcbind *rpcbind = calloc(1, sizeof(*rpcbind));
	if (rpcbind == NULL)
		return NULL;
	rpcbind->watch = (struct watch){.fd = -1, .ready = rpcbind_ready};
	rpcbind->loop = loop;
	rpcbind->bounds = bounds;
	return rpcbind;
}

void rpcbind_free(struct rpcbind *rpcbind)
{
	if (rpcbind == NULL)
		return;
	if (rpcbind->watch.fd >= 0)
		end_round(rpcbind);
	free(rpcbind);
}

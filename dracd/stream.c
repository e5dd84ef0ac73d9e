/*
 * stream: see stream.h. Owns all connections. A connection whose call is held
 * by the turn is not freed before it is answered, closed or not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "caller.h"
#include "clock.h"
#include "log.h"
#include "socketmap.h"
#include "stream_impl.h"

#define LAST_FRAGMENT UINT32_C(0x80000000)

/* ---- closing ------------------------------------------------------------ */

static void set_held(struct connection *connection, bool held)
{
	struct streams *streams = connection->streams;
	if (connection->is_held == held)
		return;
	connection->is_held = held;
	if (held)
		TAILQ_INSERT_TAIL(&streams->held, connection, extra);
	else
		TAILQ_REMOVE(&streams->held, connection, extra);
}

static void set_more(struct connection *connection, bool more)
{
	struct streams *streams = connection->streams;
	if (connection->has_more == more)
		return;
	connection->has_more = more;
	if (more)
		TAILQ_INSERT_TAIL(&streams->more, connection, extra);
	else
		TAILQ_REMOVE(&streams->more, connection, extra);
}

static void free_if_done(struct connection *connection)
{
	if (connection->state == DEAD && !connection->is_held &&
	    !connection->serving)
		free(connection);
}

void connection_close(struct connection *connection)
{
	struct streams *streams = connection->streams;
	set_more(connection, false);
	TAILQ_REMOVE(connection->order, connection, idle);
	if (connection->state == OPEN)
		loop_close(streams->loop, &connection->watch);
	else
		close(connection->watch.fd);
	quota_leave(streams->quota, connection->quota);
	streams->count--;
	streams->service->stats->connections = streams->count;
	connection->state = DEAD;
	free_if_done(connection);
}

static void close_because(struct connection *connection, const char *why)
{
	static struct log_limit limit;
	char caller[CALLER_TEXT_MAX];
	if (log_allowed(&limit))
		log_write(LOG_INFO, "connection closed caller=%s reason=\"%s\"",
			  caller_text(&connection->caller, caller), why);
	connection_close(connection);
}

/* ---- calls -------------------------------------------------------------- */

/* False: the connection is closed, since its peer does not read. */
static bool write_parts(struct connection *connection, struct iovec *part,
			size_t count, size_t len)
{
	struct msghdr header = {.msg_iov = part, .msg_iovlen = count};
	if (sendmsg(connection->watch.fd, &header,
		    MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len)
		return true;
	connection_close(connection);
	return false;
}

static bool write_reply(struct connection *connection, const void *data,
			size_t len)
{
	uint32_t mark = htonl(LAST_FRAGMENT | (uint32_t)len);
	struct iovec part[2] = {{&mark, sizeof(mark)},
				{(void *)(uintptr_t)data, len}};
	return write_parts(connection, part, 2, MARK + len);
}

static bool connection_resume(struct connection *connection)
{
	if (connection->state != PAUSED)
		return true;
	connection->state = OPEN;
	if (loop_add(connection->streams->loop, &connection->watch, EPOLLIN))
		return true;
	log_errno(LOG_ERR, "connection cannot be served");
	connection->state = PAUSED; /* so that it is not removed again */
	connection_close(connection);
	return false;
}

/* origin->send() of a call that was held, be it only for a moment. */
static void stream_send(const struct origin *origin, const void *data,
			size_t len)
{
	struct connection *connection = origin->transport;
	set_held(connection, false);
	if (connection->state == DEAD) {
		free_if_done(connection);
		return;
	}
	if (write_reply(connection, data, len) &&
	    connection_resume(connection) && connection->in_len > 0)
		set_more(connection, true);
}

static struct origin origin_of(struct connection *connection)
{
	struct origin origin;
	origin.send = stream_send;
	origin.transport = connection;
	origin.reply_max = RPC_REPLY_MAX;
	origin.local = connection->local;
	origin.caller = connection->caller;
	origin.peer_len = 0;
	origin.control_len = 0;
	origin.datagram = false;
	origin.allowed = connection->local_allowed;
	origin.denial = origin.allowed ? NULL : ACCESS_NOT_A_MEMBER;
	if (!connection->local)
		access_unsigned(connection->streams->service->access, &origin);
	return origin;
}

/* See struct protocol. */
static ssize_t rpc_record(const uint8_t *in, size_t in_len)
{
	uint32_t mark;
	if (in_len < MARK)
		return 0;
	memcpy(&mark, in, sizeof(mark));
	mark = ntohl(mark);
	size_t len = mark & ~LAST_FRAGMENT;
	if (!(mark & LAST_FRAGMENT) || len > RPC_CALL_MAX || len < RPC_CALL_MIN)
		return -1;
	return in_len < MARK + len ? 0 : (ssize_t)(MARK + len);
}

/* One call: answered, held, or reason to close. */
static size_t rpc_answer(struct connection *connection, size_t record)
{
	static uint8_t reply[RPC_REPLY_MAX];
	struct service *service = connection->streams->service;
	struct origin origin = origin_of(connection);
	set_held(connection, true);
	ssize_t len = rpc_handle(service, connection->in + MARK, record - MARK,
				 &origin, reply);
	if (connection->state == DEAD || len == 0)
		return record; /* stream_send() was or will be called */
	set_held(connection, false);
	if (len > 0) {
		write_reply(connection, reply, (size_t)len);
	} else {
		service->stats->bad_calls++;
		close_because(connection, "not an RPC call");
	}
	return record;
}

const struct protocol protocol_rpc = {
    .record = rpc_record,
    .answer = rpc_answer,
    .junk = "record too long, or in pieces",
};

/* ---- lookups ------------------------------------------------------------ */

/* Who is on this host may read the maps, too. */
bool connection_may_look_up(struct connection *connection)
{
	struct origin origin = origin_of(connection);
	if (connection->local || origin.allowed)
		return true;
	service_deny_caller(connection->streams->service, &origin,
			    origin.denial);
	return false;
}

/* All that are there, in their order: never held, and cheap. */
static size_t socketmap_answers(struct connection *connection, size_t record)
{
	static char out[RPC_REPLY_MAX];
	struct service *service = connection->streams->service;
	size_t done = 0, len = 0;
	ssize_t next = (ssize_t)record;
	if (!connection_may_look_up(connection)) {
		connection_close(connection);
		return record;
	}
	while (next > 0 && len + SOCKETMAP_REPLY_MAX <= sizeof(out)) {
		len += socketmap_answer(service, connection->in + done,
					(size_t)next, out + len);
		done += (size_t)next;
		next = socketmap_record(connection->in + done,
					connection->in_len - done);
	}
	write_parts(connection, &(struct iovec){out, len}, 1, len);
	return done;
}

const struct protocol protocol_socketmap = {
    .record = socketmap_record,
    .answer = socketmap_answers,
    .junk = "not a socketmap lookup, or one of more than 512 bytes",
    .may_rest = true,
};
_Static_assert((int)SOCKETMAP_RECORD_MAX <= MARK + RPC_CALL_MAX,
	       "a lookup fits");
_Static_assert(SOCKETMAP_REQUEST_MAX == 512, "protocol_socketmap.junk");

/* ---- serving ------------------------------------------------------------ */

/* What it waits for, from now on: idle-timeout, or nothing. */
static void set_order(struct connection *connection)
{
	struct streams *streams = connection->streams;
	if (connection->order != NULL)
		TAILQ_REMOVE(connection->order, connection, idle);
	connection->order =
	    connection->protocol->may_rest && connection->in_len == 0
		? &streams->resting
		: &streams->idle;
	connection->active_s = clock_monotonic_s();
	TAILQ_INSERT_TAIL(connection->order, connection, idle);
}

static ssize_t whole_record(const struct connection *connection)
{
	return connection->protocol->record(connection->in, connection->in_len);
}

/* What is left waits for the next pass. False: the connection is closed. */
static bool serve(struct connection *connection)
{
	ssize_t record = whole_record(connection);
	set_more(connection, false);
	if (record < 0) {
		connection->streams->service->stats->bad_calls++;
		close_because(connection, connection->protocol->junk);
		return false;
	}
	if (record == 0) {
		/* Half a lookup may not rest. */
		if (connection->order == &connection->streams->resting)
			set_order(connection);
		return true;
	}
	connection->serving = true;
	size_t done = connection->protocol->answer(connection, (size_t)record);
	connection->serving = false;
	if (connection->state == DEAD) {
		free_if_done(connection);
		return false;
	}
	connection->in_len -= done;
	memmove(connection->in, connection->in + done, connection->in_len);
	set_order(connection);
	set_more(connection,
		 !connection->is_held && whole_record(connection) != 0);
	return true;
}

/* False: the connection is closed. */
static bool receive(struct connection *connection)
{
	ssize_t len =
	    recv(connection->watch.fd, connection->in + connection->in_len,
		 sizeof(connection->in) - connection->in_len, MSG_DONTWAIT);
	if (len > 0) {
		connection->in_len += (size_t)len;
		return serve(connection);
	}
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	connection_close(connection);
	return false;
}

static void connection_ready(struct watch *watch, uint32_t events)
{
	struct connection *connection = (struct connection *)watch;
	(void)events;
	/* What has been read comes first. */
	if (!connection->is_held && !connection->has_more)
		receive(connection);
}

/*
 * Who connects has mostly sent his call already: it is answered in the pass
 * that accepts him, and what he sends next is waited for after that.
 */
void connection_open(struct connection *connection)
{
	struct streams *streams = connection->streams;
	connection->watch.ready = connection_ready;
	connection->state = PAUSED;
	set_order(connection);
	streams->count++;
	streams->service->stats->connections = streams->count;
	if (receive(connection) && !connection->is_held)
		connection_resume(connection);
}

void streams_settle(struct streams *streams)
{
	struct connection *connection;
	TAILQ_FOREACH (connection, &streams->held, extra) {
		if (connection->state == OPEN) {
			loop_remove(streams->loop, &connection->watch);
			connection->state = PAUSED;
		}
	}
}

bool streams_have_more(const struct streams *streams)
{
	return !TAILQ_EMPTY(&streams->more);
}

void streams_more(struct streams *streams)
{
	/* Only what is there now: serve() puts connections back. */
	const struct connection *last = TAILQ_LAST(&streams->more, connections);
	struct connection *connection;
	while ((connection = TAILQ_FIRST(&streams->more)) != NULL) {
		bool is_last = connection == last;
		serve(connection);
		if (is_last)
			break;
	}
}

void streams_reap(struct streams *streams)
{
	int64_t limit_s =
	    clock_monotonic_s() - streams->service->config->idle_timeout_s;
	struct connection *connection, *next;
	for (connection = TAILQ_FIRST(&streams->idle);
	     connection != NULL && connection->active_s < limit_s;
	     connection = next) {
		next = TAILQ_NEXT(connection, idle);
		if (!connection->is_held)
			close_because(connection, "idle-timeout reached");
	}
}

/* ---- opening --------------------------------------------------------------
 */

struct streams *streams_create(struct loop *loop, struct service *service)
{
	struct streams *streams = calloc(1, sizeof(*streams));
	if (streams == NULL)
		return NULL;
	streams->quota = quota_create();
	if (streams->quota == NULL) {
		free(streams);
		return NULL;
	}
	streams->loop = loop;
	streams->service = service;
	TAILQ_INIT(&streams->idle);
	TAILQ_INIT(&streams->resting);
	TAILQ_INIT(&streams->more);
	TAILQ_INIT(&streams->held);
	SLIST_INIT(&streams->listeners);
	return streams;
}

void streams_free(struct streams *streams)
{
	struct connection *connection;
	struct listener *listener;
	if (streams == NULL)
		return;
	while ((listener = SLIST_FIRST(&streams->listeners)) != NULL) {
		SLIST_REMOVE_HEAD(&streams->listeners, next);
		loop_close(streams->loop, &listener->watch);
		free(listener);
	}
	while ((connection = TAILQ_FIRST(&streams->idle)) != NULL ||
	       (connection = TAILQ_FIRST(&streams->resting)) != NULL)
		connection_close(connection);
	quota_free(streams->quota);
	free(streams);
}

/*
 * stream: see stream.h. Owns all connections. A connection whose call is held
 * by the turn is not freed before it is answered, closed or not.
 */
#include "stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "quota.h"
#include "rpc.h"

enum {
	MARK = 4, /* bytes of a record mark */
	ACCEPT_BATCH = 64,
	SEND_BUFFER = 2 * RPC_REPLY_MAX, /* unread replies are our memory */
	BITS_V6 = 64, /* of an IPv6 address that make one caller */
};
#define LAST_FRAGMENT UINT32_C(0x80000000)

enum state {
	OPEN,
	PAUSED, /* held, and not watched */
	DEAD,   /* held, and already closed */
};

struct connection {
	struct watch watch;
	struct streams *streams;
	struct caller *quota;
	TAILQ_ENTRY(connection) idle;  /* oldest first */
	TAILQ_ENTRY(connection) extra; /* on `more` or on `held` */
	int64_t active_s;              /* when it last completed a call */
	enum state state;
	bool local, local_allowed;
	bool has_more, is_held;
	bool serving; /* somebody up the stack still needs it */
	struct address caller;
	size_t in_len;
	uint8_t in[MARK + RPC_CALL_MAX];
};
TAILQ_HEAD(connections, connection);

struct listener {
	struct watch watch;
	struct streams *streams;
	bool local;
	SLIST_ENTRY(listener) next;
};

struct streams {
	struct loop *loop;
	struct service *service;
	struct connections idle, more, held;
	struct quota *quota;
	SLIST_HEAD(, listener) listeners;
	uint32_t count;
};

static int64_t monotonic_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec;
}

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

static void connection_close(struct connection *connection)
{
	struct streams *streams = connection->streams;
	set_more(connection, false);
	TAILQ_REMOVE(&streams->idle, connection, idle);
	if (connection->state == OPEN)
		loop_remove(streams->loop, &connection->watch);
	close(connection->watch.fd);
	quota_leave(streams->quota, connection->quota);
	streams->count--;
	streams->service->stats->connections = streams->count;
	connection->state = DEAD;
	free_if_done(connection);
}

/* ---- calls -------------------------------------------------------------- */

/* False: the connection is closed, since its peer does not read. */
static bool write_reply(struct connection *connection, const void *data,
			size_t len)
{
	uint32_t mark = htonl(LAST_FRAGMENT | (uint32_t)len);
	struct iovec iov[2] = {{&mark, sizeof(mark)},
			       {(void *)(uintptr_t)data, len}};
	struct msghdr header = {.msg_iov = iov, .msg_iovlen = 2};
	if (sendmsg(connection->watch.fd, &header,
		    MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)(MARK + len))
		return true;
	connection_close(connection);
	return false;
}

static bool connection_resume(struct connection *connection)
{
	if (connection->state != PAUSED)
		return true;
	connection->state = OPEN;
	if (loop_add(connection->streams->loop, &connection->watch, EPOLLIN))
		return true;
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
	origin.allowed =
	    connection->local
		? connection->local_allowed
		: access_address(connection->streams->service->access,
				 &connection->caller);
	return origin;
}

static void touch(struct connection *connection)
{
	struct streams *streams = connection->streams;
	connection->active_s = monotonic_s();
	TAILQ_REMOVE(&streams->idle, connection, idle);
	TAILQ_INSERT_TAIL(&streams->idle, connection, idle);
}

/* The length of the record at the front with its mark; 0: not whole yet. */
static ssize_t whole_record(const struct connection *connection)
{
	uint32_t mark;
	if (connection->in_len < MARK)
		return 0;
	memcpy(&mark, connection->in, sizeof(mark));
	mark = ntohl(mark);
	size_t len = mark & ~LAST_FRAGMENT;
	if (!(mark & LAST_FRAGMENT) || len > RPC_CALL_MAX || len < RPC_CALL_MIN)
		return -1;
	return connection->in_len < MARK + len ? 0 : (ssize_t)(MARK + len);
}

/* The record at the front: answered, held, or reason to close. */
static void call(struct connection *connection, size_t record)
{
	static uint8_t reply[RPC_REPLY_MAX];
	struct service *service = connection->streams->service;
	struct origin origin = origin_of(connection);
	set_held(connection, true);
	ssize_t len = rpc_handle(service, connection->in + MARK, record - MARK,
				 &origin, reply);
	if (connection->state == DEAD || len == 0)
		return; /* stream_send() was or will be called */
	set_held(connection, false);
	if (len > 0) {
		write_reply(connection, reply, (size_t)len);
	} else {
		service->stats->bad_calls++;
		connection_close(connection);
	}
}

/* At most one call; what is left waits for the next pass. */
static void serve(struct connection *connection)
{
	ssize_t record = whole_record(connection);
	set_more(connection, false);
	if (record < 0) {
		connection->streams->service->stats->bad_calls++;
		connection_close(connection);
		return;
	}
	if (record == 0)
		return;
	connection->serving = true;
	call(connection, (size_t)record);
	connection->serving = false;
	if (connection->state == DEAD) {
		free_if_done(connection);
		return;
	}
	touch(connection);
	connection->in_len -= (size_t)record;
	memmove(connection->in, connection->in + record, connection->in_len);
	set_more(connection,
		 !connection->is_held && whole_record(connection) != 0);
}

static void connection_ready(struct watch *watch, uint32_t events)
{
	struct connection *connection = (struct connection *)watch;
	(void)events;
	if (connection->is_held || connection->has_more)
		return; /* one call a pass */
	ssize_t len =
	    recv(watch->fd, connection->in + connection->in_len,
		 sizeof(connection->in) - connection->in_len, MSG_DONTWAIT);
	if (len > 0) {
		connection->in_len += (size_t)len;
		serve(connection);
	} else if (len == 0 || (errno != EAGAIN && errno != EINTR)) {
		connection_close(connection);
	}
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
	    monotonic_s() - streams->service->config->idle_timeout_s;
	struct connection *connection, *next;
	for (connection = TAILQ_FIRST(&streams->idle);
	     connection != NULL && connection->active_s < limit_s;
	     connection = next) {
		next = TAILQ_NEXT(connection, idle);
		if (!connection->is_held)
			connection_close(connection);
	}
}

/* ---- accepting ------------------------------------------------------------
 */

/* Who counts as one caller: an IPv4 address, an IPv6 /64, a local user. */
static struct address quota_key(const struct connection *connection)
{
	struct address key = connection->caller;
	struct ucred user;
	socklen_t len = sizeof(user);
	if (connection->local) {
		memset(&key, 0xff, sizeof(key)); /* multicast: no caller */
		if (getsockopt(connection->watch.fd, SOL_SOCKET, SO_PEERCRED,
			       &user, &len) == 0)
			memcpy(key.byte + BITS_V6 / 8, &user.uid,
			       sizeof(user.uid));
	} else if (!address_is_v4(&key)) {
		memset(key.byte + BITS_V6 / 8, 0,
		       sizeof(key.byte) - BITS_V6 / 8);
	}
	return key;
}

/* False: this caller has enough of them. */
static bool enter_quota(struct streams *streams, struct connection *connection)
{
	static struct log_limit limit;
	uint32_t max = streams->service->config->max_connections_per_address;
	struct address key = quota_key(connection);
	char text[ADDRESS_TEXT_MAX];
	connection->quota = quota_enter(streams->quota, &key, max);
	if (connection->quota == NULL && log_allowed(&limit))
		log_write(LOG_WARNING,
			  "connection refused caller=%s "
			  "max-connections-per-address=%u reached",
			  connection->local
			      ? "local"
			      : address_text(&connection->caller, text),
			  max);
	return connection->quota != NULL;
}

/* Room for one more: whoever has been idle longest has to go. */
static bool make_room(struct streams *streams)
{
	static struct log_limit limit;
	struct connection *connection;
	if (streams->count < streams->service->config->max_connections)
		return true;
	if (log_allowed(&limit))
		log_write(LOG_WARNING,
			  "max-connections=%u reached: closing the one that "
			  "is idle longest",
			  streams->service->config->max_connections);
	TAILQ_FOREACH (connection, &streams->idle, idle) {
		if (!connection->is_held) {
			connection_close(connection);
			return true;
		}
	}
	return false;
}

static bool set_up(struct connection *connection, const struct sockaddr *peer)
{
	const int bytes = SEND_BUFFER;
	int fd = connection->watch.fd;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	if (connection->local) {
		connection->local_allowed = access_unix_peer(fd);
		return true;
	}
	const int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return address_from_sockaddr(&connection->caller, peer);
}

static void admit(struct listener *listener, int fd,
		  const struct sockaddr *peer)
{
	struct streams *streams = listener->streams;
	struct connection *connection = calloc(1, sizeof(*connection));
	if (connection == NULL) {
		close(fd);
		return;
	}
	connection->streams = streams;
	connection->watch = (struct watch){.fd = fd, .ready = connection_ready};
	connection->local = listener->local;
	if (!set_up(connection, peer) || !make_room(streams) ||
	    !enter_quota(streams, connection)) {
		close(fd);
		free(connection);
		return;
	}
	connection->active_s = monotonic_s();
	TAILQ_INSERT_TAIL(&streams->idle, connection, idle);
	streams->count++;
	streams->service->stats->connections = streams->count;
	if (!loop_add(streams->loop, &connection->watch, EPOLLIN)) {
		log_errno(LOG_ERR, "connection cannot be served");
		connection_close(connection);
	}
}

static void listener_ready(struct watch *watch, uint32_t events)
{
	static struct log_limit limit;
	struct listener *listener = (struct listener *)watch;
	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_in6 peer = {0};
		socklen_t len = sizeof(peer);
		struct sockaddr *any = (struct sockaddr *)&peer;
		int fd = accept4(watch->fd, listener->local ? NULL : any,
				 listener->local ? NULL : &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			admit(listener, fd, any);
			continue;
		}
		/* Out of descriptors: closing an idle one cures it. */
		if ((errno == EMFILE || errno == ENFILE) && log_allowed(&limit))
			log_errno(LOG_ERR, "connection cannot be accepted");
		if ((errno == EMFILE || errno == ENFILE) &&
		    !TAILQ_EMPTY(&listener->streams->idle))
			connection_close(TAILQ_FIRST(&listener->streams->idle));
		return;
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
	TAILQ_INIT(&streams->more);
	TAILQ_INIT(&streams->held);
	SLIST_INIT(&streams->listeners);
	return streams;
}

bool streams_listen(struct streams *streams, int fd, bool local)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	if (listener == NULL) {
		close(fd);
		return false;
	}
	listener->watch = (struct watch){.fd = fd, .ready = listener_ready};
	listener->streams = streams;
	listener->local = local;
	if (!loop_add(streams->loop, &listener->watch, EPOLLIN)) {
		int saved = errno;
		close(fd);
		free(listener);
		errno = saved;
		return false;
	}
	SLIST_INSERT_HEAD(&streams->listeners, listener, next);
	return true;
}

void streams_free(struct streams *streams)
{
	struct connection *connection;
	struct listener *listener;
	if (streams == NULL)
		return;
	while ((listener = SLIST_FIRST(&streams->listeners)) != NULL) {
		SLIST_REMOVE_HEAD(&streams->listeners, next);
		loop_remove(streams->loop, &listener->watch);
		close(listener->watch.fd);
		free(listener);
	}
	while ((connection = TAILQ_FIRST(&streams->idle)) != NULL)
		connection_close(connection);
	quota_free(streams->quota);
	free(streams);
}

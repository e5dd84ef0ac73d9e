/*
 * accept: who may connect, and how often. Everything about a connection before
 * its first byte; afterwards it is stream.c's.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "caller.h"
#include "log.h"
#include "stream_impl.h"

enum {
	/*
	 * A pass: few, so that those who have asked and gone are closed before
	 * they fill their caller's quota.
	 */
	ACCEPT_BATCH = 16,
	SEND_BUFFER = 2 * RPC_REPLY_MAX, /* unread replies are our memory */
	BITS_V6 = 64, /* of an IPv6 address that make one caller */
};

/* Who counts as one caller: an IPv4 address, an IPv6 /64, a local user. */
static struct address quota_key(const struct connection *connection)
{
	struct address key = connection->caller;
	if (!connection->local && !address_is_v4(&key))
		memset(key.byte + BITS_V6 / 8, 0,
		       sizeof(key.byte) - BITS_V6 / 8);
	return key;
}

/* Root's lookups: sendmail has a connection for each of its children. */
static bool is_boundless(const struct connection *connection)
{
	const struct address root = caller_local(0);
	return connection->local &&
	       connection->protocol == &protocol_socketmap &&
	       address_equal(&connection->caller, &root);
}

/* False: this caller has enough of them. */
static bool enter_quota(struct streams *streams, struct connection *connection)
{
	static struct log_limit limit;
	uint32_t max = streams->service->config->max_connections_per_address;
	struct address key = quota_key(connection);
	char caller[CALLER_TEXT_MAX];
	connection->quota = quota_enter(
	    streams->quota, &key, is_boundless(connection) ? UINT32_MAX : max);
	if (connection->quota == NULL && log_allowed(&limit))
		log_write(LOG_WARNING,
			  "connection refused caller=%s "
			  "max-connections-per-address=%u reached",
			  caller_text(&connection->caller, caller), max);
	return connection->quota != NULL;
}

/* NULL: none, or all of them are being answered. */
static struct connection *first_idle(struct connections *order)
{
	struct connection *connection;
	TAILQ_FOREACH (connection, order, idle)
		if (!connection->is_held)
			return connection;
	return NULL;
}

static bool close_idlest(struct streams *streams)
{
	struct connection *idle = first_idle(&streams->idle);
	struct connection *resting = first_idle(&streams->resting);
	if (idle == NULL ||
	    (resting != NULL && resting->active_s < idle->active_s))
		idle = resting;
	if (idle != NULL)
		connection_close(idle);
	return idle != NULL;
}

/* Room for one more: whoever has been idle longest has to go. */
static bool make_room(struct streams *streams)
{
	static struct log_limit limit;
	if (streams->count < streams->service->config->max_connections)
		return true;
	if (log_allowed(&limit))
		log_write(LOG_WARNING,
			  "max-connections=%u reached: closing the one that "
			  "is idle longest",
			  streams->service->config->max_connections);
	return close_idlest(streams);
}

static bool set_up(struct connection *connection, const struct sockaddr *peer)
{
	const int bytes = SEND_BUFFER;
	int fd = connection->watch.fd;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	if (connection->local) {
		uid_t uid;
		connection->local_allowed = access_unix_peer(fd, &uid);
		connection->caller = caller_local(uid);
		return true;
	}
	const int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return address_from_sockaddr(&connection->caller, peer) &&
	       (connection->protocol != &protocol_socketmap ||
		connection_may_look_up(connection));
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
	connection->watch.fd = fd;
	connection->protocol = listener->protocol;
	connection->local = listener->local;
	if (!set_up(connection, peer) || !make_room(streams) ||
	    !enter_quota(streams, connection)) {
		close(fd);
		free(connection);
		return;
	}
	connection_open(connection);
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
		if (errno == EMFILE || errno == ENFILE)
			close_idlest(listener->streams);
		return;
	}
}

bool streams_listen(struct streams *streams, int fd, bool local,
		    enum stream_protocol protocol)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	if (listener == NULL) {
		close(fd);
		return false;
	}
	listener->watch = (struct watch){.fd = fd, .ready = listener_ready};
	listener->streams = streams;
	listener->protocol =
	    protocol == STREAM_RPC ? &protocol_rpc : &protocol_socketmap;
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

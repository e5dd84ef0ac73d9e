/*
 * stream_impl: a connection, for stream.c (which serves it) and accept.c
 * (which lets it in). For those two only.
 */
#ifndef DRACD_STREAM_IMPL_H
#define DRACD_STREAM_IMPL_H

#include <sys/queue.h>

#include "origin.h"
#include "quota.h"
#include "rpc.h"
#include "stream.h"

enum { MARK = 4 }; /* bytes of a record mark */

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

/* stream.c: a connection that accept.c has let in is served from now on. */
void connection_open(struct connection *connection);
void connection_close(struct connection *connection);
/* For messages. */
const char *connection_caller(const struct connection *connection,
			      char buf[ADDRESS_TEXT_MAX]);

#endif

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
	PAUSED, /* not watched: new, or held */
	DEAD,   /* held, and already closed */
};

struct connection;
TAILQ_HEAD(connections, connection);

/* What the bytes of a connection mean. */
struct protocol {
	/* Length of the record that in begins with; 0: not whole; -1: none. */
	ssize_t (*record)(const uint8_t *in, size_t len);
	/*
	 * Answers the record, or more of them; the bytes that are done. The
	 * connection may be DEAD afterwards.
	 */
	size_t (*answer)(struct connection *connection, size_t record);
	const char *junk; /* why a connection without records is closed */
	bool may_rest;    /* between two records, as long as it likes */
};
extern const struct protocol protocol_rpc, protocol_socketmap;

struct connection {
	struct watch watch;
	struct streams *streams;
	const struct protocol *protocol;
	struct caller *quota;
	struct connections *order;     /* `idle` or `resting` */
	TAILQ_ENTRY(connection) idle;  /* in it, oldest first */
	TAILQ_ENTRY(connection) extra; /* on `more` or on `held` */
	int64_t active_s;              /* when it came there */
	enum state state;
	bool local, local_allowed;
	bool has_more, is_held;
	bool serving;          /* somebody up the stack still needs it */
	struct address caller; /* see caller.h */
	size_t in_len;
	uint8_t in[MARK + RPC_CALL_MAX];
};

struct listener {
	struct watch watch;
	struct streams *streams;
	const struct protocol *protocol;
	bool local;
	SLIST_ENTRY(listener) next;
};

struct streams {
	struct loop *loop;
	struct service *service;
	/* each is in the first, which idle-timeout ends, or in the second */
	struct connections idle, resting;
	struct connections more, held;
	struct quota *quota;
	SLIST_HEAD(, listener) listeners;
	uint32_t count;
};

/* stream.c: a connection that accept.c has let in is served from now on. */
void connection_open(struct connection *connection);
void connection_close(struct connection *connection);
/* Whether it may look up. False: counted and logged. */
bool connection_may_look_up(struct connection *connection);

#endif

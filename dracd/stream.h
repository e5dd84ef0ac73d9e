/*
 * stream: connections, TCP and unix. For RPC: one call a connection a pass;
 * records of one fragment of at most RPC_CALL_MAX bytes (RFC 5531 section 11;
 * longer ones and ones in pieces close the connection). For lookups by
 * socketmap: what one read brings is answered in the same pass.
 *
 * Nobody can make it wait: what does not read, does not finish a record or
 * idles for too long is closed. Only between two lookups a connection may idle
 * for ever, since an MTA takes its end for an error; until max-connections
 * wants the room.
 */
#ifndef DRACD_STREAM_H
#define DRACD_STREAM_H

#include <stdbool.h>

#include "loop.h"
#include "service.h"

struct streams;

enum stream_protocol { STREAM_RPC, STREAM_SOCKETMAP };

struct streams *streams_create(struct loop *loop, struct service *service);
/* Closes all connections and listeners. */
void streams_free(struct streams *streams);

/* Takes the listening socket over. False: errno, fd is closed. */
bool streams_listen(struct streams *streams, int fd, bool local,
		    enum stream_protocol protocol);

/* After each commit: whoever was not answered is not read from meanwhile. */
void streams_settle(struct streams *streams);
/* Whether a call has already been read that waits for the next pass. */
bool streams_have_more(const struct streams *streams);
/* At the beginning of a pass: those calls. */
void streams_more(struct streams *streams);
/* Once a second: closes what has been idle for too long. */
void streams_reap(struct streams *streams);

#endif

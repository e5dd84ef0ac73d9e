/*
 * rpcbind: tells rpcbind(8) where the program is, through its local socket,
 * without ever waiting for it in the loop: it may be absent, stopped or
 * restarted. Registrations are renewed, since a restarted rpcbind forgets.
 */
#ifndef DRACD_RPCBIND_H
#define DRACD_RPCBIND_H

#include "listen.h"
#include "loop.h"

struct rpcbind;

/* bounds must outlive it. NULL: out of memory. */
struct rpcbind *rpcbind_create(struct loop *loop, const struct bounds *bounds);
void rpcbind_free(struct rpcbind *rpcbind);

/* Once a second: begins a round when it is time, gives up one that hangs. */
void rpcbind_tick(struct rpcbind *rpcbind);

/*
 * Removes all registrations of the program that this process may remove; waits
 * at most timeout_ms. Before rights are dropped (what a former daemon of root
 * has left) and at exit.
 */
void rpcbind_unset(int timeout_ms);

#endif

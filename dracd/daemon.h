/*
 * daemon: all rooms put together and kept going: what is opened in which order,
 * the passes of the loop, reload and stop.
 */
#ifndef DRACD_DAEMON_H
#define DRACD_DAEMON_H

#include "access.h"
#include "config.h"
#include "keys.h"
#include "listen.h"

struct daemon;

/*
 * Restores the table, opens the maps and begins to serve the bound sockets.
 * The command line is kept for reloading. NULL after logging why. Takes over
 * config, keys and access, also when it fails.
 */
struct daemon *daemon_create(struct config *config, struct keys *keys,
			     struct access *access, struct bounds *bounds,
			     int argc, char *const argv[]);
/* Until SIGTERM or SIGINT. Those and SIGHUP must be blocked. */
void daemon_run(struct daemon *daemon);
/* Answers what is held, leaves maps and journal in good order. */
void daemon_free(struct daemon *daemon);

#endif

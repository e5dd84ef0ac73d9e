/*
 * cyrus: the notifysocket of Cyrus IMAP, of which we are the one who reads it.
 * Logins become events; while a session is open, its login is told again at an
 * interval, so that a client that stays connected may go on relaying.
 *
 * A process of Cyrus has one client at a time, so a session is the process
 * that sent its login, as the kernel names it. Only processes of Cyrus's user
 * and root are believed, whoever can write to the socket.
 */
#ifndef WATCH_CYRUS_H
#define WATCH_CYRUS_H

#include <stdint.h>
#include <sys/types.h>

#include "event.h"

enum {
	CYRUS_INTERVAL_S = 600,      /* between two events of one session */
	CYRUS_SESSION_S = 24 * 3600, /* then it is forgotten */
	CYRUS_SESSIONS_MAX = 8192,   /* more are told once, and not again */
};

struct cyrus;

/*
 * Makes the socket at the path, for user cyrus and nobody else; one that
 * nobody reads is replaced. The path may end in ",SECONDS": the interval.
 * NULL after logging why and what to do.
 */
struct cyrus *cyrus_open(const char *path, event_fn *fn, void *ctx);
/* The same for another user. */
struct cyrus *cyrus_open_as(const char *path, uid_t uid, gid_t gid,
			    event_fn *fn, void *ctx);
/* Removes the socket. */
void cyrus_close(struct cyrus *cyrus);

/* Readable when there is something. */
int cyrus_fd(const struct cyrus *cyrus);
/* Reads all there is; never waits. */
void cyrus_read(struct cyrus *cyrus);
/* Once a second: sessions that are due. */
void cyrus_tick(struct cyrus *cyrus);

#endif

/*
 * cyrus_event: one datagram as Cyrus IMAP sends it to its notifysocket, and the
 * event in it (RFC 5423, as JSON). Bytes in, an event out; no socket, no state.
 */
#ifndef WATCH_CYRUS_EVENT_H
#define WATCH_CYRUS_EVENT_H

#include <stddef.h>

#include "event.h"

enum { CYRUS_DATAGRAM_MAX = 8192 }; /* bytes; Cyrus sends no longer ones */

enum cyrus_result {
	CYRUS_EVENT,     /* a login or a logout */
	CYRUS_OTHER,     /* well, but nothing for us */
	CYRUS_SERVICE,   /* a login to a service that is neither IMAP nor POP */
	CYRUS_NOADDRESS, /* a login, but not from where */
	CYRUS_MALFORMED,
};

/*
 * Fills *event if the result is CYRUS_EVENT; of a logout only its kind. now_s:
 * the time of an event that does not tell its own, and of one in the future.
 */
enum cyrus_result cyrus_event_parse(const char *data, size_t len, int64_t now_s,
				    struct event *event);

#endif

/*
 * libFuzzer: datagrams of Cyrus IMAP. What becomes an event must keep the
 * promises of event.h, and may go to dracd as it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cyrus_event.h"
#include "mailclient.h"

enum { NOW = 1900000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
	if (!condition)
		abort();
}

static void check_login(const struct event *event)
{
	char again[DRAC_ADDRESS_SIZE];

	require(event->time_s <= NOW);
	require(mailclient_from_text(event->address, again));
	require(strcmp(event->address, again) == 0);
	require(strcmp(event->service, "imap") == 0 ||
		strcmp(event->service, "pop3") == 0 ||
		event->service[0] == '\0');
	for (const char *c = event->user; *c != '\0'; c++)
		require((unsigned char)*c >= ' ' && *c != 0x7f);
	require(memchr(event->user, '\0', sizeof event->user) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct event event;
	/* Exactly as long as the datagram, so that a read beyond is seen. */
	char *exact = malloc(size);

	if (exact == NULL || size > CYRUS_DATAGRAM_MAX) {
		free(exact);
		return 0;
	}
	if (size > 0)
		memcpy(exact, data, size);
	if (cyrus_event_parse(exact, size, NOW, &event) == CYRUS_EVENT &&
	    event.kind == EVENT_LOGIN)
		check_login(&event);
	free(exact);
	return 0;
}

/*
 * server: the list of servers that a caller names, taken apart. Text only; it
 * looks nothing up.
 */
#ifndef LIBDRAC_SERVER_H
#define LIBDRAC_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include "sign.h"

/* Where `localhost` is tried first. */
#define DRAC_LOCAL_SOCKET "/run/dracd/rpc.sock"

enum {
	DRAC_HOST_MAX = 255,
	DRAC_KEY_PATH_MAX = 255,
	DRAC_NAME_MAX = DRAC_HOST_MAX + sizeof "[]:65535",
};

struct drac_server {
	char name[DRAC_NAME_MAX + 1]; /* as written, for messages; for drac://
				       * the host with its port */
	char host[DRAC_HOST_MAX + 1]; /* "" for a local socket */
	uint16_t port;                /* 0: to be found out */
	char path[sizeof((struct sockaddr_un *)0)->sun_path];
	/* Of drac://; "": not said. */
	char key_name[DRAC_SIGN_NAME_MAX + 1];
	char key_path[DRAC_KEY_PATH_MAX + 1];
	bool stream; /* TCP and nothing else */
};

/* How many elements a list can give at most. */
size_t drac_server_room(const char *list);
/*
 * Fills servers, which has that room; returns how many there are, or 0 when an
 * element has an error or the list is empty.
 */
size_t drac_server_parse(const char *list, struct drac_server *servers);

#endif

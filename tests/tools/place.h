/* place: a numeric address of the command line. Failures end the program. */
#ifndef TESTS_PLACE_H
#define TESTS_PLACE_H

#include <err.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

/* host or [v6], which is cut; the caller's to free. */
static inline struct addrinfo *place_find(char *host, const char *port,
					  int type)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST,
				 .ai_socktype = type};
	struct addrinfo *found;
	size_t len = strlen(host);
	int error;

	if (*host == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		host++;
	}
	error = getaddrinfo(host, port, &hints, &found);
	if (error != 0)
		errx(2, "%s: %s", host, gai_strerror(error));
	return found;
}

/* host:port or [v6]:port */
static inline struct addrinfo *place_find_server(char *server, int type)
{
	char *port = strrchr(server, ':');

	if (port == NULL)
		errx(2, "%s: not host:port", server);
	*port++ = '\0';
	return place_find(server, port, type);
}

#endif

/*
 * server: host, host:port, [v6]:port, a bare IPv6 address, unix:/path, and
 * lists of them.
 */
#include "server.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define UNIX_PREFIX "unix:"

enum { PORT_MAX = 65535 };

/* The whole of text as a port; false when it is none. */
static bool parse_port(const char *text, uint16_t *port)
{
	unsigned int value = 0;

	if (*text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (unsigned int)(*text - '0');
		if (value > PORT_MAX)
			return false;
	}
	*port = (uint16_t)value;
	return value > 0;
}

static bool copy(char *to, size_t size, const char *from, size_t len)
{
	if (len == 0 || len >= size)
		return false;
	memcpy(to, from, len);
	to[len] = '\0';
	return true;
}

static bool parse_host(const char *text, struct drac_server *server)
{
	const char *end = strchr(text, ']');
	const char *colon = strchr(text, ':');

	if (*text == '[') {
		if (end == NULL || !copy(server->host, sizeof server->host,
					 text + 1, (size_t)(end - text - 1)))
			return false;
		return end[1] == '\0' ||
		       (end[1] == ':' && parse_port(end + 2, &server->port));
	}
	/* Two colons and no brackets: an IPv6 address without a port. */
	if (colon == NULL || strchr(colon + 1, ':') != NULL)
		return copy(server->host, sizeof server->host, text,
			    strlen(text));
	return copy(server->host, sizeof server->host, text,
		    (size_t)(colon - text)) &&
	       parse_port(colon + 1, &server->port);
}

static bool parse_one(const char *text, size_t len, struct drac_server *server)
{
	memset(server, 0, sizeof *server);
	if (!copy(server->name, sizeof server->name, text, len))
		return false;
	if (strncmp(server->name, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0) {
		const char *path = server->name + strlen(UNIX_PREFIX);

		return *path == '/' && copy(server->path, sizeof server->path,
					    path, strlen(path));
	}
	return parse_host(server->name, server);
}

size_t drac_server_room(const char *list)
{
	size_t elements = 1;

	for (; *list != '\0'; list++)
		elements += *list == ',';
	return 2 * elements; /* localhost is two */
}

size_t drac_server_parse(const char *list, struct drac_server *servers)
{
	size_t count = 0;

	for (;;) {
		size_t blanks = strspn(list, " \t");
		size_t len = strcspn(list, ",");
		struct drac_server *server = &servers[count];
		size_t used = len;

		while (used > blanks && strchr(" \t", list[used - 1]) != NULL)
			used--;
		if (used < blanks ||
		    !parse_one(list + blanks, used - blanks, server))
			return 0;
		count++;
		if (strcasecmp(server->name, "localhost") == 0) {
			servers[count++] = *server;
			server->host[0] = '\0';
			snprintf(server->path, sizeof server->path, "%s",
				 DRAC_LOCAL_SOCKET);
		}
		list += len;
		if (*list++ == '\0')
			return count;
	}
}

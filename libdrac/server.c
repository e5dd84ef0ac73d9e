/*
 * server: host, host:port, [v6]:port, a bare IPv6 address, unix:/path,
 * drac://name@host?key=/path&tcp, and lists of them.
 */
#include "server.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define UNIX_PREFIX "unix:"
#define KEY_PREFIX "drac://"

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

/* key=/path and tcp, with & between them. */
static bool parse_options(const char *text, size_t len,
			  struct drac_server *server)
{
	static const char key[] = "key=";
	const char *end = text + len;

	for (;;) {
		size_t rest = (size_t)(end - text), one;
		const char *amp = memchr(text, '&', rest);

		one = amp != NULL ? (size_t)(amp - text) : rest;
		if (one == 3 && memcmp(text, "tcp", one) == 0)
			server->stream = true;
		else if (one <= sizeof key || text[sizeof key - 1] != '/' ||
			 memcmp(text, key, sizeof key - 1) != 0 ||
			 !copy(server->key_path, sizeof server->key_path,
			       text + sizeof key - 1, one - (sizeof key - 1)))
			return false;
		if (amp == NULL)
			return true;
		text = amp + 1;
	}
}

/* What stands behind drac://. */
static bool parse_url(const char *text, size_t len, struct drac_server *server)
{
	const char *end = text + len;
	const char *options = memchr(text, '?', len);
	const char *host_end = options != NULL ? options : end;
	const char *at = memchr(text, '@', (size_t)(host_end - text));

	if (at != NULL) {
		if (!copy(server->key_name, sizeof server->key_name, text,
			  (size_t)(at - text)) ||
		    !drac_sign_is_name(server->key_name))
			return false;
		text = at + 1;
	}
	if (options != NULL &&
	    !parse_options(options + 1, (size_t)(end - options - 1), server))
		return false;
	return copy(server->name, sizeof server->name, text,
		    (size_t)(host_end - text)) &&
	       strchr(server->name, '@') == NULL &&
	       parse_host(server->name, server);
}

static bool parse_one(const char *text, size_t len, struct drac_server *server)
{
	enum { KEY_PREFIX_LEN = sizeof KEY_PREFIX - 1 };

	memset(server, 0, sizeof *server);
	if (len > KEY_PREFIX_LEN &&
	    memcmp(text, KEY_PREFIX, KEY_PREFIX_LEN) == 0)
		return parse_url(text + KEY_PREFIX_LEN, len - KEY_PREFIX_LEN,
				 server);
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

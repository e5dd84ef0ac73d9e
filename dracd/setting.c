/*
 * setting: reads the text of single settings. Knows nothing of files, lines
 * and names, which are config.c's; touches nothing that a path names.
 */
#include "setting.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	MINUTE_S = 60,
	HOUR_S = 60 * MINUTE_S,
	DAY_S = 24 * HOUR_S,
	PORT_MAX = 65535,
	ENDPOINT_MAX = 128, /* "[address]:port", far more than the longest */
};

static const char no_memory[] = "out of memory";

/* Digits only, 0 to max; *end is behind them. */
static bool parse_number(const char *text, int64_t max, int64_t *n,
			 const char **end)
{
	const char *p = text;

	*n = 0;
	for (; *p >= '0' && *p <= '9'; p++) {
		*n = *n * 10 + (*p - '0');
		if (*n > max)
			return false;
	}
	*end = p;
	return p > text;
}

static int64_t unit_s(const char *text)
{
	static const struct {
		const char *name;
		int64_t s;
	} units[] = {
	    {"", 1}, {"s", 1}, {"m", MINUTE_S}, {"h", HOUR_S}, {"d", DAY_S},
	};

	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strcmp(text, units[i].name) == 0)
			return units[i].s;
	return 0;
}

const char *setting_duration(const char *text, int64_t *seconds)
{
	const char *unit;
	int64_t n;

	if (!parse_number(text, CONFIG_LIFETIME_MAX_S, &n, &unit) ||
	    n * unit_s(unit) < 1 || n * unit_s(unit) > CONFIG_LIFETIME_MAX_S)
		return "not a duration from 1s to 366d; write for example "
		       "\"90s\", \"30m\", \"2h\" or \"1d\"";
	*seconds = n * unit_s(unit);
	return NULL;
}

const char *setting_minutes(const char *text, int64_t *seconds)
{
	const char *end;
	int64_t n;

	if (!parse_number(text, CONFIG_LIFETIME_MAX_S / MINUTE_S, &n, &end) ||
	    *end != '\0' || n < 1)
		return "not a number of minutes from 1 to 527040";
	*seconds = n * MINUTE_S;
	return NULL;
}

/*
 * The directory in which the daemon was started; it is asked for once, since
 * a reload happens in /. NULL with errno.
 */
static const char *start_directory(void)
{
	static char *directory;

	if (directory == NULL)
		directory = getcwd(NULL, 0);
	return directory;
}

const char *setting_path(const char *text, char **path)
{
	const char *start = start_directory();
	size_t start_len, len = strlen(text);

	if (len == 0)
		return "no path; write for example \"/var/lib/dracd/name\"";
	if (text[0] == '/') {
		*path = strdup(text);
		return *path == NULL ? no_memory : NULL;
	}
	if (start == NULL)
		return errno == ENOMEM ? no_memory
				       : "a path from here, but the working "
					 "directory is gone; write it from /";
	start_len = strlen(start);
	*path = malloc(start_len + 1 + len + 1);
	if (*path == NULL)
		return no_memory;
	memcpy(*path, start, start_len);
	(*path)[start_len] = '/';
	memcpy(*path + start_len + 1, text, len + 1);
	return NULL;
}

const char *setting_map(const char *text, struct map_config *map)
{
	static const struct {
		const char *name;
		enum map_type type;
	} types[] = {
	    {"btree:", MAP_BTREE},
	    {"hash:", MAP_HASH},
	    {"lmdb:", MAP_LMDB},
	};
#ifndef HAVE_LMDB
	if (strncmp(text, "lmdb:", strlen("lmdb:")) == 0)
		return "this dracd was built without LMDB; install its "
		       "headers and build it again, or write "
		       "\"btree:/path.db\"";
#endif

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		size_t len = strlen(types[i].name);

		if (strncmp(text, types[i].name, len) != 0)
			continue;
		map->type = types[i].type;
		return setting_path(text + len, &map->path);
	}
	return "not of a known type; write \"btree:/path\", \"hash:/path\" or "
	       "\"lmdb:/path\"";
}

/* ---- listen ---- */

static const char port_fault[] =
    "the port is not a number from 0 to 65535; write for example "
    "\"udp:127.0.0.1:5901\"";

static const char endpoint_fault[] =
    "not a numeric address; write for example \"udp:127.0.0.1:5901\", "
    "\"tcp:[::1]:5901\" or \"udp:*\"";

/* text: what follows the address, "" (the port stays) or ":port". */
static const char *parse_port(const char *text, struct listen_config *listen)
{
	const char *end;
	int64_t port = listen->port;

	if (*text != '\0' &&
	    (*text != ':' || !parse_number(text + 1, PORT_MAX, &port, &end) ||
	     *end != '\0'))
		return port_fault;
	listen->port = (uint16_t)port;
	return NULL;
}

/* "*", "192.0.2.1", "[2001:db8::1]", each with or without ":port". */
static const char *parse_endpoint(const char *text,
				  struct listen_config *listen)
{
	char address[ENDPOINT_MAX];
	bool bracket = text[0] == '[';
	const char *begin = text + bracket;
	size_t len = strcspn(begin, bracket ? "]" : ":");

	if (text[0] == '*') {
		listen->any = true;
		return parse_port(text + 1, listen);
	}
	if (bracket && begin[len] != ']')
		return "the \"[\" is not closed; write for example "
		       "\"tcp:[::1]:5901\"";
	if (len >= sizeof address)
		return endpoint_fault;
	memcpy(address, begin, len);
	address[len] = '\0';
	if (!address_from_text(&listen->address, address) ||
	    bracket != (strchr(address, ':') != NULL))
		return endpoint_fault;
	return parse_port(begin + len + bracket, listen);
}

static const char *parse_socket_path(const char *text,
				     struct listen_config *listen)
{
	struct sockaddr_un un;
	const char *fault = setting_path(text, &listen->path);

	if (fault == NULL && strlen(listen->path) >= sizeof un.sun_path)
		fault = "the path, made absolute, is longer than the 107 bytes "
			"that a unix socket can have";
	return fault;
}

static const char *parse_listen(const char *text, struct listen_config *listen)
{
	static const struct {
		const char *name;
		enum listen_transport transport;
	} transports[] = {
	    {"udp:", LISTEN_UDP},
	    {"tcp:", LISTEN_TCP},
	    {"unix:", LISTEN_UNIX},
	};

	for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++) {
		size_t len = strlen(transports[i].name);

		if (strncmp(text, transports[i].name, len) != 0)
			continue;
		listen->transport = transports[i].transport;
		return listen->transport == LISTEN_UNIX
			   ? parse_socket_path(text + len, listen)
			   : parse_endpoint(text + len, listen);
	}
	return "does not begin with \"udp:\", \"tcp:\" or \"unix:\"; write for "
	       "example \"udp:127.0.0.1:5901\" or \"unix:/run/dracd/rpc.sock\"";
}

static const char *read_socket(const char *text, uint16_t port,
			       struct listen_config *listen)
{
	const char *fault;

	*listen = (struct listen_config){.port = port, .text = strdup(text)};
	fault = listen->text == NULL ? no_memory : parse_listen(text, listen);
	if (fault != NULL)
		setting_listen_free(listen);
	return fault;
}

const char *setting_listen(const char *text, struct listen_config *listen)
{
	return read_socket(text, CONFIG_PORT, listen);
}

const char *setting_lookup(const char *text, struct listen_config *lookup)
{
	if (strncmp(text, "udp:", strlen("udp:")) == 0)
		return "no MTA asks a socketmap by udp; write for example "
		       "\"unix:/run/dracd/map.sock\" or \"tcp:127.0.0.1\"";
	return read_socket(text, CONFIG_LOOKUP_PORT, lookup);
}

void setting_listen_free(struct listen_config *listen)
{
	free(listen->path);
	free(listen->text);
	listen->path = listen->text = NULL;
}

/*
 * dracload_options: the command line of dracload.
 *
 *	dracload [options] null|add|remove host:port|[v6]:port|path
 *	-t udp|tcp|unix   transport (udp)
 *	-c clients        at once, each with a socket (1)
 *	-n calls          in all (no limit)
 *	-d seconds        stop then (no limit); -n or -d must be given
 *	-p rate           calls a second, evenly spaced, of one client (no pace)
 *	-b base           number of the first address (0)
 *	-v version        of null and add: 1 or 3 (1); remove is version 3
 *	-l seconds        lifetime asked for in a version 3 add (0: default)
 *	-e time           Unix time at which version 3 adds shall expire
 *	-u prefix         user of a version 3 add: this and the number
 *	-x                a client stops at its first failure
 *	-r milliseconds   after which a UDP call is sent again (250)
 */
#ifndef TESTS_DRACLOAD_OPTIONS_H
#define TESTS_DRACLOAD_OPTIONS_H

#include <stdbool.h>
#include <sys/un.h>
#include <unistd.h>

#include "measure.h"
#include "place.h"

enum {
	CLIENTS_MAX = 1024,
	PROC_NULL = 0,
	PROC_ADD = 1,
	PROC_REMOVE = 2,
	VERSION_REMOVE = 3,
};

struct options {
	int transport; /* SOCK_DGRAM or SOCK_STREAM */
	struct sockaddr_storage server;
	socklen_t server_len;
	const char *transport_name;
	const char *operation;
	uint32_t procedure;
	uint32_t version;
	size_t clients;
	uint64_t calls;      /* 0: no limit */
	int64_t duration_ns; /* 0: no limit */
	int64_t retransmit_ns;
	int64_t interval_ns; /* 0: no pace */
	uint64_t base;
	uint32_t lifetime_s;
	const char *user;
	int64_t expiry_s; /* 0: none, lifetime_s counts */
	bool stop_on_failure;
};

static struct options opt = {
    .transport = SOCK_DGRAM,
    .transport_name = "udp",
    .version = 1,
    .clients = 1,
    .retransmit_ns = NS_PER_S / 4,
};

static inline void parse_inet(char *text)
{
	struct addrinfo *found = place_find_server(text, opt.transport);

	memcpy(&opt.server, found->ai_addr, found->ai_addrlen);
	opt.server_len = found->ai_addrlen;
	freeaddrinfo(found);
}

static inline void parse_server(char *text)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (strcmp(opt.transport_name, "unix") != 0) {
		opt.transport = strcmp(opt.transport_name, "tcp") == 0
				    ? SOCK_STREAM
				    : SOCK_DGRAM;
		parse_inet(text);
		return;
	}
	if (strlen(text) >= sizeof un.sun_path)
		errx(2, "%s: too long for a socket", text);
	memcpy(un.sun_path, text, strlen(text) + 1);
	memcpy(&opt.server, &un, sizeof un);
	opt.server_len = sizeof un;
	opt.transport = SOCK_STREAM;
}

static inline void parse_operation(const char *name)
{
	opt.operation = name;
	if (strcmp(name, "null") == 0) {
		opt.procedure = PROC_NULL;
	} else if (strcmp(name, "add") == 0) {
		opt.procedure = PROC_ADD;
	} else if (strcmp(name, "remove") == 0) {
		opt.procedure = PROC_REMOVE;
		opt.version = VERSION_REMOVE;
	} else {
		errx(2, "%s: not null, add or remove", name);
	}
}

static inline void parse_options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "t:c:n:d:p:b:v:l:e:u:r:x")) != -1) {
		double number = optarg ? strtod(optarg, NULL) : 0;

		switch (c) {
		case 't':
			opt.transport_name = optarg;
			break;
		case 'c':
			opt.clients = (size_t)number;
			break;
		case 'n':
			opt.calls = (uint64_t)number;
			break;
		case 'd':
			opt.duration_ns = (int64_t)(number * NS_PER_S);
			break;
		case 'p':
			opt.interval_ns = (int64_t)(NS_PER_S / number);
			break;
		case 'b':
			opt.base = (uint64_t)number;
			break;
		case 'v':
			opt.version = (uint32_t)number;
			break;
		case 'l':
			opt.lifetime_s = (uint32_t)number;
			break;
		case 'e':
			opt.expiry_s = (int64_t)number;
			break;
		case 'r':
			opt.retransmit_ns = (int64_t)(number * NS_PER_MS);
			break;
		case 'u':
			opt.user = optarg;
			break;
		case 'x':
			opt.stop_on_failure = true;
			break;
		default:
			exit(2);
		}
	}
	if (argc - optind != 2 || opt.clients < 1 ||
	    opt.clients > CLIENTS_MAX ||
	    (opt.calls == 0 && opt.duration_ns == 0) ||
	    (opt.interval_ns > 0 && opt.clients > 1))
		errx(2, "usage: dracload [options] null|add|remove server");
	parse_operation(argv[optind]);
	parse_server(argv[optind + 1]);
}

#endif

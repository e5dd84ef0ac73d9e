/*
 * dracload: how fast a drac server answers, and how long the longest answer
 * takes. One thread a client; each sends a call, waits for its answer, and
 * sends the next. Prints one line of JSON.
 *
 *	dracload [options] null|add|remove host:port|[v6]:port|path
 *	-t udp|tcp|unix   transport (udp)
 *	-c clients        threads (1)
 *	-n calls          in all (no limit)
 *	-d seconds        stop then (no limit); -n or -d must be given
 *	-p rate           calls a second and client, evenly spaced (no pace)
 *	-b base           number of the first address (0)
 *	-v version        of null and add: 1 or 3 (1); remove is version 3
 *	-l seconds        lifetime asked for in a version 3 add (0: default)
 *	-e time           Unix time at which version 3 adds shall expire
 *	-u prefix         user of a version 3 add: this and the number
 *	-x                a client stops at its first failure
 *	-r milliseconds   after which a UDP call is sent again (250)
 *
 * Call k of client c is about address number base + k * clients + c; number i
 * is the IPv4 address 64.0.0.0 + (i * 2654435761) mod 2^27, so that the keys
 * come in no order. "acked" in the output is, for each client, how many of
 * its first calls were answered with status 0 before one was not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "measure.h"

enum {
	PROGRAM = 900101,
	VERSION_REMOVE = 3,
	PROC_NULL = 0,
	PROC_ADD = 1,
	PROC_REMOVE = 2,
	HEAD_WORDS = 10,
	USER_MAX = 48,
	MESSAGE_MAX = 192, /* a call with its record mark */
	REPLY_WORDS = 7,   /* xid 1 0 0 0 accept_stat status */
	REPLY_MAX = 512,
	STATUS_COUNT = 5, /* addstat and drac3_status together */
	CLIENTS_MAX = 1024,
	GIVE_UP_S = 5,
	ADDRESS_BASE = 0x40000000,
	ADDRESS_MASK = 0x7ffffff,
};

static const uint32_t SCRAMBLE = 2654435761u;
static const uint32_t LAST_FRAGMENT = 0x80000000u;

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
	suseconds_t retransmit_us;
	int64_t interval_ns; /* 0: no pace */
	uint64_t base;
	uint32_t lifetime_s;
	const char *user;
	int64_t expiry_s; /* 0: none, lifetime_s counts */
	bool stop_on_failure;
};

struct client {
	pthread_t thread;
	uint32_t index;
	int fd;
	struct samples samples;
	uint64_t acked;
	uint64_t failures; /* no answer, or not an RPC success */
	uint64_t retransmits;
	uint64_t status[STATUS_COUNT];
};

static struct options opt = {
    .transport = SOCK_DGRAM,
    .transport_name = "udp",
    .version = 1,
    .clients = 1,
    .retransmit_us = 250 * 1000,
};
static pthread_barrier_t start_line;

static uint32_t address_number(uint64_t number)
{
	return ADDRESS_BASE + ((uint32_t)number * SCRAMBLE & ADDRESS_MASK);
}

static size_t string_build(uint32_t *word, const char *text)
{
	size_t len = strlen(text), words = (len + 3) / 4;

	word[0] = htonl((uint32_t)len);
	memset(word + 1, 0, 4 * words);
	memcpy(word + 1, text, len);
	return 1 + words;
}

/* User and service of an add. */
static size_t names_build(uint32_t *word, uint64_t number)
{
	char user[USER_MAX] = "";
	size_t n;

	if (opt.user != NULL)
		snprintf(user, sizeof user, "%s%ju", opt.user,
			 (uintmax_t)number);
	n = string_build(word, user);
	return n + string_build(word + n, opt.user != NULL ? "imap" : "");
}

/* The whole call in words, the record mark first; returns their count. */
static size_t call_build(uint32_t *word, uint32_t xid, uint64_t number)
{
	size_t n = 0;

	word[n++] = 0;
	word[n++] = htonl(xid);
	word[n++] = 0;
	word[n++] = htonl(2);
	word[n++] = htonl(PROGRAM);
	word[n++] = htonl(opt.version);
	word[n++] = htonl(opt.procedure);
	for (int i = 0; i < 4; i++) /* no credentials, no verifier */
		word[n++] = 0;
	if (opt.procedure != PROC_NULL && opt.version == 3)
		word[n++] = htonl(4); /* bytes in the address */
	if (opt.procedure != PROC_NULL)
		word[n++] = htonl(address_number(number));
	if (opt.procedure == PROC_ADD && opt.version == 3) {
		word[n++] = htonl(opt.expiry_s == 0
				      ? opt.lifetime_s
				      : (uint32_t)(opt.expiry_s - time(NULL)));
		n += names_build(word + n, number);
	}
	word[0] = htonl((uint32_t)((n - 1) * sizeof *word) | LAST_FRAGMENT);
	return n;
}

static bool read_all(int fd, void *buf, size_t len)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = recv(fd, (char *)buf + got, len - got, 0);

		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

/* One answer of a stream without its record mark; its length or -1. */
static ssize_t stream_exchange(int fd, const uint32_t *word, size_t words,
			       uint32_t *reply)
{
	ssize_t len = (ssize_t)(words * sizeof *word);
	uint32_t mark;

	if (send(fd, word, (size_t)len, MSG_NOSIGNAL) != len ||
	    !read_all(fd, &mark, sizeof mark))
		return -1;
	mark = ntohl(mark) & ~LAST_FRAGMENT;
	if (mark > REPLY_MAX || !read_all(fd, reply, mark))
		return -1;
	return (ssize_t)mark;
}

/* Sends again when SO_RCVTIMEO is over, until GIVE_UP_S are over. */
static ssize_t datagram_exchange(struct client *c, const uint32_t *word,
				 size_t words, uint32_t *reply)
{
	int64_t give_up_ns = now_ns() + GIVE_UP_S * NS_PER_S;

	for (;;) {
		if (send(c->fd, word + 1, (words - 1) * sizeof *word, 0) < 0)
			return -1;
		for (;;) {
			ssize_t n = recv(c->fd, reply, REPLY_MAX, 0);

			if (n < 0 && errno != EAGAIN)
				return -1;
			if (n < 0)
				break;
			if (n >= 4 && reply[0] == word[1])
				return n;
		}
		if (now_ns() > give_up_ns)
			return -1;
		c->retransmits++;
	}
}

/* Whether call k of this client was answered with status 0. */
static bool client_call(struct client *c, uint64_t k)
{
	uint32_t word[MESSAGE_MAX / 4], reply[REPLY_MAX / 4], status = 0;
	uint64_t number = opt.base + k * opt.clients + c->index;
	size_t words = call_build(word, (uint32_t)k + 1, number);
	ssize_t want =
	    (ssize_t)sizeof(uint32_t) *
	    (opt.procedure == PROC_NULL ? REPLY_WORDS - 1 : REPLY_WORDS);
	int64_t begin_ns = now_ns();
	ssize_t len = opt.transport == SOCK_DGRAM
			  ? datagram_exchange(c, word, words, reply)
			  : stream_exchange(c->fd, word, words, reply);

	samples_add(&c->samples, begin_ns, now_ns());
	if (len < want || reply[0] != word[1] || reply[1] != htonl(1) ||
	    reply[2] != 0 || reply[5] != 0) {
		c->failures++;
		return false;
	}
	if (opt.procedure != PROC_NULL)
		status = ntohl(reply[REPLY_WORDS - 1]);
	if (status < STATUS_COUNT)
		c->status[status]++;
	return status == 0;
}

static void *client_run(void *argument)
{
	struct client *c = argument;
	uint64_t limit = UINT64_MAX;
	bool unbroken = true;
	int64_t start_ns;

	if (opt.calls > 0)
		limit = (opt.calls + opt.clients - 1 - c->index) / opt.clients;
	pthread_barrier_wait(&start_line);
	start_ns = now_ns();
	for (uint64_t k = 0; k < limit; k++) {
		if (opt.duration_ns > 0 &&
		    now_ns() - start_ns >= opt.duration_ns)
			break;
		if (opt.interval_ns > 0)
			sleep_until(start_ns + (int64_t)k * opt.interval_ns);
		if (!client_call(c, k))
			unbroken = false;
		c->acked += unbroken;
		if (!unbroken && opt.stop_on_failure)
			break;
	}
	return NULL;
}

static void client_connect(struct client *c)
{
	struct timeval timeout = {GIVE_UP_S, 0};
	int one = 1;

	if (opt.transport == SOCK_DGRAM)
		timeout = (struct timeval){0, opt.retransmit_us};
	c->fd = socket(opt.server.ss_family, opt.transport | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		err(1, "socket");
	if (setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
		       sizeof timeout) != 0)
		err(1, "SO_RCVTIMEO");
	if (connect(c->fd, (struct sockaddr *)&opt.server, opt.server_len) != 0)
		err(1, "connect");
	if (opt.transport == SOCK_STREAM && opt.server.ss_family != AF_UNIX &&
	    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
		err(1, "TCP_NODELAY");
}

static void report(struct client *client, int64_t start_ns, int64_t end_ns)
{
	struct samples all = {0};
	uint64_t failures = 0, retransmits = 0, status[STATUS_COUNT] = {0};
	double elapsed_s = (double)(end_ns - start_ns) / NS_PER_S;

	for (size_t i = 0; i < opt.clients; i++) {
		samples_merge(&all, &client[i].samples);
		failures += client[i].failures;
		retransmits += client[i].retransmits;
		for (int s = 0; s < STATUS_COUNT; s++)
			status[s] += client[i].status[s];
	}
	printf("{\"operation\": \"%s\", \"transport\": \"%s\", "
	       "\"clients\": %zu, \"calls\": %zu, \"elapsed_s\": %.4f, "
	       "\"rate\": %.0f, \"failures\": %ju, \"retransmits\": %ju, ",
	       opt.operation, opt.transport_name, opt.clients, all.count,
	       elapsed_s, (double)all.count / elapsed_s, (uintmax_t)failures,
	       (uintmax_t)retransmits);
	samples_print(&all, start_ns);
	printf(", \"status\": [");
	for (int s = 0; s < STATUS_COUNT; s++)
		printf("%s%ju", s ? ", " : "", (uintmax_t)status[s]);
	printf("], \"acked\": [");
	for (size_t i = 0; i < opt.clients; i++)
		printf("%s%ju", i ? ", " : "", (uintmax_t)client[i].acked);
	printf("]}\n");
	free(all.ns);
}

static void parse_inet(char *text)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *found;
	char *port = strrchr(text, ':'), *host = text;
	int error;

	if (port == NULL)
		errx(2, "%s: not host:port", text);
	*port++ = '\0';
	if (*host == '[' && port[-2] == ']') {
		host++;
		port[-2] = '\0';
	}
	hints.ai_socktype = opt.transport;
	error = getaddrinfo(host, port, &hints, &found);
	if (error != 0)
		errx(2, "%s: %s", host, gai_strerror(error));
	memcpy(&opt.server, found->ai_addr, found->ai_addrlen);
	opt.server_len = found->ai_addrlen;
	freeaddrinfo(found);
}

static void parse_server(char *text)
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

static void parse_operation(const char *name)
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

static void parse_options(int argc, char **argv)
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
			opt.retransmit_us = (suseconds_t)(number * 1000);
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
	    (opt.calls == 0 && opt.duration_ns == 0))
		errx(2, "usage: dracload [options] null|add|remove server");
	parse_operation(argv[optind]);
	parse_server(argv[optind + 1]);
}

int main(int argc, char **argv)
{
	struct client *client;
	int64_t start_ns, end_ns;

	parse_options(argc, argv);
	client = calloc(opt.clients, sizeof *client);
	if (client == NULL)
		err(1, "memory");
	pthread_barrier_init(&start_line, NULL, (unsigned)opt.clients + 1);
	for (size_t i = 0; i < opt.clients; i++) {
		client[i].index = (uint32_t)i;
		client_connect(&client[i]);
		errno = pthread_create(&client[i].thread, NULL, client_run,
				       &client[i]);
		if (errno != 0)
			err(1, "thread");
	}
	start_ns = now_ns();
	pthread_barrier_wait(&start_line);
	for (size_t i = 0; i < opt.clients; i++)
		pthread_join(client[i].thread, NULL);
	end_ns = now_ns();
	report(client, start_ns, end_ns);
	for (size_t i = 0; i < opt.clients; i++) {
		close(client[i].fd);
		free(client[i].samples.ns);
	}
	free(client);
	return 0;
}

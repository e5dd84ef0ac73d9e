/*
 * dracload: how fast a drac server answers, and how long the longest answer
 * takes. Each client sends a call, waits for its answer, and sends the next.
 * Prints one line of JSON. One thread serves all clients: it shares the
 * processors with the server, so it must cost little.
 *
 *	dracload [options] null|add|remove server	(dracload_options.h)
 *
 * Call k of client c is about address number base + k * clients + c; number i
 * is the IPv4 address 64.0.0.0 + (i * 2654435761) mod 2^27, so that the keys
 * come in no order. "acked" in the output is, for each client, how many of
 * its first calls were answered with status 0 before one was not. A client
 * whose connection broke stops.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "dracload_options.h"

enum {
	PROGRAM = 900101,
	HEAD_WORDS = 11, /* record mark, call, no credentials, no verifier */
	USER_MAX = 48,
	CALL_WORDS = 48,
	REPLY_WORDS = 7, /* xid 1 0 0 0 accept_stat status */
	REPLY_ROOM = 128,
	STATUS_COUNT = 5, /* addstat and drac3_status together */
	GIVE_UP_S = 5,
	ADDRESS_BASE = 0x40000000,
	ADDRESS_MASK = 0x7ffffff,
};

static const uint32_t SCRAMBLE = 2654435761u;
static const uint32_t LAST_FRAGMENT = 0x80000000u;

struct client {
	uint32_t index;
	int fd;
	bool busy;         /* a call is under way */
	uint64_t k, limit; /* calls begun, and how many there shall be */
	int64_t begin_ns;  /* of the call under way */
	int64_t sent_ns;   /* when it was last sent */
	int64_t end_ns;    /* of the call that was answered last */
	size_t words, got; /* of call; bytes of reply */
	uint32_t call[CALL_WORDS], reply[REPLY_ROOM]; /* with record marks */

	struct samples samples;
	bool broken; /* a call was not answered with status 0 */
	uint64_t acked;
	uint64_t failures; /* no answer, or not an RPC success */
	uint64_t retransmits;
	uint64_t status[STATUS_COUNT];
};

static int64_t start_ns;

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

/* What is the same in all calls. */
static void head_build(uint32_t *word)
{
	word[2] = 0;
	word[3] = htonl(2);
	word[4] = htonl(PROGRAM);
	word[5] = htonl(opt.version);
	word[6] = htonl(opt.procedure);
	memset(word + 7, 0, (HEAD_WORDS - 7) * sizeof *word);
}

/* The rest, the record mark last; returns how many words the call has. */
static size_t call_build(uint32_t *word, uint32_t xid, uint64_t number)
{
	size_t n = HEAD_WORDS;

	word[1] = htonl(xid);
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

static bool client_send(struct client *c, int64_t at_ns)
{
	size_t mark = opt.transport == SOCK_DGRAM ? 1 : 0;
	size_t len = (c->words - mark) * sizeof *c->call;

	c->sent_ns = at_ns;
	return send(c->fd, c->call + mark, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* The answer has come whole, or never will: len is without the record mark. */
static void client_judge(struct client *c, int64_t at_ns, size_t len)
{
	size_t want =
	    opt.procedure == PROC_NULL ? REPLY_WORDS - 1 : REPLY_WORDS;
	const uint32_t *reply = c->reply + 1;
	uint32_t status = 0;

	samples_add(&c->samples, c->begin_ns, at_ns);
	c->end_ns = at_ns;
	c->busy = false;
	if (len < want * sizeof *reply || reply[0] != c->call[1] ||
	    reply[1] != htonl(1) || reply[2] != 0 || reply[5] != 0) {
		c->failures++;
		c->broken = true;
		return;
	}
	if (opt.procedure != PROC_NULL)
		status = ntohl(reply[REPLY_WORDS - 1]);
	if (status < STATUS_COUNT)
		c->status[status]++;
	if (status != 0)
		c->broken = true;
	if (!c->broken)
		c->acked++;
}

/* After a failure of the socket: no more calls if it is a connection. */
static void client_fail(struct client *c)
{
	client_judge(c, now_ns(), 0);
	if (opt.transport == SOCK_STREAM)
		c->limit = c->k;
}

/* Begins the next call, if there is one; otherwise the client is through. */
static bool client_begin(struct client *c, int64_t at_ns)
{
	while (c->k < c->limit && !(c->broken && opt.stop_on_failure)) {
		if (opt.duration_ns > 0 && at_ns - start_ns >= opt.duration_ns)
			break;
		if (opt.interval_ns > 0) {
			sleep_until(start_ns + (int64_t)c->k * opt.interval_ns);
			at_ns = now_ns();
		}
		c->words = call_build(c->call, (uint32_t)c->k + 1,
				      opt.base + c->k * opt.clients + c->index);
		c->k++;
		c->got = 0;
		c->begin_ns = at_ns;
		c->busy = true;
		if (client_send(c, at_ns))
			return true;
		client_fail(c);
		at_ns = c->end_ns;
	}
	close(c->fd);
	return false;
}

/*
 * Reads what has come; a client alone waits for it, as long as SO_RCVTIMEO
 * says. The call is over when busy is false.
 */
static void client_read(struct client *c)
{
	size_t at = opt.transport == SOCK_DGRAM ? 4 : c->got;
	ssize_t n = recv(c->fd, (char *)c->reply + at, sizeof c->reply - at,
			 opt.clients > 1 ? MSG_DONTWAIT : 0);
	size_t end = at + (size_t)n;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || (n == 0 && opt.transport == SOCK_STREAM)) {
		client_fail(c);
	} else if (opt.transport == SOCK_DGRAM) {
		/* Not the second answer to a call that was sent twice. */
		if (n >= 4 && c->reply[1] == c->call[1])
			client_judge(c, now_ns(), end - 4);
	} else {
		size_t mark = end < 4 ? sizeof c->reply
				      : ntohl(c->reply[0]) & ~LAST_FRAGMENT;

		c->got = end;
		if (end >= 4 && mark > sizeof c->reply - 4)
			client_fail(c);
		else if (end >= mark + 4)
			client_judge(c, now_ns(), mark);
	}
}

/* Sends a datagram again when it is time, or gives the call up. */
static void client_remind(struct client *c)
{
	int64_t at_ns = now_ns();

	if (at_ns - c->begin_ns > GIVE_UP_S * NS_PER_S) {
		client_fail(c);
	} else if (opt.transport == SOCK_DGRAM &&
		   at_ns - c->sent_ns >= opt.retransmit_ns) {
		c->retransmits++;
		if (!client_send(c, at_ns))
			client_fail(c);
	}
}

/*
 * Reads what has come for one client, and goes on with its next call; returns
 * how many clients less are running. The clock is read once a call: where one
 * ends, the next begins.
 */
static size_t client_turn(struct client *c, bool readable)
{
	if (readable)
		client_read(c);
	if (c->busy && (!readable || opt.clients == 1))
		client_remind(c);
	return c->busy || client_begin(c, c->end_ns) ? 0 : 1;
}

static void run(int epoll, struct client *client)
{
	static struct epoll_event ready[CLIENTS_MAX];
	int64_t reminded_ns = start_ns;
	size_t running = 0;

	for (size_t i = 0; i < opt.clients; i++)
		running += client_begin(&client[i], now_ns());
	while (running > 0 && opt.clients == 1)
		running -= client_turn(client, true);
	while (running > 0) {
		int n = epoll_wait(epoll, ready, CLIENTS_MAX,
				   (int)(opt.retransmit_ns / NS_PER_MS) + 1);
		int64_t last_ns = 0;

		for (int i = 0; i < n; i++) {
			struct client *c = ready[i].data.ptr;

			running -= client_turn(c, true);
			last_ns = c->end_ns;
		}
		if (n > 0 && last_ns - reminded_ns < opt.retransmit_ns)
			continue;
		reminded_ns = now_ns();
		for (size_t i = 0; i < opt.clients; i++)
			if (client[i].busy)
				running -= client_turn(&client[i], false);
	}
}

static void client_connect(struct client *c, int epoll)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
	struct timeval timeout = {GIVE_UP_S, 0};
	int one = 1;

	if (opt.transport == SOCK_DGRAM)
		timeout = (struct timeval){opt.retransmit_ns / NS_PER_S,
					   opt.retransmit_ns % NS_PER_S / 1000};
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
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
		err(1, "epoll_ctl");
}

static void report(struct client *client, int64_t end_ns)
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

static void client_prepare(struct client *c, uint32_t index, int epoll)
{
	c->index = index;
	c->limit = UINT64_MAX;
	if (opt.calls > 0)
		c->limit = (opt.calls + opt.clients - 1 - index) / opt.clients;
	head_build(c->call);
	client_connect(c, epoll);
}

int main(int argc, char **argv)
{
	struct client *client;
	int64_t end_ns;
	int epoll;

	parse_options(argc, argv);
	client = calloc(opt.clients, sizeof *client);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (client == NULL || epoll < 0)
		err(1, "memory, epoll");
	for (size_t i = 0; i < opt.clients; i++)
		client_prepare(&client[i], (uint32_t)i, epoll);
	start_ns = now_ns();
	run(epoll, client);
	end_ns = now_ns();
	report(client, end_ns);
	for (size_t i = 0; i < opt.clients; i++)
		free(client[i].samples.ns);
	free(client);
	close(epoll);
	return 0;
}

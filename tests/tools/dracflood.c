/*
 * dracflood: junk datagrams at a steady rate, to see who else suffers. Reads
 * no answer. Prints one line of JSON: how many were sent, and how fast.
 *
 *	dracflood garbage|program rate seconds IPv4-address:port
 *
 * garbage: 100 random bytes; program: a well-formed call to a program that is
 * not there.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "measure.h"

enum {
	BATCH = 50,
	GARBAGE_LEN = 100,
	CALL_LEN = 40,
	PROGRAM_NOT_THERE = 900199,
};

static size_t junk(const char *kind, uint8_t *buf)
{
	uint32_t call[CALL_LEN / 4] = {htonl(1), 0, htonl(2),
				       htonl(PROGRAM_NOT_THERE), htonl(1)};

	if (strcmp(kind, "garbage") == 0) {
		if (getrandom(buf, GARBAGE_LEN, 0) != GARBAGE_LEN)
			err(1, "getrandom");
		return GARBAGE_LEN;
	}
	if (strcmp(kind, "program") != 0)
		errx(2, "%s: not garbage or program", kind);
	memcpy(buf, call, CALL_LEN);
	return CALL_LEN;
}

static struct sockaddr_in parse_server(char *text)
{
	struct sockaddr_in server = {.sin_family = AF_INET};
	char *port = strchr(text, ':');

	if (port == NULL)
		errx(2, "%s: not address:port", text);
	*port++ = '\0';
	server.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	if (inet_pton(AF_INET, text, &server.sin_addr) != 1)
		errx(2, "%s: not an IPv4 address", text);
	return server;
}

int main(int argc, char **argv)
{
	uint8_t buf[GARBAGE_LEN];
	struct mmsghdr message[BATCH] = {0};
	struct iovec iov = {.iov_base = buf};
	struct sockaddr_in server;
	double rate;
	int64_t start_ns, elapsed_ns, duration_ns;
	uint64_t sent = 0, refused = 0;
	int fd;

	if (argc != 5)
		errx(2, "usage: dracflood kind rate seconds address:port");
	iov.iov_len = junk(argv[1], buf);
	rate = strtod(argv[2], NULL);
	duration_ns = (int64_t)(strtod(argv[3], NULL) * NS_PER_S);
	server = parse_server(argv[4]);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0)
		err(1, "socket");
	for (int i = 0; i < BATCH; i++) {
		message[i].msg_hdr.msg_iov = &iov;
		message[i].msg_hdr.msg_iovlen = 1;
		message[i].msg_hdr.msg_name = &server;
		message[i].msg_hdr.msg_namelen = sizeof server;
	}
	start_ns = now_ns();
	while ((elapsed_ns = now_ns() - start_ns) < duration_ns) {
		int n = sendmmsg(fd, message, BATCH, 0);

		if (n < 0)
			refused++;
		else
			sent += (uint64_t)n;
		sleep_until(start_ns +
			    (int64_t)((double)sent / rate * NS_PER_S));
	}
	printf("{\"sent\": %ju, \"refused\": %ju, \"rate\": %.0f}\n",
	       (uintmax_t)sent, (uintmax_t)refused,
	       (double)sent / ((double)elapsed_ns / NS_PER_S));
	return 0;
}

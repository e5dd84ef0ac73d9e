/*
 * dracflood: datagrams at a steady rate, to see who else suffers. Reads no
 * answer. Prints one line of JSON: how many were sent, and how fast.
 *
 *	dracflood file rate seconds host:port|[v6]:port [source]
 *
 * file: the datagrams, in hexadecimal, one a line; sent one after the other,
 * again and again. source: the address they come from.
 */
#include "measure.h"
#include "place.h"

enum { BATCH = 50, DATAGRAM_MAX = 1500, LINE_MAX_LEN = 2 * DATAGRAM_MAX + 2 };

struct datagram {
	size_t len;
	unsigned char data[DATAGRAM_MAX];
};

static struct datagram *datagrams;
static size_t count;

static void parse_line(const char *line)
{
	struct datagram *d = &datagrams[count];

	for (d->len = 0; sscanf(line, "%2hhx", &d->data[d->len]) == 1; d->len++)
		line += 2;
}

static void read_datagrams(const char *path)
{
	char line[LINE_MAX_LEN];
	FILE *file = fopen(path, "re");

	if (file == NULL)
		err(1, "%s", path);
	while (fgets(line, sizeof line, file) != NULL) {
		datagrams = realloc(datagrams, (count + 1) * sizeof *datagrams);
		if (datagrams == NULL)
			err(1, "memory");
		parse_line(line);
		count++;
	}
	fclose(file);
	if (count == 0)
		errx(1, "%s: empty", path);
}

static int connect_from(char *server, char *source)
{
	struct addrinfo *to = place_find_server(server, SOCK_DGRAM), *from;
	int fd = socket(to->ai_family, SOCK_DGRAM, 0);

	if (fd < 0)
		err(1, "socket");
	if (source != NULL) {
		from = place_find(source, NULL, SOCK_DGRAM);
		if (bind(fd, from->ai_addr, from->ai_addrlen) != 0)
			err(1, "%s", source);
		freeaddrinfo(from);
	}
	if (connect(fd, to->ai_addr, to->ai_addrlen) != 0)
		err(1, "connect");
	freeaddrinfo(to);
	return fd;
}

int main(int argc, char **argv)
{
	struct mmsghdr message[BATCH] = {0};
	struct iovec iov[BATCH];
	double rate;
	int64_t start_ns, elapsed_ns, duration_ns;
	uint64_t sent = 0, refused = 0;
	int fd;

	if (argc != 5 && argc != 6)
		errx(2, "usage: dracflood file rate seconds server [source]");
	read_datagrams(argv[1]);
	rate = strtod(argv[2], NULL);
	duration_ns = (int64_t)(strtod(argv[3], NULL) * NS_PER_S);
	fd = connect_from(argv[4], argv[5]);
	for (int i = 0; i < BATCH; i++) {
		message[i].msg_hdr.msg_iov = &iov[i];
		message[i].msg_hdr.msg_iovlen = 1;
	}
	start_ns = now_ns();
	while ((elapsed_ns = now_ns() - start_ns) < duration_ns) {
		int n;

		for (size_t i = 0; i < BATCH; i++) {
			struct datagram *d = &datagrams[(sent + i) % count];

			iov[i] = (struct iovec){d->data, d->len};
		}
		n = sendmmsg(fd, message, BATCH, 0);
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
	free(datagrams);
	return 0;
}

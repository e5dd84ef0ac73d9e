/*
 * libFuzzer: what a server, or who stands in its place, sends to libdrac. The
 * first byte says which call is made, the second over what, the third how the
 * bytes that come are cut; all else is these bytes. For datagrams each has its
 * length before it.
 *
 * No socket is used: connect(), send(), recv() and ppoll() are the ones below,
 * and getrandom(), so that an input knows the xid.
 *
 * Promises: a result of drac.h with what drac.h says of it, or a failure with
 * a text; never more than there is room for; nothing leaks.
 */
/* Its recv(3) is inline; ours takes the place of the real one. */
#undef _FORTIFY_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drac.h"
#include "scratch.h"

enum { SERVERS = 5, CALLS = 8, ROOM = 3, XID_BYTE = 0x11 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char key_file[256], servers[SERVERS][512];
static const uint8_t *left;
static size_t left_len;
static unsigned piece, turns;

/* ---- what libdrac finds instead of a network ----------------------------- */

int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
	(void)fd;
	(void)address;
	(void)len;
	return 0;
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
	(void)fd;
	(void)data;
	require(flags & MSG_NOSIGNAL);
	return (ssize_t)len;
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
	  const sigset_t *mask)
{
	(void)timeout;
	(void)mask;
	fds->revents = POLLIN | POLLOUT;
	return (int)count;
}

ssize_t getrandom(void *buf, size_t len, unsigned int flags)
{
	(void)flags;
	memset(buf, XID_BYTE, len);
	return (ssize_t)len;
}

/* Each datagram once, and then as if the port were closed. */
static ssize_t recv_datagram(void *buf, size_t size)
{
	size_t len;

	if (left_len < 2) {
		errno = ECONNREFUSED;
		return -1;
	}
	len = (size_t)left[0] << 8 | left[1];
	left += 2;
	left_len -= 2;
	if (len > left_len)
		len = left_len;
	memcpy(buf, left, len < size ? len : size);
	left += len;
	left_len -= len;
	return (ssize_t)(len < size ? len : size);
}

ssize_t recv(int fd, void *buf, size_t size, int flags)
{
	int type;
	socklen_t type_len = sizeof type;

	require(flags & MSG_DONTWAIT);
	if (piece % 4 == 3 && turns++ % 2 == 0) {
		errno = turns % 4 == 1 ? EAGAIN : EINTR;
		return -1;
	}
	require(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0);
	if (type == SOCK_DGRAM)
		return recv_datagram(buf, size);
	if (size > left_len)
		size = left_len;
	if (piece > 0 && size > piece)
		size = piece;
	memcpy(buf, left, size);
	left += size;
	left_len -= size;
	return (ssize_t)size;
}

/* ---- what comes of it ------------------------------------------------------
 */

static void check_text(const char *text, size_t size)
{
	require(memchr(text, '\0', size) != NULL);
}

static void check_entry(const struct drac_entry *entry, bool may_be_empty)
{
	check_text(entry->address, sizeof entry->address);
	require(entry->address[0] != '\0' || may_be_empty);
	check_text(entry->user, sizeof entry->user);
	check_text(entry->service, sizeof entry->service);
	check_text(entry->caller, sizeof entry->caller);
}

static int query(struct drac *drac)
{
	struct drac_entry entry;
	int result = drac_query(drac, "192.0.2.1", &entry);

	if (result == DRAC_OK)
		check_entry(&entry, false);
	return result;
}

static int list(struct drac *drac)
{
	struct drac_entry entries[ROOM];
	uint64_t cookie = 0;
	size_t count = ROOM;
	int result = drac_list(drac, &cookie, entries, &count);

	require(count <= (result == DRAC_OK ? ROOM : 0));
	for (size_t i = 0; i < count; i++)
		check_entry(&entries[i], false);
	return result;
}

static int events(struct drac *drac)
{
	struct drac_event events[ROOM];
	uint64_t cookie = 0, lost;
	size_t count = ROOM;
	int result = drac_events(drac, &cookie, events, &count, &lost);

	require(count <= (result == DRAC_OK ? ROOM : 0));
	for (size_t i = 0; i < count; i++)
		check_entry(&events[i].entry, events[i].kind == DRAC_DENY);
	return result;
}

static int stats(struct drac *drac)
{
	struct drac_counter counters[ROOM];
	size_t count = ROOM;
	int result = drac_stats(drac, counters, &count);

	require(count <= (result == DRAC_OK ? ROOM : 0));
	for (size_t i = 0; i < count; i++)
		check_text(counters[i].name, sizeof counters[i].name);
	return result;
}

static void classic(const char *server)
{
	char *text = NULL;
	int result = dracauth(server, 0x010200c0, &text);

	require(result >= -2 && result <= 3);
	require(text != NULL && strlen(text) < 512);
}

static void run(unsigned what, const char *server)
{
	struct drac *drac = drac_open(server, 0);
	int64_t expiry_s;
	int result = DRAC_OK;

	require(drac != NULL);
	switch (what) {
	case 0:
		result =
		    drac_add(drac, "2001:db8::1", 0, "joe", "pop", &expiry_s);
		break;
	case 1:
		result = drac_add(drac, "192.0.2.1", 60, "", "", &expiry_s);
		break;
	case 2:
		result = drac_remove(drac, "192.0.2.1");
		break;
	case 3:
		result = query(drac);
		break;
	case 4:
		result = list(drac);
		break;
	case 5:
		result = events(drac);
		break;
	default:
		result = stats(drac);
	}
	require(result >= DRAC_NOANSWER && result <= DRAC_UNSUPPORTED);
	require(result == DRAC_OK || drac_error()[0] != '\0');
	drac_close(drac);
}

static void begin(void)
{
	static const char key[] = "k vT3Qk0yZl8eW5m1sXr9uB7cN4hJ6gPaD\n";
	int fd;

	scratch_begin();
	fd = open(scratch_path(key_file, "key"), O_WRONLY | O_CREAT, 0600);
	require(fd >= 0 && write(fd, key, sizeof key - 1) > 0);
	close(fd);
	/* by a stream, a datagram, both, with a port from rpcbind, signed */
	snprintf(servers[0], sizeof servers[0], "unix:/nowhere");
	snprintf(servers[1], sizeof servers[1], "192.0.2.9:5901");
	snprintf(servers[2], sizeof servers[2],
		 "192.0.2.9:5901,drac://192.0.2.9:5901?tcp");
	snprintf(servers[3], sizeof servers[3], "192.0.2.9");
	snprintf(servers[4], sizeof servers[4],
		 "drac://k@192.0.2.9:5901?key=%s", key_file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *server;

	if (size < 3)
		return 0;
	if (servers[0][0] == '\0')
		begin();
	server = servers[data[1] % SERVERS];
	piece = data[2];
	turns = 0;
	left = data + 3;
	left_len = size - 3;
	if (data[0] % CALLS == CALLS - 1)
		classic(server);
	else
		run(data[0] % CALLS, server);
	return 0;
}

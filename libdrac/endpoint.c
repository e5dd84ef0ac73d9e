/*
 * endpoint: sockets of our own, and rpcbind asked with calls of our own:
 * clnt_create(3) bounds neither the connect nor the lookup, binds reserved
 * ports one after the other, and needs /etc/netconfig.
 */
#include "endpoint.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <rpc/pmap_prot.h>
#include <rpc/rpcb_prot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "call.h"
#include "drac_prot.h"

enum {
	RPCBIND_PORT = 111,
	RPCBIND_VERSION = 3,
	UADDR_PORT_DOTS = 2, /* "127.0.0.1.23.13": the last two numbers */
	BYTE_MAX = 255,
};

/* ---- sockets ------------------------------------------------------------- */

static socklen_t address_len(const struct sockaddr_storage *address)
{
	switch (address->ss_family) {
	case AF_UNIX:
		return sizeof(struct sockaddr_un);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	default:
		return sizeof(struct sockaddr_in);
	}
}

static uint16_t get_port(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
	return ntohs(((const struct sockaddr_in *)address)->sin_port);
}

void drac_endpoint_set_port(struct sockaddr_storage *address, uint16_t port)
{
	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)address)->sin_port = htons(port);
}

/* What became of a connect() that was still under way. */
static int connect_result(int fd)
{
	int number = 0;
	socklen_t size = sizeof number;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0)
		return errno;
	return number;
}

/*
 * 0, ETIMEDOUT when the deadline came first, or another errno. A local socket
 * with a full backlog says EAGAIN and cannot be polled for room.
 */
static int connect_until(int fd, const struct sockaddr_storage *address,
			 int64_t deadline_ns)
{
	const int64_t retry_ns = 5 * DRAC_NS_PER_MS;

	for (;;) {
		int64_t now_ns = drac_now_ns();
		int64_t next_ns = now_ns + retry_ns;

		if (connect(fd, (const struct sockaddr *)address,
			    address_len(address)) == 0)
			return 0;
		if (errno == EINPROGRESS || errno == EINTR)
			return drac_wait(fd, POLLOUT, deadline_ns)
				   ? connect_result(fd)
				   : ETIMEDOUT;
		if (errno != EAGAIN || address->ss_family != AF_UNIX)
			return errno;
		if (now_ns >= deadline_ns)
			return ETIMEDOUT;
		if (next_ns > deadline_ns)
			next_ns = deadline_ns;
		/* Nothing is awaited here but the time. */
		drac_wait(-1, 0, next_ns);
	}
}

static bool connect_socket(struct drac_endpoint *endpoint,
			   const struct sockaddr_storage *address, bool stream,
			   int64_t deadline_ns, struct rpc_err *error)
{
	int number;

	endpoint->stream = stream || address->ss_family == AF_UNIX;
	endpoint->fd = socket(address->ss_family,
			      (endpoint->stream ? SOCK_STREAM : SOCK_DGRAM) |
				  SOCK_CLOEXEC | SOCK_NONBLOCK,
			      0);
	if (endpoint->fd < 0) {
		drac_fail(error, RPC_SYSTEMERROR, errno);
		return false;
	}
	number = connect_until(endpoint->fd, address, deadline_ns);
	if (number == 0)
		return true;
	drac_endpoint_close(endpoint);
	if (number == ETIMEDOUT)
		drac_fail(error, RPC_TIMEDOUT, 0);
	else
		drac_fail(error, RPC_SYSTEMERROR, number);
	return false;
}

void drac_endpoint_close(struct drac_endpoint *endpoint)
{
	if (endpoint->fd >= 0)
		close(endpoint->fd);
	endpoint->fd = -1;
}

/* ---- rpcbind ------------------------------------------------------------- */

/* The port of a universal address (RFC 5665, 5.2.3.3), or 0. */
static uint16_t uaddr_port(const char *uaddr)
{
	unsigned int part[UADDR_PORT_DOTS];
	const char *dot = uaddr + strlen(uaddr);

	for (int i = UADDR_PORT_DOTS - 1; i >= 0; i--) {
		char *end;
		unsigned long value;

		while (dot > uaddr && *--dot != '.')
			;
		if (*dot != '.' || dot[1] < '0' || dot[1] > '9')
			return 0;
		value = strtoul(dot + 1, &end, 10);
		if (value > BYTE_MAX || (*end != '.' && *end != '\0'))
			return 0;
		part[i] = (unsigned int)value;
	}
	return (uint16_t)(part[0] << 8 | part[1]);
}

/* It answers for the transport that it is asked over, whatever netid says. */
static enum clnt_stat ask_rpcbind3(const struct drac_endpoint *rpcbind,
				   char *netid, uint32_t version,
				   int64_t deadline_ns, uint16_t *port,
				   struct rpc_err *error)
{
	char none[] = "";
	char *uaddr = NULL;
	struct rpcb question = {
	    .r_prog = DRACPROG,
	    .r_vers = version,
	    .r_netid = netid,
	    .r_addr = none,
	    .r_owner = none,
	};
	const struct drac_call call = {
	    .program = RPCBPROG,
	    .version = RPCBIND_VERSION,
	    .procedure = RPCBPROC_GETADDR,
	    .encode = (xdrproc_t)xdr_rpcb,
	    .arguments = &question,
	    .decode = (xdrproc_t)xdr_wrapstring,
	    .result = &uaddr,
	    .result_size = sizeof uaddr,
	};

	if (drac_call_run(rpcbind->fd, rpcbind->stream, &call, NULL,
			  deadline_ns, error) != RPC_SUCCESS)
		return error->re_status;
	*port = uaddr_port(uaddr);
	xdr_free(call.decode, &uaddr);
	return RPC_SUCCESS;
}

/* The portmapper of old, for IPv4 only. */
static enum clnt_stat ask_rpcbind2(const struct drac_endpoint *rpcbind,
				   uint32_t version, int64_t deadline_ns,
				   uint16_t *port, struct rpc_err *error)
{
	u_long answer = 0;
	struct pmap question = {
	    .pm_prog = DRACPROG,
	    .pm_vers = version,
	    .pm_prot = rpcbind->stream ? IPPROTO_TCP : IPPROTO_UDP,
	};
	const struct drac_call call = {
	    .program = PMAPPROG,
	    .version = PMAPVERS,
	    .procedure = PMAPPROC_GETPORT,
	    .encode = (xdrproc_t)xdr_pmap,
	    .arguments = &question,
	    .decode = (xdrproc_t)xdr_u_long,
	    .result = &answer,
	    .result_size = sizeof answer,
	};

	if (drac_call_run(rpcbind->fd, rpcbind->stream, &call, NULL,
			  deadline_ns, error) != RPC_SUCCESS)
		return error->re_status;
	*port = answer <= UINT16_MAX ? (uint16_t)answer : 0;
	return RPC_SUCCESS;
}

/* The port, or 0 with *error filled. */
static uint16_t ask_rpcbind(const struct sockaddr_storage *host, bool stream,
			    uint32_t version, int64_t deadline_ns,
			    struct rpc_err *error)
{
	bool v4 = host->ss_family == AF_INET;
	char netid[sizeof "tcp6"]; /* xdr_rpcb() takes no constant */
	struct sockaddr_storage address = *host;
	struct drac_endpoint rpcbind;
	enum clnt_stat status;
	uint16_t port = 0;

	snprintf(netid, sizeof netid, "%s%s", stream ? "tcp" : "udp",
		 v4 ? "" : "6");
	drac_endpoint_set_port(&address, RPCBIND_PORT);
	if (!connect_socket(&rpcbind, &address, stream, deadline_ns, error))
		return 0;
	status =
	    ask_rpcbind3(&rpcbind, netid, version, deadline_ns, &port, error);
	if (v4 && status == RPC_PROGVERSMISMATCH)
		status =
		    ask_rpcbind2(&rpcbind, version, deadline_ns, &port, error);
	drac_endpoint_close(&rpcbind);
	if (status == RPC_SUCCESS && port == 0)
		drac_fail(error, RPC_PROGNOTREGISTERED, 0);
	return status == RPC_SUCCESS ? port : 0;
}

/* ---- the server ---------------------------------------------------------- */

/* Whether dracd, and not just somebody, is there. */
static bool answers_null(const struct drac_endpoint *endpoint,
			 int64_t deadline_ns)
{
	struct rpc_err error;
	char nothing = 0;
	const struct drac_call call = {
	    .program = DRACPROG,
	    .version = DRACVERS3,
	    .procedure = DRAC3_NULL,
	    .encode = (xdrproc_t)drac_xdr_nothing,
	    .decode = (xdrproc_t)drac_xdr_nothing,
	    .result = &nothing,
	};

	return drac_call_run(endpoint->fd, endpoint->stream, &call, NULL,
			     deadline_ns, &error) == RPC_SUCCESS;
}

static bool open_default(struct drac_endpoint *endpoint,
			 const struct sockaddr_storage *host, bool stream,
			 int64_t deadline_ns)
{
	struct sockaddr_storage address = *host;
	struct rpc_err error;

	drac_endpoint_set_port(&address, DRAC_PORT);
	if (!connect_socket(endpoint, &address, stream, deadline_ns, &error))
		return false;
	if (answers_null(endpoint, deadline_ns))
		return true;
	drac_endpoint_close(endpoint);
	return false;
}

bool drac_endpoint_open(struct drac_endpoint *endpoint,
			const struct sockaddr_storage *host, bool stream,
			uint32_t version, int64_t deadline_ns,
			struct rpc_err *error)
{
	struct sockaddr_storage address = *host;
	int64_t now_ns = drac_now_ns();
	uint16_t port;

	endpoint->fd = -1;
	if (host->ss_family == AF_UNIX || get_port(host) != 0)
		return connect_socket(endpoint, host, stream, deadline_ns,
				      error);
	port = ask_rpcbind(host, stream, version,
			   now_ns + (deadline_ns - now_ns) / 2, error);
	if (port == 0)
		return open_default(endpoint, host, stream, deadline_ns);
	drac_endpoint_set_port(&address, port);
	return connect_socket(endpoint, &address, stream, deadline_ns, error);
}

/*
 * udp: see udp.h. Owns the socket and the buffers of one batch each way.
 */
#include "udp.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drac_prot.h"
#include "rpc.h"

enum {
	RECEIVE_BUFFER = 4 * 1024 * 1024, /* a burst while the disk is busy */
	UDP_HEADER = 8,                   /* in front of what a filter sees */
};

struct reply {
	struct sockaddr_in6 peer;
	_Alignas(struct cmsghdr) char control[ORIGIN_CONTROL_MAX];
	struct iovec iov;
	uint8_t data[RPC_DATAGRAM_MAX];
};

struct udp {
	struct watch watch;
	struct loop *loop;
	struct service *service;
	unsigned in_count; /* of the last batch */
	unsigned out_count;
	struct mmsghdr in_header[UDP_BATCH], out_header[UDP_BATCH];
	struct iovec in_iov[UDP_BATCH];
	struct sockaddr_in6 in_peer[UDP_BATCH];
	_Alignas(struct cmsghdr) char in_control[UDP_BATCH][ORIGIN_CONTROL_MAX];
	uint8_t in_data[UDP_BATCH][RPC_CALL_MAX];
	struct reply out[UDP_BATCH];
};

/* ---- out -------------------------------------------------------------- */

void udp_flush(struct udp *udp)
{
	unsigned sent = 0;
	while (sent < udp->out_count) {
		int count = sendmmsg(udp->watch.fd, udp->out_header + sent,
				     udp->out_count - sent, MSG_DONTWAIT);
		/* What cannot be sent is lost, as datagrams may be. */
		sent += count > 0 ? (unsigned)count : 1;
	}
	udp->out_count = 0;
}

/* The room for the next reply, addressed to where the origin is. */
static struct reply *reply_to(struct udp *udp, const struct origin *origin)
{
	if (udp->out_count == UDP_BATCH)
		udp_flush(udp);
	struct reply *reply = &udp->out[udp->out_count];
	struct msghdr *header = &udp->out_header[udp->out_count].msg_hdr;
	memcpy(&reply->peer, &origin->peer, origin->peer_len);
	memcpy(reply->control, origin->control, origin->control_len);
	*header = (struct msghdr){
	    .msg_name = &reply->peer,
	    .msg_namelen = origin->peer_len,
	    .msg_iov = &reply->iov,
	    .msg_iovlen = 1,
	    .msg_control = origin->control_len ? reply->control : NULL,
	    .msg_controllen = origin->control_len,
	};
	reply->iov.iov_base = reply->data;
	return reply;
}

static void udp_send(const struct origin *origin, const void *data, size_t len)
{
	struct udp *udp = origin->transport;
	struct reply *reply = reply_to(udp, origin);
	memcpy(reply->data, data, len);
	reply->iov.iov_len = len;
	udp->out_count++;
}

/* ---- in ---------------------------------------------------------------- */

/*
 * Keeps the address that was asked, so that the answer comes from it, but not
 * the interface: routing decides that.
 */
static void keep_control(struct origin *origin, const struct msghdr *header)
{
	if (header->msg_controllen == 0 ||
	    header->msg_controllen > ORIGIN_CONTROL_MAX)
		return;
	struct msghdr copy = {.msg_control = origin->control,
			      .msg_controllen = header->msg_controllen};
	memcpy(origin->control, header->msg_control, header->msg_controllen);
	struct cmsghdr *control = CMSG_FIRSTHDR(&copy);
	if (control == NULL)
		return;
	if (control->cmsg_level == IPPROTO_IP)
		((struct in_pktinfo *)(void *)CMSG_DATA(control))->ipi_ifindex =
		    0;
	else
		((struct in6_pktinfo *)(void *)CMSG_DATA(control))
		    ->ipi6_ifindex = 0;
	origin->control_len = header->msg_controllen;
}

static void handle(struct udp *udp, const struct msghdr *header,
		   const uint8_t *data, size_t len)
{
	struct service *service = udp->service;
	struct origin origin;
	origin.send = udp_send;
	origin.transport = udp;
	origin.reply_max = RPC_DATAGRAM_MAX;
	origin.local = false;
	origin.datagram = true;
	origin.peer_len = header->msg_namelen;
	origin.control_len = 0;
	memcpy(&origin.peer, header->msg_name, header->msg_namelen);
	if (!address_from_sockaddr(&origin.caller, header->msg_name))
		return;
	access_unsigned(service->access, &origin);
	keep_control(&origin, header);
	/* In place of the next reply, so that it need not be copied. */
	struct reply *reply = reply_to(udp, &origin);
	ssize_t reply_len =
	    rpc_handle(service, data, len, &origin, reply->data);
	if (reply_len > 0) {
		reply->iov.iov_len = (size_t)reply_len;
		udp->out_count++;
	} else if (reply_len < 0) {
		service->stats->bad_calls++;
	}
}

/* The kernel has written into those that the last batch used. */
static void renew_headers(struct udp *udp)
{
	for (unsigned i = 0; i < udp->in_count; i++) {
		struct msghdr *header = &udp->in_header[i].msg_hdr;
		header->msg_namelen = sizeof(udp->in_peer[i]);
		header->msg_controllen =
		    header->msg_control ? ORIGIN_CONTROL_MAX : 0;
	}
	udp->in_count = 0;
}

static void udp_ready(struct watch *watch, uint32_t events)
{
	struct udp *udp = (struct udp *)watch;
	(void)events;
	renew_headers(udp);
	int count =
	    recvmmsg(watch->fd, udp->in_header, UDP_BATCH, MSG_DONTWAIT, NULL);
	if (count > 0)
		udp->in_count = (unsigned)count;
	for (int i = 0; i < count; i++) {
		const struct mmsghdr *header = &udp->in_header[i];
		if (header->msg_hdr.msg_flags & MSG_TRUNC)
			udp->service->stats->bad_calls++;
		else
			handle(udp, &header->msg_hdr, udp->in_data[i],
			       header->msg_len);
	}
}

/* ---- opening ------------------------------------------------------------ */

/*
 * What cannot be a call of ours never wakes the daemon: shorter than a call
 * without arguments, or not message type CALL (0), RPC version 2 and our
 * program.
 */
static bool filter_junk(int fd)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
	    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, UDP_HEADER + RPC_CALL_MIN, 0,
		     7),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UDP_HEADER + 4),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 5),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UDP_HEADER + 8),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UDP_HEADER + 12),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DRACPROG, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
	    BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {
	    .len = sizeof(code) / sizeof(code[0]),
	    .filter = code,
	};
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
			  sizeof(program)) == 0;
}

static bool ask_for_address(int fd)
{
	const int on = 1;
	int domain;
	socklen_t len = sizeof(domain);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0)
		return false;
	return domain == AF_INET6
		   ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on,
				sizeof(on)) == 0
		   : setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) ==
			 0;
}

static void grow_buffer(int fd)
{
	const int bytes = RECEIVE_BUFFER;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) !=
	    0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

struct udp *udp_open(struct loop *loop, struct service *service, int fd,
		     bool wildcard)
{
	struct udp *udp = calloc(1, sizeof(*udp));
	if (udp == NULL) {
		close(fd);
		return NULL;
	}
	udp->watch = (struct watch){.fd = fd, .ready = udp_ready};
	udp->loop = loop;
	udp->service = service;
	for (int i = 0; i < UDP_BATCH; i++) {
		udp->in_iov[i] =
		    (struct iovec){udp->in_data[i], sizeof(udp->in_data[i])};
		udp->in_header[i].msg_hdr = (struct msghdr){
		    .msg_name = &udp->in_peer[i],
		    .msg_iov = &udp->in_iov[i],
		    .msg_iovlen = 1,
		    .msg_control = wildcard ? udp->in_control[i] : NULL,
		};
	}
	udp->in_count = UDP_BATCH;
	grow_buffer(fd);
	if (filter_junk(fd) && (!wildcard || ask_for_address(fd)) &&
	    loop_add(loop, &udp->watch, EPOLLIN))
		return udp;
	int saved = errno;
	close(fd);
	free(udp);
	errno = saved;
	return NULL;
}

void udp_close(struct udp *udp)
{
	if (udp == NULL)
		return;
	udp_flush(udp);
	loop_close(udp->loop, &udp->watch);
	free(udp);
}

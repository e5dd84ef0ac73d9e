/*
 * call: one RPC call on a connected socket. Every wait in here is a poll
 * against the call's deadline, so that neither silence nor a byte now and then
 * can stretch it. Nothing here can raise SIGPIPE.
 */
#include "call.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LAST_FRAGMENT 0x80000000u /* in a mark */

enum {
	MARK_SIZE = 4,  /* of a record on a stream */
	CALL_MAX = 512, /* the longest call, a signed add, takes 492 bytes */
	REPLY_MAX =
	    16384,        /* the longest reply, of events, takes 13,808 bytes */
	REPLY_HEADER = 8, /* xid and direction */
	VERIFIER_AT = 8,  /* in a reply: MSG_ACCEPTED, flavor, length */
	RESEND_MS = 250,  /* the same datagram again */
};

/* What travels, and how far it has got. */
struct exchange {
	int fd;
	int64_t deadline_ns;
	uint32_t xid;
	struct rpc_err *error;
	const struct drac_sign_key *key; /* NULL: not signed */
	uint8_t reply_key[DRAC_SIGN_MAC];
	size_t call_len; /* with the mark */
	size_t reply_len;
	size_t in_len; /* bytes of a stream in reply; more than reply_len */
	char call[MARK_SIZE + CALL_MAX];
	char reply[REPLY_MAX + MARK_SIZE];
};

int64_t drac_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * DRAC_NS_PER_S + now.tv_nsec;
}

bool drac_wait(int fd, short events, int64_t deadline_ns)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	for (;;) {
		int64_t left_ns = deadline_ns - drac_now_ns();
		struct timespec left = {.tv_sec = left_ns / DRAC_NS_PER_S,
					.tv_nsec = left_ns % DRAC_NS_PER_S};

		if (left_ns <= 0)
			return false;
		/* An error shows in what the caller does next. */
		if (ppoll(&poll_fd, 1, &left, NULL) > 0)
			return true;
	}
}

enum clnt_stat drac_fail(struct rpc_err *error, enum clnt_stat status,
			 int number)
{
	memset(error, 0, sizeof *error);
	error->re_status = status;
	error->re_errno = number;
	return status;
}

static bool try_again(int number)
{
	return number == EAGAIN || number == EWOULDBLOCK || number == EINTR;
}

bool_t drac_xdr_nothing(XDR *xdrs, void *unused)
{
	(void)xdrs;
	(void)unused;
	return TRUE;
}

/* ---- messages ---------------------------------------------------------- */

static uint32_t new_xid(void)
{
	static _Thread_local uint32_t counter;
	uint32_t xid;

	/* A stranger who cannot see the call cannot answer it. */
	if (getrandom(&xid, sizeof xid, GRND_NONBLOCK) == sizeof xid)
		return xid;
	return (uint32_t)drac_now_ns() ^ (uint32_t)getpid() << 16 ^ counter++;
}

/* Only to be another one each time. */
static void new_nonce(uint8_t nonce[DRAC_SIGN_NONCE])
{
	const uint32_t word[] = {new_xid(), new_xid(), new_xid(), new_xid()};

	_Static_assert(sizeof word == DRAC_SIGN_NONCE, "four words");
	memcpy(nonce, word, sizeof word);
}

/* The credential, and a verifier without its MAC; body and mac stay in use. */
static void put_credential(const struct drac_sign_key *key, struct rpc_msg *msg,
			   uint8_t body[DRAC_SIGN_CREDENTIAL_MAX],
			   uint8_t mac[DRAC_SIGN_MAC])
{
	struct drac_sign_credential credential = {.time_s = time(NULL)};

	memcpy(credential.name, key->name, sizeof credential.name);
	new_nonce(credential.nonce);
	msg->rm_call.cb_cred = (struct opaque_auth){
	    .oa_flavor = DRAC_SIGN_FLAVOR,
	    .oa_base = (char *)body,
	    .oa_length = (u_int)drac_sign_encode(&credential, body),
	};
	memset(mac, 0, DRAC_SIGN_MAC);
	msg->rm_call.cb_verf = (struct opaque_auth){
	    .oa_flavor = DRAC_SIGN_FLAVOR,
	    .oa_base = (char *)mac,
	    .oa_length = DRAC_SIGN_MAC,
	};
}

/* The MAC is what the header ends with. */
static bool sign(struct exchange *x, size_t header, size_t len)
{
	uint8_t *message = (uint8_t *)x->call + MARK_SIZE;
	const struct drac_sign_key *key = x->key;

	return drac_sign_message(key->secret, key->len, message, len,
				 header - DRAC_SIGN_MAC) &&
	       drac_sign_reply_key(key->secret, key->len,
				   message + header - DRAC_SIGN_MAC,
				   x->reply_key);
}

static bool encode(struct exchange *x, const struct drac_call *call)
{
	uint8_t body[DRAC_SIGN_CREDENTIAL_MAX], mac[DRAC_SIGN_MAC];
	size_t header;
	struct rpc_msg msg = {.rm_xid = x->xid, .rm_direction = CALL};
	uint32_t mark;
	XDR xdrs;

	msg.rm_call.cb_rpcvers = RPC_MSG_VERSION;
	msg.rm_call.cb_prog = call->program;
	msg.rm_call.cb_vers = call->version;
	msg.rm_call.cb_proc = call->procedure;
	if (x->key != NULL)
		put_credential(x->key, &msg, body, mac);
	xdrmem_create(&xdrs, x->call + MARK_SIZE, CALL_MAX, XDR_ENCODE);
	if (!xdr_callmsg(&xdrs, &msg))
		return false;
	header = xdr_getpos(&xdrs);
	if (!call->encode(&xdrs, call->arguments) ||
	    (x->key != NULL && !sign(x, header, xdr_getpos(&xdrs))))
		return false;
	x->call_len = MARK_SIZE + xdr_getpos(&xdrs);
	mark = htonl(LAST_FRAGMENT | xdr_getpos(&xdrs));
	memcpy(x->call, &mark, MARK_SIZE);
	return true;
}

/* Whether what came is the answer to this call. */
static bool is_reply(const struct exchange *x)
{
	uint32_t word[2];

	if (x->reply_len < REPLY_HEADER)
		return false;
	memcpy(word, x->reply, REPLY_HEADER);
	return ntohl(word[0]) == x->xid && ntohl(word[1]) == REPLY;
}

/* A denied reply says why, and cannot be signed. */
static bool is_authentic(struct exchange *x)
{
	uint8_t mac[DRAC_SIGN_MAC];
	uint32_t word[3];

	if (x->reply_len < VERIFIER_AT + sizeof word)
		return false;
	memcpy(word, x->reply + VERIFIER_AT, sizeof word);
	if (ntohl(word[0]) == MSG_DENIED)
		return true;
	return ntohl(word[0]) == MSG_ACCEPTED &&
	       ntohl(word[1]) == DRAC_SIGN_FLAVOR &&
	       ntohl(word[2]) == DRAC_SIGN_MAC &&
	       drac_sign_check(x->reply_key, sizeof x->reply_key,
			       (uint8_t *)x->reply, x->reply_len,
			       DRAC_SIGN_REPLY_MAC_AT, mac);
}

static enum clnt_stat decode(struct exchange *x, const struct drac_call *call)
{
	char verifier[MAX_AUTH_BYTES];
	struct rpc_msg msg = {0};
	XDR xdrs;

	memset(call->result, 0, call->result_size);
	if (x->key != NULL && !is_authentic(x)) {
		drac_fail(x->error, RPC_AUTHERROR, 0);
		x->error->re_why = AUTH_INVALIDRESP;
		return RPC_AUTHERROR;
	}
	msg.acpted_rply.ar_verf.oa_base = verifier;
	msg.acpted_rply.ar_results.where = call->result;
	msg.acpted_rply.ar_results.proc = call->decode;
	xdrmem_create(&xdrs, x->reply, (u_int)x->reply_len, XDR_DECODE);
	if (!xdr_replymsg(&xdrs, &msg)) {
		xdr_free(call->decode, call->result);
		return drac_fail(x->error, RPC_CANTDECODERES, 0);
	}
	memset(x->error, 0, sizeof *x->error);
	_seterr_reply(&msg, x->error);
	return x->error->re_status;
}

/* ---- datagrams --------------------------------------------------------- */

static enum clnt_stat send_datagram(struct exchange *x)
{
	ssize_t sent = send(x->fd, x->call + MARK_SIZE, x->call_len - MARK_SIZE,
			    MSG_NOSIGNAL | MSG_DONTWAIT);

	/* What has no room now is sent again soon. */
	if (sent >= 0 || try_again(errno) || errno == ENOBUFS)
		return RPC_SUCCESS;
	/* The answer of the datagram before this one. */
	if (errno == ECONNREFUSED)
		return drac_fail(x->error, RPC_CANTRECV, errno);
	return drac_fail(x->error, RPC_CANTSEND, errno);
}

static enum clnt_stat exchange_datagrams(struct exchange *x)
{
	int64_t resend_ns = 0;

	for (;;) {
		int64_t now_ns = drac_now_ns();
		ssize_t got;

		if (now_ns >= x->deadline_ns)
			return drac_fail(x->error, RPC_TIMEDOUT, 0);
		if (now_ns >= resend_ns) {
			if (send_datagram(x) != RPC_SUCCESS)
				return x->error->re_status;
			resend_ns = now_ns + RESEND_MS * DRAC_NS_PER_MS;
		}
		if (!drac_wait(x->fd, POLLIN,
			       resend_ns < x->deadline_ns ? resend_ns
							  : x->deadline_ns))
			continue;
		got = recv(x->fd, x->reply, REPLY_MAX, MSG_DONTWAIT);
		if (got < 0 && !try_again(errno))
			return drac_fail(x->error, RPC_CANTRECV, errno);
		x->reply_len = got < 0 ? 0 : (size_t)got;
		if (is_reply(x))
			return RPC_SUCCESS;
	}
}

/* ---- streams ----------------------------------------------------------- */

static enum clnt_stat send_record(struct exchange *x)
{
	size_t done = 0;

	while (done < x->call_len) {
		ssize_t sent = send(x->fd, x->call + done, x->call_len - done,
				    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0)
			done += (size_t)sent;
		else if (!try_again(errno))
			return drac_fail(x->error, RPC_CANTSEND, errno);
		else if (!drac_wait(x->fd, POLLOUT, x->deadline_ns))
			return drac_fail(x->error, RPC_TIMEDOUT, 0);
	}
	return RPC_SUCCESS;
}

/* Until so many bytes of the stream are in x->reply, or more. */
static enum clnt_stat receive(struct exchange *x, size_t len)
{
	while (x->in_len < len) {
		ssize_t got;

		/* Also asked when there is always one more byte to read. */
		if (!drac_wait(x->fd, POLLIN, x->deadline_ns))
			return drac_fail(x->error, RPC_TIMEDOUT, 0);
		got = recv(x->fd, x->reply + x->in_len,
			   sizeof x->reply - x->in_len, MSG_DONTWAIT);
		if (got > 0)
			x->in_len += (size_t)got;
		else if (got == 0)
			return drac_fail(x->error, RPC_CANTRECV, ECONNRESET);
		else if (!try_again(errno))
			return drac_fail(x->error, RPC_CANTRECV, errno);
	}
	return RPC_SUCCESS;
}

/* Takes bytes out of what has been read. */
static void cut(struct exchange *x, size_t at, size_t len)
{
	x->in_len -= len;
	memmove(x->reply + at, x->reply + at + len, x->in_len - at);
}

/* One record, of as many fragments as the server likes (RFC 5531, 11). */
static enum clnt_stat receive_record(struct exchange *x)
{
	uint32_t mark;

	x->reply_len = 0;
	do {
		if (receive(x, x->reply_len + MARK_SIZE) != RPC_SUCCESS)
			return x->error->re_status;
		memcpy(&mark, x->reply + x->reply_len, MARK_SIZE);
		cut(x, x->reply_len, MARK_SIZE);
		mark = ntohl(mark);
		if ((mark & ~LAST_FRAGMENT) > REPLY_MAX - x->reply_len)
			return drac_fail(x->error, RPC_CANTDECODERES, 0);
		x->reply_len += mark & ~LAST_FRAGMENT;
		if (receive(x, x->reply_len) != RPC_SUCCESS)
			return x->error->re_status;
	} while (!(mark & LAST_FRAGMENT));
	return RPC_SUCCESS;
}

static enum clnt_stat exchange_records(struct exchange *x)
{
	if (send_record(x) != RPC_SUCCESS)
		return x->error->re_status;
	x->in_len = x->reply_len = 0;
	do {
		cut(x, 0, x->reply_len); /* somebody else's */
		if (receive_record(x) != RPC_SUCCESS)
			return x->error->re_status;
	} while (!is_reply(x));
	return RPC_SUCCESS;
}

/* ---- the call ------------------------------------------------------------ */

enum clnt_stat drac_call_run(int fd, bool stream, const struct drac_call *call,
			     const struct drac_sign_key *key,
			     int64_t deadline_ns, struct rpc_err *error)
{
	struct exchange x;
	enum clnt_stat status;

	x.fd = fd;
	x.key = key;
	x.deadline_ns = deadline_ns;
	/* On a stream nobody but the server can answer. */
	x.xid = stream ? (uint32_t)drac_now_ns() : new_xid();
	x.error = error;
	if (!encode(&x, call))
		return drac_fail(error, RPC_CANTENCODEARGS, 0);
	status = stream ? exchange_records(&x) : exchange_datagrams(&x);
	return status == RPC_SUCCESS ? decode(&x, call) : status;
}

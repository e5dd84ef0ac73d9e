/*
 * call: one ONC RPC call (RFC 5531) on a connected socket, within a deadline.
 * Opens nothing, closes nothing, keeps nothing.
 *
 * It does by hand what clnt_call(3) does: that one bounds each read and not
 * the call, lets a stranger's datagram eat a whole interval, and blocks
 * signals. Encoding and decoding are libtirpc's.
 */
#ifndef LIBDRAC_CALL_H
#define LIBDRAC_CALL_H

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sign.h"

#define DRAC_NS_PER_S INT64_C(1000000000)
#define DRAC_NS_PER_MS INT64_C(1000000)

struct drac_call {
	uint32_t program;
	uint32_t version;
	uint32_t procedure;
	xdrproc_t encode;
	void *arguments;
	xdrproc_t decode;
	void *result; /* zeroed first; xdr_free() it after a success */
	size_t result_size;
};

/* The clock of all deadlines; it never jumps. */
int64_t drac_now_ns(void);

/* Waits for POLLIN or POLLOUT; false when the deadline has come. */
bool drac_wait(int fd, short events, int64_t deadline_ns);

/* Fills *error and returns its status. */
enum clnt_stat drac_fail(struct rpc_err *error, enum clnt_stat status,
			 int number);

/* For a call without arguments or results. */
bool_t drac_xdr_nothing(XDR *xdrs, void *unused);

/*
 * fd: non-blocking and connected; stream: it carries records (TCP, unix), else
 * datagrams. Returns RPC_SUCCESS, or the status that is also in *error. After
 * an error that is not the server's answer a stream is of no further use.
 *
 * key: the call is signed with it, and an answer that is not, or not rightly,
 * is RPC_AUTHERROR with AUTH_INVALIDRESP; NULL: nothing is signed.
 */
enum clnt_stat drac_call_run(int fd, bool stream, const struct drac_call *call,
			     const struct drac_sign_key *key,
			     int64_t deadline_ns, struct rpc_err *error);

#endif

/* call: the bytes that leave, and what becomes of the bytes that come. */
#include "call.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drac_prot.h"
/* cmocka wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum {
	XID_SIZE = 4,
	MARK_SIZE = 4,
	MESSAGE_MAX = 16384,
	MUTATIONS = 8000,
	CALL_MS = 10000,  /* until a call comes, on a busy machine */
	SILENCE_MS = 100, /* long enough to send, under valgrind too */
};

#define LAST_FRAGMENT 0x80000000u

/* ---- both ends -------------------------------------------------------- */

static int ours, theirs;
static struct rpc_err error;

static void pair(int type)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fd), 0);
	ours = fd[0];
	theirs = fd[1];
}

static void close_pair(void)
{
	close(ours);
	close(theirs);
}

static addstat answer;

static struct drac_call add4(drac_add_parm *argument)
{
	return (struct drac_call){
	    .program = DRACPROG,
	    .version = DRACVERS,
	    .procedure = DRACPROC_ADD,
	    .encode = (xdrproc_t)xdr_drac_add_parm,
	    .arguments = argument,
	    .decode = (xdrproc_t)xdr_addstat,
	    .result = &answer,
	    .result_size = sizeof answer,
	};
}

/* ---- what leaves ------------------------------------------------------ */

static void assert_sent(const char *hex)
{
	unsigned char message[MESSAGE_MAX];
	char text[2 * MESSAGE_MAX + 1];
	ssize_t len = recv(theirs, message, sizeof message, 0);

	assert_true(len > XID_SIZE);
	for (ssize_t i = XID_SIZE; i < len; i++)
		sprintf(text + 2 * (i - XID_SIZE), "%02x", message[i]);
	assert_string_equal(text, hex);
}

/* facts: 44 and 104 bytes, as DRAC 1.12's own library sent them */
static void classic_bytes(void **state)
{
	drac_add_parm v4 = {.ip_addr = 0xc0000201};
	drac_add_parm6 v6;
	struct drac_call call = add4(&v4);

	(void)state;
	pair(SOCK_DGRAM);
	assert_int_equal(
	    drac_call_run(ours, false, &call, NULL,
			  drac_now_ns() + SILENCE_MS * DRAC_NS_PER_MS, &error),
	    RPC_TIMEDOUT);
	assert_sent("00000000"
		    "00000002"
		    "000dbc05"
		    "00000001"
		    "00000001"
		    "00000000"
		    "00000000"
		    "00000000"
		    "00000000"
		    "c0000201");

	inet_pton(AF_INET6, "2001:db8::fe80:1", v6.ip_addr6);
	call.version = DRACVERS6;
	call.encode = (xdrproc_t)xdr_drac_add_parm6;
	call.arguments = &v6;
	drac_call_run(ours, false, &call, NULL,
		      drac_now_ns() + SILENCE_MS * DRAC_NS_PER_MS, &error);
	assert_sent("00000000"
		    "00000002"
		    "000dbc05"
		    "00000002"
		    "00000001"
		    "00000000"
		    "00000000"
		    "00000000"
		    "00000000"
		    "00000020"
		    "00000001"
		    "0000000d"
		    "ffffffb8"
		    "00000000"
		    "00000000"
		    "00000000"
		    "00000000"
		    "00000000"
		    "00000000"
		    "00000000"
		    "00000000"
		    "fffffffe"
		    "ffffff80"
		    "00000000"
		    "00000001");
	close_pair();
}

static void same_xid_again(void **state)
{
	const int64_t retries_ns = 600 * DRAC_NS_PER_MS;
	drac_add_parm v4 = {.ip_addr = 1};
	const struct drac_call call = add4(&v4);
	char first[MESSAGE_MAX], other[MESSAGE_MAX];
	ssize_t len;
	int copies = 0;

	(void)state;
	pair(SOCK_DGRAM);
	drac_call_run(ours, false, &call, NULL, drac_now_ns() + retries_ns,
		      &error);
	len = recv(theirs, first, sizeof first, 0);
	while (recv(theirs, other, sizeof other, 0) == len) {
		assert_memory_equal(first, other, (size_t)len);
		copies++;
	}
	/* At 250 and 500 ms, if a busy machine is in time for the second. */
	assert_in_range(copies, 1, 2);

	drac_call_run(ours, false, &call, NULL, drac_now_ns() + 1, &error);
	len = recv(theirs, other, sizeof other, 0);
	if (len > 0)
		assert_memory_not_equal(first, other, XID_SIZE);
	close_pair();
}

/* ---- what comes ------------------------------------------------------- */

/* Reads one call, and answers it with the bytes of `reply`. */
struct answerer {
	bool stream;
	char reply[MESSAGE_MAX]; /* behind the mark, if there is one */
	size_t len;
	size_t xid_at; /* 0: at the beginning, behind the mark */
	pthread_t thread;
};

static void *answer_thread(void *argument)
{
	struct answerer *a = argument;
	size_t mark_len = a->stream ? MARK_SIZE : 0;
	size_t xid_at = a->xid_at ? a->xid_at : mark_len;
	char call[MESSAGE_MAX];
	ssize_t got;

	/* None comes when its time was over before it was sent. */
	drac_wait(theirs, POLLIN, drac_now_ns() + CALL_MS * DRAC_NS_PER_MS);
	got = recv(theirs, call, sizeof call, 0);
	if (got > 0 && a->len >= xid_at + XID_SIZE)
		memcpy(a->reply + xid_at, call + mark_len, XID_SIZE);
	send(theirs, a->reply, a->len, MSG_NOSIGNAL);
	if (a->stream)
		shutdown(theirs, SHUT_WR);
	return NULL;
}

static enum clnt_stat run(const struct drac_call *call, struct answerer *a,
			  int64_t budget_ns)
{
	enum clnt_stat status;

	pair(a->stream ? SOCK_STREAM : SOCK_DGRAM);
	assert_int_equal(pthread_create(&a->thread, NULL, answer_thread, a), 0);
	status = drac_call_run(ours, a->stream, call, NULL,
			       drac_now_ns() + budget_ns, &error);
	pthread_join(a->thread, NULL);
	close_pair();
	assert_int_equal(status, error.re_status);
	return status;
}

static void put(struct answerer *a, uint32_t word)
{
	word = htonl(word);
	memcpy(a->reply + a->len, &word, sizeof word);
	a->len += sizeof word;
}

static void success(struct answerer *a, bool stream)
{
	a->stream = stream;
	a->len = 0;
	if (stream)
		put(a, 0);
	put(a, 0); /* xid */
	put(a, REPLY);
	put(a, MSG_ACCEPTED);
	put(a, AUTH_NONE);
	put(a, 0);
	put(a, SUCCESS);
}

static void finish(struct answerer *a)
{
	uint32_t mark = htonl(LAST_FRAGMENT | (uint32_t)(a->len - MARK_SIZE));

	if (a->stream)
		memcpy(a->reply, &mark, MARK_SIZE);
}

static void every_answer(void **state)
{
	static struct answerer a;
	drac_add_parm v4 = {.ip_addr = 1};
	const struct drac_call call = add4(&v4);

	(void)state;
	for (int stream = 0; stream < 2; stream++)
		for (uint32_t status = 0; status < 5; status++) {
			success(&a, stream);
			put(&a, status);
			finish(&a);
			assert_int_equal(run(&call, &a, DRAC_NS_PER_S),
					 RPC_SUCCESS);
			assert_int_equal(answer, status);
		}
}

/* A reply to another call, and ours in two fragments, all at once. */
static void records_that_come_together(void **state)
{
	static struct answerer a = {.stream = true};
	drac_add_parm v4 = {.ip_addr = 1};
	const struct drac_call call = add4(&v4);

	(void)state;
	put(&a, LAST_FRAGMENT | 2 * sizeof(uint32_t));
	put(&a, 0);
	put(&a, REPLY);
	put(&a, XID_SIZE);
	a.xid_at = a.len;
	put(&a, 0);
	put(&a, LAST_FRAGMENT | 6 * sizeof(uint32_t));
	put(&a, REPLY);
	put(&a, MSG_ACCEPTED);
	put(&a, AUTH_NONE);
	put(&a, 0);
	put(&a, SUCCESS);
	put(&a, ADD_SYSERR);
	assert_int_equal(run(&call, &a, DRAC_NS_PER_S), RPC_SUCCESS);
	assert_int_equal(answer, ADD_SYSERR);
}

/* A reply without a result is no result, whatever was there before. */
static void truncated_replies(void **state)
{
	static struct answerer a;
	drac_add_parm v4 = {.ip_addr = 1};
	const struct drac_call call = add4(&v4);
	size_t whole;

	(void)state;
	for (int stream = 0; stream < 2; stream++) {
		success(&a, stream);
		put(&a, ADD_SUCCESS);
		whole = a.len;
		for (a.len = stream ? MARK_SIZE : 0; a.len < whole; a.len++) {
			finish(&a);
			answer = ADD_UNKOWN;
			assert_int_not_equal(run(&call, &a, 5 * DRAC_NS_PER_MS),
					     RPC_SUCCESS);
		}
	}
}

/* A page of two entries; where its bytes are changed, anything may come. */
static void page(struct answerer *a, bool stream)
{
	success(a, stream);
	put(a, DRAC3_OK);
	put(a, 2);
	for (int i = 0; i < 2; i++) {
		put(a, 4);
		put(a, 0xc0000201);
		put(a, 0);
		put(a, 2000000000);
		put(a, 4);
		put(a, 0x6a6f6521);
		put(a, 3);
		put(a, 0x706f7000);
		put(a, 0);
		put(a, 1999990000);
		put(a, 0);
		put(a, 1999998200);
		put(a, 0);
		put(a, 3);
		put(a, 4);
		put(a, 0x3a3a3a31);
	}
	put(a, 0);
	put(a, 7);
	finish(a);
}

static void changed_replies(void **state)
{
	static struct answerer a;
	drac3_list_args args = {.max = DRAC3_PAGE_MAX};
	drac3_list_res res;
	const struct drac_call call = {
	    .program = DRACPROG,
	    .version = DRACVERS3,
	    .procedure = DRAC3_LIST,
	    .encode = (xdrproc_t)xdr_drac3_list_args,
	    .arguments = &args,
	    .decode = (xdrproc_t)xdr_drac3_list_res,
	    .result = &res,
	    .result_size = sizeof res,
	};
	unsigned int seed = 1, good = 0, bad = 0;

	(void)state;
	for (int round = 0; round < MUTATIONS; round++) {
		bool stream = round % 2;
		size_t header = XID_SIZE + (stream ? MARK_SIZE : 0);
		enum clnt_stat status;

		page(&a, stream);
		for (int i = rand_r(&seed) % 4; i > 0; i--) {
			size_t at =
			    header + (size_t)rand_r(&seed) % (a.len - header);
			a.reply[at] = (char)rand_r(&seed);
		}
		if (rand_r(&seed) % 8 == 0)
			a.len =
			    header + (size_t)rand_r(&seed) % (a.len - header);
		status = run(&call, &a, 5 * DRAC_NS_PER_MS);
		if (status == RPC_SUCCESS)
			xdr_free(call.decode, &res);
		*(status == RPC_SUCCESS ? &good : &bad) += 1;
	}
	/* Both happen, or this test tests nothing. */
	assert_true(good > MUTATIONS / 10 && bad > MUTATIONS / 10);
}

/* ---- deadlines -------------------------------------------------------- */

static void deadline_is_past(void **state)
{
	drac_add_parm v4 = {.ip_addr = 1};
	const struct drac_call call = add4(&v4);

	(void)state;
	for (int stream = 0; stream < 2; stream++) {
		pair(stream ? SOCK_STREAM : SOCK_DGRAM);
		assert_int_equal(drac_call_run(ours, stream, &call, NULL,
					       drac_now_ns() - DRAC_NS_PER_S,
					       &error),
				 RPC_TIMEDOUT);
		close_pair();
	}
}

static void peer_is_gone(void **state)
{
	drac_add_parm v4 = {.ip_addr = 1};
	const struct drac_call call = add4(&v4);

	(void)state;
	pair(SOCK_STREAM);
	close(theirs);
	/* And no SIGPIPE, or this is the end. */
	assert_int_equal(drac_call_run(ours, true, &call, NULL,
				       drac_now_ns() + DRAC_NS_PER_S, &error),
			 RPC_CANTSEND);
	assert_int_equal(error.re_errno, EPIPE);
	close(ours);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(classic_bytes),
	    cmocka_unit_test(same_xid_again),
	    cmocka_unit_test(every_answer),
	    cmocka_unit_test(records_that_come_together),
	    cmocka_unit_test(truncated_replies),
	    cmocka_unit_test(changed_replies),
	    cmocka_unit_test(deadline_is_past),
	    cmocka_unit_test(peer_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

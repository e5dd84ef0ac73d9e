/*
 * The library when the system refuses a call: it fails with a text, and leaves
 * nothing open; and what its callers may do wrong.
 */
#include "refuse.h"

#include <arpa/inet.h>
#include <limits.h>
#include <rpc/rpc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "call.h"
#include "drac.h"
#include "drac_prot.h"
#include "lookup.h"
#include "scratch.h"

enum {
	CALLS_MAX = 200,
	BUDGET_MS = 100,
	LOOKUPS_MAX = 16, /* as in lookup.c */
	ADD_SUCCEEDS = 0,
};

/* ---- a server, in a process of its own ------------------------------------
 */

static uint16_t port; /* of UDP on loopback */
static pid_t server;

/* Accepts each call. After the head of the answer come these words. */
static void answer_all(int fd, const uint32_t *body, size_t words)
{
	uint32_t call[256], reply[64] = {0};
	struct sockaddr_in from;
	socklen_t len = sizeof from;

	while (recvfrom(fd, call, sizeof call, 0, (struct sockaddr *)&from,
			&len) > 0) {
		reply[0] = call[0];
		reply[1] = htonl(REPLY);
		for (size_t i = 0; i < words; i++)
			reply[6 + i] = htonl(body[i]);
		sendto(fd, reply, 4 * (6 + words), 0, (struct sockaddr *)&from,
		       len);
	}
}

static void serve(const uint32_t *body, size_t words)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	port = ntohs(at.sin_port);
	server = fork();
	assert_true(server >= 0);
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		answer_all(fd, body, words);
		_exit(0);
	}
	close(fd);
}

static void stop(void)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

static const char *name_of_server(void)
{
	static char name[32];

	snprintf(name, sizeof name, "127.0.0.1:%d", port);
	return name;
}

/* ---- what the system refuses ----------------------------------------------
 */

static void one_shot(const char *where, int *result, const char **text)
{
	char *message = NULL;

	*result = dracauth(where, htonl(0xc0000201), &message);
	*text = message;
}

static void by_handle(const char *where, int *result, const char **text)
{
	struct drac *drac = drac_open(where, BUDGET_MS);

	*result = drac_add(drac, "192.0.2.1", 0, "", "", NULL);
	*text = drac_error();
	drac_close(drac);
}

/* What is sent twice over UDP may be refused once. */
static void each_call(void **state)
{
	static const uint32_t granted[] = {ADD_SUCCEEDS, 0, 1};
	static void (*const way[])(const char *, int *,
				   const char **) = {one_shot, by_handle};
	size_t descriptors;
	int failures = 0, at;

	(void)state;
	serve(granted, sizeof granted / sizeof *granted);
	descriptors = refuse_descriptors();
	for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
		for (at = 1; at < CALLS_MAX; at++) {
			const char *text = NULL;
			int result;

			refuse_begin(at);
			way[i](name_of_server(), &result, &text);
			if (!refuse_end())
				break;
			if (result != 0 && (text == NULL || *text == '\0'))
				fail_msg("%s, call %d: %d without a text",
					 refused_call, at, result);
			assert_int_equal(refuse_descriptors(), descriptors);
			failures += result != 0;
		}
		assert_in_range(at, 3, CALLS_MAX - 1);
	}
	assert_in_range(failures, 3, CALLS_MAX);
	stop();
}

static void no_thread(void **state)
{
	struct drac_addresses found;
	struct rpc_err error;

	(void)state;
	/* Each is given back: more of them than there may be at a time. */
	for (int i = 0; i < 2 * LOOKUPS_MAX; i++) {
		int at = 0;

		do {
			refuse_begin(++at);
			drac_lookup("nobody.invalid", drac_now_ns(), &found,
				    &error);
			assert_true(refuse_end());
		} while (strcmp(refused_call, "pthread_create") != 0);
		assert_int_equal(error.re_status, RPC_SYSTEMERROR);
		assert_int_equal(error.re_errno, EAGAIN);
	}
}

/* ---- the caller's own mistakes, and his own CLIENT ---------------------- */

static void bad_handles(void **state)
{
	(void)state;
	assert_null(drac_open("127.0.0.1", UINT_MAX));
	assert_contains(drac_error(), "budget is above");
	assert_null(drac_open(NULL, 0));
	assert_contains(drac_error(), "Unknown host");
	drac_close(NULL);
}

/* As a program has them that made its CLIENT itself, with DRAC 1.12. */
static void stubs(void **state)
{
	static const uint32_t denied[] = {ADD_PERM};
	const struct timeval wait = {.tv_sec = 1};
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	drac_add_parm v4 = {.ip_addr = 0xc0000201};
	drac_add_parm6 v6 = {0};
	addstat *answer;
	CLIENT *client;
	int fd = RPC_ANYSOCK;

	(void)state;
	serve(denied, 1);
	at.sin_port = htons(port);
	client = clntudp_create(&at, DRACPROG, DRACVERS, wait, &fd);
	assert_non_null(client);
	answer = dracproc_add_1(&v4, client);
	assert_non_null(answer);
	assert_int_equal(*answer, ADD_PERM);
	answer = dracproc_add_2(&v6, client);
	assert_non_null(answer);
	assert_int_equal(*answer, ADD_PERM);
	stop();
	assert_null(dracproc_add_1(&v4, client));
	clnt_destroy(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_call),
	    cmocka_unit_test(no_thread),
	    cmocka_unit_test(bad_handles),
	    cmocka_unit_test(stubs),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

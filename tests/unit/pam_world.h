/*
 * pam_world: pam_drac as the real libpam loads and calls it, with a dracd that
 * is a thread of the test, and what it logs.
 */
#ifndef TESTS_PAM_WORLD_H
#define TESTS_PAM_WORLD_H

#include <security/pam_appl.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "scratch.h"

enum {
	HEADER = 4 + 40, /* the record mark, and a call without credentials */
	SLACK_MS = 1500, /* of a busy machine, sanitized */
	THREADS = 8,
	TEXT_MAX = 512,
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char module[256]; /* the pam_drac.so of this build */

/* ---- syslog ---------------------------------------------------------- */

static char logged[TEXT_MAX]; /* the last line */
static atomic_int lines;

static inline void keep_line(const char *format, va_list args)
{
	vsnprintf(logged, sizeof logged, format, args);
	lines++;
}

/* In the place of libc's, which libpam calls by either name. */
void syslog(int priority, const char *format, ...);
void syslog(int priority, const char *format, ...)
{
	va_list args;

	(void)priority;
	va_start(args, format);
	keep_line(format, args);
	va_end(args);
}

void __syslog_chk(int priority, int flag, const char *format, ...);
void __syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list args;

	(void)priority;
	(void)flag;
	va_start(args, format);
	keep_line(format, args);
	va_end(args);
}

/* ---- dracd ----------------------------------------------------------- */

enum manner { ANSWERS, REFUSES, CLOSES, SAYS_NOTHING };

static struct {
	int fd;
	pthread_t thread;
	_Atomic enum manner manner;
	atomic_int calls;
	atomic_bool busy; /* its side of a connection is open */
	/* of the last call */
	char address[INET6_ADDRSTRLEN];
	char user[TEXT_MAX], service[TEXT_MAX];
} dracd;

static inline uint32_t take_number(const unsigned char **at)
{
	uint32_t number;

	memcpy(&number, *at, sizeof number);
	*at += sizeof number;
	return ntohl(number);
}

static inline size_t take_bytes(const unsigned char **at, char bytes[TEXT_MAX])
{
	size_t len = take_number(at);

	if (len >= TEXT_MAX)
		abort();
	memcpy(bytes, *at, len);
	bytes[len] = '\0';
	*at += (len + 3) / 4 * 4;
	return len;
}

static inline void note_call(const unsigned char *call)
{
	const unsigned char *at = call + HEADER;
	char address[TEXT_MAX];
	size_t len = take_bytes(&at, address);

	inet_ntop(len == sizeof(struct in_addr) ? AF_INET : AF_INET6, address,
		  dracd.address, sizeof dracd.address);
	if (take_number(&at) != 0) /* the default lifetime */
		abort();
	take_bytes(&at, dracd.user);
	take_bytes(&at, dracd.service);
}

static inline void serve(int fd)
{
	unsigned char call[2 * TEXT_MAX] = {0};
	/* Record mark, xid, reply, accepted, verifier, success, result. */
	uint32_t reply[] = {
	    htonl(0x80000024), 0, htonl(1), 0, 0, 0, 0, 0, 0, 0};

	if (dracd.manner == CLOSES || read(fd, call, sizeof call) <= HEADER)
		return;
	note_call(call);
	memcpy(&reply[1], call + 4, sizeof reply[1]);
	if (dracd.manner == REFUSES)
		reply[7] = htonl(1);
	/* Says nothing until the other side gives up. */
	if (dracd.manner == SAYS_NOTHING ? read(fd, call, sizeof call) != 0
					 : write(fd, reply, sizeof reply) < 0)
		abort();
}

static inline void *run_dracd(void *arg)
{
	int fd;

	while ((fd = accept(dracd.fd, NULL, NULL)) >= 0) {
		dracd.busy = true;
		dracd.calls++;
		serve(fd);
		close(fd);
		dracd.busy = false;
	}
	return arg;
}

static inline void start_dracd(void)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "sock"};

	dracd.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(
	    bind(dracd.fd, (struct sockaddr *)&local, sizeof local), 0);
	assert_int_equal(listen(dracd.fd, THREADS), 0);
	assert_int_equal(pthread_create(&dracd.thread, NULL, run_dracd, NULL),
			 0);
}

/* ---- PAM ------------------------------------------------------------- */

static inline int no_talk(int count, const struct pam_message **message,
			  struct pam_response **response, void *data)
{
	(void)count, (void)message, (void)response, (void)data;
	return PAM_CONV_ERR;
}

static inline void write_stack(const char *service, const char *options)
{
	char text[4 * TEXT_MAX];

	snprintf(text, sizeof text,
		 "account required pam_permit.so\n"
		 "account optional %s server=unix:%s/sock %s\n"
		 "session required pam_permit.so\n"
		 "session optional %s server=unix:%s/sock %s\n",
		 module, scratch_dir, options, module, scratch_dir, options);
	scratch_write(service, text);
}

static inline pam_handle_t *start(const char *service, const char *user,
				  const char *rhost)
{
	static const struct pam_conv conv = {.conv = no_talk};
	pam_handle_t *pamh;

	assert_int_equal(
	    pam_start_confdir(service, user, &conv, scratch_dir, &pamh),
	    PAM_SUCCESS);
	if (rhost != NULL)
		assert_int_equal(pam_set_item(pamh, PAM_RHOST, rhost),
				 PAM_SUCCESS);
	return pamh;
}

/* A login: milliseconds that it took. */
static inline int64_t login(const char *service, const char *user,
			    const char *rhost)
{
	pam_handle_t *pamh = start(service, user, rhost);
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	assert_int_equal(pam_acct_mgmt(pamh, 0), PAM_SUCCESS);
	assert_int_equal(pam_open_session(pamh, 0), PAM_SUCCESS);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_int_equal(pam_close_session(pamh, 0), PAM_SUCCESS);
	assert_int_equal(pam_end(pamh, PAM_SUCCESS), PAM_SUCCESS);
	return (to.tv_sec - from.tv_sec) * 1000 +
	       (to.tv_nsec - from.tv_nsec) / 1000000;
}

/* A setup of cmocka. */
static inline int fresh(void **state)
{
	(void)state;
	dracd.calls = lines = 0;
	dracd.manner = ANSWERS;
	dracd.address[0] = logged[0] = '\0';
	write_stack("pop3", "");
	return unsetenv("TCPREMOTEIP");
}

static int other_end = -1;

/* Standard input becomes a connection, or nothing. */
static inline void set_stdin(const char *peer)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof at;
	int listener, fd;

	if (peer == NULL) {
		assert_non_null(freopen("/dev/null", "r", stdin));
		return;
	}
	listener = socket(AF_INET, SOCK_STREAM, 0);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(inet_pton(AF_INET, peer, &at.sin_addr), 1);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len),
			 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	close(fd);
	/* The other end stays open until the next one. */
	close(other_end);
	other_end = accept(listener, NULL, NULL);
	close(listener);
}

/* Those of the group. */
static inline int setup(void **state)
{
	static const char file[] = "/../pam_drac.so";
	ssize_t len =
	    readlink("/proc/self/exe", module, sizeof module - sizeof file);

	assert_true(len > 0);
	module[len] = '\0';
	memcpy(strrchr(module, '/'), file, sizeof file);
	if (scratch_setup(state) != 0)
		return 1;
	scratch_write("other", ""); /* libpam asks for it */
	set_stdin(NULL);
	start_dracd();
	return 0;
}

static inline int teardown(void **state)
{
	shutdown(dracd.fd, SHUT_RDWR);
	pthread_join(dracd.thread, NULL);
	close(dracd.fd);
	return scratch_teardown(state);
}

#endif

/*
 * pam_drac: loaded and called by the real libpam, against a dracd that is a
 * thread of this program. What servers make of it: test_pam.py.
 */
#include <security/pam_appl.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "scratch.h"

enum {
	HEADER = 4 + 40, /* the record mark, and a call without credentials */
	BUDGET_MS = 500,
	SLACK_MS = 1500, /* of a busy machine, sanitized */
	EARLY_MS = 100,
	THREADS = 8,
	ROUNDS = 25,
	LONG_USER = 255, /* the longest that is sent */
	TEXT_MAX = 512,
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PEER "127.0.0.9"

static char module[256]; /* the pam_drac.so of this build */

/* ---- syslog ---------------------------------------------------------- */

static char logged[TEXT_MAX]; /* the last line */
static atomic_int lines;

static void keep_line(const char *format, va_list args)
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

static uint32_t take_number(const unsigned char **at)
{
	uint32_t number;

	memcpy(&number, *at, sizeof number);
	*at += sizeof number;
	return ntohl(number);
}

static size_t take_bytes(const unsigned char **at, char bytes[TEXT_MAX])
{
	size_t len = take_number(at);

	if (len >= TEXT_MAX)
		abort();
	memcpy(bytes, *at, len);
	bytes[len] = '\0';
	*at += (len + 3) / 4 * 4;
	return len;
}

static void note_call(const unsigned char *call)
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

static void serve(int fd)
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

static void *run_dracd(void *arg)
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

static void start_dracd(void)
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

static int no_talk(int count, const struct pam_message **message,
		   struct pam_response **response, void *data)
{
	(void)count, (void)message, (void)response, (void)data;
	return PAM_CONV_ERR;
}

static void write_stack(const char *service, const char *options)
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

static pam_handle_t *start(const char *service, const char *user,
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
static int64_t login(const char *service, const char *user, const char *rhost)
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

static int fresh(void **state)
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
static void set_stdin(const char *peer)
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

/* ---- tests ----------------------------------------------------------- */

static void which_address(void **state)
{
	static const struct {
		const char *rhost, *peer, *env, *address;
	} rows[] = {
	    {"192.0.2.1", PEER, "192.0.2.3", "192.0.2.1"},
	    {"::ffff:192.0.2.1", NULL, NULL, "192.0.2.1"},
	    {"2001:DB8:0::1", NULL, NULL, "2001:db8::1"},
	    {"localhost", PEER, "192.0.2.3", PEER},
	    {"192.0.513", PEER, "192.0.2.3", PEER},
	    {"192.0.2.1 ", PEER, NULL, PEER},
	    {"fe80::1%lo", PEER, NULL, PEER},
	    {"", PEER, NULL, PEER},
	    {NULL, PEER, "192.0.2.3", PEER},
	    {NULL, NULL, "192.0.2.3", "192.0.2.3"},
	    {NULL, NULL, "::ffff:192.0.2.3", "192.0.2.3"},
	    {NULL, NULL, "localhost", ""},
	    {NULL, NULL, NULL, ""},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		fresh(state);
		set_stdin(rows[i].peer);
		if (rows[i].env != NULL)
			setenv("TCPREMOTEIP", rows[i].env, 1);
		login("pop3", "joe", rows[i].rhost);
		assert_string_equal(dracd.address, rows[i].address);
		assert_int_equal(dracd.calls, rows[i].address[0] != '\0');
	}
	set_stdin(NULL);
}

static void what_is_sent(void **state)
{
	static const char long_service[] = "a-service-with-a-name-of-33-bytes";
	char longest[LONG_USER + 1] = {0}, longer[LONG_USER + 2] = {0};
	const struct {
		const char *service, *user, *user_sent, *service_sent;
	} rows[] = {
	    {"pop3", "joe", "joe", "pop3"},
	    {"pop3", "j\xc3\xb6rg", "j\xc3\xb6rg", "pop3"},
	    {"pop3", "j\xff", "", "pop3"},
	    {"pop3", "joe\n", "", "pop3"},
	    {"pop3", longest, longest, "pop3"},
	    {"pop3", longer, "", "pop3"},
	    {"pop3", NULL, "", "pop3"},
	    {long_service, "joe", "joe", ""},
	};

	(void)state;
	memset(longest, 'x', LONG_USER);
	memset(longer, 'x', LONG_USER + 1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		write_stack(rows[i].service, "");
		login(rows[i].service, rows[i].user, "192.0.2.1");
		assert_string_equal(dracd.user, rows[i].user_sent);
		assert_string_equal(dracd.service, rows[i].service_sent);
	}
	assert_int_equal(lines, 0);
}

static void which_services(void **state)
{
	static const struct {
		const char *options;
		int calls;
	} rows[] = {
	    {"services=pop3", 1},
	    {"services=imap,pop3", 1},
	    {"services=POP3,imap", 1},
	    {"services=,pop3,", 1},
	    {"services=imap", 0},
	    {"services=", 0},
	    {"services=pop,pop3s", 0},
	    {"services=,", 0},
	    {"services=pop3 debug", 0},
	    {"service=pop3", 0},
	    {"services", 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		fresh(state);
		write_stack("pop3", rows[i].options);
		login("pop3", "joe", "192.0.2.1");
		assert_int_equal(dracd.calls, rows[i].calls);
	}
	assert_int_equal(lines, 2); /* one a phase that did nothing */
	assert_contains(logged, "unknown option \"services\"");
}

static void one_call_a_login(void **state)
{
	pam_handle_t *pamh = start("pop3", "joe", "192.0.2.1");

	(void)state;
	assert_int_equal(pam_open_session(pamh, 0), PAM_SUCCESS);
	assert_int_equal(dracd.calls, 1);
	assert_int_equal(pam_open_session(pamh, 0), PAM_SUCCESS);
	assert_int_equal(dracd.calls, 1);
	pam_end(pamh, PAM_SUCCESS);

	login("pop3", "joe", "192.0.2.1");
	assert_int_equal(dracd.calls, 2);
}

static void says_what_failed(void **state)
{
	(void)state;
	dracd.manner = REFUSES;
	login("pop3", "joe", "192.0.2.1");
	assert_contains(logged, "192.0.2.1 is not authorized: Server reports "
				"permission denied");
	assert_int_equal(lines, 1);
	dracd.manner = CLOSES;
	login("pop3", "joe", "192.0.2.1");
	assert_contains(logged, "192.0.2.1 is not authorized: unix:");
	assert_int_equal(lines, 2);
	write_stack("pop3", "server=");
	login("pop3", "joe", "192.0.2.1");
	assert_int_equal(lines, 3);
}

/* Both phases together. */
static void waits_for_its_budget(void **state)
{
	int64_t took_ms;

	(void)state;
	dracd.manner = SAYS_NOTHING;
	took_ms = login("pop3", "joe", "192.0.2.1");
	assert_in_range(took_ms, BUDGET_MS - EARLY_MS, BUDGET_MS + SLACK_MS);
	assert_int_equal(dracd.calls, 1);
}

static void never_decides(void **state)
{
	static const char *const names[] = {
	    "pam_sm_acct_mgmt",     "pam_sm_open_session",
	    "pam_sm_close_session", "pam_sm_authenticate",
	    "pam_sm_setcred",       "pam_sm_chauthtok",
	};
	void *loaded = dlopen(module, RTLD_NOW);
	const char *argv[2] = {"server=unix:/nowhere", "rubbish"};

	(void)state;
	assert_non_null(loaded);
	for (size_t i = 0; i < COUNT(names); i++)
		for (int argc = 0; argc <= 2; argc++) {
			int (*function)(pam_handle_t *, int, int,
					const char **);
			pam_handle_t *pamh = start("pop3", "joe", "192.0.2.1");

			*(void **)&function = dlsym(loaded, names[i]);
			assert_non_null(function);
			assert_int_equal(function(pamh, 0, argc, argv),
					 PAM_IGNORE);
			pam_end(pamh, PAM_SUCCESS);
		}
	assert_int_equal(dlclose(loaded), 0);
	/* A lookup that comes back late finds its code. */
	assert_non_null(dlopen(module, RTLD_NOW | RTLD_NOLOAD));
}

static size_t descriptors(void)
{
	DIR *dir;
	size_t count = 0;

	for (int i = 0; i < SLACK_MS && dracd.busy; i++)
		usleep(1000);
	dir = opendir("/proc/self/fd");
	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void leaves_nothing(void **state)
{
	static const enum manner manners[] = {ANSWERS, REFUSES, CLOSES,
					      SAYS_NOTHING};
	struct sigaction before[NSIG], after;
	sigset_t mask, mask_after;
	size_t count = descriptors();

	(void)state;
	for (int i = 1; i < SIGSYS; i++)
		sigaction(i, NULL, &before[i]);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_true(before[SIGPIPE].sa_handler == SIG_DFL);
	for (size_t i = 0; i < COUNT(manners); i++) {
		dracd.manner = manners[i];
		login("pop3", "joe", "192.0.2.1");
	}
	for (int i = 1; i < SIGSYS; i++) {
		sigaction(i, NULL, &after);
		assert_true(before[i].sa_handler == after.sa_handler);
	}
	pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
	for (int i = 1; i < SIGSYS; i++)
		assert_int_equal(sigismember(&mask, i),
				 sigismember(&mask_after, i));
	assert_int_equal(descriptors(), count);
}

static void *log_in_often(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		login("pop3", "joe", "192.0.2.1");
	return arg;
}

static void many_threads(void **state)
{
	pthread_t thread[THREADS];

	(void)state;
#ifdef MEMCHECK
	print_message("not run: under memcheck, logins are given up\n");
	skip();
#endif
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&thread[i], NULL, log_in_often, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(dracd.calls, THREADS * ROUNDS);
	assert_int_equal(lines, 0);
}

static int setup(void **state)
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

static int teardown(void **state)
{
	shutdown(dracd.fd, SHUT_RDWR);
	pthread_join(dracd.thread, NULL);
	close(dracd.fd);
	return scratch_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(which_address, fresh),
	    cmocka_unit_test_setup(what_is_sent, fresh),
	    cmocka_unit_test_setup(which_services, fresh),
	    cmocka_unit_test_setup(one_call_a_login, fresh),
	    cmocka_unit_test_setup(says_what_failed, fresh),
	    cmocka_unit_test_setup(waits_for_its_budget, fresh),
	    cmocka_unit_test_setup(never_decides, fresh),
	    cmocka_unit_test_setup(leaves_nothing, fresh),
	    cmocka_unit_test_setup(many_threads, fresh),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/*
 * Lives of a daemon in which the system refuses a call: each of them once. When
 * it starts, it either serves, or says why not; when it serves, it goes on. It
 * leaves nothing open, and the next one has all that it had.
 */
#include "refuse.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "access.h"
#include "config.h"
#include "daemon.h"
#include "drac.h"
#include "keys.h"
#include "listen.h"
#include "rights.h"
#include "scratch.h"

enum {
	CALLS_MAX = 2000,
	SOME = 4, /* starts without memory are followed by another */
	SERVED_MAX = 60 /* it may look for datagrams again and again */,
#ifdef MEMCHECK
	BUDGET_MS = 60000,
	SHORT_MS = 3000,
	EACH = 10 /* th call is refused: all of them take too long */
#else
	BUDGET_MS = 5000,
	SHORT_MS = 300,
	EACH = 1
#endif
};

static char conf[1024], server[512];
static struct bounds bounds;
static unsigned int budget_ms = BUDGET_MS;

/* As main() does. */
static struct daemon *start(void)
{
	static char *argv[] = {"dracd", "-f", "-c", conf, NULL};
	struct config *config;
	struct keys *keys = NULL;
	struct access *access = NULL;
	struct identity identity;

	if (config_load(4, argv, &config) != EX_OK)
		return NULL;
	keys = keys_open(config);
	if (keys != NULL)
		access =
		    access_open(config->allow_file, config->hosts_access, keys);
	if (access != NULL && rights_find(config, &identity) &&
	    rights_prepare(config, &identity) &&
	    listen_open(config, access, identity.uid, identity.gid, &bounds))
		return daemon_create(config, keys, access, &bounds, 4, argv);
	access_close(access);
	keys_free(keys);
	config_free(config);
	return NULL;
}

static void stop(struct daemon *daemon)
{
	if (daemon != NULL)
		daemon_free(daemon);
	listen_close(&bounds);
}

/* Another process calls; it ends the daemon when it has been answered. */
static pid_t caller(bool (*calls)(struct drac *))
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		struct drac *drac = drac_open(server, budget_ms);
		bool well;

		refuse_begin(0);
		well = calls(drac);
		drac_close(drac);
		kill(getppid(), SIGTERM);
		/* Not _exit(): to memcheck this copy of the daemon is lost. */
		execl(well ? "/bin/true" : "/bin/false", "", (char *)NULL);
		_exit(1);
	}
	return child;
}

static bool add(struct drac *drac)
{
	return drac_add(drac, "192.0.2.1", 3600, "joe", "pop3", NULL) ==
		   DRAC_OK &&
	       drac_add(drac, "2001:db8::1", 3600, "", "", NULL) == DRAC_OK;
}

static bool look(struct drac *drac)
{
	struct drac_entry entry;

	return drac_query(drac, "192.0.2.1", &entry) == DRAC_OK &&
	       strcmp(entry.user, "joe") == 0 &&
	       drac_query(drac, "2001:db8::1", &entry) == DRAC_OK;
}

/* One may be left without an answer, when that has been refused. */
static bool try(struct drac *drac)
{
	char udp[32], address[32];
	bool well;
	struct drac *other;

	snprintf(
	    udp, sizeof udp, "127.0.0.1:%d",
	    ntohs(((struct sockaddr_in *)&bounds.bound[1].address)->sin_port));
	other = drac_open(udp, budget_ms);
	for (int i = 0; i < 2; i++) {
		drac_add(drac, "192.0.2.1", 3600, "joe", "pop3", NULL);
		snprintf(address, sizeof address, "2001:db8::%x", getpid());
		drac_add(drac, address, 3600, address, "imap", NULL);
		drac_add(other, "192.0.2.2", 3600, "", "", NULL);
	}
	drac_close(other);
	/* The kept connection may be one whose caller could not be told. */
	other = drac_open(server, BUDGET_MS);
	well = look(drac) || look(other);
	drac_close(other);
	return well;
}

/* What its caller says: 0, it was well. What is logged is not shown. */
static int serve(bool (*calls)(struct drac *), int refused_at)
{
	struct daemon *daemon;
	pid_t child;
	int status;

	capture_begin();
	daemon = start();
	if (daemon == NULL) {
		print_error("%s", capture_end());
		return -1;
	}
	child = caller(calls);
	refuse_begin(refused_at);
	daemon_run(daemon);
	refuse_end();
	stop(daemon);
	capture_end();
	return waitpid(child, &status, 0) == child ? status : -1;
}

/* What a daemon finds, so that each makes the same calls. */
static void keep(void)
{
	assert_int_equal(system("mkdir -p kept && cp -a journal dracd.* kept"),
			 0);
}

static void restore(void)
{
	assert_int_equal(system("rm -rf journal dracd.* && cp -a kept/. ."), 0);
}

static const int calls = CALLS, allocations = ALLOCATIONS;

/* No status that a sanitizer has. */
enum { SPARED = 100, SERVED, GAVE_UP, OPEN_LEFT };

/* A start and a stop, in a process of its own, which looks for leaks. */
static int life(int at, size_t descriptors)
{
	struct daemon *daemon;
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child > 0) {
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		return WEXITSTATUS(status);
	}
	refuse_begin(at);
	daemon = start();
	status = daemon != NULL ? SERVED : GAVE_UP;
	if (!refuse_end())
		status = SPARED;
	stop(daemon);
	exit(refuse_descriptors() == descriptors ? status : OPEN_LEFT);
}

static void each_of_a_start(void **state)
{
	int at, unable = 0, status;

	refuse_what = *(const int *)*state;
	assert_int_equal(serve(add, 0), 0);
	keep();
	for (at = 1; at < CALLS_MAX; at += EACH) {
		size_t descriptors;
		const char *said;

		restore();
		capture_begin();
		descriptors = refuse_descriptors();
		status = life(at, descriptors);
		said = capture_end();
		if (status == SPARED)
			break;
		if (status == EX_UNAVAILABLE) /* in the midst of a library */
			status = GAVE_UP;
		unable += status == GAVE_UP;
		if (status != SERVED && (status != GAVE_UP || *said == '\0'))
			fail_msg("call %d: status %d, \"%s\"", at, status,
				 said);
		if ((refuse_what == CALLS || at % SOME == 0) &&
		    serve(look, 0) != 0)
			fail_msg("call %d: the next start", at);
	}
	print_message("each %d. of %d calls, %d starts given up\n", EACH,
		      at - 1, unable);
	assert_in_range(at, 50, CALLS_MAX - 1);
	assert_in_range(unable, 20 / EACH, at);
}

static void each_of_a_server(void **state)
{
	size_t descriptors = refuse_descriptors();
	int at;

	refuse_what = *(const int *)*state;
	assert_int_equal(serve(add, 0), 0);
	budget_ms = SHORT_MS;
	for (at = 1; at < SERVED_MAX; at += EACH) {
		int status = serve(try, at);

		if (refused_call == NULL)
			break;
		if (status != 0 || refuse_descriptors() != descriptors)
			fail_msg("%s, call %d: status %d", refused_call, at,
				 status);
	}
	budget_ms = BUDGET_MS;
	print_message("each %d. of %d calls\n", EACH, at - 1);
	assert_in_range(at, 5, SERVED_MAX + EACH);
}

static int setup(void **state)
{
	static const char settings[] =
	    "user = \"\"\n"
	    "journal = \"journal\"\n"
	    "map \"btree:dracd.db\" { capacity = 64 }\n"
	    "map \"lmdb:dracd.lmdb\" { capacity = 64 }\n"
	    "allow-file = \"dracd.allow\"\n"
	    "rpcbind = false\n"
	    "max-addresses-per-user = 5\n"
	    "ipv6-prefix = 64\n"
	    "key \"pop1\" { file = \"pop1.key\" }\n"
	    "listen = {\"unix:rpc.sock\", \"udp:127.0.0.1:0\", "
	    "\"tcp:[::1]:0\"}\n"
	    "lookup = {\"unix:map.sock\"}\n";
	sigset_t set;

	if (scratch_setup(state) != 0)
		return 1;
	snprintf(conf, sizeof conf, "%s/dracd.conf", scratch_dir);
	snprintf(server, sizeof server, "unix:%s/rpc.sock", scratch_dir);
	scratch_write(conf, settings);
	scratch_write("dracd.allow", "host 192.0.2.1\n");
	scratch_write("pop1.key",
		      "pop1 0123456789abcdef0123456789abcdef01234567\n");
	chmod("pop1.key", 0600);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	return sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    {"each_call_of_a_start", each_of_a_start, NULL, NULL,
	     (void *)&calls},
	    {"each_call_of_a_server", each_of_a_server, NULL, NULL,
	     (void *)&calls},
	    {"each_allocation_of_a_start", each_of_a_start, NULL, NULL,
	     (void *)&allocations},
	    {"each_allocation_of_a_server", each_of_a_server, NULL, NULL,
	     (void *)&allocations},
	};

	return cmocka_run_group_tests(tests, setup, scratch_teardown);
}

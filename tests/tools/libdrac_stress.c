/*
 * libdrac_stress: what a long-lived program with threads, signals and many
 * descriptors needs of libdrac. Exit status 0, or 1 with what was wrong.
 *
 *	libdrac_stress calls SERVER N	N calls; their descriptors and threads
 *					are gone afterwards
 *	libdrac_stress threads SERVER N	8 threads on one handle, 8 with their
 *					own, 8 classic ones: N adds each
 *	libdrac_stress texts A B	8 threads fail at A and B, and each
 *					reads its own message
 *	libdrac_stress bad SERVER...	8 threads fail at servers that are ill
 *	libdrac_stress connection SERVER N	4 threads send, 2 connect and
 *					disconnect meanwhile
 *	libdrac_stress high SERVER	with 2000 descriptors open before
 *	libdrac_stress signals SERVER	under a timer's signals
 *	libdrac_stress fork SERVER N	parent and child on one handle
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "drac.h"
#include "threads.h"

enum {
	THREADS = 8,
	SENDERS = 4,
	CONNECTORS = 2,
	DESCRIPTORS = 2000,
	TICK_US = 3000,
	BAD_BUDGET_MS = 500,
	SETTLE_S = 15, /* for the resolver to give up */
	ADDRESS_BASE = 0x0a000000,
};

static const char *server, *other_server;
static unsigned int rounds;
static struct drac *shared;
static atomic_uint wrong, next_address = ADDRESS_BASE;

static void complain(const char *what, int result, const char *text)
{
	if (atomic_fetch_add(&wrong, 1) < 10)
		warnx("%s: %d %s", what, result, text);
}

static size_t entries_of(const char *directory)
{
	DIR *dir = opendir(directory);
	size_t count = 0;

	if (dir == NULL)
		err(1, "%s", directory);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

/* ---- many calls ------------------------------------------------------------
 */

static void run_calls(void)
{
	size_t fds = entries_of("/proc/self/fd");
	size_t threads = threads_now() + THREADS_SANITIZER;
	const struct timespec tick = {.tv_nsec = 10000000};
	unsigned int failures = 0;
	char *message = NULL;
	time_t end;

	for (unsigned int i = 0; i < rounds; i++)
		failures +=
		    dracauth(server, htonl(ADDRESS_BASE + i), &message) != 0;
	printf("%u of %u failed, descriptors %zu -> %zu: %s\n", failures,
	       rounds, fds, entries_of("/proc/self/fd"), message);
	if (threads_now() > threads + 16)
		errx(1, "%zu threads", threads_now());
	/* A lookup that was given up ends by itself, with its descriptors. */
	end = time(NULL) + SETTLE_S;
	while (threads_now() > threads && time(NULL) < end)
		nanosleep(&tick, NULL);
	if (entries_of("/proc/self/fd") != fds)
		errx(1, "descriptors: %zu, then %zu", fds,
		     entries_of("/proc/self/fd"));
	if (threads_now() > threads)
		errx(1, "threads: %zu, then %zu", threads, threads_now());
}

/* ---- threads
 * ----------------------------------------------------------------- */

static const char *address_text(unsigned int address, char *buf, size_t size)
{
	struct in_addr in = {.s_addr = htonl(address)};

	return inet_ntop(AF_INET, &in, buf, (socklen_t)size);
}

/* Adds and reads back: an answer to another thread's call would show. */
static void add_and_query(struct drac *drac)
{
	char text[DRAC_ADDRESS_SIZE];
	struct drac_entry entry;
	int result;

	address_text(atomic_fetch_add(&next_address, 1), text, sizeof text);
	result = drac_add(drac, text, 60, text, "test", NULL);
	if (result != DRAC_OK)
		complain("add", result, drac_error());
	result = drac_query(drac, text, &entry);
	if (result != DRAC_OK)
		complain("query", result, drac_error());
	else if (strcmp(entry.address, text) != 0 ||
		 strcmp(entry.user, text) != 0)
		complain(text, 0, entry.address);
}

static void *shared_thread(void *unused)
{
	for (unsigned int i = 0; i < rounds; i++)
		add_and_query(shared);
	return unused;
}

static void *own_thread(void *unused)
{
	struct drac *drac = drac_open(server, DRAC_BUDGET_MAX_MS);

	for (unsigned int i = 0; i < rounds; i++)
		add_and_query(drac);
	drac_close(drac);
	return unused;
}

static void *classic_thread(void *unused)
{
	for (unsigned int i = 0; i < rounds; i++) {
		unsigned int address = atomic_fetch_add(&next_address, 1);
		char *message = NULL;
		int result = dracauth(server, htonl(address), &message);

		if (result != 0)
			complain("dracauth", result, message);
	}
	return unused;
}

static void *text_thread(void *argument)
{
	const char *mine = argument;

	for (unsigned int i = 0; i < rounds; i++) {
		char *message = NULL;

		if (dracauth(mine, htonl(ADDRESS_BASE), &message) != -1 ||
		    strncmp(message, mine, strlen(mine)) != 0)
			complain(mine, 0, message);
	}
	return NULL;
}

static char **bad_servers; /* up to NULL */
static atomic_uint next_bad;

static void must_fail(const char *what, int result, const char *text)
{
	if (result == 0 || text == NULL || *text == '\0')
		complain(what, result, text == NULL ? "(null)" : text);
}

/* Of the one connection another thread may have said something meanwhile. */
static void *bad_thread(void *unused)
{
	size_t count = 0, mine = atomic_fetch_add(&next_bad, 1);
	char *message = NULL;
	const char *server_here;
	struct drac *own;
	int result;

	while (bad_servers[count] != NULL)
		count++;
	server_here = bad_servers[mine % count];
	own = drac_open(server_here, BAD_BUDGET_MS);
	for (unsigned int i = 0; i < SENDERS; i++) {
		result = drac_add(i % 2 == 0 ? own : shared, "192.0.2.1", 0, "",
				  "", NULL);
		must_fail("add", result, drac_error());
	}
	drac_close(own);
	result = dracauth(server_here, htonl(ADDRESS_BASE), &message);
	must_fail("dracauth", result, message);
	dracconn(server_here, &message);
	result = dracsend(htonl(ADDRESS_BASE), &message);
	must_fail("dracsend", result, message);
	dracdisc(&message);
	return unused;
}

/* "Not connected" is right too, while another thread connects again. */
static void *send_thread(void *unused)
{
	for (unsigned int i = 0; i < rounds; i++) {
		char *message = NULL;
		int result = dracsend(htonl(ADDRESS_BASE + i), &message);

		if (result != 0 && strcmp(message, "Not connected") != 0)
			complain("dracsend", result, message);
	}
	return unused;
}

static void *conn_thread(void *unused)
{
	for (unsigned int i = 0; i < rounds; i++) {
		char *message = NULL;
		int result = dracconn(server, &message);

		if (result != 0)
			complain("dracconn", result, message);
		dracdisc(NULL);
	}
	return unused;
}

static void start(pthread_t *threads, size_t count, void *(*run)(void *),
		  void *argument)
{
	for (size_t i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, run, argument) != 0)
			errx(1, "pthread_create");
}

static void join(pthread_t *threads, size_t count)
{
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

static void run_threads(void)
{
	pthread_t threads[3 * THREADS];

	shared = drac_open(server, DRAC_BUDGET_MAX_MS);
	if (shared == NULL)
		errx(1, "%s", drac_error());
	start(threads, THREADS, shared_thread, NULL);
	start(threads + THREADS, THREADS, own_thread, NULL);
	start(threads + 2 * THREADS, THREADS, classic_thread, NULL);
	join(threads, 3 * THREADS);
	drac_close(shared);
}

static void run_texts(void)
{
	pthread_t threads[THREADS];

	start(threads, THREADS / 2, text_thread, (void *)server);
	start(threads + THREADS / 2, THREADS / 2, text_thread,
	      (void *)other_server);
	join(threads, THREADS);
}

static void run_bad(void)
{
	pthread_t threads[THREADS];
	char servers[1024] = "";

	for (char **each = bad_servers; *each != NULL; each++)
		snprintf(servers + strlen(servers),
			 sizeof servers - strlen(servers), ",%s", *each);
	shared = drac_open(servers + 1, BAD_BUDGET_MS);
	if (shared == NULL)
		errx(1, "%s", drac_error());
	start(threads, THREADS, bad_thread, NULL);
	join(threads, THREADS);
	drac_close(shared);
	dracdisc(NULL);
}

static void run_connection(void)
{
	pthread_t threads[SENDERS + CONNECTORS];

	start(threads, SENDERS, send_thread, NULL);
	start(threads + SENDERS, CONNECTORS, conn_thread, NULL);
	join(threads, SENDERS + CONNECTORS);
	dracdisc(NULL);
}

/* ---- descriptors, signals, fork --------------------------------------------
 */

static void run_high(void)
{
	struct rlimit limit = {DESCRIPTORS + 100, DESCRIPTORS + 100};
	struct drac_counter counters[DRAC_COUNTERS_MAX];
	size_t count = DRAC_COUNTERS_MAX;
	struct drac *drac;

	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		err(1, "setrlimit");
	for (int i = 0; i < DESCRIPTORS; i++)
		if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
			err(1, "/dev/null");
	rounds = 10;
	classic_thread(NULL);
	drac = drac_open(server, DRAC_BUDGET_MAX_MS);
	add_and_query(drac);
	if (drac_stats(drac, counters, &count) != DRAC_OK)
		complain("stats", 0, drac_error());
	drac_close(drac);
}

static atomic_uint signals_here, signals_elsewhere;
static pthread_t main_thread;

static void on_signal(int number)
{
	(void)number;
	if (pthread_equal(pthread_self(), main_thread))
		atomic_fetch_add(&signals_here, 1);
	else
		atomic_fetch_add(&signals_elsewhere, 1);
}

static void run_signals(void)
{
	const struct itimerval timer = {{0, TICK_US}, {0, TICK_US}};
	const struct sigaction action = {.sa_handler = on_signal};
	struct sigaction sigpipe;
	sigset_t before, after;
	char *message = NULL;
	int result;

	main_thread = pthread_self();
	sigaction(SIGALRM, &action, NULL);
	sigprocmask(SIG_SETMASK, NULL, &before);
	setitimer(ITIMER_REAL, &timer, NULL);
	result = dracauth(server, htonl(ADDRESS_BASE), &message);
	sigprocmask(SIG_SETMASK, NULL, &after);
	sigaction(SIGPIPE, NULL, &sigpipe);
	printf("%d %s (%u signals)\n", result, message,
	       atomic_load(&signals_here));
	for (int number = 1; number < NSIG; number++)
		if (sigismember(&before, number) != sigismember(&after, number))
			errx(1, "the signal mask has changed");
	if (sigpipe.sa_handler != SIG_DFL)
		errx(1, "SIGPIPE is handled");
	if (atomic_load(&signals_elsewhere) != 0)
		errx(1, "%u signals in a thread of the library",
		     atomic_load(&signals_elsewhere));
	if (atomic_load(&signals_here) == 0)
		errx(1, "no signal came meanwhile");
}

static void run_fork(void)
{
	int status;
	pid_t child;

	shared = drac_open(server, DRAC_BUDGET_MAX_MS);
	if (shared == NULL)
		errx(1, "%s", drac_error());
	add_and_query(shared); /* leaves a connection */
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (child == 0) {
		next_address = ADDRESS_BASE + (1 << 20);
		shared_thread(NULL);
		drac_close(shared);
		_exit(atomic_load(&wrong) != 0);
	}
	shared_thread(NULL);
	drac_close(shared);
	if (waitpid(child, &status, 0) != child || status != 0)
		errx(1, "the child failed");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} mode[] = {
	    {"calls", run_calls},           {"threads", run_threads},
	    {"texts", run_texts},           {"bad", run_bad},
	    {"connection", run_connection}, {"high", run_high},
	    {"signals", run_signals},       {"fork", run_fork},
	};

	if (argc < 3)
		errx(2, "usage: libdrac_stress mode server [N | server]");
	server = argv[2];
	bad_servers = argv + 2;
	other_server = argc > 3 ? argv[3] : "";
	rounds = argc > 3 ? (unsigned int)strtoul(argv[3], NULL, 10) : 1;
	if (strcmp(argv[1], "texts") == 0)
		rounds = 500;
	for (size_t i = 0; i < sizeof mode / sizeof *mode; i++)
		if (strcmp(argv[1], mode[i].name) == 0) {
			mode[i].run();
			return atomic_load(&wrong) != 0;
		}
	errx(2, "%s: no such mode", argv[1]);
}

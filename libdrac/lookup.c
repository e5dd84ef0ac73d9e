/*
 * lookup: getaddrinfo(3) cannot be told to hurry, so it runs in a thread that
 * is left behind when the time is over, and that ends when the resolver gives
 * up. At most LOOKUPS_MAX of them at a time: a dead resolver cannot fill the
 * process with threads. Numeric addresses and localhost need none.
 *
 * Not getaddrinfo_a(3): its helper threads do not exist in a child of fork(),
 * where it goes on waiting for them.
 */
#include "lookup.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "call.h"

enum { LOOKUPS_MAX = 16, STACK_SIZE = 1 << 20 };

/* Shared by the caller and its thread; the last one frees it. */
struct lookup {
	pthread_mutex_t lock;
	pthread_cond_t done;
	int users;
	bool finished;
	int result; /* of getaddrinfo() */
	struct addrinfo *list;
	char host[];
};

/* ---- how many there are -------------------------------------------------- */

static atomic_int running;
static _Atomic pid_t running_in;

/* The threads of a parent are not in its child, though their number is. */
static bool claim(void)
{
	pid_t pid = getpid();

	if (atomic_exchange(&running_in, pid) != pid)
		atomic_store(&running, 0);
	if (atomic_fetch_add(&running, 1) < LOOKUPS_MAX)
		return true;
	atomic_fetch_sub(&running, 1);
	return false;
}

static void unclaim(void)
{
	atomic_fetch_sub(&running, 1);
}

/* ---- the shared object ------------------------------------------------- */

static struct lookup *lookup_new(const char *host)
{
	size_t size = strlen(host) + 1;
	struct lookup *lookup = calloc(1, sizeof *lookup + size);
	pthread_condattr_t attr;

	if (lookup == NULL)
		return NULL;
	memcpy(lookup->host, host, size);
	lookup->users = 1;
	pthread_mutex_init(&lookup->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&lookup->done, &attr);
	pthread_condattr_destroy(&attr);
	return lookup;
}

static void lookup_release(struct lookup *lookup)
{
	int users;

	pthread_mutex_lock(&lookup->lock);
	users = --lookup->users;
	pthread_mutex_unlock(&lookup->lock);
	if (users > 0)
		return;
	if (lookup->list != NULL)
		freeaddrinfo(lookup->list);
	pthread_cond_destroy(&lookup->done);
	pthread_mutex_destroy(&lookup->lock);
	free(lookup);
}

/* ---- the thread ---------------------------------------------------------- */

static int resolve(const char *host, int flags, struct addrinfo **list)
{
	const struct addrinfo hints = {
	    .ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_DGRAM,
	    .ai_flags = flags,
	};

	return getaddrinfo(host, NULL, &hints, list);
}

static void *lookup_thread(void *arg)
{
	struct lookup *lookup = arg;
	struct addrinfo *list = NULL;
	int result = resolve(lookup->host, 0, &list);

	pthread_mutex_lock(&lookup->lock);
	lookup->result = result;
	lookup->list = result == 0 ? list : NULL;
	lookup->finished = true;
	pthread_cond_signal(&lookup->done);
	pthread_mutex_unlock(&lookup->lock);
	lookup_release(lookup);
	unclaim();
	return NULL;
}

/* With all signals blocked: none of the program's may be handled there. */
static int lookup_start(struct lookup *lookup)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int error;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	lookup->users++;
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&thread, &attr, lookup_thread, lookup);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error != 0)
		lookup->users--;
	pthread_attr_destroy(&attr);
	return error;
}

static bool lookup_wait(struct lookup *lookup, int64_t deadline_ns)
{
	const struct timespec deadline = {
	    .tv_sec = deadline_ns / DRAC_NS_PER_S,
	    .tv_nsec = deadline_ns % DRAC_NS_PER_S,
	};
	int error = 0;
	bool finished;

	pthread_mutex_lock(&lookup->lock);
	while (!lookup->finished && error == 0)
		error = pthread_cond_timedwait(&lookup->done, &lookup->lock,
					       &deadline);
	finished = lookup->finished;
	pthread_mutex_unlock(&lookup->lock);
	return finished;
}

/* ---- results ------------------------------------------------------------- */

static void append(struct drac_addresses *found, const struct addrinfo *list,
		   int family)
{
	for (; list != NULL && found->count < DRAC_ADDRESSES_MAX;
	     list = list->ai_next)
		if (list->ai_family == family)
			memcpy(&found->address[found->count++], list->ai_addr,
			       list->ai_addrlen);
}

static bool collect(struct drac_addresses *found, const struct addrinfo *list)
{
	append(found, list, AF_INET);
	append(found, list, AF_INET6);
	return found->count > 0;
}

/* RFC 6761, 6.3: always loopback; nobody is asked for it. */
static void loopback(struct drac_addresses *found)
{
	const struct sockaddr_in v4 = {
	    .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	const struct sockaddr_in6 v6 = {
	    .sin6_family = AF_INET6,
	    .sin6_addr = in6addr_loopback,
	};

	memcpy(&found->address[0], &v4, sizeof v4);
	memcpy(&found->address[1], &v6, sizeof v6);
	found->count = 2;
}

static bool lookup_name(const char *host, int64_t deadline_ns,
			struct drac_addresses *found, struct rpc_err *error)
{
	struct lookup *lookup;
	int number;
	bool ok;

	if (!claim()) {
		drac_fail(error, RPC_SYSTEMERROR, EAGAIN);
		return false;
	}
	lookup = lookup_new(host);
	number = lookup == NULL ? ENOMEM : lookup_start(lookup);
	if (number != 0) {
		unclaim();
		if (lookup != NULL)
			lookup_release(lookup);
		drac_fail(error, RPC_SYSTEMERROR, number);
		return false;
	}
	ok = lookup_wait(lookup, deadline_ns) && lookup->result == 0 &&
	     collect(found, lookup->list);
	lookup_release(lookup);
	if (!ok)
		drac_fail(error, RPC_UNKNOWNHOST, 0);
	return ok;
}

bool drac_lookup(const char *host, int64_t deadline_ns,
		 struct drac_addresses *found, struct rpc_err *error)
{
	struct addrinfo *list;
	bool ok;

	memset(found, 0, sizeof *found);
	if (strcasecmp(host, "localhost") == 0) {
		loopback(found);
		return true;
	}
	if (resolve(host, AI_NUMERICHOST, &list) != 0)
		return lookup_name(host, deadline_ns, found, error);
	ok = collect(found, list);
	freeaddrinfo(list);
	return ok;
}

/*
 * drac: authorize the address of a mail client that has just logged in.
 *
 * Two sets of calls. The classic ones are those of DRAC 1.12, with its return
 * codes and messages: dracauth(3). The others know lifetimes, users, removal
 * and reading: drac(3).
 *
 * No call takes longer than its budget, whatever the other side does; none
 * raises a signal, changes a signal's handling or leaves a descriptor open
 * that is not part of a handle. All calls are thread-safe.
 *
 * server: one of
 *	host		rpcbind on it is asked for the port; UDP port 5901 is
 *			tried when rpcbind cannot say
 *	localhost	the local socket /run/dracd/rpc.sock, then as above
 *	host:port	UDP, rpcbind is not asked; an IPv6 address is [v6]:port
 *	unix:/path	a local socket
 *	drac://[name@]host[:port][?key=/path][&tcp]
 *			as host or host:port; calls are signed with that key,
 *			and tcp says never to use UDP: KEYS in dracauth(3)
 * or several of them, separated by commas: tried in order until one accepts,
 * all within the one budget. Calls that read use TCP where UDP stands here.
 */
#ifndef LIBDRAC_DRAC_H
#define LIBDRAC_DRAC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- classic calls: dracauth(3) ------------------------------------- */

/*
 * userip is an IPv4 address in network order, as inet_addr(3) gives it;
 * userip6 is 16 bytes, those of a struct in6_addr.
 *
 * All return 0 for success; 1 permission denied, 2 system error or 3 unknown
 * error when the server said so; -1 without a server, -2 when the call failed.
 * errmsg may be NULL. *errmsg is set on success and on failure; it belongs to
 * the library and lasts until the thread's next call.
 *
 * The budget is DRAC_BUDGET_MS. There is one connection of dracconn() and one
 * of dracconn6() in a process.
 */
int dracauth(const char *server, unsigned long userip, char **errmsg);
int dracconn(const char *server, char **errmsg);
int dracsend(unsigned long userip, char **errmsg);
int dracdisc(char **errmsg);

int dracauth6(const char *server, const unsigned char *userip6, char **errmsg);
int dracconn6(const char *server, char **errmsg);
int dracsend6(const unsigned char *userip6, char **errmsg);
int dracdisc6(char **errmsg);

/* ---- the other calls: drac(3) --------------------------------------- */

enum {
	DRAC_BUDGET_MS = 2000,      /* the default, for a whole call */
	DRAC_BUDGET_MAX_MS = 60000, /* the longest */
	DRAC_ADDRESS_SIZE = 46,     /* address text with its NUL */
	DRAC_USER_MAX = 255,        /* bytes, without the NUL */
	DRAC_SERVICE_MAX = 32,      /* bytes, without the NUL */
	DRAC_CALLER_MAX = 63,       /* bytes, without the NUL */
	DRAC_PAGE_MAX = 32, /* entries, or events, a call gives at most */
	DRAC_COUNTER_NAME_MAX = 64, /* bytes, without the NUL */
	DRAC_COUNTERS_MAX = 64,     /* counters a drac_stats() gives at most */
};

/* What the calls return. drac_error() tells more about all but DRAC_OK. */
enum drac_result {
	DRAC_OK = 0,
	DRAC_PERM = 1,        /* caller or address not permitted */
	DRAC_SYSERR = 2,      /* the server could not do it */
	DRAC_INVALID = 3,     /* an argument is outside its range */
	DRAC_NOTFOUND = 4,    /* no such entry */
	DRAC_UNSUPPORTED = 5, /* the server is DRAC 1.12: it can only add */
	DRAC_NOANSWER = -1, /* no server was found, or none answered in time */
};

struct drac;

struct drac_entry {
	char address[DRAC_ADDRESS_SIZE];
	int64_t expiry_s; /* Unix time */
	char user[DRAC_USER_MAX + 1];
	char service[DRAC_SERVICE_MAX + 1];
	int64_t first_s, last_s; /* Unix time of the first and last add */
	uint64_t adds;           /* how many there were */
	char caller[DRAC_CALLER_MAX + 1]; /* of the last; "" if not known */
};

enum drac_event_kind {
	DRAC_AUTHORIZE,
	DRAC_REFRESH,
	DRAC_REMOVED,
	DRAC_EXPIRE,
	DRAC_DENY, /* the entry is what was asked for; its address may be "" */
};

struct drac_event {
	enum drac_event_kind kind;
	int64_t time_s; /* Unix time */
	struct drac_entry entry;
};

struct drac_counter {
	char name[DRAC_COUNTER_NAME_MAX + 1];
	uint64_t value;
};

/*
 * Reads the list of servers and talks to none of them. budget_ms is the time
 * that each later call has, 1 to DRAC_BUDGET_MAX_MS; 0: DRAC_BUDGET_MS.
 * NULL when the list cannot be read, budget_ms is outside its range or memory
 * is short; drac_error() says which.
 *
 * Any number of threads may use one handle. It keeps one connection from call
 * to call, which a child of fork() does not use. drac_close(NULL) does nothing.
 */
struct drac *drac_open(const char *servers, unsigned int budget_ms);
void drac_close(struct drac *drac);

/*
 * address: numeric IPv4 or IPv6 text; a v4-mapped one is the IPv4 address.
 * lifetime_s: seconds; 0: the server's default. user and service: UTF-8
 * without control characters, or NULL. *expiry_s, if not NULL, is when the
 * entry ends (Unix time).
 *
 * A server that is DRAC 1.12 grants its own lifetime, forgets user and
 * service, and *expiry_s is 0.
 */
int drac_add(struct drac *drac, const char *address, uint32_t lifetime_s,
	     const char *user, const char *service, int64_t *expiry_s);
int drac_remove(struct drac *drac, const char *address);
int drac_query(struct drac *drac, const char *address,
	       struct drac_entry *entry);

/*
 * One page of all entries, in no order. *cookie is 0 at first; it is set to
 * what the next call needs, or to 0 after the last page. *count is the room in
 * entries (1 or more), and then how many of them were filled: at most
 * DRAC_PAGE_MAX, and possibly none before the last page.
 */
int drac_list(struct drac *drac, uint64_t *cookie, struct drac_entry *entries,
	      size_t *count);

/*
 * What has happened since the last call. *cookie is 0 at first, which gives
 * nothing but a place to begin; then what the last call set. *count is the
 * room in events (1 or more), and then how many were filled. *lost: so many
 * that happened since are no longer known. Never waits for an event.
 */
int drac_events(struct drac *drac, uint64_t *cookie, struct drac_event *events,
		size_t *count, uint64_t *lost);

/*
 * The server's counters. *count is the room in counters, and then how many of
 * them were filled; what has no room is left out.
 */
int drac_stats(struct drac *drac, struct drac_counter *counters, size_t *count);

/* The text of this thread's last failure; never NULL. */
const char *drac_error(void);

#ifdef __cplusplus
}
#endif

#endif

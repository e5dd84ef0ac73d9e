/*
 * access: joins dracd.allow(5), hosts_access(5) and the addresses of this
 * host to one verdict for each caller, and keeps the verdicts. libwrap reads
 * its files again for every question (2 to 900 us), hence the cache.
 */
#include "access.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <tcpd.h>
#include <unistd.h>

#include "allow.h"
#include "keys.h"
#include "log.h"
#include "origin.h"

enum {
	CACHE_SLOTS = 4096, /* a power of two */
	LOOPBACK_V4 = 127,  /* first byte; all of 127.0.0.0/8 is this host */
	V4_AT = 12,
	FEW_GROUPS = 64, /* more than most processes have */
};

/* libwrap wants these two from the program: levels of its own messages. */
int allow_severity = LOG_DEBUG;
int deny_severity = LOG_DEBUG;

/* Tells whether a file is still the one that was read. */
struct stamp {
	bool exists;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
	struct timespec ctime;
};

struct slot {
	struct address caller;
	uint8_t ways;    /* to write: of allow.h, and KNOWN */
	uint8_t reading; /* ways in which it may, and KNOWN */
};
enum { KNOWN = 0x80 };

struct own_addresses {
	struct address *list;
	size_t count;
};

struct access {
	char *allow_file;
	bool hosts_access;
	const struct keys *keys;
	struct allow_list allow;
	const struct prefix *readers; /* the caller's */
	size_t reader_count;
	struct own_addresses own; /* without loopback */
	struct stamp allow_stamp;
	struct stamp hosts_allow_stamp;
	struct stamp hosts_deny_stamp;
	struct slot cache[CACHE_SLOTS];
};

/* ---- addresses of this host ---- */

static bool is_loopback(const struct address *a)
{
	static const struct address v6 = {.byte = {[15] = 1}};

	if (address_is_v4(a))
		return a->byte[V4_AT] == LOOPBACK_V4;
	return address_equal(a, &v6);
}

static bool is_own(const struct own_addresses *own, const struct address *a)
{
	if (is_loopback(a))
		return true;
	for (size_t i = 0; i < own->count; i++)
		if (address_equal(&own->list[i], a))
			return true;
	return false;
}

/* Whether they have changed. When they cannot be read the old ones stay. */
static bool read_own(struct own_addresses *own)
{
	static struct log_limit limit;
	struct own_addresses fresh = {0};
	struct ifaddrs *all = NULL;
	size_t room = 0;
	bool changed;

	if (getifaddrs(&all) != 0)
		goto failed;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
		room++;
	fresh.list = calloc(room + 1, sizeof *fresh.list);
	if (fresh.list == NULL)
		goto failed;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		struct address *a = &fresh.list[fresh.count];

		if (i->ifa_addr != NULL &&
		    address_from_sockaddr(a, i->ifa_addr) && !is_loopback(a))
			fresh.count++;
	}
	freeifaddrs(all);
	changed = own->list == NULL || own->count != fresh.count ||
		  memcmp(own->list, fresh.list,
			 fresh.count * sizeof *fresh.list) != 0;
	free(own->list);
	*own = fresh;
	return changed;

failed:
	if (log_allowed(&limit))
		log_errno(LOG_WARNING, "addresses of this host cannot be read; "
				       "those read before stay in force");
	if (all != NULL)
		freeifaddrs(all);
	return false;
}

/* ---- files ---- */

/* Whether the file is another one than *stamp says; *stamp is renewed. */
static bool has_changed(struct stamp *stamp, const char *path)
{
	struct stamp now;
	struct stat st;
	bool changed;

	memset(&now, 0, sizeof now);
	if (stat(path, &st) == 0) {
		now.exists = true;
		now.dev = st.st_dev;
		now.ino = st.st_ino;
		now.size = st.st_size;
		now.mtime = st.st_mtim;
		now.ctime = st.st_ctim;
	}
	changed = now.exists != stamp->exists || now.dev != stamp->dev ||
		  now.ino != stamp->ino || now.size != stamp->size ||
		  now.mtime.tv_sec != stamp->mtime.tv_sec ||
		  now.mtime.tv_nsec != stamp->mtime.tv_nsec ||
		  now.ctime.tv_sec != stamp->ctime.tv_sec ||
		  now.ctime.tv_nsec != stamp->ctime.tv_nsec;
	*stamp = now;
	return changed;
}

static void forget_verdicts(struct access *access)
{
	memset(access->cache, 0, sizeof access->cache);
}

/*
 * The stamps are taken first: what changes while it is read is read again at
 * the next refresh.
 */
static bool load(struct access *access)
{
	struct allow_list fresh;

	has_changed(&access->allow_stamp, access->allow_file);
	has_changed(&access->hosts_allow_stamp, hosts_allow_table);
	has_changed(&access->hosts_deny_stamp, hosts_deny_table);
	read_own(&access->own);
	forget_verdicts(access);
	if (!allow_read(access->allow_file, access->keys, &fresh))
		return false;
	allow_free(&access->allow);
	access->allow = fresh;
	return true;
}

struct access *access_open(const char *allow_file, bool hosts_access,
			   const struct keys *keys)
{
	struct access *access = calloc(1, sizeof *access);

	if (access == NULL ||
	    (access->allow_file = strdup(allow_file)) == NULL) {
		log_errno(LOG_ERR, "%s", allow_file);
		free(access);
		return NULL;
	}
	access->hosts_access = hosts_access;
	access->keys = keys;
	/* hosts_options(5): a `twist` must refuse, not replace the daemon. */
	resident = 1;
	if (!load(access)) {
		access_close(access);
		return NULL;
	}
	return access;
}

void access_close(struct access *access)
{
	if (access == NULL)
		return;
	allow_free(&access->allow);
	free(access->own.list);
	free(access->allow_file);
	free(access);
}

bool access_reload(struct access *access)
{
	if (!load(access)) {
		log_write(LOG_ERR, "%s: the list read before stays in force",
			  access->allow_file);
		return false;
	}
	return true;
}

void access_refresh(struct access *access)
{
	struct stamp before = access->allow_stamp;
	bool hosts = has_changed(&access->hosts_allow_stamp, hosts_allow_table);

	hosts |= has_changed(&access->hosts_deny_stamp, hosts_deny_table);
	if (has_changed(&before, access->allow_file)) {
		if (access_reload(access))
			log_write(LOG_NOTICE, "%s has changed: re-read",
				  access->allow_file);
	} else if (read_own(&access->own) || hosts) {
		forget_verdicts(access);
	}
}

/* Whether p matches addresses of this host and no other. */
static bool only_own(const struct access *access, const struct prefix *p)
{
	if (address_is_v4(&p->net) && is_loopback(&p->net) &&
	    p->mask.byte[V4_AT] == UINT8_MAX)
		return true;
	for (size_t i = 0; i < sizeof p->mask.byte; i++)
		if (p->mask.byte[i] != UINT8_MAX)
			return false;
	return is_own(&access->own, &p->net);
}

bool access_names_others(const struct access *access)
{
	for (size_t i = 0; i < access->allow.count; i++)
		if (!only_own(access, &access->allow.rules[i].prefix))
			return true;
	for (size_t i = 0; i < access->reader_count; i++)
		if (!only_own(access, &access->readers[i]))
			return true;
	return false;
}

void access_set_readers(struct access *access, const struct prefix *readers,
			size_t count)
{
	access->readers = readers;
	access->reader_count = count;
	forget_verdicts(access);
}

/* ---- verdicts ---- */

static struct slot *slot_of(struct access *access, const struct address *a)
{
	uint64_t word[2];

	memcpy(word, a->byte, sizeof word);
	/* An odd constant from the golden ratio mixes into the high bits. */
	word[1] = (word[1] ^ word[0] * 31) * UINT64_C(0x9e3779b97f4a7c15);
	return &access->cache[word[1] >> 32 & (CACHE_SLOTS - 1)];
}

static bool hosts_access_allows(const struct address *caller)
{
	char daemon[] = "dracd", text[ADDRESS_TEXT_MAX];

	/* "unknown" instead of a name keeps libwrap from asking DNS. */
	address_text(caller, text);
	return hosts_ctl(daemon, unknown, text, unknown) != 0;
}

static bool hosts_agree(const struct access *access,
			const struct address *caller)
{
	return !access->hosts_access || hosts_access_allows(caller);
}

/* In which ways the caller may call, some of them with a key. */
static unsigned decide(const struct access *access,
		       const struct address *caller)
{
	unsigned ways;

	if (access->allow.missing)
		ways = is_own(&access->own, caller) ? ALLOW_UDP | ALLOW_TCP : 0;
	else
		ways = allow_ways(&access->allow, caller, NULL);
	return ways == 0 || hosts_agree(access, caller) ? ways : 0;
}

/*
 * In which ways the caller may read. Another host not by UDP: its address may
 * be forged, and it would be sent more than we have been.
 */
static unsigned decide_reading(const struct access *access,
			       const struct address *caller)
{
	unsigned ways =
	    is_own(&access->own, caller) ? ALLOW_UDP | ALLOW_TCP : 0;

	for (size_t i = 0; i < access->reader_count && ways == 0; i++)
		if (prefix_contains(&access->readers[i], caller))
			ways = ALLOW_TCP;
	return ways == 0 || hosts_agree(access, caller) ? ways : 0;
}

/* Of this caller, perhaps without verdicts. */
static struct slot *slot_for(struct access *access,
			     const struct address *caller)
{
	struct slot *slot = slot_of(access, caller);

	if (!address_equal(&slot->caller, caller))
		*slot = (struct slot){.caller = *caller};
	return slot;
}

static unsigned ways_of(struct access *access, const struct address *caller)
{
	struct slot *slot = slot_for(access, caller);

	if (slot->ways == 0)
		slot->ways = (uint8_t)(KNOWN | decide(access, caller));
	return slot->ways;
}

const char *access_reading_denial(struct access *access,
				  const struct origin *origin)
{
	struct slot *slot = slot_for(access, &origin->caller);
	bool may_be_forged = origin->datagram && origin->key == NULL;

	if (slot->reading == 0)
		slot->reading =
		    (uint8_t)(KNOWN | decide_reading(access, &origin->caller));
	if (slot->reading & (may_be_forged ? ALLOW_UDP : ALLOW_TCP))
		return NULL;
	return slot->reading != KNOWN
		   ? "may not read by UDP; use TCP, or sign"
		   : "may not read: neither of this host nor in read-allow";
}

void access_unsigned(struct access *access, struct origin *origin)
{
	unsigned ways = ways_of(access, &origin->caller);
	unsigned way = origin->datagram ? ALLOW_UDP : ALLOW_TCP;

	origin->allowed = (ways & way) != 0;
	if (origin->allowed)
		origin->denial = NULL;
	else if (ways & way << ALLOW_WITH_KEY)
		origin->denial = "not signed, and dracd.allow demands key=";
	else if (ways & ~(unsigned)KNOWN)
		origin->denial = "not by TCP, and dracd.allow demands tcp";
	else
		origin->denial =
		    "not in dracd.allow or refused by hosts.allow, hosts.deny";
}

void access_signed(struct access *access, struct origin *origin)
{
	unsigned way = origin->datagram ? ALLOW_UDP : ALLOW_TCP;
	unsigned ways;

	if (origin->allowed || origin->local)
		return;
	ways = ways_of(access, &origin->caller);
	if (!(ways & way << ALLOW_WITH_KEY))
		return;
	origin->allowed = allow_ways(&access->allow, &origin->caller,
				     origin->key->secret.name) &
			  way;
	origin->denial = "signed by another key than dracd.allow demands";
}

/* ---- unix callers ---- */

/*
 * Asks the kernel for the groups the peer had when it connected. getgrouplist
 * would ask NSS, which may be a directory server that does not answer.
 */
static bool peer_has_group(int fd, gid_t group)
{
	gid_t few[FEW_GROUPS], *groups = few;
	socklen_t len = sizeof few;
	bool found = false;
	int rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, few, &len);

	if (rc != 0 && errno == ERANGE && (groups = malloc(len)) != NULL)
		rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
	for (size_t i = 0; rc == 0 && i < len / sizeof *groups; i++)
		found = found || groups[i] == group;
	if (groups != few)
		free(groups);
	return found;
}

bool access_unix_peer(int fd, uid_t *uid)
{
	struct ucred peer = {.uid = UINT32_MAX}; /* nobody has it */
	socklen_t len = sizeof peer;
	int rc = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);

	*uid = peer.uid;
	if (rc != 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid() ||
	       peer.gid == getegid() || peer_has_group(fd, getegid());
}

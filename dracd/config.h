/*
 * config: the settings of /etc/mail/dracd.conf and of the command line, read
 * and checked. Opens no socket and no map.
 */
#ifndef DRACD_CONFIG_H
#define DRACD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"

#define CONFIG_FILE "/etc/mail/dracd.conf"
enum {
	CONFIG_PORT = 5901, /* where no port is given, UDP and TCP */
	CONFIG_LOOKUP_PORT = 5902,
	/*
	 * The least that a registry gives a provider (ripe-738, 5.1.1): with
	 * less, one login lets customers of several providers relay.
	 */
	CONFIG_IPV6_PREFIX_MIN = 32,
	CONFIG_IPV6_PREFIX_MAX = 128, /* each address for itself */
	CONFIG_PER_USER_MAX = 1000,   /* max-addresses-per-user */
	CONFIG_LIFETIME_MAX_S = 366 * 24 * 3600,
};

enum durability { DURABILITY_OS, DURABILITY_DISK };
enum on_limit { LIMIT_OLDEST, LIMIT_REFUSE };
enum map_type { MAP_BTREE, MAP_HASH, MAP_LMDB };

struct map_config {
	enum map_type type;
	char *path;
	bool nul;          /* keys and values end in a NUL */
	uint32_t capacity; /* entries the file is pre-grown for */
};

enum listen_transport { LISTEN_UDP, LISTEN_TCP, LISTEN_UNIX };

struct listen_config {
	enum listen_transport transport;
	bool any;               /* "*": every IPv4 and IPv6 address */
	struct address address; /* udp, tcp; :: and 0.0.0.0 are families */
	uint16_t port;          /* udp, tcp; 0: the kernel chooses */
	char *path;             /* unix */
	char *text;             /* as written, for messages */
};

struct key_config {
	char *name;
	char *file;
};

struct config {
	char *file;         /* "" if there is none */
	int64_t lifetime_s; /* 1 .. CONFIG_LIFETIME_MAX_S */
	struct map_config *maps;
	size_t map_count; /* at least 1; the first is dbfile */
	char *journal;    /* a directory */
	enum durability durability;
	struct listen_config *listen;
	size_t listen_count;          /* 0: not set, see listen.h */
	struct listen_config *lookup; /* never LISTEN_UDP */
	size_t lookup_count;
	bool lookup_default;  /* not set: what cannot be opened is no fault */
	uint32_t ipv6_prefix; /* bits; lookups only, see table.h */
	bool rpcbind;
	char *allow_file;
	struct key_config *keys;
	size_t key_count;
	bool hosts_access;
	char *user; /* "": stay who you are */
	struct prefix *never;
	size_t never_count;
	struct prefix *read_allow;
	size_t read_allow_count;
	uint32_t max_entries;
	uint32_t max_addresses_per_user; /* 0: any number */
	enum on_limit on_limit;
	uint32_t max_connections;
	uint32_t max_connections_per_address;
	int64_t idle_timeout_s;
	/* command line only */
	bool initialize; /* -i */
	bool foreground; /* -f */
	bool check_only; /* -t */
};

/*
 * Reads the command line and then the file it names (default CONFIG_FILE,
 * which may be missing; one named by -c may not). Command line wins.
 * Errors are logged with file and line. Returns 0, EX_USAGE, EX_CONFIG or,
 * without memory, EX_OSERR of <sysexits.h>; -h/--help and --version print to
 * standard output and exit 0.
 * All paths come out absolute, from the working directory of the first call,
 * so a reload may be done in /.
 * *out is the caller's, to free with config_free().
 */
int config_load(int argc, char *const argv[], struct config **out);
void config_free(struct config *config);

/* Whether the address may be authorized at all: a client's, and not `never`. */
bool config_may_relay(const struct config *config,
		      const struct address *address);

#endif

/*
 * config: the file is read by libconfuse, the command line wins over it. Each
 * value is checked by validate.c where it stands in the file, and read once
 * more when the whole file is known to be right.
 */
#include "config.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "log.h"
#include "options.h"
#include "setting.h"
#include "validate.h"

#define DEFAULT_MAP "btree:/var/lib/dracd/dracd.db"
#define DEFAULT_LOOKUP "{\"unix:/run/dracd/map.sock\"}"
enum {
	DEFAULT_CAPACITY = 65536,
	FILE_MAX = 1024 * 1024, /* bytes of a configuration file */
	QUOTED_MAX = 256,       /* of a value in a message */
	FAULT_MAX = 512,
};

/* What libconfuse itself has found: syntax, unknown names, types. */
static void on_error(cfg_t *cfg, const char *format, va_list ap)
{
	char what[FAULT_MAX];

	vsnprintf(what, sizeof what, format, ap);
	log_write(LOG_ERR, "%s:%d: %s; see dracd.conf(5)", cfg->filename,
		  cfg->line, what);
}

/* ---- the file ---- */

/* All names and defaults of dracd.conf(5). */
static cfg_t *new_parser(void)
{
	cfg_opt_t map[] = {
	    CFG_BOOL("nul", cfg_false, CFGF_NONE),
	    CFG_INT("capacity", DEFAULT_CAPACITY, CFGF_NONE),
	    CFG_END(),
	};
	cfg_opt_t key[] = {
	    CFG_STR("file", NULL, CFGF_NONE),
	    CFG_END(),
	};
	cfg_opt_t all[] = {
	    CFG_STR("lifetime", "30m", CFGF_NONE),
	    CFG_SEC("map", map, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	    CFG_STR("journal", "/var/lib/dracd/journal", CFGF_NONE),
	    CFG_STR("durability", "os", CFGF_NONE),
	    CFG_STR_LIST("listen", NULL, CFGF_NONE),
	    CFG_STR_LIST("lookup", DEFAULT_LOOKUP, CFGF_NONE),
	    CFG_INT("ipv6-prefix", CONFIG_IPV6_PREFIX_MAX, CFGF_NONE),
	    CFG_BOOL("rpcbind", cfg_true, CFGF_NONE),
	    CFG_STR("allow-file", "/etc/mail/dracd.allow", CFGF_NONE),
	    CFG_SEC("key", key, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	    CFG_BOOL("hosts-access", cfg_true, CFGF_NONE),
	    CFG_STR("user", "dracd", CFGF_NONE),
	    CFG_STR_LIST("read-allow", NULL, CFGF_NONE),
	    CFG_STR_LIST("never", NULL, CFGF_NONE),
	    CFG_INT("max-entries", 1000000, CFGF_NONE),
	    CFG_INT("max-addresses-per-user", 0, CFGF_NONE),
	    CFG_STR("on-limit", "oldest", CFGF_NONE),
	    CFG_INT("max-connections", 4096, CFGF_NONE),
	    CFG_INT("max-connections-per-address", 128, CFGF_NONE),
	    CFG_STR("idle-timeout", "30s", CFGF_NONE),
	    CFG_END(),
	};
	cfg_t *cfg = cfg_init(all, CFGF_NONE);

	if (cfg == NULL)
		return NULL;
	cfg_set_error_function(cfg, on_error);
	validate_all(cfg);
	return cfg;
}

/*
 * Text of a file in memory, because libconfuse ends the process when a read
 * fails. NULL: has been logged.
 */
static char *read_text(FILE *file, const char *path)
{
	char *text = malloc(FILE_MAX + 1);
	size_t len = text != NULL ? fread(text, 1, FILE_MAX + 1, file) : 0;

	if (len > FILE_MAX)
		errno = EFBIG;
	if (text == NULL || ferror(file) || len > FILE_MAX) {
		log_errno(LOG_ERR, "%s", path);
	} else if (memchr(text, '\0', len) != NULL) {
		log_write(LOG_ERR, "%s: has a NUL byte in it, so it is no text",
			  path);
	} else {
		text[len] = '\0';
		return text;
	}
	free(text);
	return NULL;
}

/* Hands the file to the parser. false: has been logged. */
static bool parse_text(cfg_t *cfg, const char *path, char *text)
{
	FILE *memory;
	int rc;

	if (text[0] == '\0')
		return true;
	memory = fmemopen(text, strlen(text), "r");
	cfg->filename = strdup(path);
	if (memory == NULL || cfg->filename == NULL) {
		log_errno(LOG_ERR, "%s", path);
		if (memory != NULL)
			fclose(memory);
		return false;
	}
	errno = 0;
	rc = cfg_parse_fp(cfg, memory);
	if (rc != CFG_SUCCESS && errno == ENOMEM)
		log_errno(LOG_ERR, "%s", path); /* libconfuse is silent */
	fclose(memory);
	return rc == CFG_SUCCESS;
}

/* *found: whether there was a file. */
static bool parse_file(cfg_t *cfg, const char *path, bool may_miss, bool *found)
{
	FILE *file = fopen(path, "re");
	char *text;
	bool ok;

	*found = file != NULL;
	if (file == NULL && errno == ENOENT && may_miss)
		return true;
	if (file == NULL) {
		log_errno(LOG_ERR, "%s", path);
		return false;
	}
	text = read_text(file, path);
	ok = text != NULL && parse_text(cfg, path, text);
	free(text);
	fclose(file);
	return ok;
}

/*
 * Where libconfuse has no memory for a value it goes on without, and gives 0
 * for it. Sections and lists have as many as there are.
 */
static bool is_whole(cfg_t *cfg)
{
	cfg_opt_t *option;

	for (unsigned i = 0; (option = cfg_getnopt(cfg, i)) != NULL; i++) {
		if (option->flags & (CFGF_LIST | CFGF_MULTI))
			continue;
		if (cfg_opt_size(option) == 0 ||
		    (option->type == CFGT_STR &&
		     cfg_opt_getnstr(option, 0) == NULL))
			return false;
	}
	return true;
}

/*
 * ---- from the parser to the struct ----
 * All texts have been checked: what goes wrong here is lack of memory, and
 * false says so.
 */

static bool take_map(struct config *c, const char *title, bool nul,
		     long capacity)
{
	struct map_config *map = &c->maps[c->map_count];

	if (setting_map(title, map) != NULL)
		return false;
	map->nul = nul;
	map->capacity = (uint32_t)capacity;
	c->map_count++;
	return true;
}

static bool take_maps(struct config *c, cfg_t *cfg)
{
	unsigned n = cfg_size(cfg, "map");

	c->maps = calloc(n > 0 ? n : 1, sizeof *c->maps);
	if (c->maps == NULL)
		return false;
	if (n == 0)
		return take_map(c, DEFAULT_MAP, false, DEFAULT_CAPACITY);
	for (unsigned i = 0; i < n; i++) {
		cfg_t *map = cfg_getnsec(cfg, "map", i);

		if (!is_whole(map) ||
		    !take_map(c, cfg_title(map), cfg_getbool(map, "nul"),
			      cfg_getint(map, "capacity")))
			return false;
	}
	return true;
}

/* A list of sockets; *count is right also when it fails. */
static bool take_sockets(cfg_t *cfg, const char *name,
			 const char *(*read)(const char *,
					     struct listen_config *),
			 struct listen_config **sockets, size_t *count)
{
	unsigned n = cfg_size(cfg, name);

	*sockets = calloc(n + 1, sizeof **sockets);
	if (*sockets == NULL)
		return false;
	for (; *count < n; ++*count)
		if (read(cfg_getnstr(cfg, name, (unsigned)*count),
			 &(*sockets)[*count]) != NULL)
			return false;
	return true;
}

static bool take_all_sockets(struct config *c, cfg_t *cfg)
{
	c->lookup_default = !(cfg_getopt(cfg, "lookup")->flags & CFGF_MODIFIED);
	return take_sockets(cfg, "listen", setting_listen, &c->listen,
			    &c->listen_count) &&
	       take_sockets(cfg, "lookup", setting_lookup, &c->lookup,
			    &c->lookup_count);
}

/* A list of prefixes; *count is right also when it fails. */
static bool take_prefixes(cfg_t *cfg, const char *name,
			  struct prefix **prefixes, size_t *count)
{
	unsigned n = cfg_size(cfg, name);

	*prefixes = calloc(n + 1, sizeof **prefixes);
	if (*prefixes == NULL)
		return false;
	for (; *count < n; ++*count)
		if (!prefix_from_text(&(*prefixes)[*count],
				      cfg_getnstr(cfg, name, (unsigned)*count)))
			return false;
	return true;
}

static bool take_keys(struct config *c, cfg_t *cfg)
{
	unsigned n = cfg_size(cfg, "key");

	c->keys = calloc(n + 1, sizeof *c->keys);
	if (c->keys == NULL)
		return false;
	for (; c->key_count < n; c->key_count++) {
		cfg_t *from = cfg_getnsec(cfg, "key", (unsigned)c->key_count);
		struct key_config *key = &c->keys[c->key_count];

		key->name = strdup(cfg_title(from));
		if (key->name == NULL || setting_path(cfg_getstr(from, "file"),
						      &key->file) != NULL) {
			free(key->name);
			return false;
		}
	}
	return true;
}

static bool take_file(struct config *c, cfg_t *cfg)
{
	c->durability = strcmp(cfg_getstr(cfg, "durability"), "disk") == 0
			    ? DURABILITY_DISK
			    : DURABILITY_OS;
	c->rpcbind = cfg_getbool(cfg, "rpcbind");
	c->hosts_access = cfg_getbool(cfg, "hosts-access");
	c->user = strdup(cfg_getstr(cfg, "user"));
	c->max_entries = (uint32_t)cfg_getint(cfg, "max-entries");
	c->max_connections = (uint32_t)cfg_getint(cfg, "max-connections");
	c->max_connections_per_address =
	    (uint32_t)cfg_getint(cfg, "max-connections-per-address");
	c->max_addresses_per_user =
	    (uint32_t)cfg_getint(cfg, "max-addresses-per-user");
	c->on_limit = strcmp(cfg_getstr(cfg, "on-limit"), "refuse") == 0
			  ? LIMIT_REFUSE
			  : LIMIT_OLDEST;
	c->ipv6_prefix = (uint32_t)cfg_getint(cfg, "ipv6-prefix");
	return c->user != NULL &&
	       setting_duration(cfg_getstr(cfg, "lifetime"), &c->lifetime_s) ==
		   NULL &&
	       setting_duration(cfg_getstr(cfg, "idle-timeout"),
				&c->idle_timeout_s) == NULL &&
	       setting_path(cfg_getstr(cfg, "journal"), &c->journal) == NULL &&
	       setting_path(cfg_getstr(cfg, "allow-file"), &c->allow_file) ==
		   NULL &&
	       take_maps(c, cfg) && take_all_sockets(c, cfg) &&
	       take_prefixes(cfg, "never", &c->never, &c->never_count) &&
	       take_prefixes(cfg, "read-allow", &c->read_allow,
			     &c->read_allow_count) &&
	       take_keys(c, cfg);
}

/* ---- what the command line says of it ---- */

/* dbfile takes the place of the first map. */
static int take_dbfile(struct config *c, const char *dbfile)
{
	struct map_config *first = &c->maps[0];
	char *path, quoted[QUOTED_MAX];
	const char *right = setting_path(dbfile, &path);

	if (right != NULL) {
		log_write(LOG_ERR, "dbfile: %s", right);
		return EX_USAGE;
	}
	if (strcmp(path, first->path) != 0) {
		first->nul = false;
		first->capacity = DEFAULT_CAPACITY;
	}
	first->type = MAP_BTREE;
	free(first->path);
	first->path = path;
	for (size_t i = 1; i < c->map_count; i++) {
		if (strcmp(path, c->maps[i].path) != 0)
			continue;
		log_write(LOG_ERR,
			  "%s: setting \"map\": %s is also the dbfile of the "
			  "command line; leave one of them out",
			  c->file, log_quote(path, quoted, sizeof quoted));
		return EX_CONFIG;
	}
	return 0;
}

static int take_command_line(struct config *c, const struct options *options)
{
	c->initialize = options->initialize;
	c->foreground = options->foreground;
	c->check_only = options->check_only;
	if (options->lifetime_s != 0)
		c->lifetime_s = options->lifetime_s;
	return options->dbfile != NULL ? take_dbfile(c, options->dbfile) : 0;
}

/* ---- the door ---- */

static int build(struct config *c, cfg_t *cfg, const struct options *options)
{
	char *path = NULL;
	const char *right = setting_path(
	    options->file != NULL ? options->file : CONFIG_FILE, &path);
	bool found = false, ok;

	if (right != NULL) {
		log_write(LOG_ERR, "option -c: %s", right);
		return EX_USAGE;
	}
	ok = parse_file(cfg, path, options->file == NULL, &found);
	c->file = found ? path : strdup("");
	if (!found)
		free(path);
	if (!ok)
		return EX_CONFIG;
	if (c->file == NULL || !is_whole(cfg) || !take_file(c, cfg)) {
		log_write(LOG_ERR, "no memory for the configuration");
		return EX_OSERR;
	}
	return take_command_line(c, options);
}

int config_load(int argc, char *const argv[], struct config **out)
{
	struct options options;
	struct config *c;
	cfg_t *cfg;
	int rc = options_parse(argc, argv, &options);

	*out = NULL;
	if (rc != 0)
		return rc;
	c = calloc(1, sizeof *c);
	cfg = new_parser();
	if (c == NULL || cfg == NULL) {
		log_write(LOG_ERR, "no memory for the configuration");
		rc = EX_OSERR;
	} else {
		rc = build(c, cfg, &options);
	}
	if (cfg != NULL)
		cfg_free(cfg);
	if (rc == 0)
		*out = c;
	else
		config_free(c);
	return rc;
}

void config_free(struct config *config)
{
	if (config == NULL)
		return;
	for (size_t i = 0; i < config->map_count; i++)
		free(config->maps[i].path);
	for (size_t i = 0; i < config->listen_count; i++)
		setting_listen_free(&config->listen[i]);
	for (size_t i = 0; i < config->lookup_count; i++)
		setting_listen_free(&config->lookup[i]);
	free(config->file);
	free(config->maps);
	free(config->journal);
	free(config->listen);
	free(config->lookup);
	free(config->allow_file);
	free(config->user);
	for (size_t i = 0; i < config->key_count; i++) {
		free(config->keys[i].name);
		free(config->keys[i].file);
	}
	free(config->keys);
	free(config->never);
	free(config->read_allow);
	free(config);
}

bool config_may_relay(const struct config *config,
		      const struct address *address)
{
	if (!address_is_client(address))
		return false;
	for (size_t i = 0; i < config->never_count; i++)
		if (prefix_contains(&config->never[i], address))
			return false;
	return true;
}

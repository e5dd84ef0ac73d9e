/*
 * config: the file is read by libconfuse, the command line wins over it. Each
 * value is checked where it stands in the file, so that a message can name
 * the line, and read once more when the whole file is known to be right.
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
#include "sign.h"

#define DEFAULT_MAP "btree:/var/lib/dracd/dracd.db"
#define DEFAULT_LOOKUP "{\"unix:/run/dracd/map.sock\"}"
enum {
	DEFAULT_CAPACITY = 65536,
	CAPACITY_MAX = 100000000,
	ENTRIES_MAX = 1000000000,
	CONNECTIONS_MAX = 1000000,
	FILE_MAX = 1024 * 1024, /* bytes of a configuration file */
	QUOTED_MAX = 256,       /* of a value in a message */
	FAULT_MAX = 512,
};

/* ---- messages about the file ---- */

/* For validators; the last value of opt is wrong, and `right` says why. */
static int fault(cfg_t *cfg, cfg_opt_t *opt, const char *value,
		 const char *right)
{
	char quoted[QUOTED_MAX];

	log_write(LOG_ERR, "%s:%d: setting \"%s\": %s: %s", cfg->filename,
		  cfg->line, opt->name, log_quote(value, quoted, sizeof quoted),
		  right);
	return -1;
}

/* What libconfuse itself has found: syntax, unknown names, types. */
static void on_error(cfg_t *cfg, const char *format, va_list ap)
{
	char what[FAULT_MAX];

	vsnprintf(what, sizeof what, format, ap);
	log_write(LOG_ERR, "%s:%d: %s; see dracd.conf(5)", cfg->filename,
		  cfg->line, what);
}

/* ---- one validator for each kind of setting ---- */

static const char *last_text(cfg_opt_t *opt)
{
	const char *text = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);

	return text != NULL ? text : "";
}

static int check_duration(cfg_t *cfg, cfg_opt_t *opt)
{
	int64_t seconds;
	const char *right = setting_duration(last_text(opt), &seconds);

	return right == NULL ? 0 : fault(cfg, opt, last_text(opt), right);
}

static int check_path(cfg_t *cfg, cfg_opt_t *opt)
{
	char *path = NULL;
	const char *right = setting_path(last_text(opt), &path);

	free(path);
	return right == NULL ? 0 : fault(cfg, opt, last_text(opt), right);
}

static int check_durability(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *text = last_text(opt);

	if (strcmp(text, "os") == 0 || strcmp(text, "disk") == 0)
		return 0;
	return fault(cfg, opt, text, "write \"os\" or \"disk\"");
}

static int check_listen(cfg_t *cfg, cfg_opt_t *opt)
{
	struct listen_config listen;
	const char *right = setting_listen(last_text(opt), &listen);

	if (right != NULL)
		return fault(cfg, opt, last_text(opt), right);
	setting_listen_free(&listen);
	return 0;
}

static int check_lookup(cfg_t *cfg, cfg_opt_t *opt)
{
	struct listen_config lookup;
	const char *right = setting_lookup(last_text(opt), &lookup);

	if (right != NULL)
		return fault(cfg, opt, last_text(opt), right);
	setting_listen_free(&lookup);
	return 0;
}

static int check_never(cfg_t *cfg, cfg_opt_t *opt)
{
	char why[PREFIX_FAULT_MAX];
	const char *right = prefix_fault(last_text(opt), why);

	return right == NULL ? 0 : fault(cfg, opt, last_text(opt), right);
}

static int check_range(cfg_t *cfg, cfg_opt_t *opt, long min, long max)
{
	long n = cfg_opt_getnint(opt, cfg_opt_size(opt) - 1);
	char value[32], right[64];

	if (n >= min && n <= max)
		return 0;
	snprintf(value, sizeof value, "%ld", n);
	snprintf(right, sizeof right, "not a number from %ld to %ld", min, max);
	return fault(cfg, opt, value, right);
}

static int check_capacity(cfg_t *cfg, cfg_opt_t *opt)
{
	return check_range(cfg, opt, 1, CAPACITY_MAX);
}

static int check_entries(cfg_t *cfg, cfg_opt_t *opt)
{
	return check_range(cfg, opt, 1, ENTRIES_MAX);
}

static int check_connections(cfg_t *cfg, cfg_opt_t *opt)
{
	return check_range(cfg, opt, 1, CONNECTIONS_MAX);
}

static int check_ipv6_prefix(cfg_t *cfg, cfg_opt_t *opt)
{
	return check_range(cfg, opt, CONFIG_IPV6_PREFIX_MIN,
			   CONFIG_IPV6_PREFIX_MAX);
}

/* Called when a map section has been read: its title, and no path twice. */
static int check_map(cfg_t *cfg, cfg_opt_t *opt)
{
	unsigned last = cfg_opt_size(opt) - 1;
	const char *title = cfg_title(cfg_opt_getnsec(opt, last));
	struct map_config map = {0}, other = {0};
	const char *right = setting_map(title, &map);

	for (unsigned i = 0; right == NULL && i < last; i++) {
		right = setting_map(cfg_title(cfg_opt_getnsec(opt, i)), &other);
		if (right == NULL && strcmp(map.path, other.path) == 0)
			right = "another map has this file; name each once";
		free(other.path);
		other.path = NULL;
	}
	free(map.path);
	return right == NULL ? 0 : fault(cfg, opt, title, right);
}

/* Called when a key section has been read. */
static int check_key(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *key = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	const char *file = cfg_getstr(key, "file");

	if (!drac_sign_is_name(cfg_title(key)))
		return fault(cfg, opt, cfg_title(key),
			     "the name of a key is 1 to 64 of A-Z a-z 0-9 "
			     ". _ -");
	if (file == NULL)
		return fault(cfg, opt, cfg_title(key),
			     "no file; write file = \"/path\" in the braces");
	return 0;
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
	    CFG_STR_LIST("never", NULL, CFGF_NONE),
	    CFG_INT("max-entries", 1000000, CFGF_NONE),
	    CFG_INT("max-connections", 4096, CFGF_NONE),
	    CFG_INT("max-connections-per-address", 128, CFGF_NONE),
	    CFG_STR("idle-timeout", "30s", CFGF_NONE),
	    CFG_END(),
	};
	cfg_t *cfg = cfg_init(all, CFGF_NONE);

	if (cfg == NULL)
		return NULL;
	cfg_set_error_function(cfg, on_error);
	cfg_set_validate_func(cfg, "lifetime", check_duration);
	cfg_set_validate_func(cfg, "map", check_map);
	cfg_set_validate_func(cfg, "map|capacity", check_capacity);
	cfg_set_validate_func(cfg, "journal", check_path);
	cfg_set_validate_func(cfg, "durability", check_durability);
	cfg_set_validate_func(cfg, "listen", check_listen);
	cfg_set_validate_func(cfg, "lookup", check_lookup);
	cfg_set_validate_func(cfg, "ipv6-prefix", check_ipv6_prefix);
	cfg_set_validate_func(cfg, "allow-file", check_path);
	cfg_set_validate_func(cfg, "key", check_key);
	cfg_set_validate_func(cfg, "key|file", check_path);
	cfg_set_validate_func(cfg, "never", check_never);
	cfg_set_validate_func(cfg, "max-entries", check_entries);
	cfg_set_validate_func(cfg, "max-connections", check_connections);
	cfg_set_validate_func(cfg, "max-connections-per-address",
			      check_connections);
	cfg_set_validate_func(cfg, "idle-timeout", check_duration);
	return cfg;
}

/*
 * Text of a file in memory, because libconfuse ends the process when a read
 * fails. NULL with errno; EFBIG and EILSEQ for what cannot be configuration.
 */
static char *read_text(FILE *file)
{
	char *text = malloc(FILE_MAX + 1);
	size_t len;

	if (text == NULL)
		return NULL;
	len = fread(text, 1, FILE_MAX + 1, file);
	if (ferror(file) || len > FILE_MAX || memchr(text, '\0', len)) {
		if (!ferror(file))
			errno = len > FILE_MAX ? EFBIG : EILSEQ;
		free(text);
		return NULL;
	}
	text[len] = '\0';
	return text;
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
	rc = cfg_parse_fp(cfg, memory);
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
	text = read_text(file);
	if (text == NULL)
		log_errno(LOG_ERR, "%s", path);
	ok = text != NULL && parse_text(cfg, path, text);
	free(text);
	fclose(file);
	return ok;
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

		if (!take_map(c, cfg_title(map), cfg_getbool(map, "nul"),
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

static bool take_never(struct config *c, cfg_t *cfg)
{
	unsigned n = cfg_size(cfg, "never");

	c->never = calloc(n + 1, sizeof *c->never);
	if (c->never == NULL)
		return false;
	for (; c->never_count < n; c->never_count++)
		if (!prefix_from_text(
			&c->never[c->never_count],
			cfg_getnstr(cfg, "never", (unsigned)c->never_count)))
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
	       take_never(c, cfg) && take_keys(c, cfg);
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
	if (c->file == NULL || !take_file(c, cfg)) {
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
	free(config);
}

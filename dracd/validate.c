/* validate: see validate.h. One function for each kind of setting. */
#include "validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "setting.h"
#include "sign.h"

enum {
	CAPACITY_MAX = 100000000,
	ENTRIES_MAX = 1000000000,
	CONNECTIONS_MAX = 1000000,
	QUOTED_MAX = 256, /* of a value in a message */
};

/* The last value of opt is wrong, and `right` says why. */
static int fault(cfg_t *cfg, cfg_opt_t *opt, const char *value,
		 const char *right)
{
	char quoted[QUOTED_MAX];

	log_write(LOG_ERR, "%s:%d: setting \"%s\": %s: %s", cfg->filename,
		  cfg->line, opt->name, log_quote(value, quoted, sizeof quoted),
		  right);
	return -1;
}

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

static int check_on_limit(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *text = last_text(opt);

	if (strcmp(text, "oldest") == 0 || strcmp(text, "refuse") == 0)
		return 0;
	return fault(cfg, opt, text, "write \"oldest\" or \"refuse\"");
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

static int check_prefix(cfg_t *cfg, cfg_opt_t *opt)
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

static int check_per_user(cfg_t *cfg, cfg_opt_t *opt)
{
	return check_range(cfg, opt, 0, CONFIG_PER_USER_MAX);
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

void validate_all(cfg_t *cfg)
{
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
	cfg_set_validate_func(cfg, "never", check_prefix);
	cfg_set_validate_func(cfg, "read-allow", check_prefix);
	cfg_set_validate_func(cfg, "max-addresses-per-user", check_per_user);
	cfg_set_validate_func(cfg, "on-limit", check_on_limit);
	cfg_set_validate_func(cfg, "max-entries", check_entries);
	cfg_set_validate_func(cfg, "max-connections", check_connections);
	cfg_set_validate_func(cfg, "max-connections-per-address",
			      check_connections);
	cfg_set_validate_func(cfg, "idle-timeout", check_duration);
}

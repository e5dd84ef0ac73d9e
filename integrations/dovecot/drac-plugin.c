/*
 * drac-plugin: a mail plugin of Dovecot 2.3 and 2.4 that tells dracd the
 * address of everybody who reads his mail by POP3 or IMAP: dracd-pop(7).
 *
 * At login, and every drac_interval while an IMAP session lasts. It stands in
 * the way of a login: it never makes one fail, and none waits longer for it
 * than BUDGET_MS. What it knows belongs to one user's session; nothing is kept
 * between two calls but that, no connection either.
 *
 * 2.4 wants to know the settings of a plugin from a module of their own: this
 * file, compiled with -DDRAC_SETTINGS_MODULE.
 */
#include "lib.h"
#include "settings-parser.h"

#if DOVECOT_PREREQ(2, 4, 0)
#define HAVE_SETTINGS_MODULES
#endif

#define SERVER_DEFAULT "localhost"

enum {
	BUDGET_MS = 500,
	INTERVAL_DEFAULT_S = 600, /* twice in dracd's default lifetime */
	INTERVAL_MAX_S = 24 * 3600,
	/*
	 * While a session hibernates nothing of us runs. Its client is to be
	 * heard of at least every 29 minutes: RFC 2177, section 3.
	 */
	HIBERNATION_S = 1800,
};

struct drac_settings {
#ifdef HAVE_SETTINGS_MODULES
	pool_t pool;
#endif
	const char *drac_server;
	unsigned int drac_interval; /* seconds */
};

/* ---- what doveconf of 2.4 has to know ------------------------------------ */

#ifdef HAVE_SETTINGS_MODULES
#define DEF(type, name)                                                        \
	SETTING_DEFINE_STRUCT_##type(#name, name, struct drac_settings)

static const struct setting_define drac_setting_defines[] = {
    DEF(STR, drac_server),
    DEF(TIME, drac_interval),
    SETTING_DEFINE_LIST_END,
};

static const struct drac_settings drac_default_settings = {
    .drac_server = SERVER_DEFAULT,
    .drac_interval = INTERVAL_DEFAULT_S,
};

const struct setting_parser_info drac_setting_parser_info = {
    .name = "drac",
    .plugin_dependency = "lib99_drac_plugin",
    .defines = drac_setting_defines,
    .defaults = &drac_default_settings,
    .struct_size = sizeof(struct drac_settings),
    .pool_offset1 = 1 + offsetof(struct drac_settings, pool),
};
#endif

#ifdef DRAC_SETTINGS_MODULE

extern const char *drac_settings_version;
extern const struct setting_parser_info *drac_settings_set_infos[];

const char *drac_settings_version = DOVECOT_ABI_VERSION;
const struct setting_parser_info *drac_settings_set_infos[] = {
    &drac_setting_parser_info,
    NULL,
};

#else /* the plugin */

#include "drac.h"
#include "imap-common.h"
#include "ioloop.h"
#include "mail-storage-hooks.h"
#include "mail-storage-private.h"
#include "mail-user.h"
#include "module-context.h"
#ifdef HAVE_SETTINGS_MODULES
#include "settings.h"
#endif

/* In the imap process only; a pop3 process has none. */
#pragma weak imap_client_created_hook_set

struct drac_user {
	union mail_user_module_context module_ctx;
	const char *server, *address;
	struct timeout *timer; /* NULL: POP3 */
	bool warned;
	int (*state_export)(struct client *client, bool internal,
			    buffer_t *dest, const char **error_r);
};

#define DRAC_USER(user) MODULE_CONTEXT(user, drac_user_module)
static MODULE_CONTEXT_DEFINE_INIT(drac_user_module, &mail_user_module_register);
static imap_client_created_func_t *next_client_created;

/* ---- settings ------------------------------------------------------------ */

#ifdef HAVE_SETTINGS_MODULES
static bool read_settings(struct mail_user *user, struct drac_settings *set)
{
	const struct drac_settings *found;
	const char *error;

	if (settings_get(user->event, &drac_setting_parser_info, 0, &found,
			 &error) < 0) {
		e_warning(user->event, "drac: %s: not authorized", error);
		return FALSE;
	}
	set->drac_server = p_strdup(user->pool, found->drac_server);
	set->drac_interval = found->drac_interval;
	settings_free(found);
	return TRUE;
}
#else
/* The second name is that of the plugin for DRAC 1.12. */
static const char *setting(struct mail_user *user, const char *name,
			   const char *older, const char *otherwise)
{
	const char *value = mail_user_plugin_getenv(user, name);

	if (value == NULL || *value == '\0')
		value = mail_user_plugin_getenv(user, older);
	return value == NULL || *value == '\0' ? otherwise : value;
}

static bool read_settings(struct mail_user *user, struct drac_settings *set)
{
	const char *text = setting(user, "drac_interval", "dracdtimeout", NULL);
	const char *error;

	set->drac_server =
	    setting(user, "drac_server", "dracdserver", SERVER_DEFAULT);
	set->drac_interval = INTERVAL_DEFAULT_S;
	if (text != NULL && str_to_uint(text, &set->drac_interval) < 0 &&
	    settings_get_time(text, &set->drac_interval, &error) < 0) {
		e_warning(user->event, "drac: drac_interval: %s; using %d s",
			  error, INTERVAL_DEFAULT_S);
		set->drac_interval = INTERVAL_DEFAULT_S;
	}
	return TRUE;
}
#endif

static unsigned int interval_ms(struct mail_user *user, unsigned int interval_s)
{
	if (interval_s < 1 || interval_s > INTERVAL_MAX_S) {
		e_warning(user->event,
			  "drac: drac_interval is not between 1 s and %d s; "
			  "using %d s",
			  INTERVAL_MAX_S, INTERVAL_DEFAULT_S);
		interval_s = INTERVAL_DEFAULT_S;
	}
	return interval_s * 1000;
}

/* ---- calls --------------------------------------------------------------- */

/* lifetime_s 0: the server's default. A longer one that there is stays. */
static void authorize(struct mail_user *user, uint32_t lifetime_s)
{
	struct drac_user *duser = DRAC_USER(user);
	struct drac *drac = drac_open(duser->server, BUDGET_MS);
	int result = DRAC_NOANSWER;

	if (drac != NULL)
		result = drac_add(drac, duser->address, lifetime_s,
				  user->username, user->service, NULL);
	/* A user name may be longer than DRAC_USER_MAX, or not UTF-8. */
	if (result == DRAC_INVALID)
		result = drac_add(drac, duser->address, lifetime_s, NULL,
				  user->service, NULL);
	if (result != DRAC_OK && !duser->warned) {
		e_warning(user->event, "drac: %s is not authorized: %s",
			  duser->address, drac_error());
		duser->warned = TRUE;
	}
	drac_close(drac);
}

static void authorize_again(struct mail_user *user)
{
	authorize(user, 0);
}

/* ---- a session ----------------------------------------------------------- */

static void drac_user_deinit(struct mail_user *user)
{
	struct drac_user *duser = DRAC_USER(user);

	timeout_remove(&duser->timer);
	duser->module_ctx.super.deinit(user);
}

static bool is_wanted(const struct mail_user *user)
{
	/* Not what Dovecot makes for itself, and nobody who is anybody. */
	return !user->autocreated && !user->anonymous &&
	       user->conn.remote_ip != NULL &&
	       user->conn.remote_ip->family != 0 &&
	       (strcmp(user->service, "imap") == 0 ||
		strcmp(user->service, "pop3") == 0);
}

/* Also when a session that hibernated is restored: its client is active. */
static void drac_mail_user_created(struct mail_user *user)
{
	struct mail_user_vfuncs *v = user->vlast;
	struct drac_settings set;
	struct drac_user *duser;

	if (!is_wanted(user) || !read_settings(user, &set))
		return;
	duser = p_new(user->pool, struct drac_user, 1);
	duser->module_ctx.super = *v;
	user->vlast = &duser->module_ctx.super;
	v->deinit = drac_user_deinit;
	MODULE_CONTEXT_SET(user, drac_user_module, duser);

	duser->server = set.drac_server;
	duser->address =
	    p_strdup(user->pool, net_ip2addr(user->conn.remote_ip));
	authorize(user, 0);
	if (strcmp(user->service, "imap") == 0)
		duser->timer = timeout_add(interval_ms(user, set.drac_interval),
					   authorize_again, user);
}

/* ---- hibernation --------------------------------------------------------- */

/* What is exported internally goes to imap-hibernate, and this process ends. */
static int drac_state_export(struct client *client, bool internal,
			     buffer_t *dest, const char **error_r)
{
	struct drac_user *duser = DRAC_USER(client->user);
	int result = duser->state_export(client, internal, dest, error_r);

	if (result > 0 && internal)
		authorize(client->user, HIBERNATION_S);
	return result;
}

static void drac_client_created(struct client **client)
{
	struct drac_user *duser = DRAC_USER((*client)->user);

	if (duser != NULL) {
		duser->state_export = (*client)->v.state_export;
		(*client)->v.state_export = drac_state_export;
	}
	if (next_client_created != NULL)
		next_client_created(client);
}

/* ---- what Dovecot looks for ---------------------------------------------- */

extern const char *drac_plugin_version;
void drac_plugin_init(struct module *module);
void drac_plugin_deinit(void);

const char *drac_plugin_version = DOVECOT_ABI_VERSION;

static const struct mail_storage_hooks drac_mail_storage_hooks = {
    .mail_user_created = drac_mail_user_created,
};

void drac_plugin_init(struct module *module)
{
	mail_storage_hooks_add(module, &drac_mail_storage_hooks);
	if (imap_client_created_hook_set != NULL)
		next_client_created =
		    imap_client_created_hook_set(drac_client_created);
}

void drac_plugin_deinit(void)
{
	if (imap_client_created_hook_set != NULL)
		imap_client_created_hook_set(next_client_created);
	mail_storage_hooks_remove(&drac_mail_storage_hooks);
}

#endif

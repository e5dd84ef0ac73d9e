/*
 * pam_drac: authorizes the address of a user who has just logged in, for
 * every POP and IMAP server that asks PAM about him: pam_drac(8).
 *
 * It stands in the way of a login: it never decides about it (PAM_IGNORE from
 * every function), never makes it wait for more than BUDGET_MS, and leaves
 * nothing behind in the server's process but a mark in the PAM handle.
 */
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/auxv.h>
#include <syslog.h>
#include <unistd.h>

#include "drac.h"
#include "mailclient.h"

enum { BUDGET_MS = 500 };

static const char mark[] = "pam_drac"; /* this login has had its call */

struct options {
	const char *server;
	const char *services; /* separated by commas; NULL: all */
};

/* Of what cannot be read nothing is done: it may have been a restriction. */
static bool read_options(pam_handle_t *pamh, int argc, const char **argv,
			 struct options *options)
{
	static const char server[] = "server=", services[] = "services=";

	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], server, sizeof server - 1) == 0) {
			options->server = argv[i] + sizeof server - 1;
		} else if (strncmp(argv[i], services, sizeof services - 1) ==
			   0) {
			options->services = argv[i] + sizeof services - 1;
		} else {
			pam_syslog(pamh, LOG_NOTICE,
				   "unknown option \"%s\": nobody is "
				   "authorized; server= and services= are "
				   "known",
				   argv[i]);
			return false;
		}
	}
	return true;
}

static bool is_listed(const char *list, const char *service)
{
	size_t len = strlen(service);

	while (*list != '\0') {
		size_t here = strcspn(list, ",");

		if (here == len && strncasecmp(list, service, len) == 0)
			return true;
		list += here;
		list += *list == ',';
	}
	return false;
}

static const char *item(pam_handle_t *pamh, int type)
{
	const void *value = NULL;

	return pam_get_item(pamh, type, &value) == PAM_SUCCESS ? value : NULL;
}

static bool find_address(pam_handle_t *pamh, char address[DRAC_ADDRESS_SIZE])
{
	if (mailclient_from_text(item(pamh, PAM_RHOST), address))
		return true;
	/* The user of a setuid program chooses what it has been given. */
	if (getauxval(AT_SECURE) != 0)
		return false;
	return mailclient_from_peer(STDIN_FILENO, address) ||
	       mailclient_from_text(getenv("TCPREMOTEIP"), address);
}

static bool authorize(const char *server, const char *address, const char *user,
		      const char *service)
{
	struct drac *drac = drac_open(server, BUDGET_MS);
	bool done =
	    drac != NULL &&
	    drac_add(drac, address, 0, mailclient_name(user, DRAC_USER_MAX),
		     mailclient_name(service, DRAC_SERVICE_MAX),
		     NULL) == DRAC_OK;

	drac_close(drac);
	return done;
}

static void logged_in(pam_handle_t *pamh, int argc, const char **argv)
{
	struct options options = {.server = "localhost"};
	const char *service = item(pamh, PAM_SERVICE);
	char address[DRAC_ADDRESS_SIZE];

	if (!read_options(pamh, argc, argv, &options))
		return;
	if (options.services != NULL &&
	    (service == NULL || !is_listed(options.services, service)))
		return;
	if (!find_address(pamh, address)) {
		pam_syslog(pamh, LOG_NOTICE,
			   "nobody is authorized: this server gives no address "
			   "of its client, see pam_drac(8)");
		return;
	}
	pam_set_data(pamh, mark, NULL, NULL);
	if (!authorize(options.server, address, item(pamh, PAM_USER), service))
		pam_syslog(pamh, LOG_NOTICE, "%s is not authorized: %s",
			   address, drac_error());
}

/* ---- what PAM calls ------------------------------------------------------ */

int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	(void)flags;
	logged_in(pamh, argc, argv);
	return PAM_IGNORE;
}

/* For servers without an account phase; with it, one wait is enough. */
int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc,
			const char **argv)
{
	const void *data;

	(void)flags;
	if (pam_get_data(pamh, mark, &data) != PAM_SUCCESS)
		logged_in(pamh, argc, argv);
	return PAM_IGNORE;
}

int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc,
			 const char **argv)
{
	(void)pamh, (void)flags, (void)argc, (void)argv;
	return PAM_IGNORE;
}

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc,
			const char **argv)
{
	(void)pamh, (void)flags, (void)argc, (void)argv;
	return PAM_IGNORE;
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	(void)pamh, (void)flags, (void)argc, (void)argv;
	return PAM_IGNORE;
}

int pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	(void)pamh, (void)flags, (void)argc, (void)argv;
	return PAM_IGNORE;
}

/*
 * dracexec: tells dracd where the client of a login came from, or asks it
 * whether the client of an SMTP session may relay, and becomes the next
 * program, whatever became of that. It gets no rights from anybody and must
 * never be set-user-ID or set-group-ID: its environment is the caller's.
 *
 * Never forks, never writes to descriptors 0 and 1 (they are the client's
 * connection), leaves nothing open and no signal changed.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "drac.h"
#include "mailclient.h"

enum {
	BUDGET_MS = 500, /* what a login may take longer */
	/* What programs run by tcpserver and qmail mean by their status. */
	EXIT_PERMANENT = 100,
	EXIT_TEMPORARY = 111,
};

static const char usage[] =
    "usage: dracexec [-r] [-s server] program [argument ...]\n"
    "  -r          for an SMTP server: ask, and set RELAYCLIENT if it may "
    "relay\n"
    "  -s server   where dracd is, default localhost\n"
    "  -h, --help  print this text and exit\n"
    "  --version   print the version and exit\n";

/*
 * Below Dovecot's script-login, which sets USERDB_KEYS last of all and to the
 * fields of the user database, any other name may be such a field.
 */
static const char *ip_of_dovecot(const char *fields)
{
	bool is_field =
	    strncmp(fields, "IP ", 3) == 0 || strstr(fields, " IP ") != NULL;

	return is_field ? NULL : getenv("IP");
}

/*
 * Whoever took the connection knows best: descriptor 0 may lead to a proxy or
 * to a TLS process.
 */
static bool find_client(char address[DRAC_ADDRESS_SIZE])
{
	const char *fields = getenv("USERDB_KEYS");
	const char *text = getenv("TCPREMOTEIP");

	if (fields != NULL)
		return mailclient_from_text(ip_of_dovecot(fields), address);
	return text ? mailclient_from_text(text, address)
		    : mailclient_from_peer(STDIN_FILENO, address);
}

static const char *service_of(const char *program)
{
	const char *name = basename(program);

	if (strcasestr(name, "pop3") != NULL)
		return "pop3";
	return strcasestr(name, "imap") != NULL ? "imap" : "";
}

static void report(const char *address)
{
	syslog(LOG_WARNING, "client=%s: %s", address, drac_error());
}

static void authorize(const char *server, const char *address,
		      const char *program)
{
	const char *courier = getenv("AUTHENTICATED");
	const char *user =
	    mailclient_name(courier ? courier : getenv("USER"), DRAC_USER_MAX);
	struct drac *drac = drac_open(server, BUDGET_MS);

	if (drac == NULL || drac_add(drac, address, 0, user,
				     service_of(program), NULL) != DRAC_OK)
		report(address);
	drac_close(drac);
}

static void permit(const char *server, const char *address)
{
	struct drac *drac = drac_open(server, BUDGET_MS);
	struct drac_entry entry;
	enum drac_result result =
	    drac ? drac_query(drac, address, &entry) : DRAC_NOANSWER;

	drac_close(drac);
	if (result == DRAC_OK && setenv("RELAYCLIENT", "", 1) != 0)
		syslog(LOG_WARNING, "client=%s: out of memory", address);
	else if (result != DRAC_OK && result != DRAC_NOTFOUND)
		report(address);
}

static void tell_or_ask(bool relay, const char *server, const char *program)
{
	char address[DRAC_ADDRESS_SIZE];

	/* Set before us, by tcprules(1) for example: no need to ask. */
	if (relay && getenv("RELAYCLIENT") != NULL)
		return;
	if (!find_client(address))
		syslog(LOG_WARNING, "the client's address is not known");
	else if (relay)
		permit(server, address);
	else
		authorize(server, address, program);
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'v'},
	    {0},
	};
	const char *server = "localhost";
	const char *error;
	bool relay = false;
	int option;

	while ((option = getopt_long(argc, argv, "+rs:h", long_options,
				     NULL)) != -1) {
		switch (option) {
		case 'r':
			relay = true;
			break;
		case 's':
			server = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		case 'v':
			puts("dracexec " DRACD_VERSION);
			return EXIT_SUCCESS;
		default:
			fputs(usage, stderr);
			return EXIT_PERMANENT;
		}
	}
	if (optind == argc) {
		fputs(usage, stderr);
		return EXIT_PERMANENT;
	}
	openlog("dracexec", LOG_PID, LOG_MAIL);
	tell_or_ask(relay, server, argv[optind]);
	execvp(argv[optind], argv + optind);
	error = strerror(errno);
	syslog(LOG_ERR, "cannot run %s: %s", argv[optind], error);
	fprintf(stderr, "dracexec: cannot run %s: %s\n", argv[optind], error);
	return EXIT_TEMPORARY;
}

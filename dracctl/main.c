/*
 * dracctl: what the administrator sees and changes of dracd, over protocol
 * version 3 by libdrac. It reads no file of the daemon. See dracctl(8).
 */
#include <locale.h>
#include <stdio.h>
#include <sysexits.h>

#include "say.h"
#include "verb.h"

static const struct verb verbs[] = {
    {"list",
     "[--json] [-H] [--user name] [--service name] [--caller name] "
     "[address[/prefix]]",
     "Show who may relay, by expiry",
     "  --json     one object a line\n"
     "  -H         no header\n"
     "  --user, --service, --caller  only entries with exactly this\n",
     OPTIONS_JSON | OPTIONS_NO_HEADER | OPTIONS_USER | OPTIONS_SERVICE |
	 OPTIONS_CALLER,
     0, 1, verb_list},
    {"query", "[--json] [-Hq] address", "Say whether an address may relay",
     "Exit status 0: it may, 1: it may not, else: not known.\n"
     "  --json     the entry as an object\n"
     "  -H         no header\n"
     "  -q         nothing but errors\n",
     OPTIONS_JSON | OPTIONS_NO_HEADER | OPTIONS_QUIET, 1, 1, verb_query},
    {"add", "[--for time] [--user name] [--service name] address",
     "Let an address relay",
     "  --for      90s, 30m, 2h, 1d; without it what the server gives\n"
     "An entry that lasts longer stays as long.\n",
     OPTIONS_FOR | OPTIONS_USER | OPTIONS_SERVICE, 1, 1, verb_add},
    {"remove", "address ... | --user name",
     "Let addresses, or all of a user, relay no longer",
     "Exit status 1: one of them, or any of the user, was not there.\n",
     OPTIONS_USER, 0, OPTIONS_MANY, verb_remove},
    {"flush", "[--yes]", "Let nobody relay any longer",
     "  --yes      do not ask\n", OPTIONS_YES, 0, 0, verb_flush},
    {"stats", "[--json | --openmetrics]", "Show the server's counters",
     "  --json     as an object\n"
     "  --openmetrics  for node_exporter's textfile collector\n",
     OPTIONS_JSON | OPTIONS_OPENMETRICS, 0, 0, verb_stats},
    {"watch", "[--json]", "Show what happens, until interrupted",
     "  --json     one object a line\n", OPTIONS_JSON, 0, 0, verb_watch},
    {"ping", "", "Say whether the server answers, and how fast", "", 0, 0, 0,
     verb_ping},
    {"export", "", "Print all entries for import", "", 0, 0, 0, verb_export},
    {"import", "[file]", "Add what export, or db5.3_dump -p, has printed",
     "Without a file, or with -: standard input. Each entry gets what is left\n"
     "of its lifetime; an expired one is passed over.\n",
     0, 0, 1, verb_import},
    {0},
};

/* What could not be printed must not look like success. */
static int end_output(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	say_error("standard output cannot be written");
	return status != EX_OK ? status : EX_IOERR;
}

int main(int argc, char *argv[])
{
	const struct verb *verb;
	struct options options;
	struct talk talk;
	int status = options_parse(argc, argv, verbs, &verb, &options);

	if (status != EX_OK)
		return status;
	/* Names are UTF-8 whatever the locale; this is for their width. */
	setlocale(LC_CTYPE, "C.UTF-8");
	status = talk_open(&talk, options.server);
	if (status != EX_OK)
		return status;
	status = verb->run(&talk, &options);
	talk_close(&talk);
	return end_output(status);
}

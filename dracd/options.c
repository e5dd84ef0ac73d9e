/*
 * options: getopt_long(3) and nothing else; what the options do is the
 * business of others.
 */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "config.h"
#include "log.h"
#include "setting.h"

enum { QUOTED_MAX = 256 };

/* ---- command line ---- */

static const char usage[] =
    "usage: dracd [-i] [-e minutes] [-f] [-t] [-c file] [dbfile]\n"
    "  -i          begin with an empty table\n"
    "  -e minutes  lifetime of an authorization, default 30\n"
    "  -f          stay in the foreground, log to standard error\n"
    "  -t          check all files and exit\n"
    "  -c file     configuration file, default " CONFIG_FILE "\n"
    "  -h, --help  print this text and exit\n"
    "  --version   print the version and exit\n"
    "  dbfile      the first map, default /var/lib/dracd/dracd.db\n";

static _Noreturn void print_and_exit(const char *text)
{
	exit(fputs(text, stdout) < 0 || fflush(stdout) != 0 ? EX_IOERR : EX_OK);
}

static int usage_error(const char *what, const char *value)
{
	char quoted[QUOTED_MAX];

	log_write(LOG_ERR, "%s: %s; dracd --help says more", what,
		  log_quote(value, quoted, sizeof quoted));
	return EX_USAGE;
}

/* word: where the option stands, if it is a long one. */
static int bad_option(int option, const char *word)
{
	char letter[] = {'-', (char)optopt, '\0'};

	return usage_error(option == ':' ? "option without its value"
					 : "unknown option",
			   optopt != 0 ? letter : word);
}

static int take_option(struct options *options, int option)
{
	const char *right;

	switch (option) {
	case 'i':
		options->initialize = true;
		return 0;
	case 'e':
		right = setting_minutes(optarg, &options->lifetime_s);
		if (right == NULL)
			return 0;
		log_write(LOG_ERR, "option -e: \"%s\": %s", optarg, right);
		return EX_USAGE;
	case 'f':
		options->foreground = true;
		return 0;
	case 't':
		options->check_only = true;
		return 0;
	case 'c':
		options->file = optarg;
		return 0;
	case 'h':
		print_and_exit(usage);
	default: /* 'V' */
		print_and_exit("dracd " DRACD_VERSION "\n");
	}
}

int options_parse(int argc, char *const argv[], struct options *options)
{
	static const struct option names[] = {
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'V'},
	    {0},
	};
	int option, rc = 0;

	*options = (struct options){0};
	optind = 0; /* from the beginning, this is called at each reload */
	opterr = 0;
	while (rc == 0 && (option = getopt_long(argc, argv, ":ie:ftc:h", names,
						NULL)) != -1) {
		if (option == ':' || option == '?')
			rc = bad_option(option, argv[optind - 1]);
		else
			rc = take_option(options, option);
	}
	if (rc != 0)
		return rc;
	if (argc - optind > 1)
		return usage_error("more than one dbfile", argv[optind + 1]);
	if (optind < argc)
		options->dbfile = argv[optind];
	if (options->dbfile != NULL && options->dbfile[0] == '\0')
		return usage_error("no path", options->dbfile);
	return 0;
}

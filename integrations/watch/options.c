/* options: getopt_long(3) and nothing else. */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "log.h"

enum { QUOTED_MAX = 256, OPTION_VERSION = 256, OPTION_TEST };

static const char usage[] =
    "usage: dracwatch [-s server] [-p patterns] [-S state] source ...\n"
    "       dracwatch [-p patterns] --test file\n"
    "  -s server    where dracd is, default " OPTIONS_SERVER "\n"
    "  -p patterns  default " OPTIONS_PATTERNS "\n"
    "  -S state     how far it has read, default " OPTIONS_STATE "\n"
    "  --test file  show what this log would have authorized\n"
    "  -h, --help   print this text and exit\n"
    "  --version    print the version and exit\n"
    "source:\n"
    "  journal:name.service    what this unit writes to the journal\n"
    "  journal:/path/program   what this program writes to the journal\n"
    "  file:/path/log          a log file\n"
    "  cyrus:/path/socket      the notifysocket of Cyrus IMAP\n";

static _Noreturn void print_and_exit(const char *text)
{
	exit(fputs(text, stdout) < 0 || fflush(stdout) != 0 ? EX_IOERR : EX_OK);
}

static int usage_error(const char *what, const char *value)
{
	char quoted[QUOTED_MAX];

	log_write(LOG_ERR, "%s: %s; dracwatch --help says more", what,
		  log_quote(value, quoted, sizeof quoted));
	return EX_USAGE;
}

/* word: where the option stands, if it is a long one. */
static int bad_option(int option, const char *word)
{
	char letter[] = {'-', (char)optopt, '\0'};

	return usage_error(
	    option == ':' ? "option without its value" : "unknown option",
	    optopt > 0 && optopt < OPTION_VERSION ? letter : word);
}

static int take_option(struct options *options, int option, const char *word)
{
	switch (option) {
	case 's':
		options->servers = optarg;
		return 0;
	case 'p':
		options->patterns = optarg;
		return 0;
	case 'S':
		options->state = optarg;
		return 0;
	case OPTION_TEST:
		options->test = optarg;
		return 0;
	case 'h':
		print_and_exit(usage);
	case OPTION_VERSION:
		print_and_exit("dracwatch " DRACD_VERSION "\n");
	default:
		return bad_option(option, word);
	}
}

int options_parse(int argc, char *argv[], struct options *options)
{
	static const struct option names[] = {
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, OPTION_VERSION},
	    {"test", required_argument, NULL, OPTION_TEST},
	    {0},
	};
	int option, rc = 0;

	*options = (struct options){
	    .servers = OPTIONS_SERVER,
	    .patterns = OPTIONS_PATTERNS,
	    .state = OPTIONS_STATE,
	};
	opterr = 0;
	while (rc == 0 && (option = getopt_long(argc, argv, ":s:p:S:h", names,
						NULL)) != -1)
		rc = take_option(options, option, argv[optind - 1]);
	if (rc != 0)
		return rc;
	options->source = argv + optind;
	options->source_count = (size_t)(argc - optind);
	if (options->test == NULL && options->source_count == 0)
		return usage_error("no source", "");
	if (options->test != NULL && options->source_count > 0)
		return usage_error("--test reads one file and no source",
				   argv[optind]);
	return 0;
}

/* options: see options.h. */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "say.h"

enum { CODE_FIRST = 256, CODE_VERSION = 512, NAMES_MAX = 16 };

/* The code of option 1 << n is CODE_FIRST + n. */
enum code {
	CODE_JSON = CODE_FIRST,
	CODE_OPENMETRICS,
	CODE_NO_HEADER,
	CODE_QUIET,
	CODE_YES,
	CODE_FOR,
	CODE_USER,
	CODE_SERVICE,
	CODE_CALLER,
};

static const struct option all_names[] = {
    {"json", no_argument, NULL, CODE_JSON},
    {"openmetrics", no_argument, NULL, CODE_OPENMETRICS},
    {"yes", no_argument, NULL, CODE_YES},
    {"for", required_argument, NULL, CODE_FOR},
    {"user", required_argument, NULL, CODE_USER},
    {"service", required_argument, NULL, CODE_SERVICE},
    {"caller", required_argument, NULL, CODE_CALLER},
};

/* ---- help ---------------------------------------------------------------- */

static void end_after_output(void)
{
	exit(fflush(stdout) != 0 || ferror(stdout) ? EX_IOERR : EX_OK);
}

static void print_usage(const struct verb *verbs)
{
	puts("usage: dracctl [-s server] verb ...\n"
	     "  -s server   where dracd is; default localhost: the local "
	     "socket\n"
	     "  -h, --help  print this text and exit\n"
	     "  --version   print the version and exit\n"
	     "verbs; dracctl verb --help says more:");
	for (const struct verb *verb = verbs; verb->name != NULL; verb++)
		printf("  %-8s %s\n", verb->name, verb->summary);
	end_after_output();
}

static void print_verb(const struct verb *verb)
{
	printf("usage: dracctl [-s server] %s%s%s\n%s.\n%s", verb->name,
	       *verb->synopsis ? " " : "", verb->synopsis, verb->summary,
	       verb->help);
	end_after_output();
}

static void print_version(void)
{
	puts("dracctl " DRACD_VERSION);
	end_after_output();
}

/* ---- errors -------------------------------------------------------------- */

int options_wrong(const char *verb, const char *what, const char *value)
{
	say_error("%s%s%s%s%s; dracctl%s%s --help says more", verb,
		  *verb ? ": " : "", value, *value ? ": " : "", what,
		  *verb ? " " : "", verb);
	return EX_USAGE;
}

/* word: where the option stands, if it is a long one. */
static int bad_option(const char *verb, int option, const char *word)
{
	char letter[] = {'-', (char)optopt, '\0'};

	return options_wrong(
	    verb, option == ':' ? "option without its value" : "unknown option",
	    optopt > 0 && optopt < CODE_FIRST ? letter : word);
}

/* ---- values -------------------------------------------------------------- */

/* The units of lifetime in dracd.conf(5); 0: none of them. */
static uint64_t unit_s(const char *unit)
{
	if (*unit == '\0' || strcmp(unit, "s") == 0)
		return 1;
	if (strcmp(unit, "m") == 0)
		return 60;
	if (strcmp(unit, "h") == 0)
		return 60 * 60;
	return strcmp(unit, "d") == 0 ? 24 * 60 * 60 : 0;
}

static bool parse_lifetime(const char *text, uint32_t *lifetime_s)
{
	unsigned long n;
	char *unit;

	if (*text < '0' || *text > '9')
		return false;
	n = strtoul(text, &unit, 10);
	if (n == 0 || n > OPTIONS_LIFETIME_MAX_S || unit_s(unit) == 0 ||
	    n * unit_s(unit) > OPTIONS_LIFETIME_MAX_S)
		return false;
	*lifetime_s = (uint32_t)(n * unit_s(unit));
	return true;
}

static int take_value(struct options *options, const char *verb, int code)
{
	switch (code) {
	case 's':
		options->server = optarg;
		return 0;
	case CODE_USER:
		options->user = optarg;
		return 0;
	case CODE_SERVICE:
		options->service = optarg;
		return 0;
	case CODE_CALLER:
		options->caller = optarg;
		return 0;
	default:
		if (parse_lifetime(optarg, &options->lifetime_s))
			return 0;
		return options_wrong(verb,
				     "--for takes 1s to 366d, as 90s, 30m, 2h "
				     "or 1d",
				     optarg);
	}
}

static bool take_flag(struct options *options, int code)
{
	switch (code) {
	case CODE_JSON:
		options->json = true;
		return true;
	case CODE_OPENMETRICS:
		options->openmetrics = true;
		return true;
	case CODE_YES:
		options->yes = true;
		return true;
	case 'H':
		options->no_header = true;
		return true;
	case 'q':
		options->quiet = true;
		return true;
	default:
		return false;
	}
}

/* ---- the line ------------------------------------------------------------ */

static int parse_before_verb(int argc, char *argv[], const struct verb *verbs,
			     struct options *options)
{
	static const struct option names[] = {
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, CODE_VERSION},
	    {0},
	};
	int code;

	while ((code = getopt_long(argc, argv, "+:s:h", names, NULL)) != -1) {
		if (code == 's')
			options->server = optarg;
		else if (code == 'h')
			print_usage(verbs);
		else if (code == CODE_VERSION)
			print_version();
		else
			return bad_option("", code, argv[optind - 1]);
	}
	if (optind == argc)
		return options_wrong("", "no verb", "");
	return 0;
}

/* Long names of what the verb takes; the letters are in *letters. */
static void names_of(const struct verb *verb, struct option names[NAMES_MAX],
		     char letters[NAMES_MAX])
{
	size_t count = 0;

	snprintf(letters, NAMES_MAX, ":s:h%s%s",
		 verb->takes & OPTIONS_NO_HEADER ? "H" : "",
		 verb->takes & OPTIONS_QUIET ? "q" : "");
	names[count++] = (struct option){"help", no_argument, NULL, 'h'};
	names[count++] =
	    (struct option){"version", no_argument, NULL, CODE_VERSION};
	for (size_t i = 0; i < sizeof all_names / sizeof *all_names; i++)
		if (verb->takes >> (all_names[i].val - CODE_FIRST) & 1)
			names[count++] = all_names[i];
	names[count] = (struct option){0};
}

static int parse_after_verb(int argc, char *argv[], const struct verb *verb,
			    struct options *options)
{
	struct option names[NAMES_MAX];
	char letters[NAMES_MAX];
	int code, rc = 0;

	names_of(verb, names, letters);
	optind = 0; /* getopt(3): begin anew */
	while (rc == 0 &&
	       (code = getopt_long(argc, argv, letters, names, NULL)) != -1) {
		if (code == 'h')
			print_verb(verb);
		else if (code == CODE_VERSION)
			print_version();
		else if (code == ':' || code == '?')
			rc = bad_option(verb->name, code, argv[optind - 1]);
		else if (!take_flag(options, code))
			rc = take_value(options, verb->name, code);
	}
	options->operand = argv + optind;
	options->operands = (size_t)(argc - optind);
	return rc;
}

int options_parse(int argc, char *argv[], const struct verb *verbs,
		  const struct verb **verb, struct options *options)
{
	int rc;

	*options = (struct options){.server = "localhost"};
	opterr = 0;
	rc = parse_before_verb(argc, argv, verbs, options);
	if (rc != 0)
		return rc;
	*verb = verbs;
	while ((*verb)->name != NULL &&
	       strcmp((*verb)->name, argv[optind]) != 0)
		(*verb)++;
	if ((*verb)->name == NULL)
		return options_wrong("", "no such verb", argv[optind]);
	rc = parse_after_verb(argc - optind, argv + optind, *verb, options);
	if (rc != 0)
		return rc;
	if (options->operands < (*verb)->operands_min)
		return options_wrong((*verb)->name, "something is missing", "");
	if (options->operands > (*verb)->operands_max)
		return options_wrong((*verb)->name, "too much",
				     options->operand[(*verb)->operands_max]);
	return 0;
}

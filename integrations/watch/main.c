/*
 * main: the command line, and what has to be right before anything is read.
 * Stays in the foreground: the service manager keeps it.
 */
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>

#include "log.h"
#include "options.h"
#include "patterns.h"
#include "source.h"
#include "trial.h"
#include "watcher.h"

/* watcher_run() takes them from a descriptor. */
static void block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int watch(const struct options *options, struct patterns *patterns)
{
	struct watcher *watcher;

	block_signals();
	watcher = watcher_create(options, patterns);
	if (watcher == NULL)
		return EX_UNAVAILABLE;
	watcher_run(watcher);
	watcher_free(watcher);
	return EX_OK;
}

int main(int argc, char *argv[])
{
	struct options options;
	struct patterns *patterns;
	int rc;

	log_open("dracwatch", true);
	rc = options_parse(argc, argv, &options);
	for (size_t i = 0; rc == 0 && i < options.source_count; i++)
		if (!source_check(options.source[i]))
			rc = EX_USAGE;
	if (rc != 0)
		return rc;
	patterns = patterns_load(options.patterns);
	if (patterns == NULL)
		return EX_CONFIG;
	if (options.test == NULL)
		return watch(&options, patterns);
	rc = trial_run(options.test, patterns);
	patterns_free(patterns);
	return rc;
}

/* trial: see trial.h. */
#include "trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "clock.h"
#include "log.h"

enum { NO_LOGIN = 1, QUOTED_MAX = 4 * DRAC_USER_MAX + 3 };

struct trial {
	const struct patterns *patterns;
	struct joins *joins;
	int64_t now_s;
	unsigned long lines, logins, unreadable;
};

static void print_login(const struct trial *trial, const char *pattern,
			const struct event *event)
{
	char user[QUOTED_MAX];

	printf("%lu: pattern=%s address=%s user=%s service=%s\n", trial->lines,
	       pattern, event->address,
	       log_quote(event->user, user, sizeof user), event->service);
}

static void try_line(struct trial *trial, const char *text, size_t len)
{
	struct line line;
	struct event event;
	const char *pattern;

	trial->lines++;
	if (len > 0 && text[len - 1] == '\n')
		len--;
	if (len > LINE_MAX_LEN || !line_parse(text, len, trial->now_s, &line)) {
		trial->unreadable++;
		return;
	}
	pattern = patterns_match(trial->patterns, trial->joins, &line, &event);
	if (pattern == NULL)
		return;
	trial->logins++;
	print_login(trial, pattern, &event);
}

int trial_run(const char *file, const struct patterns *patterns)
{
	struct trial trial = {.patterns = patterns,
			      .joins = joins_create(),
			      .now_s = clock_wall_s()};
	FILE *f = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
	int status = EX_NOINPUT;
	char *text = NULL;
	size_t size = 0;
	ssize_t len;

	if (f == NULL || trial.joins == NULL) {
		log_errno(LOG_ERR, "%s", file);
		goto done;
	}
	while ((len = getline(&text, &size, f)) >= 0)
		try_line(&trial, text, (size_t)len);
	if (ferror(f)) {
		log_errno(LOG_ERR, "%s", file);
		goto done;
	}
	printf("lines=%lu logins=%lu not-of-syslog=%lu\n", trial.lines,
	       trial.logins, trial.unreadable);
	status = fflush(stdout) != 0 ? EX_IOERR
				     : (trial.logins > 0 ? EX_OK : NO_LOGIN);
done:
	free(text);
	joins_free(trial.joins);
	if (f != NULL && f != stdin)
		fclose(f);
	return status;
}

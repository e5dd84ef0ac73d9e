/*
 * libFuzzer: log lines and the patterns that we ship; or a pattern file, if it
 * begins like one. What comes out as a login has a numeric address and clean
 * names.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../dracd/text.h"
#include "mailclient.h"
#include "patterns.h"

enum { NOW_S = 1796083200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct patterns *shipped;

static void check(const struct event *event)
{
	char again[DRAC_ADDRESS_SIZE];

	if (!mailclient_from_text(event->address, again) ||
	    strcmp(event->address, again) != 0 || event->time_s > NOW_S ||
	    !text_is_clean(event->user, strlen(event->user)) ||
	    !text_is_clean(event->service, strlen(event->service)))
		abort();
}

static void try_line(const char *text, size_t len, struct joins *joins)
{
	/* exactly as long as the line, so that a read beyond is seen */
	char *exact = malloc(len + 1);
	struct line line;
	struct event event;

	if (exact == NULL)
		abort();
	memcpy(exact, text, len);
	exact = realloc(exact, len != 0 ? len : 1);
	if (exact != NULL && line_parse(exact, len, NOW_S, &line) &&
	    patterns_match(shipped, joins, &line, &event) != NULL)
		check(&event);
	free(exact);
}

static void try_lines(const char *text, size_t len)
{
	struct joins *joins = joins_create();
	const char *end = text + len;

	if (joins == NULL)
		abort();
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *stop = newline != NULL ? newline : end;

		if (stop - text <= LINE_MAX_LEN)
			try_line(text, (size_t)(stop - text), joins);
		text = newline != NULL ? newline + 1 : end;
	}
	joins_free(joins);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = size > 0 ? (const char *)data : "";

	if (shipped == NULL) /* run in the top directory */
		shipped = patterns_load("integrations/watch/patterns");
	if (shipped == NULL)
		abort();
	if (size > 0 && (text[0] == '#' || text[0] == 'p'))
		patterns_free(patterns_parse("fuzz", text, size));
	else
		try_lines(text, size);
	return 0;
}

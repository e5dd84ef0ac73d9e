/*
 * match: tries a line against all patterns. Never looks up a name: an address
 * that is not numeric is none. A pattern that takes too long is given up.
 */
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "mailclient.h"
#include "patterns.h"
#include "patterns_impl.h"
#include "text.h"

int pattern_group(const pcre2_code *code, const char *name)
{
	int group = pcre2_substring_number_from_name(code, (PCRE2_SPTR)name);

	return group < 0 ? -1 : group;
}

static bool try_code(const struct patterns *patterns,
		     const struct pattern *pattern, const pcre2_code *code,
		     const struct line *line)
{
	static struct log_limit limit;
	int rc = pcre2_match(code, (PCRE2_SPTR)line->message, line->len, 0, 0,
			     patterns->match, patterns->limits);

	if (rc < 0 && rc != PCRE2_ERROR_NOMATCH && log_allowed(&limit))
		log_write(LOG_WARNING,
			  "pattern=%s gives up on a line (PCRE2 error %d): "
			  "write it so that it does not have to search",
			  pattern->name, rc);
	return rc >= 0;
}

/* Of the last match; "" without the group, or if it has no room. */
static void copy_group(const struct patterns *patterns, const pcre2_code *code,
		       const char *name, char *out, size_t size)
{
	int group = pattern_group(code, name);

	out[0] = '\0';
	if (group >= 0 &&
	    pcre2_substring_copy_bynumber(patterns->match, (uint32_t)group,
					  (PCRE2_UCHAR *)out, &size) != 0)
		out[0] = '\0';
}

static bool copy_address(const struct patterns *patterns,
			 const pcre2_code *code, char out[DRAC_ADDRESS_SIZE])
{
	char text[DRAC_ADDRESS_SIZE];

	copy_group(patterns, code, "address", text, sizeof text);
	return mailclient_from_text(text, out);
}

/* dracd takes only clean text; what is not is left out, not the login. */
static void copy_text(const struct patterns *patterns, const pcre2_code *code,
		      const char *name, char *out, size_t size)
{
	copy_group(patterns, code, name, out, size);
	if (!text_is_clean(out, strlen(out)))
		out[0] = '\0';
}

static bool try_login(const struct patterns *patterns,
		      const struct pattern *pattern, struct joins *joins,
		      const struct line *line, struct event *event)
{
	const pcre2_code *code = pattern->login;

	if (!try_code(patterns, pattern, code, line))
		return false;
	*event = (struct event){.kind = EVENT_LOGIN, .time_s = line->time_s};
	copy_text(patterns, code, "user", event->user, sizeof event->user);
	copy_text(patterns, code, "service", event->service,
		  sizeof event->service);
	if (pattern->join != NULL)
		return joins_take(joins, pattern->name, line, event->address);
	return copy_address(patterns, code, event->address);
}

static void try_join(const struct patterns *patterns,
		     const struct pattern *pattern, struct joins *joins,
		     const struct line *line)
{
	char address[DRAC_ADDRESS_SIZE];

	if (pattern->join != NULL &&
	    try_code(patterns, pattern, pattern->join, line) &&
	    copy_address(patterns, pattern->join, address))
		joins_put(joins, pattern->name, line, address);
}

static const struct pattern_program *find_program(const struct pattern *pattern,
						  const char *name)
{
	for (size_t i = 0; i < pattern->program_count; i++)
		if (strcmp(pattern->program[i].name, name) == 0)
			return &pattern->program[i];
	return NULL;
}

const char *patterns_match(const struct patterns *patterns, struct joins *joins,
			   const struct line *line, struct event *event)
{
	for (size_t i = 0; i < patterns->count; i++) {
		const struct pattern *pattern = &patterns->pattern[i];
		const struct pattern_program *program =
		    find_program(pattern, line->program);

		if (program == NULL)
			continue;
		if (try_login(patterns, pattern, joins, line, event)) {
			if (event->service[0] == '\0')
				snprintf(event->service, sizeof event->service,
					 "%s", program->service);
			return pattern->name;
		}
		try_join(patterns, pattern, joins, line);
	}
	return NULL;
}

/* source: see source.h. Turns lines into events; joins are its own. */
#include "source.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "cyrus.h"
#include "follow.h"
#include "journald.h"
#include "log.h"

enum kind { KIND_FILE, KIND_JOURNAL, KIND_CYRUS, KIND_COUNT };
enum { QUOTED_MAX = 256 };

static const char *const prefix[KIND_COUNT] = {
    [KIND_FILE] = "file:",
    [KIND_JOURNAL] = "journal:",
    [KIND_CYRUS] = "cyrus:",
};

struct source {
	const struct source_world *world;
	const char *name;
	enum kind kind;
	struct joins *joins;
	struct follow *follow;
	struct journald *journald;
	struct cyrus *cyrus;
};

/* What stands behind the prefix; NULL: it is of no kind. */
static const char *parse(const char *text, enum kind *kind)
{
	for (int i = 0; i < KIND_COUNT; i++) {
		size_t len = strlen(prefix[i]);

		if (strncmp(text, prefix[i], len) == 0 && text[len] != '\0') {
			*kind = (enum kind)i;
			return text + len;
		}
	}
	return NULL;
}

bool source_check(const char *text)
{
	char quoted[QUOTED_MAX];
	enum kind kind;
	const char *what = parse(text, &kind);

	if (what != NULL &&
	    (kind == KIND_JOURNAL ? what[0] == '/' || strchr(what, '.') != NULL
				  : what[0] == '/'))
		return true;
	log_write(LOG_ERR,
		  "%s: write journal:NAME.service, journal:/path/program, "
		  "file:/path/log or cyrus:/path/socket",
		  log_quote(text, quoted, sizeof quoted));
	return false;
}

/* ---- lines --------------------------------------------------------------- */

static void take_line(void *ctx, const struct line *line)
{
	const struct source *source = ctx;
	const struct source_world *world = source->world;
	struct event event;

	if (patterns_match(world->patterns, source->joins, line, &event) !=
	    NULL)
		world->fn(world->ctx, &event);
}

static void take_text(void *ctx, const char *text, size_t len)
{
	struct line line;

	if (line_parse(text, len, clock_wall_s(), &line))
		take_line(ctx, &line);
}

/* ---- doors --------------------------------------------------------------- */

static bool open_kind(struct source *source, const char *what,
		      const json_t *saved)
{
	switch (source->kind) {
	case KIND_FILE:
		source->follow = follow_open(what, saved, take_text, source);
		return source->follow != NULL;
	case KIND_JOURNAL:
		source->journald =
		    journald_open(what, saved, take_line, source);
		return source->journald != NULL;
	default:
		source->cyrus =
		    cyrus_open(what, source->world->fn, source->world->ctx);
		return source->cyrus != NULL;
	}
}

struct source *source_open(const char *text, const json_t *saved,
			   const struct source_world *world)
{
	struct source *source = calloc(1, sizeof *source);
	const char *what;

	if (source == NULL) {
		log_errno(LOG_ERR, "%s cannot be watched", text);
		return NULL;
	}
	*source = (struct source){
	    .world = world, .name = text, .joins = joins_create()};
	what = parse(text, &source->kind);
	if (what != NULL && source->joins != NULL) {
		joins_load(source->joins, json_object_get(saved, "joins"));
		if (open_kind(source, what, saved))
			return source;
	}
	log_write(LOG_ERR, "%s cannot be watched", text);
	source_close(source);
	return NULL;
}

void source_close(struct source *source)
{
	if (source == NULL)
		return;
	follow_close(source->follow);
	journald_close(source->journald);
	cyrus_close(source->cyrus);
	joins_free(source->joins);
	free(source);
}

const char *source_name(const struct source *source)
{
	return source->name;
}

int source_fd(const struct source *source)
{
	switch (source->kind) {
	case KIND_FILE:
		return follow_fd(source->follow);
	case KIND_JOURNAL:
		return journald_fd(source->journald);
	default:
		return cyrus_fd(source->cyrus);
	}
}

bool source_can_wait(const struct source *source)
{
	return source->kind != KIND_CYRUS;
}

bool source_read(struct source *source)
{
	switch (source->kind) {
	case KIND_FILE:
		return follow_read(source->follow);
	case KIND_JOURNAL:
		return journald_read(source->journald);
	default:
		cyrus_read(source->cyrus);
		return false;
	}
}

void source_tick(struct source *source)
{
	if (source->kind == KIND_CYRUS)
		cyrus_tick(source->cyrus);
	else if (source->kind == KIND_JOURNAL)
		journald_tick(source->journald);
}

json_t *source_save(const struct source *source)
{
	json_t *saved = NULL;

	if (source->kind == KIND_FILE)
		saved = follow_save(source->follow);
	else if (source->kind == KIND_JOURNAL)
		saved = journald_save(source->journald);
	if (saved != NULL)
		json_object_set_new(saved, "joins", joins_save(source->joins));
	return saved;
}

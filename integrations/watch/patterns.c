/*
 * patterns: reads the pattern file. Refuses what cannot work, so that nobody
 * learns from a silent log that a group was misspelt.
 */
#include "patterns.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "patterns_impl.h"
#include "text.h"

enum {
	FILE_MAX_LEN = 1024 * 1024,
	TEXT_MAX = 4096, /* a line of the file */
	MESSAGE_MAX = 256,
	QUOTED_MAX = 128,
	/* Enough for a hundred times what the patterns shipped here take. */
	MATCH_LIMIT = 20000,
	DEPTH_LIMIT = 2000,
	HEAP_LIMIT_KB = 1024,
};

struct reader {
	const char *file;
	int line;
	bool failed;
	struct patterns *patterns;
	struct pattern *now; /* the block under way; NULL: none */
};

__attribute__((format(printf, 2, 3))) static void
complain(struct reader *reader, const char *format, ...)
{
	char message[MESSAGE_MAX];
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof message, format, ap);
	va_end(ap);
	log_write(LOG_ERR, "%s:%d: %s", reader->file, reader->line, message);
	reader->failed = true;
}

/* ---- words --------------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The next word of *text, ended by NUL; "" at its end. */
static char *take_word(char **text)
{
	char *word;

	while (is_blank(**text))
		(*text)++;
	word = *text;
	while (**text != '\0' && !is_blank(**text))
		(*text)++;
	if (**text != '\0')
		*(*text)++ = '\0';
	return word;
}

static bool is_name(const char *text)
{
	return text[0] != '\0' && strlen(text) <= PATTERN_NAME_MAX &&
	       text[strspn(text, "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] ==
		   '\0';
}

/* ---- a block ------------------------------------------------------------- */

static void check_block(struct reader *reader)
{
	const struct pattern *pattern = reader->now;
	int at = reader->line;
	bool joined, whole;

	if (pattern == NULL || reader->failed)
		return;
	reader->line = pattern->line;
	joined = pattern->join != NULL;
	whole = pattern->login != NULL &&
		pattern_group(pattern->login, "address") >= 0;
	if (pattern->program_count == 0)
		complain(reader,
			 "pattern %s has no program: write a line \"program "
			 "NAME\"",
			 pattern->name);
	else if (pattern->login == NULL)
		complain(reader,
			 "pattern %s has no login: write a line \"login "
			 "REGEX\"",
			 pattern->name);
	else if (!joined && !whole)
		complain(reader,
			 "pattern %s has no address: write (?<address>...) in "
			 "its login",
			 pattern->name);
	else if (joined && whole)
		complain(reader,
			 "pattern %s has two addresses: leave out its join, or "
			 "the address in its login",
			 pattern->name);
	reader->line = at;
}

static void begin_block(struct reader *reader, char *rest)
{
	struct patterns *patterns = reader->patterns;
	const char *name = take_word(&rest);
	struct pattern *pattern;

	check_block(reader);
	reader->now = NULL;
	if (!is_name(name) || *take_word(&rest) != '\0') {
		complain(reader,
			 "write \"pattern NAME\": one word of at most %d "
			 "letters, digits, '.', '_', '-'",
			 PATTERN_NAME_MAX);
		return;
	}
	for (size_t i = 0; i < patterns->count; i++)
		if (strcmp(patterns->pattern[i].name, name) == 0)
			complain(reader,
				 "pattern %s is there already, in line %d: "
				 "choose another name",
				 name, patterns->pattern[i].line);
	if (patterns->count == PATTERNS_MAX) {
		complain(reader, "more than %d patterns: leave out some",
			 PATTERNS_MAX);
		return;
	}
	pattern = &patterns->pattern[patterns->count++];
	snprintf(pattern->name, sizeof pattern->name, "%s", name);
	pattern->line = reader->line;
	reader->now = pattern;
}

static void add_program(struct reader *reader, char *rest)
{
	struct pattern *pattern = reader->now;
	const char *name = take_word(&rest), *service = take_word(&rest);
	struct pattern_program *program;

	if (name[0] == '\0' || strlen(name) > LINE_PROGRAM_MAX ||
	    strlen(service) > DRAC_SERVICE_MAX ||
	    !text_is_clean(service, strlen(service)) ||
	    *take_word(&rest) != '\0') {
		complain(reader, "write \"program NAME\" or \"program NAME "
				 "SERVICE\", one program a line");
		return;
	}
	if (pattern->program_count == PATTERN_PROGRAMS_MAX) {
		complain(reader,
			 "more than %d programs: write a second pattern",
			 PATTERN_PROGRAMS_MAX);
		return;
	}
	program = &pattern->program[pattern->program_count++];
	snprintf(program->name, sizeof program->name, "%s", name);
	snprintf(program->service, sizeof program->service, "%s", service);
}

/* ---- regular expressions ------------------------------------------------- */

/* A misspelt group would be a pattern that finds nothing. */
static void check_groups(struct reader *reader, const pcre2_code *code,
			 bool is_join)
{
	uint32_t count = 0, size = 0;
	PCRE2_SPTR table = NULL;

	pcre2_pattern_info(code, PCRE2_INFO_NAMECOUNT, &count);
	pcre2_pattern_info(code, PCRE2_INFO_NAMEENTRYSIZE, &size);
	pcre2_pattern_info(code, PCRE2_INFO_NAMETABLE, &table);
	for (uint32_t i = 0; i < count; i++) {
		/* two bytes of number, then the name: pcre2api(3) */
		const char *name = (const char *)table + i * size + 2;

		if (strcmp(name, "address") == 0 ||
		    (!is_join && (strcmp(name, "user") == 0 ||
				  strcmp(name, "service") == 0)))
			continue;
		complain(reader,
			 "group \"%s\" means nothing here: use address%s", name,
			 is_join ? "" : ", user, service");
	}
	if (is_join && pattern_group(code, "address") < 0)
		complain(reader, "a join tells the address: write "
				 "(?<address>...) in it");
}

static void add_code(struct reader *reader, const char *text, bool is_join)
{
	pcre2_code **code = is_join ? &reader->now->join : &reader->now->login;
	char reason[MESSAGE_MAX / 2];
	PCRE2_SIZE at = 0;
	int error = 0;

	if (*code != NULL) {
		complain(reader,
			 "pattern %s has a %s already: write a second "
			 "pattern",
			 reader->now->name, is_join ? "join" : "login");
		return;
	}
	if (text[0] == '\0') {
		complain(reader, "write the regular expression behind \"%s\"",
			 is_join ? "join" : "login");
		return;
	}
	/* the whole message, whatever the pattern says of its ends */
	*code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
			      PCRE2_ANCHORED | PCRE2_ENDANCHORED |
				  PCRE2_DOLLAR_ENDONLY,
			      &error, &at, NULL);
	if (*code != NULL) {
		check_groups(reader, *code, is_join);
		return;
	}
	pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
	complain(reader, "the regular expression is wrong at character %zu: %s",
		 (size_t)at + 1, reason);
}

/* ---- the file ------------------------------------------------------------ */

static void read_line(struct reader *reader, char *text)
{
	const char *key = take_word(&text);
	char quoted[QUOTED_MAX];

	while (is_blank(*text))
		text++;
	if (key[0] == '\0' || key[0] == '#')
		return;
	if (strcmp(key, "pattern") == 0)
		begin_block(reader, text);
	else if (strcmp(key, "program") != 0 && strcmp(key, "join") != 0 &&
		 strcmp(key, "login") != 0)
		complain(reader,
			 "%s: unknown; write pattern, program, join or login",
			 log_quote(key, quoted, sizeof quoted));
	else if (reader->now == NULL)
		complain(reader,
			 "%s outside of a pattern: write \"pattern "
			 "NAME\" above it",
			 key);
	else if (strcmp(key, "program") == 0)
		add_program(reader, text);
	else
		add_code(reader, text, strcmp(key, "join") == 0);
}

static void read_lines(struct reader *reader, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t size = (size_t)((newline ? newline : end) - text);
		char line[TEXT_MAX + 1] = "";

		reader->line++;
		while (size > 0 &&
		       (is_blank(text[size - 1]) || text[size - 1] == '\r'))
			size--;
		if (size > TEXT_MAX || !line_is_clean(text, size)) {
			complain(reader,
				 "longer than %d bytes, or with "
				 "control characters",
				 TEXT_MAX);
		} else {
			memcpy(line, text, size);
			line[size] = '\0';
			read_line(reader, line);
		}
		text = newline != NULL ? newline + 1 : end;
	}
}

static struct patterns *create(void)
{
	struct patterns *patterns = calloc(1, sizeof *patterns);

	if (patterns == NULL)
		return NULL;
	patterns->limits = pcre2_match_context_create(NULL);
	/* one pair for the whole, and for address, user and service */
	patterns->match = pcre2_match_data_create(UINT8_MAX, NULL);
	if (patterns->limits == NULL || patterns->match == NULL) {
		patterns_free(patterns);
		return NULL;
	}
	pcre2_set_match_limit(patterns->limits, MATCH_LIMIT);
	pcre2_set_depth_limit(patterns->limits, DEPTH_LIMIT);
	pcre2_set_heap_limit(patterns->limits, HEAP_LIMIT_KB);
	return patterns;
}

struct patterns *patterns_parse(const char *file, const char *text, size_t len)
{
	struct reader reader = {.file = file, .patterns = create()};

	if (reader.patterns == NULL) {
		log_write(LOG_ERR, "%s: no memory for the patterns", file);
		return NULL;
	}
	read_lines(&reader, text, len);
	check_block(&reader);
	if (!reader.failed && reader.patterns->count == 0)
		complain(&reader, "no pattern in it");
	if (!reader.failed)
		return reader.patterns;
	patterns_free(reader.patterns);
	return NULL;
}

struct patterns *patterns_load(const char *file)
{
	FILE *f = fopen(file, "re");
	struct patterns *patterns = NULL;
	char *text = calloc(1, FILE_MAX_LEN);
	size_t len;

	if (f == NULL || text == NULL) {
		log_errno(LOG_ERR, "%s", file);
	} else {
		len = fread(text, 1, FILE_MAX_LEN, f);
		if (ferror(f))
			log_errno(LOG_ERR, "%s", file);
		else if (len == FILE_MAX_LEN)
			log_write(LOG_ERR, "%s: larger than %d bytes", file,
				  FILE_MAX_LEN - 1);
		else
			patterns = patterns_parse(file, text, len);
	}
	free(text);
	if (f != NULL)
		fclose(f);
	return patterns;
}

void patterns_free(struct patterns *patterns)
{
	if (patterns == NULL)
		return;
	for (size_t i = 0; i < patterns->count; i++) {
		pcre2_code_free(patterns->pattern[i].join);
		pcre2_code_free(patterns->pattern[i].login);
	}
	pcre2_match_data_free(patterns->match);
	pcre2_match_context_free(patterns->limits);
	free(patterns);
}

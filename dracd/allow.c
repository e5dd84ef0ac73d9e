/*
 * allow: reads dracd.allow(5). A line that DRAC 1.12 passed over in silence
 * is an error here, because such a line either shut a caller out or, with a
 * mask like 999.1.1.1, let one in.
 */
#include "allow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keys.h"
#include "log.h"

enum {
	WORDS_MAX = 2, /* that name callers */
	OPTIONS_MAX = 2,
	FIRST_ROOM = 16,  /* rules; doubled when full */
	QUOTED_MAX = 128, /* of a line in a message */
	WHY_MAX = 256,
};

#define EXAMPLE "\"255.255.255.0 192.0.2.0\" or \"192.0.2.0/24\""

/* ---- one line ---- */

/* Cuts text into words in place; returns how many, at most max + 1. */
static int split(char *text, char *words[], int max)
{
	static const char blank[] = " \t";
	int n = 0;

	for (text += strspn(text, blank); *text != '\0';
	     text += strspn(text, blank)) {
		if (n == max)
			return n + 1;
		words[n++] = text;
		text += strcspn(text, blank);
		if (*text != '\0')
			*text++ = '\0';
	}
	return n;
}

static bool parse_quad(struct address *a, const char *text)
{
	return strchr(text, ':') == NULL && address_from_text(a, text);
}

/* "netmask netaddr". Returns NULL or why it is wrong, in why if need be. */
static const char *parse_masked(struct prefix *p, const char *mask,
				const char *net, char why[WHY_MAX])
{
	char right[ADDRESS_TEXT_MAX];
	struct address masked;

	if (!parse_quad(&p->mask, mask))
		return "the netmask is not four numbers from 0 to 255; write "
		       "for example " EXAMPLE;
	if (!parse_quad(&p->net, net))
		return "the address behind the netmask is not four numbers "
		       "from 0 to 255; write for example " EXAMPLE;
	memset(p->mask.byte, 0xff, sizeof p->mask.byte - 4);
	for (size_t i = 0; i < sizeof masked.byte; i++)
		masked.byte[i] = p->net.byte[i] & p->mask.byte[i];
	if (address_equal(&masked, &p->net))
		return NULL;
	snprintf(why, WHY_MAX,
		 "bits are set behind the netmask; write \"%s %s\"", mask,
		 address_text(&masked, right));
	return why;
}

/* 240.0.0.0 and above are netmasks, not hosts. */
static bool is_netmask(const char *text)
{
	struct address a;
	return address_from_text(&a, text) && address_is_v4(&a) &&
	       a.byte[12] >= 240;
}

/* A word behind the address. *is_one: false for what is none at all. */
static const char *parse_option(struct allow_rule *rule, const char *word,
				const struct keys *keys, bool *is_one,
				char why[WHY_MAX])
{
	static const char key[] = "key=";
	bool is_key = strncmp(word, key, sizeof key - 1) == 0;
	const char *name = word + sizeof key - 1;

	*is_one = is_key || strcmp(word, "tcp") == 0;
	if (!*is_one)
		return NULL;
	if (is_key ? rule->key != NULL : rule->tcp)
		return "the same option twice; leave one of them out";
	if (!is_key) {
		rule->tcp = true;
		return NULL;
	}
	if (keys_find(keys, name) == NULL) {
		snprintf(why, WHY_MAX,
			 "there is no key \"%.64s\" in dracd.conf; write "
			 "there: key \"%.64s\" { file = \"/path\" }",
			 name, name);
		return why;
	}
	rule->key = strdup(name);
	return rule->key != NULL ? NULL : "out of memory";
}

static const char *parse_caller(struct prefix *p, char *words[], int n,
				char why[WHY_MAX])
{
	char fault[PREFIX_FAULT_MAX];

	if (n == 0)
		return "no address before the options; write for "
		       "example \"192.0.2.0/24 tcp\"";
	if (n > WORDS_MAX)
		return "too many words; write for example " EXAMPLE;
	if (n == 2 && strcmp(words[0], "host") != 0)
		return parse_masked(p, words[0], words[1], why);
	if (n == 2 && strchr(words[1], '/') != NULL)
		return "\"host\" takes one address; leave the word out, or "
		       "write for example \"host 192.0.2.1\"";
	if (prefix_fault(words[n - 1], fault) != NULL) {
		snprintf(why, WHY_MAX, "%s%s", fault,
			 strstr(fault, "write") != NULL
			     ? ""
			     : "; write for example " EXAMPLE);
		return why;
	}
	prefix_from_text(p, words[n - 1]);
	if (n == 1 && is_netmask(words[0]))
		return "a netmask without its network; write for "
		       "example " EXAMPLE;
	return NULL;
}

/* line: without comment, cut to pieces here. */
static const char *parse_words(struct allow_rule *rule, char *line,
			       const struct keys *keys, bool *empty,
			       char why[WHY_MAX])
{
	enum { ALL = WORDS_MAX + OPTIONS_MAX };
	char *words[ALL];
	int n = split(line, words, ALL);
	bool is_option = true;

	*empty = n == 0;
	if (n == 0)
		return NULL;
	if (n > ALL)
		return "too many words; write for example " EXAMPLE;
	while (n > 0 && is_option) {
		const char *fault =
		    parse_option(rule, words[n - 1], keys, &is_option, why);

		if (fault != NULL)
			return fault;
		n -= is_option;
	}
	return parse_caller(&rule->prefix, words, n, why);
}

static const char *parse_line(struct allow_rule *rule, const char *text,
			      size_t len, const struct keys *keys, bool *empty,
			      char why[WHY_MAX])
{
	char line[ALLOW_LINE_MAX + 1];
	const char *comment;

	if (len > 0 && text[len - 1] == '\r')
		len--;
	if (len > ALLOW_LINE_MAX)
		return "longer than 1023 bytes; write for example " EXAMPLE;
	comment = memchr(text, '#', len);
	if (comment != NULL)
		len = (size_t)(comment - text);
	if (memchr(text, '\0', len) != NULL)
		return "a NUL byte; write for example " EXAMPLE;
	memcpy(line, text, len);
	line[len] = '\0';
	return parse_words(rule, line, keys, empty, why);
}

/* ---- the file ---- */

static bool add(struct allow_list *list, size_t *room,
		const struct allow_rule *rule)
{
	struct allow_rule *bigger;

	if (list->count == *room) {
		*room = *room == 0 ? FIRST_ROOM : *room * 2;
		bigger = realloc(list->rules, *room * sizeof *bigger);
		if (bigger == NULL)
			return false;
		list->rules = bigger;
	}
	list->rules[list->count++] = *rule;
	return true;
}

static void report(const char *name, unsigned long number, const char *text,
		   size_t len, const char *why)
{
	char line[QUOTED_MAX], quoted[QUOTED_MAX];

	snprintf(line, sizeof line, "%.*s",
		 (int)(len < sizeof line ? len : sizeof line - 1), text);
	log_write(LOG_ERR, "%s:%lu: %s: %s", name, number,
		  log_quote(line, quoted, sizeof quoted), why);
}

bool allow_parse(const char *name, const char *text, size_t len,
		 const struct keys *keys, struct allow_list *list)
{
	const char *end = text + len, *next;
	unsigned long number = 0, faults = 0;
	size_t room = 0;

	*list = (struct allow_list){0};
	for (; text < end; text = next) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line_len = (size_t)((newline ? newline : end) - text);
		char why[WHY_MAX];
		const char *fault;
		struct allow_rule rule = {.key = NULL};
		bool empty = false;

		next = newline ? newline + 1 : end;
		number++;
		fault = parse_line(&rule, text, line_len, keys, &empty, why);
		if (fault != NULL && faults++ < ALLOW_FAULTS_MAX)
			report(name, number, text, line_len, fault);
		if (fault != NULL || empty)
			free(rule.key);
		else if (!add(list, &room, &rule)) {
			log_errno(LOG_ERR, "%s", name);
			free(rule.key);
			faults++;
			break;
		}
	}
	if (faults > ALLOW_FAULTS_MAX)
		log_write(LOG_ERR, "%s: %lu more lines are wrong", name,
			  faults - ALLOW_FAULTS_MAX);
	if (faults > 0)
		allow_free(list);
	return faults == 0;
}

/* Up to size bytes; -1 with errno. EFBIG: there is more. */
static ssize_t read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, buf + len, size - len)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		len += (size_t)n;
		if (len == size) {
			errno = EFBIG;
			return -1;
		}
	}
	return (ssize_t)len;
}

bool allow_read(const char *path, const struct keys *keys,
		struct allow_list *list)
{
	/* O_NONBLOCK: a FIFO in its place must not stop the daemon. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text;
	ssize_t len;
	bool ok;

	*list = (struct allow_list){0};
	if (fd < 0 && errno == ENOENT) {
		list->missing = true;
		return true;
	}
	if (fd < 0) {
		log_errno(LOG_ERR, "%s", path);
		return false;
	}
	text = malloc(ALLOW_FILE_MAX + 1);
	len = text == NULL ? -1 : read_all(fd, text, ALLOW_FILE_MAX + 1);
	if (len < 0)
		log_errno(LOG_ERR, "%s", path);
	ok = len >= 0 && allow_parse(path, text, (size_t)len, keys, list);
	free(text);
	close(fd);
	return ok;
}

void allow_free(struct allow_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->rules[i].key);
	free(list->rules);
	*list = (struct allow_list){0};
}

unsigned allow_ways(const struct allow_list *list, const struct address *a,
		    const char *key)
{
	unsigned ways = 0;

	for (size_t i = 0; i < list->count; i++) {
		const struct allow_rule *rule = &list->rules[i];
		unsigned way = rule->tcp ? ALLOW_TCP : ALLOW_UDP | ALLOW_TCP;

		if (!prefix_contains(&rule->prefix, a))
			continue;
		if (rule->key == NULL ||
		    (key != NULL && strcmp(rule->key, key) == 0))
			ways |= way;
		else
			ways |= way << ALLOW_WITH_KEY;
	}
	return ways;
}

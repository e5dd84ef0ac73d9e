/* joins: see joins.h. A short list; most sites never have one. */
#include "joins.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = LINE_HOST_MAX + LINE_PROGRAM_MAX + 64 };

struct join {
	char key[KEY_MAX + 1]; /* "": free */
	char address[DRAC_ADDRESS_SIZE];
	int64_t time_s;
};

struct joins {
	struct join join[JOINS_MAX];
};

struct joins *joins_create(void)
{
	return calloc(1, sizeof(struct joins));
}

void joins_free(struct joins *joins)
{
	free(joins);
}

/* The host too: a log may be that of many, with the same PIDs. */
static void make_key(char key[KEY_MAX + 1], const char *pattern,
		     const struct line *line)
{
	snprintf(key, KEY_MAX + 1, "%s %s %s[%" PRId64 "]", pattern, line->host,
		 line->program, line->pid);
}

static struct join *find(struct joins *joins, const char *key)
{
	for (size_t i = 0; i < JOINS_MAX; i++)
		if (strcmp(joins->join[i].key, key) == 0)
			return &joins->join[i];
	return NULL;
}

static struct join *find_oldest(struct joins *joins)
{
	struct join *oldest = &joins->join[0];

	for (size_t i = 1; i < JOINS_MAX; i++)
		if (joins->join[i].time_s < oldest->time_s)
			oldest = &joins->join[i];
	return oldest;
}

static void put(struct joins *joins, const char *key, const char *address,
		int64_t time_s)
{
	struct join *join = find(joins, key);

	if (join == NULL)
		join = find_oldest(joins);
	*join = (struct join){.time_s = time_s};
	snprintf(join->key, sizeof join->key, "%s", key);
	snprintf(join->address, sizeof join->address, "%s", address);
}

void joins_put(struct joins *joins, const char *pattern,
	       const struct line *line, const char *address)
{
	char key[KEY_MAX + 1];

	if (line->pid == 0)
		return;
	make_key(key, pattern, line);
	put(joins, key, address, line->time_s);
}

bool joins_take(struct joins *joins, const char *pattern,
		const struct line *line, char address[DRAC_ADDRESS_SIZE])
{
	char key[KEY_MAX + 1];
	struct join *join;
	bool good;

	make_key(key, pattern, line);
	join = find(joins, key);
	if (join == NULL || line->pid == 0)
		return false;
	good = line->time_s - join->time_s <= JOINS_AGE_MAX_S;
	memcpy(address, join->address, sizeof join->address);
	*join = (struct join){0};
	return good;
}

json_t *joins_save(const struct joins *joins)
{
	json_t *saved = json_array();

	for (size_t i = 0; saved != NULL && i < JOINS_MAX; i++) {
		const struct join *join = &joins->join[i];

		/* a key may have bytes that JSON has not: it is lost then */
		if (join->key[0] != '\0')
			json_array_append_new(
			    saved,
			    json_pack("{s:s, s:s, s:I}", "key", join->key,
				      "address", join->address, "time",
				      (json_int_t)join->time_s));
	}
	return saved;
}

void joins_load(struct joins *joins, const json_t *saved)
{
	const char *key, *address;
	json_int_t time;
	json_t *each;
	size_t i;

	json_array_foreach(saved, i,
			   each) if (json_unpack(each, "{s:s, s:s, s:I}", "key",
						 &key, "address", &address,
						 "time", &time) == 0)
	    put(joins, key, address, time);
}

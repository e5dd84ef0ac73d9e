/* mapdiff: see mapdiff.h. */
#include "mapdiff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	LETTERS = 12, /* of a key, for the order */
	LETTER_BITS = 5,
	DIGIT_BITS = 10,
	DIGITS = 1 << DIGIT_BITS,
};

/* ---- lists ------------------------------------------------------------ */

/* In the order of the characters in which keys are written. */
static unsigned rank(char letter)
{
	if (letter >= 'a')
		return 13 + (unsigned)(letter - 'a');
	if (letter >= '0')
		return 2 + (unsigned)(letter - '0'); /* ':' follows '9' */
	return letter == '.';
}

/* The first letters; what all keys for sendmail begin with counts as one. */
static uint64_t order_of(const char *key)
{
	uint64_t order = 0;
	int letters = 0;
	if (*key == 'i') {
		order = rank(*key);
		letters = 1;
		key += sizeof("ipv6:") - 1;
	}
	for (; letters < LETTERS; letters++) {
		order = order << LETTER_BITS | rank(*key);
		if (*key != '\0')
			key++;
	}
	return order;
}

static bool items_add(struct mapdiff_items *items, const struct entry *entry,
		      const struct address_keys *keys, int which)
{
	if (items->count == items->room) {
		size_t room = items->room ? 2 * items->room : 1024;
		struct mapdiff_item *item =
		    reallocarray(items->item, room, sizeof(*item));
		if (item == NULL)
			return false;
		items->item = item;
		items->room = room;
	}
	items->item[items->count++] = (struct mapdiff_item){
	    order_of(keys->text[which]), table_slot(entry), which};
	return true;
}

static size_t digit(const struct mapdiff_item *item, int shift)
{
	return item->order >> shift & (DIGITS - 1);
}

/* By the lowest digit first: a million in a tenth of qsort's time. */
static bool items_sort(struct mapdiff_items *items)
{
	struct mapdiff_item *from = items->item,
			    *to = reallocarray(NULL, items->room, sizeof(*to));
	if (to == NULL)
		return false;
	for (int shift = 0; shift < LETTERS * LETTER_BITS;
	     shift += DIGIT_BITS) {
		size_t end[DIGITS] = {0};
		for (size_t i = 0; i < items->count; i++)
			end[digit(&from[i], shift)]++;
		for (size_t i = 1; i < DIGITS; i++)
			end[i] += end[i - 1];
		for (size_t i = items->count; i-- > 0;)
			to[--end[digit(&from[i], shift)]] = from[i];
		struct mapdiff_item *done = to;
		to = from;
		from = done;
	}
	items->item = from;
	free(to);
	return true;
}

static bool keys_add(struct mapdiff_keys *keys, const void *key, size_t len)
{
	size_t needed = keys->used + sizeof(len) + len;
	if (needed > keys->room) {
		char *byte = realloc(keys->byte, 2 * needed + 1024);
		if (byte == NULL)
			return false;
		keys->byte = byte;
		keys->room = 2 * needed + 1024;
	}
	memcpy(keys->byte + keys->used, &len, sizeof(len));
	if (len > 0)
		memcpy(keys->byte + keys->used + sizeof(len), key, len);
	keys->used = needed;
	keys->count++;
	return true;
}

/* ---- comparing -------------------------------------------------------- */

struct comparison {
	struct table *table;
	bool nul;
	struct mapdiff_keys *wrong;
	struct mapdiff_pair pair[TABLE_BATCH];
	int pairs;
};

/* Copies what may be text, without its NUL; false: it cannot be text. */
static bool stored_text(char *text, size_t size, const void *data, size_t len,
			bool nul)
{
	const char *byte = data;
	if (nul && (len == 0 || byte[--len] != '\0'))
		return false;
	if (len == 0 || len >= size || memchr(byte, '\0', len) != NULL)
		return false;
	memcpy(text, byte, len);
	text[len] = '\0';
	return true;
}

static bool expiry_from_text(int64_t *expiry_s, const char *text)
{
	const char *digit = text;
	for (*expiry_s = 0; *digit >= '0' && *digit <= '9'; digit++) {
		if (digit - text == MAPDIFF_DIGITS_MAX)
			return false;
		*expiry_s = 10 * *expiry_s + (*digit - '0');
	}
	return digit > text && *digit == '\0';
}

static bool key_address(struct address *address, const char *key)
{
	if (strncmp(key, "ipv6:", 5) == 0)
		key += 5;
	return address_from_text(address, key);
}

bool mapdiff_read(struct mapdiff_pair *pair, const void *key, size_t key_len,
		  const void *value, size_t value_len, bool nul)
{
	char text[MAPDIFF_DIGITS_MAX + 1];
	if (!stored_text(pair->key, sizeof(pair->key), key, key_len, nul) ||
	    !key_address(&pair->address, pair->key))
		return false;
	pair->stored_len = key_len;
	if (!stored_text(text, sizeof(text), value, value_len, nul) ||
	    !expiry_from_text(&pair->expiry_s, text))
		pair->expiry_s = -1;
	return true;
}

/* Marks the key as seen if the table says the same; else it is wrong. */
static bool pair_is_right(struct comparison *c, const struct mapdiff_pair *pair)
{
	struct entry *entry = table_find(c->table, &pair->address);
	if (entry == NULL)
		return false;
	struct address_keys keys;
	address_keys(&pair->address, &keys);
	for (int i = 0; i < keys.count; i++)
		if (strcmp(pair->key, keys.text[i]) == 0) {
			if (pair->expiry_s == entry->expiry_s)
				entry->flags |= (uint8_t)(ENTRY_SEEN << i);
			return true; /* another value is overwritten */
		}
	return false;
}

static int compare_pairs(struct comparison *c)
{
	for (int i = 0; i < c->pairs; i++)
		table_prefetch_entry(c->table, &c->pair[i].address);
	for (int i = 0; i < c->pairs; i++)
		table_prefetch_next(c->table, &c->pair[i].address);
	for (int i = 0; i < c->pairs; i++)
		if (!pair_is_right(c, &c->pair[i]) &&
		    !keys_add(c->wrong, c->pair[i].key, c->pair[i].stored_len))
			return ENOMEM;
	c->pairs = 0;
	return 0;
}

static int compare_pair(void *context, const void *key, size_t key_len,
			const void *value, size_t value_len)
{
	struct comparison *c = context;
	struct mapdiff_pair *pair = &c->pair[c->pairs];
	if (!mapdiff_read(pair, key, key_len, value, value_len, c->nul))
		return keys_add(c->wrong, key, key_len) ? 0 : ENOMEM;
	table_prefetch_bucket(c->table, &pair->address);
	return ++c->pairs == TABLE_BATCH ? compare_pairs(c) : 0;
}

bool mapdiff_is_published(const struct entry *entry)
{
	return !(entry->flags & ENTRY_PENDING) || (entry->flags & ENTRY_IN_MAP);
}

/* Which keys were seen, and no longer. */
static unsigned take_seen(struct entry *entry)
{
	const unsigned all = 7 * ENTRY_SEEN;
	unsigned seen = (entry->flags & all) / ENTRY_SEEN;
	entry->flags &= (uint8_t)~all;
	return seen;
}

/* Every key of every entry that was not seen. */
static int collect(struct table *table, struct mapdiff_items *items)
{
	uint32_t slots = table_slots(table);
	for (uint32_t slot = 1; slot <= slots; slot++) {
		struct entry *entry = table_at(table, slot);
		if (entry == NULL)
			continue;
		unsigned seen = take_seen(entry);
		if (!mapdiff_is_published(entry) ||
		    (seen == 1 && address_is_v4(&entry->address)))
			continue; /* that has one key */
		struct address_keys keys;
		address_keys(&entry->address, &keys);
		for (int i = 0; i < keys.count; i++)
			if (!(seen & 1U << i) &&
			    !items_add(items, entry, &keys, i))
				return ENOMEM;
	}
	return items->count == 0 || items_sort(items) ? 0 : ENOMEM;
}

int mapdiff(struct map *map, struct table *table, struct mapdiff_items *missing,
	    struct mapdiff_keys *wrong)
{
	struct comparison c = {
	    .table = table,
	    .nul = map_config(map)->nul,
	    .wrong = wrong,
	};
	int error = map_walk(map, compare_pair, &c);
	if (error == 0)
		error = compare_pairs(&c);
	int collected = collect(table, missing);
	return error ? error : collected;
}

int mapdiff_all(struct table *table, struct mapdiff_items *all)
{
	return collect(table, all);
}

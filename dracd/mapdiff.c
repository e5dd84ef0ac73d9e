/* mapdiff: see mapdiff.h. */
#include "mapdiff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists ------------------------------------------------------------ */

static uint64_t big_endian(const char *byte)
{
	uint64_t word;
	memcpy(&word, byte, sizeof(word));
	return __builtin_bswap64(word);
}

static bool items_add(struct mapdiff_items *items, struct entry *entry,
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
	char text[16] = "";
	memccpy(text, keys->text[which], '\0', sizeof(text));
	items->item[items->count++] = (struct mapdiff_item){
	    {big_endian(text), big_endian(text + 8)}, entry, which};
	return true;
}

static int item_compare(const void *a, const void *b)
{
	const struct mapdiff_item *x = a, *y = b;
	if (x->sort[0] != y->sort[0])
		return x->sort[0] < y->sort[0] ? -1 : 1;
	return (x->sort[1] > y->sort[1]) - (x->sort[1] < y->sort[1]);
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

enum { PAIRS = 16 }; /* looked up together, so that memory is waited for once */

struct comparison {
	struct table *table;
	bool nul;
	struct mapdiff_keys *wrong;
	struct mapdiff_pair pair[PAIRS];
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
	return ++c->pairs == PAIRS ? compare_pairs(c) : 0;
}

bool mapdiff_is_published(const struct entry *entry)
{
	return !(entry->flags & ENTRY_PENDING) || (entry->flags & ENTRY_IN_MAP);
}

/* Which keys were seen, and no longer. */
static unsigned take_seen(struct entry *entry)
{
	unsigned seen = entry->flags / ENTRY_SEEN;
	entry->flags &= ENTRY_SEEN - 1;
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
	if (items->count > 0)
		qsort(items->item, items->count, sizeof(*items->item),
		      item_compare);
	return 0;
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

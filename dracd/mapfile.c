/*
 * mapfile: see mapfile.h. Works on closed maps or before the daemon serves,
 * and takes the lock only for short slices, since MTAs may be reading.
 */
#include "mapfile.h"

#include <db.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum {
	LOCK_WAIT_MS = 5000,
	SLICE_KEYS = 128, /* written under one lock: well under 1 ms */
	EXPIRY_DIGITS_MAX = 12,
};

/* One key to write. sort: its first bytes; near order is good enough. */
struct item {
	uint64_t sort[2];
	struct entry *entry;
	int which; /* of address_keys */
};

struct items {
	struct item *item;
	size_t count, room;
};

/* Keys to remove, each behind its length. */
struct keys {
	char *byte;
	size_t used, room, count;
};

/* ---- lists ------------------------------------------------------------ */

static uint64_t big_endian(const char *byte)
{
	uint64_t word;
	memcpy(&word, byte, sizeof(word));
	return __builtin_bswap64(word);
}

static bool items_add(struct items *items, struct entry *entry,
		      const struct address_keys *keys, int which)
{
	if (items->count == items->room) {
		size_t room = items->room ? 2 * items->room : 1024;
		struct item *item =
		    reallocarray(items->item, room, sizeof(*item));
		if (item == NULL)
			return false;
		items->item = item;
		items->room = room;
	}
	char text[16] = "";
	memccpy(text, keys->text[which], '\0', sizeof(text));
	items->item[items->count++] = (struct item){
	    {big_endian(text), big_endian(text + 8)}, entry, which};
	return true;
}

static int item_compare(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	if (x->sort[0] != y->sort[0])
		return x->sort[0] < y->sort[0] ? -1 : 1;
	return (x->sort[1] > y->sort[1]) - (x->sort[1] < y->sort[1]);
}

static bool keys_add(struct keys *keys, const void *key, size_t len)
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
	uint8_t *seen; /* by slot: a bit for each right key */
	struct keys wrong;
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
	size_t len = strspn(text, "0123456789");
	if (len == 0 || len > EXPIRY_DIGITS_MAX || text[len] != '\0')
		return false;
	*expiry_s = strtoll(text, NULL, 10);
	return true;
}

static bool key_address(struct address *address, const char *key)
{
	if (strncmp(key, "ipv6:", 5) == 0)
		key += 5;
	return address_from_text(address, key);
}

/* Marks the key as seen if the table says the same; else it is wrong. */
static bool key_is_right(struct comparison *c, const char *key, int64_t value)
{
	struct address address;
	if (!key_address(&address, key))
		return false;
	struct entry *entry = table_find(c->table, &address);
	if (entry == NULL)
		return false;
	struct address_keys keys;
	address_keys(&address, &keys);
	for (int i = 0; i < keys.count; i++)
		if (strcmp(key, keys.text[i]) == 0) {
			if (value == entry->expiry_s)
				c->seen[table_slot(entry)] |= (uint8_t)(1 << i);
			return true; /* another value is overwritten */
		}
	return false;
}

static int compare_pair(void *context, const void *key, size_t key_len,
			const void *value, size_t value_len)
{
	struct comparison *c = context;
	char key_text[ADDRESS_TEXT_MAX], value_text[EXPIRY_DIGITS_MAX + 1];
	int64_t expiry_s = -1;
	bool is_text =
	    stored_text(key_text, sizeof(key_text), key, key_len, c->nul);
	if (!stored_text(value_text, sizeof(value_text), value, value_len,
			 c->nul) ||
	    !expiry_from_text(&expiry_s, value_text))
		expiry_s = -1;
	if (is_text && key_is_right(c, key_text, expiry_s))
		return 0;
	return keys_add(&c->wrong, key, key_len) ? 0 : ENOMEM;
}

/* Every key of every entry that was not seen; seen == NULL: all of them. */
static int collect(struct table *table, const uint8_t *seen,
		   struct items *items)
{
	uint32_t slots = table_slots(table);
	for (uint32_t slot = 1; slot <= slots; slot++) {
		struct entry *entry = table_at(table, slot);
		if (entry == NULL)
			continue;
		struct address_keys keys;
		address_keys(&entry->address, &keys);
		for (int i = 0; i < keys.count; i++)
			if ((seen == NULL || !(seen[slot] & 1 << i)) &&
			    !items_add(items, entry, &keys, i))
				return ENOMEM;
	}
	if (items->count > 0)
		qsort(items->item, items->count, sizeof(*items->item),
		      item_compare);
	return 0;
}

/* ---- writing ---------------------------------------------------------- */

static int lock_wait(struct map *map)
{
	int error;
	for (int waited_ms = 0; waited_ms < LOCK_WAIT_MS; waited_ms++) {
		error = map_lock(map);
		if (error != EWOULDBLOCK)
			return error;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return EWOULDBLOCK;
}

static int put_slice(struct map *map, const struct item *item, size_t count,
		     bool in_use)
{
	int error = in_use ? map_reserve(map, count) : 0;
	for (size_t i = 0; i < count && error == 0; i++) {
		struct address_keys keys;
		address_keys(&item[i].entry->address, &keys);
		error = map_put_key(map, keys.text[item[i].which],
				    item[i].entry->expiry_s);
	}
	return error == 0 && in_use ? map_sync(map) : error;
}

/* in_use: an MTA may be reading the file. */
static int put_items(struct map *map, const struct items *items, bool in_use)
{
	int error = 0;
	for (size_t i = 0; i < items->count && error == 0; i += SLICE_KEYS) {
		size_t left = items->count - i;
		error = lock_wait(map);
		if (error != 0)
			break;
		error =
		    put_slice(map, items->item + i,
			      left < SLICE_KEYS ? left : SLICE_KEYS, in_use);
		map_unlock(map);
	}
	return error;
}

static int remove_keys(struct map *map, const struct keys *keys)
{
	size_t at = 0;
	int error = 0;
	while (at < keys->used && error == 0) {
		error = lock_wait(map);
		if (error != 0)
			break;
		for (int i = 0; i < SLICE_KEYS && at < keys->used && error == 0;
		     i++) {
			size_t len;
			memcpy(&len, keys->byte + at, sizeof(len));
			at += sizeof(len);
			error = map_remove_key(map, keys->byte + at, len);
			at += len;
		}
		int synced = map_sync(map);
		error = error ? error : synced;
		map_unlock(map);
	}
	return error;
}

/* A full disk is no reason not to serve what is there. */
static int pregrow(struct map *map)
{
	int error = lock_wait(map);
	if (error != 0)
		return error;
	error = map_pregrow(map);
	map_unlock(map);
	if (error != ENOSPC && error != EDQUOT)
		return error;
	log_write(LOG_WARNING, "map=%s cannot be pre-grown: %s", map_path(map),
		  map_error(error));
	return 0;
}

static void mark_all_in_map(struct table *table)
{
	uint32_t slots = table_slots(table);
	for (uint32_t slot = 1; slot <= slots; slot++) {
		struct entry *entry = table_at(table, slot);
		if (entry != NULL)
			entry->flags |= ENTRY_IN_MAP;
	}
}

/* ---- opening ---------------------------------------------------------- */

/* Corrects in place what differs from the table. */
static int mend(struct map *map, struct table *table)
{
	struct comparison c = {
	    .table = table,
	    .nul = map_config(map)->nul,
	    .seen = calloc((size_t)table_slots(table) + 1, 1),
	};
	struct items missing = {0};
	int error = c.seen ? map_walk(map, compare_pair, &c) : ENOMEM;
	if (error == 0)
		error = collect(table, c.seen, &missing);
	if (error == 0)
		error = remove_keys(map, &c.wrong);
	if (error == 0)
		error = put_items(map, &missing, true);
	if (error == 0 && missing.count + c.wrong.count > 0)
		log_write(LOG_NOTICE, "map=%s mended: put=%zu removed=%zu",
			  map_path(map), missing.count, c.wrong.count);
	free(missing.item);
	free(c.wrong.byte);
	free(c.seen);
	return error;
}

static int build_beside(const struct map_config *config, struct table *table,
			const char *beside)
{
	struct map *map;
	struct items all = {0};
	int error = collect(table, NULL, &all);
	if (error == 0)
		error = map_create(config, beside, &map);
	if (error == 0) {
		error = put_items(map, &all, false);
		if (error == 0)
			error = pregrow(map);
		map_close(map);
	}
	free(all.item);
	return error;
}

/*
 * The damaged file stays beside, unless it is another user's (EPERM: proc(5),
 * protected_hardlinks); then the new one takes its name.
 */
static int move_over(const char *path, const char *beside)
{
	char damaged[PATH_MAX];
	snprintf(damaged, sizeof(damaged), "%s.damaged", path);
	unlink(damaged);
	if (link(path, damaged) != 0 && errno != ENOENT && errno != EPERM)
		return errno;
	return rename(beside, path) == 0 ? 0 : errno;
}

/*
 * For a file in a directory that is not the daemon's: emptied and filled.
 * Readers notice, but nothing else is left.
 */
static int build_in_place(const struct map_config *config, struct table *table,
			  struct map **out)
{
	struct items all = {0};
	int error = collect(table, NULL, &all);
	if (error == 0 && truncate(config->path, 0) != 0)
		error = errno;
	if (error == 0)
		error = map_open(config, out);
	if (error == 0)
		error = put_items(*out, &all, true);
	if (error == 0)
		error = pregrow(*out);
	free(all.item);
	return error;
}

struct map *mapfile_build(const struct map_config *config, struct table *table)
{
	char beside[PATH_MAX];
	struct map *map = NULL;
	snprintf(beside, sizeof(beside), "%s.new", config->path);
	unlink(beside);
	int error = build_beside(config, table, beside);
	if (error == 0)
		error = move_over(config->path, beside);
	if (error == 0)
		error = map_open(config, &map);
	else if (error == EACCES || error == EPERM)
		error = build_in_place(config, table, &map);
	if (error != 0) {
		log_write(LOG_CRIT,
			  "map=%s cannot be built: %s; its directory must be "
			  "writable by the daemon's user and have room",
			  config->path, map_error(error));
		map_close(map);
		unlink(beside);
		return NULL;
	}
	mark_all_in_map(table);
	log_write(LOG_NOTICE, "map=%s built entries=%u", config->path,
		  table_count(table));
	return map;
}

/* Whether building anew would not help either. */
static bool is_hopeless(int error)
{
	return error == EBUSY || error == EROFS || error == EWOULDBLOCK ||
	       error == ENOMEM || error == ENOSPC || error == EDQUOT;
}

static const char *open_error(int error)
{
	if (error == EWOULDBLOCK)
		return "another process has kept it locked for 5 s";
	if (error == EBUSY)
		return "another dracd is running with it";
	return map_error(error);
}

struct map *mapfile_open(const struct map_config *config, struct table *table,
			 bool verify)
{
	struct map *map = NULL;
	struct stat st;
	if (stat(config->path, &st) != 0 && errno == ENOENT)
		return mapfile_build(config, table);
	int error = verify && st.st_size > 0 ? map_verify(config) : 0;
	if (error == 0)
		error = map_open(config, &map);
	if (error == 0)
		error = pregrow(map);
	if (error == 0)
		error = mend(map, table);
	if (error == 0) {
		mark_all_in_map(table);
		return map;
	}
	map_close(map);
	if (is_hopeless(error)) {
		log_write(LOG_CRIT, "map=%s cannot be opened: %s", config->path,
			  open_error(error));
		return NULL;
	}
	log_write(LOG_WARNING, "map=%s is not usable (%s): building it anew",
		  config->path, map_error(error));
	return mapfile_build(config, table);
}

/* ---- taking over ------------------------------------------------------ */

struct import {
	mapfile_found *found;
	void *context;
};

static int import_pair(void *context, const void *key, size_t key_len,
		       const void *value, size_t value_len)
{
	struct import *import = context;
	char key_text[ADDRESS_TEXT_MAX], value_text[EXPIRY_DIGITS_MAX + 1];
	struct address address;
	int64_t expiry_s;
	if (stored_text(key_text, sizeof(key_text), key, key_len, false) &&
	    stored_text(value_text, sizeof(value_text), value, value_len,
			false) &&
	    key_address(&address, key_text) &&
	    expiry_from_text(&expiry_s, value_text))
		import->found(import->context, &address, expiry_s);
	return 0;
}

bool mapfile_import(const struct map_config *config, mapfile_found *found,
		    void *context)
{
	struct import import = {found, context};
	struct map *map;
	if (access(config->path, F_OK) != 0 || map_verify(config) != 0 ||
	    map_open_to_read(config, &map) != 0)
		return false;
	int error = map_walk(map, import_pair, &import);
	map_close(map);
	if (error != 0)
		log_write(LOG_WARNING, "map=%s cannot be taken over: %s",
			  config->path, map_error(error));
	return error == 0;
}

/*
 * table: see table.h. Owns the memory of all entries, their order by expiry and
 * the queue of dirty ones. Links are slot numbers (4 bytes) rather than
 * pointers: an entry is one cache line. How entries are found by address is
 * table_hash.c's.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "caller.h"
#include "clock.h"
#include "prefixes.h"
#include "table_impl.h"
#include "users.h"

enum {
	BLOCK = 32, /* slabs in a huge page of 2 MB */
};

_Static_assert(sizeof(struct entry) == 64, "an entry is one cache line");

static int second_compare(const struct second *a, const struct second *b)
{
	return (a->at_s > b->at_s) - (a->at_s < b->at_s);
}

RB_GENERATE_INTERNAL(seconds, second, node, second_compare,
		     __attribute__((unused)) static)

struct entry *table_at(struct table *table, uint32_t slot)
{
	struct entry *entry = &table->slab[slot / SLAB][slot % SLAB];
	return entry->index == slot ? entry : NULL;
}

bool table_reserve(void **array, uint32_t used, uint32_t *room)
{
	if (used < *room)
		return true;
	uint32_t wanted = *room ? 2 * *room : 16;
	void *grown = reallocarray(*array, wanted, sizeof(void *));
	if (grown == NULL)
		return false;
	*array = grown;
	*room = wanted;
	return true;
}

/*
 * A huge page at once, so that lookups all over the table wait for memory once
 * and not for the page table as well.
 */
static bool add_block(struct table *table)
{
	size_t size = BLOCK * SLAB * sizeof(struct entry);
	char *block = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (block == MAP_FAILED)
		return false;
	madvise(block, size, MADV_HUGEPAGE); /* where there are any */
	if (table->blocks == 0)
		table->first_block = table->slabs;
	table->blocks++;
	for (int i = 0; i < BLOCK; i++, block += size / BLOCK)
		table->slab[table->slabs++] = (struct entry *)(void *)block;
	return true;
}

static bool add_slab(struct table *table)
{
	while (table->slabs + BLOCK > table->slab_room)
		if (!table_reserve((void **)&table->slab, table->slab_room,
				   &table->slab_room))
			return false;
	if (table->filling && table->slabs >= BLOCK)
		return add_block(table);
	struct entry *slab =
	    aligned_alloc(sizeof(struct entry), SLAB * sizeof(struct entry));
	if (slab == NULL)
		return false;
	memset(slab, 0, SLAB * sizeof(struct entry));
	table->slab[table->slabs++] = slab;
	return true;
}

void table_begin_filling(struct table *table)
{
	table->filling = true;
}

void table_end_filling(struct table *table)
{
	table->filling = false;
	hash_trim(table);
	for (uint32_t i = (table->used + SLAB - 1) / SLAB; i < table->slabs;
	     i++)
		madvise(table->slab[i], SLAB * sizeof(struct entry),
			MADV_DONTNEED);
}

struct table *table_create(void)
{
	struct table *table = calloc(1, sizeof(*table));
	if (table == NULL)
		return NULL;
	RB_INIT(&table->seconds);
	table->used = 1;
	table->callers = callers_create();
	if (table->callers == NULL || !hash_create(table) || !add_slab(table)) {
		table_free(table);
		return NULL;
	}
	return table;
}

static void free_list(struct second *second)
{
	while (second != NULL) {
		struct second *next = second->next_free;
		free(second);
		second = next;
	}
}

void table_free(struct table *table)
{
	if (table == NULL)
		return;
	for (uint32_t slot = 1; slot < table->used; slot++)
		who_free(at(table, slot)->who);
	struct second *second;
	while ((second = RB_MIN(seconds, &table->seconds)) != NULL) {
		RB_REMOVE(seconds, &table->seconds, second);
		free(second);
	}
	free_list(table->free_seconds);
	for (uint32_t i = 0; i < table->slabs; i++)
		if (i - table->first_block >= table->blocks * BLOCK)
			free(table->slab[i]);
	for (uint32_t i = 0; i < table->blocks; i++)
		munmap(table->slab[table->first_block + i * BLOCK],
		       BLOCK * SLAB * sizeof(struct entry));
	prefixes_free(table->prefixes);
	users_free(table->users);
	callers_free(table->callers);
	hash_free(table);
	free(table->slab);
	free(table);
}

uint32_t table_count(const struct table *table)
{
	return table->count;
}

uint32_t table_slots(const struct table *table)
{
	return table->used - 1;
}

uint32_t table_slot(const struct entry *entry)
{
	return entry->index;
}

/* ---- order by expiry ----------------------------------------------- */

static struct second *second_get(struct table *table, int64_t at_s)
{
	if (table->recent != NULL && table->recent->at_s == at_s)
		return table->recent;
	struct second wanted = {.at_s = at_s};
	struct second *second = RB_FIND(seconds, &table->seconds, &wanted);
	if (second != NULL)
		return second;
	second = table->free_seconds;
	if (second != NULL)
		table->free_seconds = second->next_free;
	else if ((second = malloc(sizeof(*second))) == NULL)
		return NULL;
	*second = wanted;
	RB_INSERT(seconds, &table->seconds, second);
	return second;
}

static bool order_link(struct table *table, struct entry *entry, int64_t at_s)
{
	struct second *second = second_get(table, clock_fit(at_s));
	if (second == NULL)
		return false;
	table->recent = second;
	entry->expiry_s = clock_fit(at_s);
	entry->order_prev = NONE;
	entry->order_next = second->head;
	if (second->head != NONE)
		at(table, second->head)->order_prev = entry->index;
	second->head = entry->index;
	return true;
}

static void order_unlink(struct table *table, struct entry *entry)
{
	if (entry->order_next != NONE)
		at(table, entry->order_next)->order_prev = entry->order_prev;
	if (entry->order_prev != NONE) {
		at(table, entry->order_prev)->order_next = entry->order_next;
		return;
	}
	struct second wanted = {.at_s = entry->expiry_s};
	struct second *second =
	    table->recent != NULL && table->recent->at_s == entry->expiry_s
		? table->recent
		: RB_FIND(seconds, &table->seconds, &wanted);
	second->head = entry->order_next;
	if (second->head != NONE)
		return;
	RB_REMOVE(seconds, &table->seconds, second);
	if (table->recent == second)
		table->recent = NULL;
	second->next_free = table->free_seconds;
	table->free_seconds = second;
}

bool table_set_expiry(struct table *table, struct entry *entry,
		      int64_t expiry_s)
{
	int64_t old_s = entry->expiry_s;
	if (old_s == expiry_s)
		return true;
	order_unlink(table, entry);
	if (order_link(table, entry, expiry_s))
		return true;
	/* The node of the old second is there, or on the free list. */
	return !order_link(table, entry, old_s);
}

struct entry *table_first(struct table *table)
{
	struct second *second = RB_MIN(seconds, &table->seconds);
	return second ? at(table, second->head) : NULL;
}

struct entry *table_next(struct table *table, const struct entry *entry)
{
	if (entry->order_next != NONE)
		return at(table, entry->order_next);
	struct second wanted = {.at_s = entry->expiry_s};
	struct second *second = RB_FIND(seconds, &table->seconds, &wanted);
	second = RB_NEXT(seconds, &table->seconds, second);
	return second ? at(table, second->head) : NULL;
}

/*
 * What would leave the range of expiries goes to its edge first, so that all
 * others keep their order. Returns the step, shorter if there is no memory.
 */
static int64_t make_room(struct table *table, int64_t step_s)
{
	const int64_t max = UINT32_MAX;
	const struct second *second;
	step_s = step_s < -max ? -max : step_s > max ? max : step_s;
	while ((second = RB_MIN(seconds, &table->seconds)) != NULL &&
	       second->at_s + step_s < 0)
		if (!table_set_expiry(table, at(table, second->head), -step_s))
			return -second->at_s;
	while ((second = RB_MAX(seconds, &table->seconds)) != NULL &&
	       second->at_s + step_s > max)
		if (!table_set_expiry(table, at(table, second->head),
				      max - step_s))
			return max - second->at_s;
	return step_s;
}

static void step_entry(struct table *table, struct entry *entry, int64_t step_s)
{
	entry->expiry_s = (uint32_t)(entry->expiry_s + step_s);
	entry->last_s = clock_fit(entry->last_s + step_s);
	if (entry->who != NULL)
		entry->who->first_s = clock_fit(entry->who->first_s + step_s);
	if (!(entry->flags & ENTRY_IN_MAP))
		return;
	entry->flags |= ENTRY_STALE;
	table_mark_dirty(table, entry);
}

void table_step(struct table *table, int64_t step_s)
{
	struct second *second;
	step_s = make_room(table, step_s);
	RB_FOREACH (second, seconds, &table->seconds)
		second->at_s += step_s;
	for (uint32_t slot = 1; slot < table->used; slot++) {
		struct entry *entry = table_at(table, slot);
		if (entry != NULL)
			step_entry(table, entry, step_s);
	}
	if (table->prefixes != NULL)
		prefixes_step(table->prefixes, step_s);
	if (table->users != NULL)
		users_step(table->users, table->used, step_s);
}

/* ---- prefixes ----------------------------------------------------------- */

static bool is_shared(const struct table *table, const struct address *address)
{
	return table->prefixes != NULL && !address_is_v4(address);
}

bool table_share_prefix(struct table *table, uint32_t bits)
{
	table->prefixes = prefixes_create(bits);
	return table->prefixes != NULL;
}

void table_grant(struct table *table, const struct entry *entry)
{
	if (is_shared(table, &entry->address))
		prefixes_set(table->prefixes, entry->index, &entry->address,
			     entry->expiry_s);
}

void table_revoke(struct table *table, const struct entry *entry)
{
	if (is_shared(table, &entry->address))
		prefixes_clear(table->prefixes, entry->index);
}

int64_t table_prefix_expiry(const struct table *table,
			    const struct address *address)
{
	return is_shared(table, address)
		   ? prefixes_latest(table->prefixes, address)
		   : 0;
}

/* ---- entries ---------------------------------------------------------- */

static struct entry *slot_get(struct table *table)
{
	uint32_t slot = table->free;
	if (slot != NONE) {
		table->free = at(table, slot)->hash_next;
	} else {
		if (table->used / SLAB >= table->slabs && !add_slab(table))
			return NULL;
		slot = table->used++;
	}
	struct entry *entry = at(table, slot);
	*entry = (struct entry){.index = slot};
	return entry;
}

static void slot_put(struct table *table, struct entry *entry)
{
	uint32_t slot = entry->index;
	*entry = (struct entry){.hash_next = table->free};
	table->free = slot;
}

struct entry *table_insert(struct table *table, const struct address *address,
			   int64_t expiry_s)
{
	struct entry *entry = slot_get(table);
	if (entry == NULL)
		return NULL;
	entry->address = *address;
	if ((is_shared(table, address) &&
	     !prefixes_reserve(table->prefixes, entry->index)) ||
	    (table->users != NULL &&
	     !users_reserve(table->users, entry->index)) ||
	    !order_link(table, entry, expiry_s)) {
		slot_put(table, entry);
		return NULL;
	}
	hash_link(table, entry);
	table->count++;
	hash_grow(table);
	return entry;
}

void table_remove(struct table *table, struct entry *entry)
{
	hash_unlink(table, entry);
	order_unlink(table, entry);
	table_revoke(table, entry);
	table_leave_user(table, entry);
	table_clear_dirty(table, entry);
	callers_drop(table->callers, entry->caller);
	who_free(entry->who);
	slot_put(table, entry);
	table->count--;
}

uint32_t entry_first_s(const struct entry *entry)
{
	return entry->who ? entry->who->first_s : entry->last_s;
}

uint32_t entry_adds(const struct entry *entry)
{
	return entry->who ? entry->who->adds : 1;
}

uint16_t table_take_caller(struct table *table, const struct address *caller)
{
	return callers_take(table->callers, caller);
}

void table_drop_caller(struct table *table, uint16_t number)
{
	callers_drop(table->callers, number);
}

const struct address *table_caller(const struct table *table, uint16_t number)
{
	return callers_at(table->callers, number);
}

/* ---- dirty queue -------------------------------------------------------- */

void table_mark_dirty(struct table *table, struct entry *entry)
{
	if (entry->dirty)
		return;
	entry->dirty = true;
	entry->dirty_next = NONE;
	entry->dirty_prev = table->dirty_tail;
	if (table->dirty_tail != NONE)
		at(table, table->dirty_tail)->dirty_next = entry->index;
	else
		table->dirty_head = entry->index;
	table->dirty_tail = entry->index;
}

void table_clear_dirty(struct table *table, struct entry *entry)
{
	if (!entry->dirty)
		return;
	entry->dirty = false;
	if (entry->dirty_prev != NONE)
		at(table, entry->dirty_prev)->dirty_next = entry->dirty_next;
	else
		table->dirty_head = entry->dirty_next;
	if (entry->dirty_next != NONE)
		at(table, entry->dirty_next)->dirty_prev = entry->dirty_prev;
	else
		table->dirty_tail = entry->dirty_prev;
}

struct entry *table_first_dirty(struct table *table)
{
	return table->dirty_head != NONE ? at(table, table->dirty_head) : NULL;
}

struct entry *table_next_dirty(struct table *table, const struct entry *entry)
{
	return entry->dirty_next != NONE ? at(table, entry->dirty_next) : NULL;
}

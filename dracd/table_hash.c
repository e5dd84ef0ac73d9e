/*
 * table_hash: entries found by address (table.h). Owns the buckets, which are
 * lists of slots; never looks at what else an entry says. Linear hashing: one
 * bucket more an insertion, and only while the table is filled all of them at
 * once.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "table_impl.h"

enum {
	CHUNK = 4096,         /* bucket heads in a chunk of the directory */
	FIRST_BUCKETS = 1024, /* a power of two, at most CHUNK */
};

static uint32_t *bucket(const struct table *table, uint32_t number)
{
	return &table->chunk[number / CHUNK][number % CHUNK];
}

/* An odd constant with well-spread bits: 2^64 / golden ratio. */
#define MIX UINT64_C(0x9e3779b97f4a7c15)

/* Keyed, so that nobody can choose addresses that share a bucket. */
static uint64_t hash(const struct table *table, const struct address *address)
{
	uint64_t word[2];
	memcpy(word, address->byte, sizeof(word));
	uint64_t value = (word[0] ^ table->seed[0]) * MIX;
	value = (value ^ (value >> 32) ^ word[1] ^ table->seed[1]) * MIX;
	value = (value ^ (value >> 29) ^ table->seed[0]) * MIX;
	return value ^ (value >> 32);
}

static uint32_t bucket_of(const struct table *table,
			  const struct address *address)
{
	uint64_t value = hash(table, address);
	uint32_t number = (uint32_t)value & (table->round - 1);
	if (number < table->split)
		number = (uint32_t)value & (2 * table->round - 1);
	return number;
}

static bool add_chunk(struct table *table)
{
	if (!table_reserve((void **)&table->chunk, table->chunks,
			   &table->chunk_room))
		return false;
	uint32_t *chunk = calloc(CHUNK, sizeof(*chunk));
	if (chunk == NULL)
		return false;
	table->chunk[table->chunks++] = chunk;
	return true;
}

bool hash_create(struct table *table)
{
	table->round = FIRST_BUCKETS;
	return add_chunk(table) && getrandom(table->seed, sizeof(table->seed),
					     0) == (ssize_t)sizeof(table->seed);
}

void hash_free(struct table *table)
{
	for (uint32_t i = 0; i < table->chunks; i++)
		free(table->chunk[i]);
	free(table->chunk);
}

void hash_link(struct table *table, struct entry *entry)
{
	uint32_t *head = bucket(table, bucket_of(table, &entry->address));
	entry->hash_next = *head;
	*head = entry->index;
}

void hash_unlink(struct table *table, const struct entry *entry)
{
	uint32_t *link = bucket(table, bucket_of(table, &entry->address));
	while (*link != entry->index)
		link = &at(table, *link)->hash_next;
	*link = entry->hash_next;
}

/* One bucket more; without memory for it the chains just grow longer. */
static void split_one(struct table *table)
{
	uint32_t from = table->split, to = table->split + table->round;
	if (to / CHUNK >= table->chunks && !add_chunk(table))
		return;
	uint32_t slot = *bucket(table, from);
	*bucket(table, from) = NONE;
	if (++table->split == table->round) {
		table->round *= 2;
		table->split = 0;
	}
	while (slot != NONE) {
		struct entry *entry = at(table, slot);
		slot = entry->hash_next;
		hash_link(table, entry);
	}
}

/* So many buckets, filled in the order in which entries lie in memory. */
static bool rehash(struct table *table, uint32_t buckets)
{
	while (table->chunks * CHUNK < buckets)
		if (!add_chunk(table))
			return false;
	while ((table->chunks - 1) * CHUNK >= buckets)
		free(table->chunk[--table->chunks]);
	for (uint32_t i = 0; i < table->chunks; i++)
		memset(table->chunk[i], 0, CHUNK * sizeof(uint32_t));
	while (2 * table->round <= buckets)
		table->round *= 2;
	while (table->round > buckets)
		table->round /= 2;
	table->split = buckets - table->round;
	for (uint32_t slot = 1; slot < table->used; slot++)
		if (at(table, slot)->index == slot)
			hash_link(table, at(table, slot));
	return true;
}

void hash_grow(struct table *table)
{
	uint32_t buckets = table->round + table->split;
	if (table->count <= buckets)
		return;
	if (!table->filling || !rehash(table, 2 * buckets))
		split_one(table);
}

void hash_trim(struct table *table)
{
	uint32_t buckets = table->round + table->split;
	if (table->count < buckets && buckets > FIRST_BUCKETS)
		rehash(table, table->count > FIRST_BUCKETS ? table->count
							   : FIRST_BUCKETS);
}

struct entry *table_find(struct table *table, const struct address *address)
{
	uint32_t slot = *bucket(table, bucket_of(table, address));
	while (slot != NONE) {
		struct entry *entry = at(table, slot);
		if (address_equal(&entry->address, address))
			return entry;
		slot = entry->hash_next;
	}
	return NULL;
}

void table_prefetch_bucket(const struct table *table,
			   const struct address *address)
{
	__builtin_prefetch(bucket(table, bucket_of(table, address)));
}

void table_prefetch_entry(const struct table *table,
			  const struct address *address)
{
	__builtin_prefetch(
	    at(table, *bucket(table, bucket_of(table, address))));
}

void table_prefetch_next(const struct table *table,
			 const struct address *address)
{
	uint32_t slot = *bucket(table, bucket_of(table, address));
	__builtin_prefetch(at(table, at(table, slot)->hash_next));
}

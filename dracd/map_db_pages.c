/*
 * map_db_pages: see map_db_pages.h. Reads the free list in the file, and has
 * pages put on it by putting and removing what is large; it does not know the
 * library. Why the file must grow that way: ARCHITECTURE.md, "Maps".
 */
#include "map_db_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "map_impl.h"

enum {
	/* Half full leaves, 15-byte keys: one entry takes about 64 bytes. */
	ENTRY_BYTES = 64,
	/* A put may split a leaf, and seldom the levels above it. */
	PAGES_SPARE = 16,
	GROW_PAGES = 128,
	/* What one overflow page holds: the page without its 26-byte header. */
	OVERFLOW_BYTES = PAGE_SIZE - 26,
	FILLER_KEY_MAX = 24,
};

/* Offsets in a Berkeley DB 5.3 file (db_page.h). */
enum {
	META_MAGIC = 12,
	META_PAGESIZE = 20,
	META_FREE = 28,
	PAGE_NEXT = 16,
};
#define BTREE_MAGIC UINT32_C(0x053162)

/* 0, which is no free page's number, when it cannot be read. */
static uint32_t word_at(const struct map *map, off_t offset)
{
	uint32_t word;
	return pread(map->fd, &word, sizeof(word), offset) ==
		       (ssize_t)sizeof(word)
		   ? word
		   : 0;
}

/* The head of the free list as it was counted, if that is still true. */
static size_t known_free(struct pages *pages, uint32_t head)
{
	for (size_t left = pages->known_left; left > 0; left--)
		if (pages->known[pages->known_count - left] == head)
			return pages->known_left = left;
	return 0;
}

/*
 * Pages on the free list as it is in the file (after a sync it is current):
 * so many as are wanted, or PAGES_KNOWN_MAX. A file of the other byte order or
 * another type counts as full.
 */
static size_t count_free(struct pages *pages, const struct map *map,
			 size_t wanted)
{
	off_t page_size = word_at(map, META_PAGESIZE);
	uint32_t page = word_at(map, META_FREE);
	size_t count = known_free(pages, page);
	if (count >= wanted || word_at(map, META_MAGIC) != BTREE_MAGIC)
		return count;
	count = pages->known_count = 0;
	while (page != 0 && (count < PAGES_KNOWN_MAX || count < wanted)) {
		if (pages->known_count < PAGES_KNOWN_MAX)
			pages->known[pages->known_count++] = page;
		count++;
		page = word_at(map, page * page_size + PAGE_NEXT);
	}
	pages->known_left = pages->known_count;
	return count;
}

/* Returns its length; no address reads like this. */
static size_t name_filler(char key[FILLER_KEY_MAX], size_t number)
{
	return (size_t)snprintf(key, FILLER_KEY_MAX, "#%zu", number);
}

/* Values too large for a page take whole pages; removed, they leave them. */
static int put_filler(struct map *map, size_t number, const char *zeros)
{
	char key[FILLER_KEY_MAX];
	size_t len = name_filler(key, number);
	int error = map->kind->put(map, key, len, zeros,
				   (size_t)GROW_PAGES * OVERFLOW_BYTES);
	return error ? error : map->kind->sync(map);
}

/*
 * Puts and removes fillers of GROW_PAGES pages each: their pages stay on the
 * free list. They take what is free already before the file becomes longer. The
 * blocks are taken from the file system first, because a write that fails in
 * the middle of this leaves a file that nobody can read.
 */
static int grow(struct pages *pages, struct map *map, size_t fillers)
{
	off_t bytes = (off_t)(fillers + 1) * GROW_PAGES * PAGE_SIZE;
	if (fallocate(map->fd, FALLOC_FL_KEEP_SIZE, map->size, bytes) != 0 &&
	    errno != EOPNOTSUPP)
		return errno;
	char *zeros = calloc(GROW_PAGES, OVERFLOW_BYTES);
	if (zeros == NULL)
		return ENOMEM;
	int error = 0;
	size_t put = 0;
	while (put < fillers && error == 0)
		error = put_filler(map, put++, zeros);
	free(zeros);
	while (put-- > 0) {
		char key[FILLER_KEY_MAX];
		int undone = map_remove_key(map, key, name_filler(key, put));
		if (undone != 0)
			pages->wrong = true;
		error = error ? error : undone;
	}
	return error ? error : map_sync(map);
}

int pages_reserve(struct pages *pages, struct map *map, size_t keys)
{
	size_t wanted = keys + keys / 32 + PAGES_SPARE;
	if (pages->free < wanted)
		pages->free = count_free(pages, map, wanted);
	if (pages->free < wanted) {
		/* so many, and GROW_PAGES more: it shall not be often */
		size_t fillers = wanted / GROW_PAGES + 2;
		int error = grow(pages, map, fillers);
		if (error != 0)
			return error;
		pages->free = fillers * GROW_PAGES;
	}
	pages->free -= keys;
	return 0;
}

int pages_pregrow(struct pages *pages, struct map *map)
{
	off_t wanted = (off_t)map->config->capacity * ENTRY_BYTES;
	if (map->size >= wanted)
		return 0;
	off_t slice = GROW_PAGES * PAGE_SIZE;
	return grow(pages, map,
		    (size_t)((wanted - map->size + slice - 1) / slice));
}

/*
 * sort: see sort.h. Entries are packed into one piece of memory; when it is
 * full they are sorted and appended to the file as a run. In the end the same
 * memory is shared out among the runs, which are read side by side.
 */
#include "sort.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	MEMORY = 4 << 20,
	PACKED_MAX = sizeof(uint32_t) + sizeof(struct drac_entry),
	PACKED_MIN = sizeof(uint32_t) + 4 * sizeof(int64_t) + 4,
	ENTRIES_MAX = MEMORY / PACKED_MIN,
	RUNS_MAX = MEMORY / (2 * PACKED_MAX),
};

/* In the end: what is left of one in the file, and what of it was read. */
struct run {
	off_t begin, end;
	char *memory;
	size_t used, filled, room;
};

struct sort {
	char *memory;
	size_t used;
	uint32_t *at; /* where each entry begins */
	size_t count;
	FILE *file;
	off_t file_size;
	struct run *run;
	size_t runs;
};

struct sort *sort_new(void)
{
	struct sort *sort = calloc(1, sizeof *sort);

	if (sort == NULL)
		return NULL;
	sort->memory = malloc(MEMORY);
	sort->at = malloc(ENTRIES_MAX * sizeof *sort->at);
	sort->run = malloc(RUNS_MAX * sizeof *sort->run);
	if (sort->memory != NULL && sort->at != NULL && sort->run != NULL)
		return sort;
	sort_free(sort);
	return NULL;
}

void sort_free(struct sort *sort)
{
	if (sort == NULL)
		return;
	if (sort->file != NULL)
		fclose(sort->file);
	free(sort->memory);
	free(sort->at);
	free(sort->run);
	free(sort);
}

/* ---- an entry in as few bytes as it needs -------------------------------- */

static char *put(char *to, const void *from, size_t size)
{
	memcpy(to, from, size);
	return to + size;
}

static char *put_string(char *to, const char *from)
{
	return put(to, from, strlen(from) + 1);
}

static const char *get(const char *from, void *to, size_t size)
{
	memcpy(to, from, size);
	return from + size;
}

static const char *get_string(const char *from, char *to)
{
	return get(from, to, strlen(from) + 1);
}

static size_t pack(char *out, const struct drac_entry *entry)
{
	uint32_t size;
	char *end = out + sizeof size;

	end = put(end, &entry->expiry_s, sizeof entry->expiry_s);
	end = put_string(end, entry->address);
	end = put(end, &entry->first_s, sizeof entry->first_s);
	end = put(end, &entry->last_s, sizeof entry->last_s);
	end = put(end, &entry->adds, sizeof entry->adds);
	end = put_string(end, entry->user);
	end = put_string(end, entry->service);
	end = put_string(end, entry->caller);
	size = (uint32_t)(end - out);
	put(out, &size, sizeof size);
	return size;
}

static uint32_t packed_size(const char *packed)
{
	uint32_t size;

	get(packed, &size, sizeof size);
	return size;
}

static void unpack(const char *packed, struct drac_entry *entry)
{
	packed += sizeof(uint32_t);
	packed = get(packed, &entry->expiry_s, sizeof entry->expiry_s);
	packed = get_string(packed, entry->address);
	packed = get(packed, &entry->first_s, sizeof entry->first_s);
	packed = get(packed, &entry->last_s, sizeof entry->last_s);
	packed = get(packed, &entry->adds, sizeof entry->adds);
	packed = get_string(packed, entry->user);
	packed = get_string(packed, entry->service);
	get_string(packed, entry->caller);
}

static int compare_packed(const char *a, const char *b)
{
	int64_t a_s, b_s;

	a = get(a + sizeof(uint32_t), &a_s, sizeof a_s);
	b = get(b + sizeof(uint32_t), &b_s, sizeof b_s);
	if (a_s != b_s)
		return a_s < b_s ? -1 : 1;
	return strcmp(a, b);
}

static int compare_at(const void *a, const void *b, void *memory)
{
	uint32_t at_a, at_b;

	memcpy(&at_a, a, sizeof at_a);
	memcpy(&at_b, b, sizeof at_b);
	return compare_packed((char *)memory + at_a, (char *)memory + at_b);
}

/* ---- adding -------------------------------------------------------------- */

static void sort_memory(struct sort *sort)
{
	qsort_r(sort->at, sort->count, sizeof *sort->at, compare_at,
		sort->memory);
}

static bool write_run(struct sort *sort)
{
	if (sort->runs == RUNS_MAX) {
		errno = EFBIG;
		return false;
	}
	if (sort->file == NULL && (sort->file = tmpfile()) == NULL)
		return false;
	sort_memory(sort);
	for (size_t i = 0; i < sort->count; i++) {
		const char *packed = sort->memory + sort->at[i];

		if (fwrite(packed, packed_size(packed), 1, sort->file) != 1)
			return false;
	}
	if (fflush(sort->file) != 0)
		return false;
	sort->run[sort->runs++] = (struct run){
	    .begin = sort->file_size,
	    .end = sort->file_size + (off_t)sort->used,
	};
	sort->file_size += (off_t)sort->used;
	sort->used = 0;
	sort->count = 0;
	return true;
}

bool sort_add(struct sort *sort, const struct drac_entry *entry)
{
	if (MEMORY - sort->used < PACKED_MAX && !write_run(sort))
		return false;
	sort->at[sort->count++] = (uint32_t)sort->used;
	sort->used += pack(sort->memory + sort->used, entry);
	return true;
}

/* ---- giving back --------------------------------------------------------- */

static void share_out(struct sort *sort)
{
	size_t room = MEMORY / sort->runs;

	for (size_t i = 0; i < sort->runs; i++) {
		sort->run[i].memory = sort->memory + i * room;
		sort->run[i].room = room;
	}
}

static bool has_whole(const struct run *run)
{
	size_t have = run->filled - run->used;

	return have >= sizeof(uint32_t) &&
	       have >= packed_size(run->memory + run->used);
}

/* Reads on when there is no whole entry; false: errno says why. */
static bool fill(struct run *run, int fd)
{
	size_t have = run->filled - run->used, wanted = run->room - have;
	ssize_t got;

	if (has_whole(run) || run->begin == run->end)
		return true;
	memmove(run->memory, run->memory + run->used, have);
	run->used = 0;
	if ((off_t)wanted > run->end - run->begin)
		wanted = (size_t)(run->end - run->begin);
	got = pread(fd, run->memory + have, wanted, run->begin);
	if (got != (ssize_t)wanted) {
		errno = got < 0 ? errno : EIO;
		return false;
	}
	run->filled = have + wanted;
	run->begin += got;
	return true;
}

static bool merge(struct sort *sort, sort_fn *fn, void *context)
{
	struct drac_entry entry;
	struct run *first;

	share_out(sort);
	do {
		first = NULL;
		for (size_t i = 0; i < sort->runs; i++) {
			struct run *run = &sort->run[i];

			if (!fill(run, fileno(sort->file)))
				return false;
			if (has_whole(run) &&
			    (first == NULL ||
			     compare_packed(run->memory + run->used,
					    first->memory + first->used) < 0))
				first = run;
		}
		if (first != NULL) {
			const char *packed = first->memory + first->used;

			unpack(packed, &entry);
			first->used += packed_size(packed);
			fn(context, &entry);
		}
	} while (first != NULL);
	return true;
}

bool sort_each(struct sort *sort, sort_fn *fn, void *context)
{
	struct drac_entry entry;

	if (sort->file != NULL)
		return write_run(sort) && merge(sort, fn, context);
	sort_memory(sort);
	for (size_t i = 0; i < sort->count; i++) {
		unpack(sort->memory + sort->at[i], &entry);
		fn(context, &entry);
	}
	return true;
}

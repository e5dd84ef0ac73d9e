/*
 * tail: one open log file and how far it has been read. It knows nothing of
 * names; follow does.
 */
#ifndef WATCH_TAIL_H
#define WATCH_TAIL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One line without its newline; it is the caller's until fn returns. */
typedef void tail_fn(void *ctx, const char *text, size_t len);

struct tail {
	int fd; /* -1: none */
	uint64_t inode;
	int64_t offset; /* of the first line that has not been given */
	int64_t ahead; /* of that line, what has been skipped: it is too long */
	uint32_t sum;  /* of the bytes before offset */
};

/* fd: of a regular file, and the tail's from now on. From its beginning. */
void tail_begin(struct tail *tail, int fd, uint64_t inode);
/* From its end on, where the last line may still be written. */
void tail_begin_at_end(struct tail *tail, int fd, uint64_t inode);
void tail_close(struct tail *tail);

enum tail_result {
	TAIL_END,  /* all has been read */
	TAIL_MORE, /* there may be more */
	TAIL_CUT,  /* somebody has truncated it; nothing was read */
};
/* Reads on, up to some kilobytes. A line without newline is not given yet. */
enum tail_result tail_read(struct tail *tail, tail_fn *fn, void *ctx);

/* Whether the file of fd has, before offset, what this tail has read there. */
bool tail_is_copy(const struct tail *tail, int fd);

/* For the state. restore fills all but fd; false: it cannot be read. */
json_t *tail_save(const struct tail *tail);
bool tail_restore(struct tail *tail, const json_t *saved);

#endif

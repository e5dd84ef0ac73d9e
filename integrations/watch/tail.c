/*
 * tail: see tail.h. What has been read is known again by a checksum of its
 * end, so that a file that was truncated and has grown since is not taken for
 * the old one.
 */
#include "tail.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "line.h"

enum {
	CHUNK_LEN = 64 * 1024, /* a read; several lines of LINE_MAX_LEN */
	SUM_LEN = 128,         /* a line or two, with their time stamps */
};

void tail_begin(struct tail *tail, int fd, uint64_t inode)
{
	*tail = (struct tail){.fd = fd, .inode = inode};
}

void tail_close(struct tail *tail)
{
	if (tail->fd >= 0)
		close(tail->fd);
	*tail = (struct tail){.fd = -1};
}

/* Of the SUM_LEN bytes before offset, or fewer. False: they are not there. */
static bool sum_before(int fd, int64_t offset, uint32_t *sum)
{
	unsigned char bytes[SUM_LEN];
	size_t len = offset < SUM_LEN ? (size_t)offset : SUM_LEN;

	if (pread(fd, bytes, len, offset - (int64_t)len) != (ssize_t)len)
		return false;
	*sum = (uint32_t)crc32(0, bytes, (uInt)len);
	return true;
}

bool tail_is_copy(const struct tail *tail, int fd)
{
	uint32_t sum;

	return sum_before(fd, tail->offset, &sum) && sum == tail->sum;
}

void tail_begin_at_end(struct tail *tail, int fd, uint64_t inode)
{
	char end[LINE_MAX_LEN];
	const char *newline;
	struct stat st;
	int64_t from;
	ssize_t n;

	tail_begin(tail, fd, inode);
	if (fstat(fd, &st) != 0)
		return;
	from = st.st_size > LINE_MAX_LEN ? st.st_size - LINE_MAX_LEN : 0;
	n = pread(fd, end, sizeof end, from);
	newline = n > 0 ? memrchr(end, '\n', (size_t)n) : NULL;
	if (newline != NULL) {
		tail->offset = from + (newline - end) + 1;
	} else if (from > 0) { /* the end of a line that is too long */
		tail->offset = from;
		tail->ahead = n > 0 ? n : 1;
	}
	sum_before(fd, tail->offset, &tail->sum);
}

/* Gives all whole lines of text; returns how much of it is done with. */
static size_t give_lines(const char *text, size_t len, tail_fn *fn, void *ctx)
{
	const char *at = text, *end = text + len, *newline;

	while (at < end &&
	       (newline = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		if (newline - at <= LINE_MAX_LEN)
			fn(ctx, at, (size_t)(newline - at));
		at = newline + 1;
	}
	return (size_t)(at - text);
}

/* The rest of a line that is too long; returns how much of text it is. */
static size_t skip_line(struct tail *tail, const char *text, size_t len)
{
	const char *newline = memchr(text, '\n', len);
	size_t skipped = newline != NULL ? (size_t)(newline - text) + 1 : len;

	tail->ahead += (int64_t)skipped;
	if (newline != NULL) {
		tail->offset += tail->ahead;
		tail->ahead = 0;
	}
	return skipped;
}

enum tail_result tail_read(struct tail *tail, tail_fn *fn, void *ctx)
{
	char chunk[CHUNK_LEN];
	size_t at = 0, done, left;
	struct stat st;
	ssize_t n;

	if (fstat(tail->fd, &st) != 0)
		return TAIL_END;
	if (st.st_size < tail->offset + tail->ahead ||
	    !tail_is_copy(tail, tail->fd))
		return TAIL_CUT;
	n = pread(tail->fd, chunk, sizeof chunk, tail->offset + tail->ahead);
	if (n <= 0)
		return TAIL_END;
	if (tail->ahead > 0)
		at = skip_line(tail, chunk, (size_t)n);
	done = give_lines(chunk + at, (size_t)n - at, fn, ctx);
	tail->offset += (int64_t)done;
	left = (size_t)n - at - done;
	if (left > LINE_MAX_LEN)
		tail->ahead += (int64_t)left;
	sum_before(tail->fd, tail->offset, &tail->sum);
	return n == CHUNK_LEN ? TAIL_MORE : TAIL_END;
}

json_t *tail_save(const struct tail *tail)
{
	return json_pack("{s:I, s:I, s:I}", "inode", (json_int_t)tail->inode,
			 "offset", (json_int_t)tail->offset, "sum",
			 (json_int_t)tail->sum);
}

bool tail_restore(struct tail *tail, const json_t *saved)
{
	json_int_t inode, offset, sum;

	*tail = (struct tail){.fd = -1};
	if (json_unpack((json_t *)(uintptr_t)saved, "{s:I, s:I, s:I}", "inode",
			&inode, "offset", &offset, "sum", &sum) != 0 ||
	    offset < 0)
		return false;
	tail->inode = (uint64_t)inode;
	tail->offset = offset;
	tail->sum = (uint32_t)sum;
	return true;
}

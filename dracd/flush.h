/*
 * flush: the one thread beside the loop. Once a second it brings to the disk
 * what the journal has written, through descriptors of its own, and removes
 * segments that are no longer needed; the loop never waits for either.
 */
#ifndef DRACD_FLUSH_H
#define DRACD_FLUSH_H

#include <stdbool.h>

struct flush;

/*
 * dir_fd: the journal's directory, the caller's to keep open until
 * flush_stop(). All signals are blocked in the thread. NULL: no thread.
 */
struct flush *flush_start(int dir_fd);
/* Flushes all that is waiting, ends the thread. */
void flush_stop(struct flush *flush);

/*
 * From now on fd, a segment just created, is the one that is written; the one
 * before is flushed once more and closed. fd belongs to flush from here on.
 */
void flush_segment(struct flush *flush, int fd);
/* There is something to flush; costs an atomic store. */
void flush_dirty(struct flush *flush);
/* Removes this name from the directory; the string is copied. */
void flush_unlink(struct flush *flush, const char *name);

#endif

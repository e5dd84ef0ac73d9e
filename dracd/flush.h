/*
 * flush: the one thread beside the loop. Each second it brings to the disk
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
 * False: out of memory, and all is as it was.
 */
bool flush_segment(struct flush *flush, int fd);
/* There is something to flush; costs an atomic store. */
void flush_dirty(struct flush *flush);
/*
 * This segment was there before: another process may have written it and
 * ended without a flush. The string is copied; false: out of memory.
 */
bool flush_found(struct flush *flush, const char *name);
/*
 * Removes this segment, or sets it aside, after those named before it, when
 * all that has been written by now is on the disk. As above.
 */
bool flush_remove(struct flush *flush, const char *name, bool damaged);

/*
 * How many rounds have failed. After one, what was written before it may never
 * get to the disk, even if later rounds succeed: the kernel takes such pages
 * for clean (fsync(2), "errors are reported once"). So nothing more is removed
 * until flush_mended() says that so many are of no account any more: all that
 * counts has been written anew since, and to another segment.
 */
unsigned flush_failures(const struct flush *flush);
void flush_mended(struct flush *flush, unsigned failures);

#endif

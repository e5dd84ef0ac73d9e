/*
 * journal: see journal.h. Owns the directory, the active segment's descriptor,
 * and the buffer of the next commit. Which segments there are and when they go
 * is segments.c's, reading replay.c's, the format segment.c's.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "clock.h"
#include "flush.h"
#include "log.h"
#include "replay.h"
#include "segments.h"

enum {
	MEND_INTERVAL_S = 60, /* a bad disk is not filled with copies */
};

struct journal {
	int dir_fd;
	enum durability durability;
	struct flush *flush;

	struct segments segments; /* the newest one is active */

	/* after a failed flush, see journal_suspect() */
	uint32_t suspect;
	unsigned failures; /* seen so far */
	int64_t mend_after_ns;

	int fd;    /* the active one, O_APPEND */
	bool torn; /* what has been refused could not be cut off yet */

	const struct timebase *clock;
	int64_t step_s; /* what the times in the active segment lack */

	uint8_t *buffer;
	size_t used, size;

	journal_see *see;
	void *see_context;
};

static uint32_t active(const struct journal *journal)
{
	return segments_newest(&journal->segments);
}

static uint64_t active_bytes(struct journal *journal)
{
	return segments_at(&journal->segments, active(journal))->bytes;
}

/* ---- segments ----------------------------------------------------------- */

static void check_suspect(struct journal *journal)
{
	if (journal->suspect == 0 ||
	    journal->segments.first <= journal->suspect)
		return;
	journal->suspect = 0;
	flush_mended(journal->flush, journal->failures);
	log_write(LOG_NOTICE, "journal has been written anew");
}

static void release(struct journal *journal)
{
	bool replaying = journal->flush == NULL;
	if (!replaying && segments_release(&journal->segments, journal->flush))
		check_suspect(journal);
}

void journal_ref(struct journal *journal, uint32_t segment)
{
	segments_ref(&journal->segments, segment);
}

void journal_unref(struct journal *journal, uint32_t segment)
{
	if (segments_unref(&journal->segments, segment))
		release(journal);
}

/* A header, and the clock; returns how long that is. */
static size_t write_head(const struct journal *journal,
			 uint8_t head[SEGMENT_HEADER + SEGMENT_RECORD_MAX],
			 uint32_t number)
{
	const struct timebase *clock = journal->clock;
	const struct record record = {
	    .type = RECORD_CLOCK,
	    .base_ns = clock->base_ns,
	    .step_s = journal->step_s,
	    .last_s = clock_fit(timebase_now_s(clock)),
	    .user = clock->boot,
	    .user_len = (uint8_t)strlen(clock->boot),
	};
	segment_header_write(head, number);
	return SEGMENT_HEADER +
	       segment_encode(head + SEGMENT_HEADER, number, &record);
}

/*
 * Not a duplicate: an open file is told once that a write has failed, and each
 * of the two threads must hear of it.
 */
static int open_for_flush(const struct journal *journal, const char *name)
{
	return openat(journal->dir_fd, name, O_WRONLY | O_CLOEXEC);
}

/* Begins the next segment: 0 or errno, and the active one stays as it is. */
static int begin_segment(struct journal *journal)
{
	uint32_t count = journal->segments.count;
	uint32_t number = count ? active(journal) + 1 : 1;
	char name[SEGMENT_NAME_MAX];
	uint8_t head[SEGMENT_HEADER + SEGMENT_RECORD_MAX];
	replay_name(name, number);
	size_t len = write_head(journal, head, number);
	int fd =
	    openat(journal->dir_fd, name,
		   O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	int copy = -1, error = 0;
	ssize_t written = write(fd, head, len);
	if (written != (ssize_t)len)
		error = written < 0 ? errno : ENOSPC;
	else if ((copy = open_for_flush(journal, name)) < 0)
		error = errno;
	else if (journal->durability == DURABILITY_DISK &&
		 (fdatasync(fd) != 0 || fsync(journal->dir_fd) != 0))
		error = errno;
	else if (!segments_extend(&journal->segments, number) ||
		 !flush_segment(journal->flush, copy))
		error = ENOMEM;
	if (error != 0) {
		journal->segments.count = count;
		unlinkat(journal->dir_fd, name, 0);
		close(fd);
		if (copy >= 0)
			close(copy);
		return error;
	}
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = fd;
	segments_at(&journal->segments, number)->exists = true;
	segments_resize(&journal->segments, number, len);
	journal->step_s = 0;
	release(journal);
	return 0;
}

/* What an older dracd has begun is now ours to go on with. */
static bool renew_header(const struct journal *journal, const char *name)
{
	uint8_t header[SEGMENT_HEADER];
	segment_header_write(header, active(journal));
	int fd = openat(journal->dir_fd, name, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && pwrite(fd, header, sizeof(header), 0) ==
				   (ssize_t)sizeof(header);
	if (fd >= 0)
		close(fd);
	return done;
}

/*
 * On a full disk no segment can be begun: the newest one is written on, which
 * fails until there is room, and what is in it is served meanwhile. False:
 * there is none.
 */
static bool resume_segment(struct journal *journal)
{
	char name[SEGMENT_NAME_MAX];
	if (journal->segments.count == 0 ||
	    active_bytes(journal) < SEGMENT_HEADER)
		return false;
	replay_name(name, active(journal));
	if (!renew_header(journal, name))
		return false;
	journal->fd =
	    openat(journal->dir_fd, name, O_WRONLY | O_APPEND | O_CLOEXEC);
	int copy = journal->fd >= 0 ? open_for_flush(journal, name) : -1;
	return copy >= 0 && flush_segment(journal->flush, copy);
}

/* ---- opening and closing ------------------------------------------------ */

static void replayed(void *context, const struct record *record,
		     uint32_t segment)
{
	struct journal *journal = context;
	journal->see(journal->see_context, journal, record, segment);
}

static bool forget_segment(const struct journal *journal, uint32_t number)
{
	char name[SEGMENT_NAME_MAX];
	replay_name(name, number);
	if (unlinkat(journal->dir_fd, name, 0) == 0)
		return true;
	log_errno(LOG_CRIT, "journal segment=%s cannot be removed", name);
	return false;
}

static bool replay_one(struct journal *journal, struct replay_file *file,
		       bool newest)
{
	if (!replay_segment(journal->dir_fd, file, newest, replayed, journal))
		return false;
	struct segment *segment = segments_at(&journal->segments, file->number);
	segment->exists = true;
	segment->damaged = file->damaged;
	segments_resize(&journal->segments, file->number, file->bytes);
	return true;
}

static bool replay_all(struct journal *journal, bool initialize,
		       struct journal_start *start)
{
	struct segments *segments = &journal->segments;
	struct replay_file *files;
	size_t count;
	bool done = true;
	if (!replay_list(journal->dir_fd, &files, &count)) {
		log_errno(LOG_CRIT, "journal directory cannot be read");
		return false;
	}
	*start = (struct journal_start){.existed = count > 0};
	journal->step_s =
	    replay_clocks(journal->dir_fd, files, count, journal->clock);
	for (size_t i = 0; i < count && done; i++) {
		done = segments_extend(segments, files[i].number) &&
		       (initialize
			    ? forget_segment(journal, files[i].number)
			    : replay_one(journal, &files[i], i + 1 == count));
		start->stamp = files[i].stamp;
	}
	free(files);
	return done;
}

static bool flush_replayed(struct journal *journal)
{
	char name[SEGMENT_NAME_MAX];
	bool done = true;
	for (uint32_t i = 0; i < journal->segments.count && done; i++) {
		replay_name(name, journal->segments.first + i);
		done = !journal->segments.segment[i].exists ||
		       flush_found(journal->flush, name);
	}
	return done;
}

static bool lock_directory(struct journal *journal, const char *path)
{
	journal->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (journal->dir_fd < 0) {
		log_errno(LOG_CRIT,
			  "journal=%s cannot be opened; it must be a directory "
			  "of the daemon's user",
			  path);
		return false;
	}
	if (flock(journal->dir_fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	log_write(LOG_CRIT,
		  "journal=%s is in use: another dracd is running with it",
		  path);
	return false;
}

struct journal *journal_open(const char *path, enum durability durability,
			     bool initialize, const struct timebase *clock,
			     journal_see *see, void *context,
			     struct journal_start *start)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	if (journal == NULL)
		return NULL;
	journal->dir_fd = journal->fd = -1;
	journal->durability = durability;
	journal->clock = clock;
	journal->see = see;
	journal->see_context = context;
	int error;
	if (!lock_directory(journal, path))
		goto fail;
	if (!replay_all(journal, initialize, start)) {
		log_write(LOG_CRIT,
			  "journal=%s cannot be used; dracd does not start, so "
			  "that nothing is lost",
			  path);
		goto fail;
	}
	journal->flush = flush_start(journal->dir_fd);
	if (journal->flush == NULL) {
		log_errno(LOG_CRIT, "journal: no thread for flushing");
		goto fail;
	}
	error = flush_replayed(journal) ? begin_segment(journal) : ENOMEM;
	if (error == 0)
		return journal;
	errno = error;
	log_errno(LOG_CRIT, "journal=%s cannot be written", path);
	if ((error == ENOSPC || error == EDQUOT) && resume_segment(journal))
		return journal;
fail:
	journal_close(journal, 0);
	return NULL;
}

void journal_close(struct journal *journal, uint32_t stamp)
{
	if (stamp != 0) {
		struct journal_mark mark;
		struct record clean = {
		    .type = RECORD_CLEAN,
		    .expiry_s = stamp,
		    .last_s = clock_fit(timebase_now_s(journal->clock)),
		};
		journal_forget(journal);
		if (!journal_add(journal, &clean) ||
		    journal_commit(journal, &mark) != 0)
			log_write(LOG_WARNING, "journal cannot be closed in "
					       "good order; the next start "
					       "verifies the maps");
	}
	flush_stop(journal->flush);
	if (journal->fd >= 0)
		close(journal->fd);
	if (journal->dir_fd >= 0)
		close(journal->dir_fd);
	free(journal->buffer);
	segments_free(&journal->segments);
	free(journal);
}

/* ---- writing ------------------------------------------------------------ */

bool journal_add(struct journal *journal, const struct record *record)
{
	if (journal->size - journal->used < SEGMENT_RECORD_MAX) {
		size_t size = 2 * journal->size + 8 * SEGMENT_RECORD_MAX;
		uint8_t *grown = realloc(journal->buffer, size);
		if (grown == NULL)
			return false;
		journal->buffer = grown;
		journal->size = size;
	}
	struct record copy;
	if (journal->step_s != 0) {
		copy = replay_moved(record, -journal->step_s);
		record = &copy;
	}
	journal->used += segment_encode(journal->buffer + journal->used,
					active(journal), record);
	return true;
}

void journal_forget(struct journal *journal)
{
	journal->used = 0;
}

/* Cuts the active segment back to its last good byte. */
static int cut_back(struct journal *journal)
{
	off_t good = (off_t)active_bytes(journal);
	journal->torn = ftruncate(journal->fd, good) != 0;
	flush_dirty(journal->flush);
	return journal->torn ? errno : 0;
}

static int write_out(struct journal *journal)
{
	int error = journal->torn ? cut_back(journal) : 0;
	if (error != 0)
		return error;
	ssize_t written = write(journal->fd, journal->buffer, journal->used);
	if (written != (ssize_t)journal->used)
		error = written < 0 ? errno : ENOSPC;
	else if (journal->durability == DURABILITY_DISK &&
		 fdatasync(journal->fd) != 0)
		error = errno;
	if (error != 0 && written > 0)
		cut_back(journal);
	return error;
}

int journal_commit(struct journal *journal, struct journal_mark *mark)
{
	uint64_t bytes = active_bytes(journal);
	*mark = (struct journal_mark){active(journal), bytes,
				      bytes + journal->used};
	int error = journal->used > 0 ? write_out(journal) : 0;
	if (error == 0 && journal->used > 0) {
		segments_resize(&journal->segments, mark->segment, mark->to);
		flush_dirty(journal->flush);
	}
	journal->used = 0;
	return error;
}

bool journal_rollback(struct journal *journal, const struct journal_mark *mark)
{
	if (mark->segment != active(journal) ||
	    mark->to != active_bytes(journal))
		return false;
	segments_resize(&journal->segments, mark->segment, mark->from);
	cut_back(journal); /* or before the next write */
	return !journal->torn;
}

void journal_step(struct journal *journal, int64_t step_s)
{
	journal->step_s = clock_moved(journal->step_s, step_s);
	journal_tend(journal);
	flush_dirty(journal->flush);
}

static bool must_mend(const struct journal *journal)
{
	return flush_failures(journal->flush) != journal->failures &&
	       clock_monotonic_ns() >= journal->mend_after_ns;
}

/* All that has been written is in doubt; the active segment is a new one. */
static void mend(struct journal *journal, unsigned failures)
{
	journal->suspect = active(journal) - 1;
	journal->failures = failures;
	journal->mend_after_ns =
	    clock_monotonic_ns() + MEND_INTERVAL_S * (int64_t)CLOCK_NS_PER_S;
	log_write(LOG_WARNING, "journal could not be flushed to disk and is "
			       "written anew");
	check_suspect(journal);
}

/* Between turns: the buffer is empty, nothing is half done. */
void journal_tend(struct journal *journal)
{
	static struct log_limit limit;
	/* A restart would find what has been refused. */
	if (journal->torn && cut_back(journal) != 0)
		return;
	bool mending = must_mend(journal);
	unsigned failures = flush_failures(journal->flush);
	if (!mending && journal->step_s == 0 &&
	    active_bytes(journal) < SEGMENT_BYTES)
		return;
	int error = begin_segment(journal);
	if (error == 0 && mending) {
		mend(journal, failures);
	} else if (error != 0 && log_allowed(&limit)) {
		errno = error;
		log_errno(LOG_WARNING, "journal cannot begin a new segment; "
				       "the present one grows on");
	}
}

uint32_t journal_suspect(const struct journal *journal)
{
	return journal->suspect;
}

bool journal_survivor(struct journal *journal, struct address *address,
		      uint32_t *segment)
{
	return segments_survivor(&journal->segments, journal->dir_fd, address,
				 segment);
}

uint64_t journal_bytes(const struct journal *journal)
{
	return journal->segments.bytes;
}

uint32_t journal_segments(const struct journal *journal)
{
	return journal->segments.count;
}

/*
 * journal: see journal.h. Owns the directory, the active segment's descriptor,
 * the count of live records in each segment, and the buffer of the next
 * commit. Reading is replay.c's, the format segment.c's.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "flush.h"
#include "log.h"
#include "replay.h"

enum {
	SEGMENT_BYTES = 4 * 1024 * 1024, /* then the next one is begun */
	/*
	 * The journal is long for what it says when it has more than
	 * LONG_FACTOR times the bytes of its live records, and LONG_BYTES on
	 * top; or more than LONG_SEGMENTS files with little in them.
	 */
	LONG_FACTOR = 4,
	LONG_RECORD = 72,
	LONG_BYTES = 4 * SEGMENT_BYTES,
	LONG_SEGMENTS = 32,
	MEND_INTERVAL_S = 60, /* a bad disk is not filled with copies */
};

struct segment {
	uint64_t bytes;
	uint32_t live; /* entries whose newest record is here */
	bool exists;
	bool damaged; /* renamed, not removed, in the end */
};

struct journal {
	int dir_fd;
	enum durability durability;
	struct flush *flush;

	/* segments first .. first + count - 1; the last one is active */
	struct segment *segment;
	uint32_t first, count, room;
	uint64_t bytes, live; /* of all of them */

	/* after a failed flush, see journal_suspect() */
	uint32_t suspect;
	unsigned failures; /* seen so far */
	int64_t mend_after_ns;

	int fd;    /* the active one, O_APPEND */
	bool torn; /* a failed write could not be cut off yet */

	uint8_t *buffer;
	size_t used, size;

	/* journal_survivor() */
	const uint8_t *victim;
	size_t victim_len, victim_at;
	uint32_t victim_number;

	journal_see *see;
	void *see_context;
};

static uint32_t active(const struct journal *journal)
{
	return journal->first + journal->count - 1;
}

static struct segment *segment_at(struct journal *journal, uint32_t number)
{
	return &journal->segment[number - journal->first];
}

/* ---- segments ----------------------------------------------------------- */

/* Appends segments up to `number`; those between do not exist. */
static bool extend(struct journal *journal, uint32_t number)
{
	if (journal->count == 0)
		journal->first = number;
	uint32_t count = number - journal->first + 1;
	if (count > journal->room) {
		uint32_t room = count + 64;
		struct segment *grown =
		    reallocarray(journal->segment, room, sizeof(*grown));
		if (grown == NULL)
			return false;
		journal->segment = grown;
		journal->room = room;
	}
	memset(journal->segment + journal->count, 0,
	       (count - journal->count) * sizeof(*journal->segment));
	journal->count = count;
	return true;
}

static void victim_close(struct journal *journal)
{
	if (journal->victim != NULL)
		munmap((void *)(uintptr_t)journal->victim,
		       journal->victim_len ? journal->victim_len : 1);
	journal->victim = NULL;
}

/* False: it is tried again later. */
static bool dispose(struct journal *journal, uint32_t number,
		    const struct segment *segment)
{
	char name[SEGMENT_NAME_MAX];
	replay_name(name, number);
	return !segment->exists ||
	       flush_remove(journal->flush, name, segment->damaged);
}

static void check_suspect(struct journal *journal)
{
	if (journal->suspect == 0 || journal->first <= journal->suspect)
		return;
	journal->suspect = 0;
	flush_mended(journal->flush, journal->failures);
	log_write(LOG_NOTICE, "journal has been written anew");
}

/* Removes what is at the old end and says nothing any more. */
static void release(struct journal *journal)
{
	uint32_t gone = 0;
	if (journal->flush == NULL)
		return; /* still replaying */
	while (gone + 1 < journal->count && journal->segment[gone].live == 0) {
		struct segment *segment = &journal->segment[gone];
		if (!dispose(journal, journal->first + gone, segment))
			break;
		if (journal->victim_number == journal->first + gone) {
			victim_close(journal);
			journal->victim_number = 0;
		}
		journal->bytes -= segment->bytes;
		gone++;
	}
	if (gone == 0)
		return;
	journal->first += gone;
	journal->count -= gone;
	memmove(journal->segment, journal->segment + gone,
		journal->count * sizeof(*journal->segment));
	check_suspect(journal);
}

void journal_ref(struct journal *journal, uint32_t segment)
{
	segment_at(journal, segment)->live++;
	journal->live++;
}

void journal_unref(struct journal *journal, uint32_t segment)
{
	journal->live--;
	if (--segment_at(journal, segment)->live == 0 &&
	    segment == journal->first)
		release(journal);
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
	uint32_t count = journal->count;
	uint32_t number = count ? active(journal) + 1 : 1;
	char name[SEGMENT_NAME_MAX];
	uint8_t header[SEGMENT_HEADER];
	replay_name(name, number);
	segment_header_write(header, number);
	int fd =
	    openat(journal->dir_fd, name,
		   O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	int copy = -1, error = 0;
	ssize_t written = write(fd, header, sizeof(header));
	if (written != (ssize_t)sizeof(header))
		error = written < 0 ? errno : ENOSPC;
	else if ((copy = open_for_flush(journal, name)) < 0)
		error = errno;
	else if (journal->durability == DURABILITY_DISK &&
		 (fdatasync(fd) != 0 || fsync(journal->dir_fd) != 0))
		error = errno;
	else if (!extend(journal, number) ||
		 !flush_segment(journal->flush, copy))
		error = ENOMEM;
	if (error != 0) {
		journal->count = count;
		unlinkat(journal->dir_fd, name, 0);
		close(fd);
		if (copy >= 0)
			close(copy);
		return error;
	}
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = fd;
	*segment_at(journal, number) =
	    (struct segment){.bytes = SEGMENT_HEADER, .exists = true};
	journal->bytes += SEGMENT_HEADER;
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
	if (journal->count == 0 ||
	    segment_at(journal, active(journal))->bytes < SEGMENT_HEADER)
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

static bool replay_all(struct journal *journal, bool initialize,
		       struct journal_start *start)
{
	uint32_t *numbers;
	size_t count;
	bool done = true;
	if (!replay_list(journal->dir_fd, &numbers, &count)) {
		log_errno(LOG_CRIT, "journal directory cannot be read");
		return false;
	}
	*start = (struct journal_start){.existed = count > 0};
	for (size_t i = 0; i < count && done; i++) {
		struct replay_result result;
		if (!extend(journal, numbers[i])) {
			done = false;
		} else if (initialize) {
			char name[SEGMENT_NAME_MAX];
			replay_name(name, numbers[i]);
			done = unlinkat(journal->dir_fd, name, 0) == 0;
			if (!done)
				log_errno(LOG_CRIT,
					  "journal segment=%s cannot be "
					  "removed",
					  name);
		} else if ((done = replay_segment(journal->dir_fd, numbers[i],
						  i + 1 == count, replayed,
						  journal, &result))) {
			struct segment *segment =
			    segment_at(journal, numbers[i]);
			segment->exists = true;
			segment->bytes = result.bytes;
			segment->damaged = result.damaged;
			journal->bytes += result.bytes;
			start->stamp = result.stamp;
		}
	}
	free(numbers);
	return done;
}

static bool flush_replayed(struct journal *journal)
{
	char name[SEGMENT_NAME_MAX];
	bool done = true;
	for (uint32_t i = 0; i < journal->count && done; i++) {
		replay_name(name, journal->first + i);
		done = !journal->segment[i].exists ||
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
			     bool initialize, journal_see *see, void *context,
			     struct journal_start *start)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	if (journal == NULL)
		return NULL;
	journal->dir_fd = journal->fd = -1;
	journal->durability = durability;
	journal->see = see;
	journal->see_context = context;
	int error;
	if (!lock_directory(journal, path) ||
	    !replay_all(journal, initialize, start))
		goto fail;
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
		journal_forget(journal);
		if (!journal_add(journal,
				 &(struct record){.type = RECORD_CLEAN,
						  .expiry_s = stamp}) ||
		    journal_commit(journal, &mark) != 0)
			log_write(LOG_WARNING, "journal cannot be closed in "
					       "good order; the next start "
					       "verifies the maps");
	}
	flush_stop(journal->flush);
	victim_close(journal);
	if (journal->fd >= 0)
		close(journal->fd);
	if (journal->dir_fd >= 0)
		close(journal->dir_fd);
	free(journal->buffer);
	free(journal->segment);
	free(journal);
}

/* ---- writing --------------------------------------------------------------
 */

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
	off_t good = (off_t)segment_at(journal, active(journal))->bytes;
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
	struct segment *segment = segment_at(journal, active(journal));
	*mark = (struct journal_mark){active(journal), segment->bytes,
				      segment->bytes + journal->used};
	int error = journal->used > 0 ? write_out(journal) : 0;
	if (error == 0 && journal->used > 0) {
		segment->bytes += journal->used;
		journal->bytes += journal->used;
		flush_dirty(journal->flush);
	}
	journal->used = 0;
	return error;
}

bool journal_rollback(struct journal *journal, const struct journal_mark *mark)
{
	struct segment *segment = segment_at(journal, active(journal));
	if (mark->segment != active(journal) || mark->to != segment->bytes)
		return false;
	journal->bytes -= mark->to - mark->from;
	segment->bytes = mark->from;
	cut_back(journal); /* or before the next write */
	return !journal->torn;
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
	    clock_monotonic_ns() + MEND_INTERVAL_S * INT64_C(1000000000);
	log_write(LOG_WARNING, "journal could not be flushed to disk and is "
			       "written anew");
	check_suspect(journal);
}

/* Between turns: the buffer is empty, nothing is half done. */
void journal_tend(struct journal *journal)
{
	static struct log_limit limit;
	bool mending = must_mend(journal);
	unsigned failures = flush_failures(journal->flush);
	if (!mending &&
	    segment_at(journal, active(journal))->bytes < SEGMENT_BYTES)
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

/* ---- survivors ------------------------------------------------------------
 */

static bool is_long(const struct journal *journal)
{
	uint64_t live = journal->live * LONG_RECORD;
	return journal->count > 1 &&
	       (journal->bytes > LONG_FACTOR * live + LONG_BYTES ||
		journal->count >
		    LONG_SEGMENTS + LONG_FACTOR * live / SEGMENT_BYTES);
}

static bool victim_open(struct journal *journal)
{
	uint32_t number = journal->first;
	if (journal->victim_number == number)
		return journal->victim != NULL;
	victim_close(journal);
	journal->victim_number = number;
	journal->victim =
	    replay_map(journal->dir_fd, number, &journal->victim_len);
	journal->victim_at = SEGMENT_HEADER;
	return journal->victim != NULL;
}

bool journal_survivor(struct journal *journal, struct address *address,
		      uint32_t *segment)
{
	if (!is_long(journal) || !victim_open(journal))
		return false;
	while (journal->victim_at < journal->victim_len) {
		struct record record;
		size_t at = journal->victim_at;
		size_t taken = segment_decode(journal->victim + at,
					      journal->victim_len - at,
					      journal->victim_number, &record);
		journal->victim_at += taken ? taken : SEGMENT_ALIGN;
		if (taken == 0 || record.type != RECORD_PUT)
			continue;
		*address = record.address;
		*segment = journal->victim_number;
		return true;
	}
	journal->victim_at = SEGMENT_HEADER; /* some could not be written */
	return false;
}

uint64_t journal_bytes(const struct journal *journal)
{
	return journal->bytes;
}

uint32_t journal_segments(const struct journal *journal)
{
	return journal->count;
}

/*
 * replay: see replay.h. Owns nothing that lasts; every damage is logged with
 * file and offset.
 */
#include "replay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define NAME_FORMAT "%010" PRIu32 ".journal"

void replay_name(char name[SEGMENT_NAME_MAX], uint32_t number)
{
	snprintf(name, SEGMENT_NAME_MAX, NAME_FORMAT, number);
}

static int number_compare(const void *a, const void *b)
{
	uint32_t x = ((const struct replay_file *)a)->number;
	uint32_t y = ((const struct replay_file *)b)->number;
	return (x > y) - (x < y);
}

/* The number of a segment's name; 0: it is another file. */
static uint32_t number_of(const char *name)
{
	char again[SEGMENT_NAME_MAX];
	uint32_t number = (uint32_t)strtoul(name, NULL, 10);
	replay_name(again, number);
	return strcmp(name, again) == 0 ? number : 0;
}

bool replay_list(int dir_fd, struct replay_file **files, size_t *count)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	size_t room = 0;
	*files = NULL;
	*count = 0;
	const struct dirent *found;
	while ((found = readdir(dir)) != NULL) {
		uint32_t number = number_of(found->d_name);
		if (number == 0)
			continue;
		if (*count == room) {
			room = room ? 2 * room : 64;
			struct replay_file *grown =
			    reallocarray(*files, room, sizeof(*grown));
			if (grown == NULL) {
				free(*files);
				closedir(dir);
				return false;
			}
			*files = grown;
		}
		(*files)[(*count)++] = (struct replay_file){.number = number};
	}
	closedir(dir);
	if (*count > 0)
		qsort(*files, *count, sizeof(**files), number_compare);
	return true;
}

const uint8_t *replay_map(int dir_fd, uint32_t number, size_t *len)
{
	char name[SEGMENT_NAME_MAX];
	replay_name(name, number);
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	struct stat st;
	void *data = MAP_FAILED;
	*len = 0;
	if (fstat(fd, &st) == 0) {
		*len = (size_t)st.st_size;
		/* mmap(2) of nothing is an error; a page of it is not */
		data =
		    mmap(NULL, *len ? *len : 1, PROT_READ, MAP_PRIVATE, fd, 0);
	}
	int saved = errno;
	close(fd);
	errno = saved;
	return data == MAP_FAILED ? NULL : data;
}

/* ---- clock -------------------------------------------------------------- */

/*
 * On which clock the times of a segment are, and by how many seconds it had
 * been set since the segment before. False: the segment does not say.
 */
static bool read_clock(int dir_fd, uint32_t number, struct timebase *clock,
		       int64_t *step_s)
{
	char name[SEGMENT_NAME_MAX];
	uint8_t data[SEGMENT_HEADER + SEGMENT_CLOCK_MAX];
	struct record record;
	replay_name(name, number);
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, data, sizeof(data)) : -1;
	if (fd >= 0)
		close(fd);
	if (len <= SEGMENT_HEADER ||
	    segment_header_check(data, (size_t)len, number) != SEGMENT_OK ||
	    segment_decode(data + SEGMENT_HEADER, (size_t)len - SEGMENT_HEADER,
			   number, &record) == 0 ||
	    record.type != RECORD_CLOCK || record.user_len >= TIMEBASE_BOOT_MAX)
		return false;
	*clock = (struct timebase){.base_ns = record.base_ns};
	if (record.user_len > 0)
		memcpy(clock->boot, record.user, record.user_len);
	*step_s = record.step_s;
	return true;
}

int64_t replay_clocks(int dir_fd, struct replay_file *files, size_t count,
		      const struct timebase *clock)
{
	bool known = false;
	int64_t since_s = 0, moved_s = 0;
	for (size_t i = count; i-- > 0;) {
		struct timebase then;
		int64_t step_s = 0;
		bool told = read_clock(dir_fd, files[i].number, &then, &step_s);
		if (told && !known)
			moved_s = since_s = timebase_apart_s(&then, clock);
		known = known || told;
		files[i].moved_s = moved_s;
		moved_s = clock_moved(moved_s, step_s);
	}
	return since_s;
}

/* 0: there is no time. */
static uint32_t move(uint32_t wall_s, int64_t step_s)
{
	return wall_s ? clock_fit(clock_moved(wall_s, step_s)) : 0;
}

struct record replay_moved(const struct record *record, int64_t step_s)
{
	struct record moved = *record;
	if (record->type == RECORD_PUT)
		moved.expiry_s = clock_moved(record->expiry_s, step_s);
	moved.first_s = move(record->first_s, step_s);
	moved.last_s = move(record->last_s, step_s);
	return moved;
}

/* ---- damage ------------------------------------------------------------- */

static bool copy_aside(int dir_fd, const char *name, const uint8_t *data,
		       size_t len)
{
	char aside[SEGMENT_NAME_MAX + 16];
	snprintf(aside, sizeof(aside), "%s.damaged", name);
	int fd = openat(dir_fd, aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			0600);
	if (fd < 0)
		return false;
	size_t done = 0;
	while (done < len) {
		ssize_t written = write(fd, data + done, len - done);
		if (written <= 0)
			break;
		done += (size_t)written;
	}
	return close(fd) == 0 && done == len;
}

static bool truncate_at(int dir_fd, const char *name, size_t len)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool done = ftruncate(fd, (off_t)len) == 0 && fdatasync(fd) == 0;
	close(fd);
	return done;
}

/*
 * The newest segment ends at `good`. What one interrupted write can leave is
 * dropped, as nobody was told of it; more than that is kept beside.
 */
static bool cut_newest(int dir_fd, const char *name, const uint8_t *data,
		       size_t len, size_t good)
{
	size_t lost = len - good;
	bool zeros = true;
	for (size_t i = good; i < len && zeros; i++)
		zeros = data[i] == 0;
	bool aside = lost > SEGMENT_RECORD_MAX && !zeros;
	if (aside && !copy_aside(dir_fd, name, data, len)) {
		log_errno(LOG_CRIT,
			  "journal segment=%s is damaged and cannot be copied "
			  "to %s.damaged",
			  name, name);
		return false;
	}
	log_write(LOG_WARNING,
		  "journal segment=%s ends in a torn record: offset=%zu "
		  "dropped=%zu%s",
		  name, good, lost,
		  aside ? " (a copy is kept as .damaged)" : "");
	if (truncate_at(dir_fd, name, good))
		return true;
	log_errno(LOG_CRIT, "journal segment=%s cannot be truncated", name);
	return false;
}

/* ---- records ------------------------------------------------------------ */

/* A segment in memory, and who sees its records. */
struct reading {
	const uint8_t *data;
	size_t len;
	struct replay_file *file;
	replay_see *see;
	void *context;
};

static void tell(const struct reading *reading, const struct record *record)
{
	struct record moved;
	if (reading->file->moved_s != 0) {
		moved = replay_moved(record, reading->file->moved_s);
		record = &moved;
	}
	reading->see(reading->context, record, reading->file->number);
}

/* Records from `at` on; returns the offset of the first bad byte, or len. */
static size_t read_records(const struct reading *reading, size_t at)
{
	struct replay_file *file = reading->file;
	struct record record;
	size_t taken;
	while (at < reading->len &&
	       (taken = segment_decode(reading->data + at, reading->len - at,
				       file->number, &record)) > 0) {
		file->stamp =
		    record.type == RECORD_CLEAN ? (uint32_t)record.expiry_s : 0;
		tell(reading, &record);
		at += taken;
	}
	return at;
}

/* The next intact record after a bad one, or len. */
static size_t find_record(const struct reading *reading, size_t at)
{
	struct record record;
	for (at += SEGMENT_ALIGN; at < reading->len; at += SEGMENT_ALIGN)
		if (segment_decode(reading->data + at, reading->len - at,
				   reading->file->number, &record) > 0)
			return at;
	return reading->len;
}

static void read_damaged(const struct reading *reading, const char *name,
			 size_t at)
{
	while (at < reading->len) {
		size_t good = find_record(reading, at);
		log_write(LOG_WARNING,
			  "journal segment=%s is damaged: offset=%zu "
			  "unreadable=%zu; the rest is kept",
			  name, at, good - at);
		at = read_records(reading, good);
	}
}

/* Mends what is behind `good`; false: it cannot be. */
static bool mend(int dir_fd, const struct reading *reading, const char *name,
		 size_t good, bool newest)
{
	struct replay_file *file = reading->file;
	bool done = true;
	file->bytes = good;
	if (good == reading->len)
		return true;
	if (newest) {
		done =
		    cut_newest(dir_fd, name, reading->data, reading->len, good);
	} else {
		read_damaged(reading, name, good);
		file->damaged = true;
		file->bytes = reading->len;
	}
	file->stamp = 0;
	return done;
}

bool replay_segment(int dir_fd, struct replay_file *file, bool newest,
		    replay_see *see, void *context)
{
	struct reading reading = {.file = file, .see = see, .context = context};
	char name[SEGMENT_NAME_MAX];
	replay_name(name, file->number);
	reading.data = replay_map(dir_fd, file->number, &reading.len);
	if (reading.data == NULL) {
		log_errno(LOG_CRIT, "journal segment=%s cannot be read", name);
		return false;
	}
	bool done = true;
	size_t good = 0;
	switch (segment_header_check(reading.data, reading.len, file->number)) {
	case SEGMENT_NEWER:
		log_write(LOG_CRIT,
			  "journal segment=%s was written by a newer dracd; "
			  "run that one, or move the journal away: then what "
			  "the map says is taken over",
			  name);
		done = false;
		break;
	case SEGMENT_OK:
		good = read_records(&reading, SEGMENT_HEADER);
		break;
	case SEGMENT_TORN:
		break;
	}
	if (done)
		done = mend(dir_fd, &reading, name, good, newest);
	munmap((void *)(uintptr_t)reading.data, reading.len ? reading.len : 1);
	return done;
}

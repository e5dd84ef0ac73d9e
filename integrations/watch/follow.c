/*
 * follow: see follow.h. Has the file open that the name means now, and after a
 * rotation for a while the one before, in which whoever writes may still write.
 */
#include "follow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

enum {
	OLD_KEEP_S = 300, /* until every writer has opened the new file */
	PATH_SIZE = 4096,
	NOTICES_SIZE = 4096,
};

struct follow {
	char *path, *directory;
	const char *name; /* in path */
	tail_fn *fn;
	void *ctx;
	struct tail now, old;
	int64_t rotated_s; /* monotonic */
	int notices;       /* inotify */
	int trouble;       /* the last errno of opening path, which is logged */
};

/* ---- files --------------------------------------------------------------- */

/* A regular file or -1; the rest of *st is for the caller. */
static int open_regular(const char *path, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -1;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

static int open_path(struct follow *follow, struct stat *st)
{
	int fd = open_regular(follow->path, st);
	int error = fd < 0 ? errno : 0;

	if (error != 0 && error != follow->trouble)
		log_errno(LOG_WARNING, "log=%s cannot be read; waiting for it",
			  follow->path);
	follow->trouble = error;
	return fd;
}

/* Whether this file beside path is what tail was reading, or a copy of it. */
static int open_if_same(const struct follow *follow, const char *name,
			const struct tail *tail)
{
	char path[PATH_SIZE];
	struct stat st;
	int fd;

	if (snprintf(path, sizeof path, "%s/%s", follow->directory, name) >=
	    PATH_SIZE)
		return -1;
	fd = open_regular(path, &st);
	if (fd < 0)
		return -1;
	if (st.st_size >= tail->offset && tail_is_copy(tail, fd) &&
	    (tail->offset > 0 || tail->inode == st.st_ino))
		return fd;
	close(fd);
	return -1;
}

/*
 * Finds where the log went that saved was reading: mail.log.1, mail.log-2026
 * and so on. From there the rest is read. False: it is nowhere.
 */
static bool find_rotated(struct follow *follow, const struct tail *saved)
{
	size_t len = strlen(follow->name);
	DIR *directory = opendir(follow->directory);
	struct dirent *entry;
	int fd = -1;

	tail_close(&follow->old);
	while (directory != NULL && fd < 0 &&
	       (entry = readdir(directory)) != NULL)
		if (strncmp(entry->d_name, follow->name, len) == 0 &&
		    entry->d_name[len] != '\0')
			fd = open_if_same(follow, entry->d_name, saved);
	if (directory != NULL)
		closedir(directory);
	if (fd < 0)
		return false;
	follow->old = *saved;
	follow->old.fd = fd;
	follow->old.ahead = 0;
	follow->rotated_s = clock_monotonic_s();
	return true;
}

/* The same for a log that should be there. */
static void must_find(struct follow *follow, const struct tail *saved)
{
	if (!find_rotated(follow, saved) && saved->offset > 0)
		log_write(LOG_WARNING,
			  "log=%s was rotated, and the rest of the old one is "
			  "not beside it: logins may be missing",
			  follow->path);
}

/* ---- start --------------------------------------------------------------- */

static void resume(struct follow *follow, const json_t *saved, int fd,
		   const struct stat *st)
{
	struct tail tail;

	if (fd >= 0)
		tail_begin(&follow->now, fd, st->st_ino);
	if (!tail_restore(&tail, json_object_get(saved, "now")))
		return;
	if (fd >= 0 && tail.inode == st->st_ino) {
		/* if it was truncated meanwhile, reading it will tell */
		follow->now = tail;
		follow->now.fd = fd;
		if (tail_restore(&tail, json_object_get(saved, "old")))
			find_rotated(follow, &tail);
	} else {
		must_find(follow, &tail);
	}
}

static void open_notices(struct follow *follow)
{
	follow->notices = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (follow->notices >= 0 &&
	    inotify_add_watch(follow->notices, follow->directory,
			      IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
		close(follow->notices);
		follow->notices = -1;
	}
}

/* path is "/directory/name", "name", or the like. */
static bool set_path(struct follow *follow, const char *path)
{
	char *slash;

	follow->path = strdup(path);
	follow->directory = strdup(path);
	if (follow->path == NULL || follow->directory == NULL)
		return false;
	slash = strrchr(follow->directory, '/');
	follow->name = follow->path;
	if (slash != NULL) {
		follow->name += slash + 1 - follow->directory;
		slash[slash == follow->directory] = '\0';
	} else {
		follow->directory[0] = '\0';
	}
	if (follow->directory[0] == '\0') {
		free(follow->directory);
		follow->directory = strdup(".");
	}
	return follow->directory != NULL;
}

struct follow *follow_open(const char *path, const json_t *saved, tail_fn *fn,
			   void *ctx)
{
	struct follow *follow = calloc(1, sizeof *follow);
	struct stat st = {0};
	int fd;

	if (follow == NULL)
		return NULL;
	*follow = (struct follow){
	    .fn = fn, .ctx = ctx, .now.fd = -1, .old.fd = -1, .notices = -1};
	if (!set_path(follow, path)) {
		follow_close(follow);
		return NULL;
	}
	open_notices(follow);
	fd = open_path(follow, &st);
	if (saved != NULL)
		resume(follow, saved, fd, &st);
	else if (fd >= 0)
		tail_begin_at_end(&follow->now, fd, st.st_ino);
	return follow;
}

void follow_close(struct follow *follow)
{
	if (follow == NULL)
		return;
	tail_close(&follow->now);
	tail_close(&follow->old);
	if (follow->notices >= 0)
		close(follow->notices);
	free(follow->path);
	free(follow->directory);
	free(follow);
}

/* ---- reading ------------------------------------------------------------- */

int follow_fd(const struct follow *follow)
{
	return follow->notices;
}

/* Has the name gone over to another file? */
static void check_name(struct follow *follow)
{
	struct stat st;
	int fd;

	if (follow->now.fd >= 0 && stat(follow->path, &st) == 0 &&
	    st.st_ino == follow->now.inode)
		return;
	/* one rotation at a time: the old file is read to its end first */
	if (follow->old.fd >= 0 &&
	    tail_read(&follow->old, follow->fn, follow->ctx) == TAIL_MORE)
		return;
	fd = open_path(follow, &st);
	if (fd < 0)
		return;
	if (follow->now.fd >= 0) {
		tail_close(&follow->old);
		follow->old = follow->now;
		follow->rotated_s = clock_monotonic_s();
	}
	tail_begin(&follow->now, fd, st.st_ino);
}

/* True: there is more to read in the old file, before the new one's turn. */
static bool read_old(struct follow *follow)
{
	enum tail_result result;

	if (follow->old.fd < 0)
		return false;
	result = tail_read(&follow->old, follow->fn, follow->ctx);
	if (result == TAIL_CUT ||
	    (result == TAIL_END &&
	     clock_monotonic_s() - follow->rotated_s > OLD_KEEP_S))
		tail_close(&follow->old);
	return result == TAIL_MORE;
}

static void drain_notices(struct follow *follow)
{
	char notices[NOTICES_SIZE];

	while (follow->notices >= 0 &&
	       read(follow->notices, notices, sizeof notices) > 0)
		;
}

bool follow_read(struct follow *follow)
{
	enum tail_result result;
	struct tail cut;

	drain_notices(follow);
	check_name(follow);
	if (read_old(follow))
		return true;
	if (follow->now.fd < 0)
		return false;
	result = tail_read(&follow->now, follow->fn, follow->ctx);
	if (result == TAIL_CUT) {
		cut = follow->now;
		tail_begin(&follow->now, cut.fd, cut.inode);
		must_find(follow, &cut);
	}
	return result != TAIL_END;
}

json_t *follow_save(const struct follow *follow)
{
	json_t *saved = json_pack("{s:o}", "now", tail_save(&follow->now));

	if (follow->old.fd >= 0)
		json_object_set_new(saved, "old", tail_save(&follow->old));
	return saved;
}

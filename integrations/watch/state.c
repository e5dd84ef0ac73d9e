/*
 * state: see state.h. Not flushed to the disk: a system that crashed comes
 * back with the state of some seconds before, and reads those seconds again.
 */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

enum { PATH_SIZE = 4096, MODE = 0600 /* it may name users */ };

json_t *state_load(const char *file)
{
	FILE *f = fopen(file, "re");
	bool missing = f == NULL && errno == ENOENT, broken;
	json_t *state = NULL;

	if (f != NULL) {
		errno = 0;
		state = json_loadf(f, JSON_REJECT_DUPLICATES, NULL);
		broken = ferror(f);
		fclose(f);
		if (!broken && json_is_object(state))
			return state;
		json_decref(state);
		if (!broken)
			log_write(LOG_WARNING,
				  "state=%s is damaged: logs are followed from "
				  "now on",
				  file);
		missing = !broken;
	}
	if (missing)
		return json_object();
	log_errno(LOG_ERR, "state=%s cannot be read", file);
	return NULL;
}

/* Short of the disk being full, a small file is one write. */
static bool write_file(const char *path, const char *text)
{
	int fd = open(
	    path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, MODE);
	ssize_t len = (ssize_t)strlen(text);
	bool whole;

	if (fd < 0)
		return false;
	errno = ENOSPC;
	whole = write(fd, text, (size_t)len) == len;
	return close(fd) == 0 && whole;
}

bool state_save(const char *file, const json_t *state)
{
	char beside[PATH_SIZE], *text;
	bool saved;
	int error;

	if (snprintf(beside, sizeof beside, "%s.new", file) >= PATH_SIZE) {
		errno = ENAMETOOLONG;
		return false;
	}
	text = json_dumps(state, JSON_INDENT(1));
	if (text == NULL) {
		errno = ENOMEM;
		return false;
	}
	saved = write_file(beside, text) && rename(beside, file) == 0;
	error = errno;
	if (!saved)
		unlink(beside);
	free(text);
	errno = error;
	return saved;
}

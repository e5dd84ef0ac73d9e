/*
 * state: see state.h. Not flushed to the disk: a system that crashed comes
 * back with the state of some seconds before, and reads those seconds again.
 */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

enum { PATH_SIZE = 4096, MODE = 0600 /* it may name users */ };

json_t *state_load(const char *file)
{
	FILE *f = fopen(file, "re");
	json_error_t error;
	json_t *state = NULL;

	if (f == NULL && errno != ENOENT) {
		log_errno(LOG_ERR, "state=%s cannot be read", file);
		return NULL;
	}
	if (f != NULL) {
		state = json_loadf(f, JSON_REJECT_DUPLICATES, &error);
		fclose(f);
		if (!json_is_object(state)) {
			log_write(LOG_WARNING,
				  "state=%s is damaged: logs are followed from "
				  "now on",
				  file);
			json_decref(state);
			state = NULL;
		}
	}
	return state != NULL ? state : json_object();
}

bool state_save(const char *file, const json_t *state)
{
	char beside[PATH_SIZE];
	int fd, saved;

	if (snprintf(beside, sizeof beside, "%s.new", file) >= PATH_SIZE) {
		errno = ENAMETOOLONG;
		return false;
	}
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		  MODE);
	if (fd < 0)
		return false;
	errno = ENOMEM; /* what Jansson does not set */
	if (json_dumpfd(state, fd, JSON_INDENT(1)) == 0) {
		if (close(fd) == 0 && rename(beside, file) == 0)
			return true;
	} else {
		saved = errno;
		close(fd);
		errno = saved;
	}
	saved = errno;
	unlink(beside);
	errno = saved;
	return false;
}

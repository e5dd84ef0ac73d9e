/*
 * rights: see rights.h. Root follows no link and touches nothing in a
 * directory that the daemon's user can write: what is there is his business.
 */
#include "rights.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "listen.h"
#include "log.h"

bool rights_find(const struct config *config, struct identity *identity)
{
	*identity = (struct identity){.uid = geteuid(), .gid = getegid()};
	if (config->user[0] == '\0')
		return true;
	const struct passwd *user = getpwnam(config->user);
	if (user == NULL) {
		log_write(
		    LOG_CRIT,
		    "user=%s does not exist; create it (systemd-sysusers, "
		    "or useradd -r), or set \"user\" in %s",
		    config->user,
		    config->file[0] != '\0' ? config->file : CONFIG_FILE);
		return false;
	}
	if (geteuid() != 0 && geteuid() != user->pw_uid) {
		log_write(LOG_CRIT,
			  "only root can become user=%s; start as root, or set "
			  "user = \"\" to stay who you are",
			  config->user);
		return false;
	}
	identity->uid = user->pw_uid;
	identity->gid = user->pw_gid;
	identity->change = geteuid() == 0 && user->pw_uid != 0;
	return true;
}

/* As long as a parent is not flushed, what it has may go when power fails. */
static bool flush_parent(const char *path)
{
	char copy[PATH_MAX];
	snprintf(copy, sizeof(copy), "%s", path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool done = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	return done;
}

/* A directory that is missing; its parents must be there. */
static bool make_directory(const char *path, mode_t mode,
			   const struct identity *identity)
{
	if (mkdir(path, mode) != 0) {
		if (errno == EEXIST)
			return true;
		log_errno(LOG_CRIT, "directory=%s cannot be made", path);
		return false;
	}
	if (!flush_parent(path))
		log_errno(LOG_WARNING, "directory=%s cannot be flushed to disk",
			  path);
	if (!identity->change ||
	    lchown(path, identity->uid, identity->gid) == 0)
		return true;
	log_errno(LOG_CRIT, "directory=%s cannot be given to the daemon's user",
		  path);
	return false;
}

static bool make_parent(const char *path, const struct identity *identity)
{
	char copy[PATH_MAX];
	if (strlen(path) >= sizeof(copy))
		return true; /* whoever opens it says so */
	memcpy(copy, path, strlen(path) + 1);
	return make_directory(dirname(copy), 0755, identity);
}

/*
 * A map in a directory of root's (DRAC 1.12 had /etc/mail/dracd.db): the
 * daemon can change it only if it is his. A link of root's is left alone, and
 * so is what it leads to: whoever made it has seen to that.
 */
static bool give_map(const char *path, const struct identity *identity)
{
	char copy[PATH_MAX];
	struct stat st;
	if (!identity->change || strlen(path) >= sizeof(copy))
		return true;
	memcpy(copy, path, strlen(path) + 1);
	if (stat(dirname(copy), &st) != 0 || st.st_uid != 0 ||
	    (st.st_mode & 0022) != 0)
		return true;
	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		return true;
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_nlink == 1 && fchown(fd, identity->uid, identity->gid) == 0) {
		close(fd);
		return true;
	}
	log_errno(LOG_CRIT,
		  "map=%s cannot be given to the daemon's user; it must be a "
		  "plain file",
		  path);
	if (fd >= 0)
		close(fd);
	return false;
}

static bool make_socket_parents(const struct listen_config *sockets,
				size_t count, const struct identity *identity)
{
	for (size_t i = 0; i < count; i++)
		if (sockets[i].transport == LISTEN_UNIX &&
		    !make_parent(sockets[i].path, identity))
			return false;
	return true;
}

bool rights_prepare(const struct config *config,
		    const struct identity *identity)
{
	bool done = true;
	for (size_t i = 0; i < config->map_count && done; i++)
		done = make_parent(config->maps[i].path, identity) &&
		       give_map(config->maps[i].path, identity);
	done = done && make_parent(config->journal, identity) &&
	       make_directory(config->journal, 0700, identity);
	done = done && make_socket_parents(config->listen, config->listen_count,
					   identity);
	if (config->listen_count == 0 && geteuid() == 0)
		done = done && make_parent(LISTEN_UNIX_DEFAULT, identity);
	if (config->lookup_default && geteuid() != 0)
		return done;
	bool made = done && make_socket_parents(config->lookup,
						config->lookup_count, identity);
	return done && (made || config->lookup_default);
}

bool rights_drop(const struct identity *identity)
{
	if (identity->change &&
	    (setgroups(0, NULL) != 0 ||
	     setresgid(identity->gid, identity->gid, identity->gid) != 0 ||
	     setresuid(identity->uid, identity->uid, identity->uid) != 0)) {
		log_errno(LOG_CRIT, "rights cannot be dropped");
		return false;
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return true;
}

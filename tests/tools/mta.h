/*
 * mta: how MTAs ask whether a client may relay, each as its real program does
 * (measured; ARCHITECTURE.md, "Maps", says what follows): what is locked,
 * when the map is opened anew, which keys are tried. Knows nothing of what is
 * right.
 */
#ifndef TESTS_MTA_H
#define TESTS_MTA_H

#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	MTA_TEXT_MAX = 64,       /* a key, a value, a message */
	SENDMAIL_SESSION = 1000, /* lookups at most */
	POSTFIX_SESSION = 5,
	POSTFIX_CACHE_BYTES = 131072, /* berkeley_db_read_buffer_size */
	ANSWER_S = 20,
};

enum answer { FOUND, MISSED, FAILED };

struct mta {
	const char *place; /* of the map, or of the socket */
	unsigned seed;
	bool fresh;                  /* the next lookup is a new process's */
	char value[MTA_TEXT_MAX];    /* what was found, or the error */
	const char *complaint;       /* what has failed */
	uint64_t sessions, reopened; /* counted here */
	uint32_t left;               /* lookups of the session */
	DB *db;
	int fd;
	time_t mtime_s; /* of the map, as remembered */
	int socket;     /* -1: not connected */
};

static inline uint32_t below(struct mta *mta, uint32_t limit)
{
	return (uint32_t)rand_r(&mta->seed) % limit;
}

static inline enum answer failed(struct mta *mta, const char *what, int error)
{
	mta->complaint = what;
	snprintf(mta->value, sizeof mta->value, "%s", db_strerror(error));
	return FAILED;
}

/* ---- maps ---- */

static inline void map_close(struct mta *mta)
{
	if (mta->db != NULL)
		mta->db->close(mta->db, 0);
	mta->db = NULL;
}

/* Only opens it; the lock is on a descriptor of its own, and gone then. */
static inline int map_open_locked(struct mta *mta, uint32_t cache_bytes,
				  bool lock)
{
	int fd = open(mta->place, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 || (lock && flock(fd, LOCK_SH) != 0) ? errno : 0;

	if (error == 0)
		error = db_create(&mta->db, NULL, 0);
	if (error == 0 && cache_bytes > 0)
		error = mta->db->set_cachesize(mta->db, 0, cache_bytes, 0);
	if (error == 0)
		error = mta->db->open(mta->db, NULL, mta->place, NULL,
				      DB_UNKNOWN, DB_RDONLY, 0644);
	if (fd >= 0)
		close(fd);
	return error;
}

static inline bool map_open(struct mta *mta, uint32_t cache_bytes, bool lock)
{
	struct stat st;
	int error = map_open_locked(mta, cache_bytes, lock);

	if (error == 0)
		error = mta->db->fd(mta->db, &mta->fd);
	if (error == 0 && fstat(mta->fd, &st) != 0)
		error = errno;
	if (error != 0) {
		failed(mta, "open", error);
		map_close(mta);
		return false;
	}
	mta->mtime_s = st.st_mtime;
	return true;
}

/* With a NUL at its end, too: MTAs find out which it is. */
static inline enum answer map_get(struct mta *mta, const char *key)
{
	DBT data = {0};
	int error = DB_NOTFOUND;

	for (uint32_t nul = 0; nul < 2 && error == DB_NOTFOUND; nul++) {
		DBT k = {.data = (void *)(uintptr_t)key,
			 .size = (uint32_t)strlen(key) + nul};

		error = mta->db->get(mta->db, NULL, &k, &data, 0);
	}
	if (error == DB_NOTFOUND)
		return MISSED;
	if (error != 0)
		return failed(mta, "get", error);
	snprintf(mta->value, sizeof mta->value, "%.*s", (int)data.size,
		 (const char *)data.data);
	return FOUND;
}

static inline enum answer map_get_locked(struct mta *mta, const char *key)
{
	enum answer answer;

	flock(mta->fd, LOCK_SH);
	answer = map_get(mta, key);
	flock(mta->fd, LOCK_UN);
	return answer;
}

static inline bool session_is_over(const struct mta *mta)
{
	return mta->left == 0 || mta->fresh;
}

static inline void session_begin(struct mta *mta, uint32_t lookups)
{
	mta->left = 1 + below(mta, lookups);
	mta->fresh = false;
	mta->sessions++;
}

/* A process a session; db_map_lookup() opens the map anew. */
static inline enum answer ask_sendmail(struct mta *mta, const char *text,
				       const char *full)
{
	char key[MTA_TEXT_MAX];
	enum answer answer;
	struct stat st;

	snprintf(key, sizeof key, "%s%s", strchr(text, ':') ? "ipv6:" : "",
		 full);
	if (session_is_over(mta)) {
		map_close(mta);
		session_begin(mta, SENDMAIL_SESSION);
	}
	mta->left--;
	if (mta->db == NULL && !map_open(mta, 0, true))
		return FAILED;
	flock(mta->fd, LOCK_SH);
	while (fstat(mta->fd, &st) != 0 || st.st_mtime > mta->mtime_s) {
		flock(mta->fd, LOCK_UN);
		map_close(mta);
		mta->reopened++;
		if (!map_open(mta, 0, true))
			return FAILED;
		flock(mta->fd, LOCK_SH);
	}
	answer = map_get(mta, key);
	flock(mta->fd, LOCK_UN);
	return answer;
}

/* check_client_access: what is shorter by a part may not be found either. */
static inline enum answer get_shorter(struct mta *mta, const char *text)
{
	char key[MTA_TEXT_MAX], *end;
	int separator = strchr(text, ':') ? ':' : '.';
	enum answer answer = MISSED;

	snprintf(key, sizeof key, "%s", text);
	while (answer == MISSED && (end = strrchr(key, separator)) != NULL) {
		*end = '\0';
		answer = map_get_locked(mta, key);
	}
	return answer;
}

/* dict_changed_name(): whether a process may keep it for its next client. */
static inline bool map_is_as_opened(const struct mta *mta)
{
	struct stat st;

	return fstat(mta->fd, &st) == 0 && st.st_mtime == mta->mtime_s &&
	       st.st_nlink > 0;
}

static inline enum answer ask_postfix(struct mta *mta, const char *text,
				      const char *full)
{
	enum answer answer;

	(void)full;
	if (session_is_over(mta)) {
		if (mta->db != NULL && !map_is_as_opened(mta)) {
			map_close(mta);
			mta->reopened++;
		}
		session_begin(mta, POSTFIX_SESSION);
	}
	mta->left--;
	if (mta->db == NULL && !map_open(mta, POSTFIX_CACHE_BYTES, true))
		return FAILED;
	answer = map_get_locked(mta, text);
	if (answer == MISSED)
		answer = get_shorter(mta, text);
	if (answer == FAILED)
		map_close(mta); /* it dies, and another one takes its place */
	return answer;
}

/* No lock at all; the value is compared with the clock. */
static inline enum answer ask_exim(struct mta *mta, const char *text,
				   const char *full)
{
	enum answer answer;

	(void)full;
	mta->sessions++;
	if (!map_open(mta, 0, false))
		return FAILED;
	answer = map_get(mta, text);
	map_close(mta);
	if (answer == FOUND && strtoll(mta->value, NULL, 10) <= time(NULL))
		answer = MISSED;
	return answer;
}

/* ---- socketmap ---- */

static inline bool socket_open(struct mta *mta)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = ANSWER_S};

	snprintf(un.sun_path, sizeof un.sun_path, "%s", mta->place);
	mta->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(mta->socket, SOL_SOCKET, SO_RCVTIMEO, &patience,
		   sizeof patience);
	mta->sessions++;
	return connect(mta->socket, (struct sockaddr *)&un, sizeof un) == 0;
}

/* One netstring into value, without its length and comma. */
static inline bool socket_receive(struct mta *mta)
{
	char reply[MTA_TEXT_MAX];
	size_t got = 0;
	char *word;

	while (got == 0 || reply[got - 1] != ',') {
		ssize_t n =
		    recv(mta->socket, reply + got, sizeof reply - 1 - got, 0);

		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	reply[got - 1] = '\0';
	word = strchr(reply, ':');
	if (word == NULL)
		return false;
	snprintf(mta->value, sizeof mta->value, "%s", word + 1);
	return true;
}

static inline enum answer ask_socketmap(struct mta *mta, const char *text,
					const char *full)
{
	char request[2 * MTA_TEXT_MAX], key[MTA_TEXT_MAX];
	int len;

	snprintf(key, sizeof key, "drac %s%s", strchr(text, ':') ? "IPv6:" : "",
		 full);
	len = snprintf(request, sizeof request, "%zu:%s,", strlen(key), key);
	if ((mta->socket < 0 && !socket_open(mta)) ||
	    send(mta->socket, request, (size_t)len, MSG_NOSIGNAL) != len ||
	    !socket_receive(mta)) {
		failed(mta, "socketmap", errno);
		close(mta->socket);
		mta->socket = -1;
		return FAILED;
	}
	if (strcmp(mta->value, "NOTFOUND ") == 0)
		return MISSED;
	if (strncmp(mta->value, "OK ", 3) != 0) {
		mta->complaint = "neither OK nor NOTFOUND";
		return FAILED;
	}
	memmove(mta->value, mta->value + 3, sizeof mta->value - 3);
	return FOUND;
}

struct style {
	const char *name;
	/* text: RFC 5952; full: uncompressed */
	enum answer (*ask)(struct mta *mta, const char *text, const char *full);
	bool locks;
	bool by_clock; /* what has expired is not found, purged or not */
	bool socket;
};

static const struct style styles[] = {
    {.name = "sendmail", .ask = ask_sendmail, .locks = true},
    {.name = "postfix", .ask = ask_postfix, .locks = true},
    {.name = "exim", .ask = ask_exim, .by_clock = true},
    {.name = "socketmap",
     .ask = ask_socketmap,
     .locks = true,
     .by_clock = true,
     .socket = true},
};

#endif

/*
 * cyrus: see cyrus.h. Owns the socket and the list of open sessions; what a
 * datagram says is cyrus_event.c's business.
 *
 * Cyrus waits in sendto(2) while the queue of the socket is full, so it is
 * emptied at every opportunity and nothing here ever waits.
 */
#include "cyrus.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "cyrus_event.h"
#include "log.h"

#define CYRUS_USER "cyrus"

enum {
	READ_MAX = 1000, /* datagrams in a row; then others have their turn */
	PROC_PATH_MAX = 32,
	MODE_OWNER = 0600,
	MODE_GROUP = 0620,
};

struct session {
	pid_t pid;
	uid_t uid;
	int64_t begin_s, due_s; /* monotonic */
	struct event login;
};

struct cyrus {
	int fd;
	uid_t uid; /* who is believed, besides root */
	int64_t interval_s;
	event_fn *fn;
	void *ctx;
	struct session *session;
	size_t count, room;
	struct sockaddr_un address;
	struct log_limit stranger, bad, full;
};

/* ---- the socket ---------------------------------------------------------- */

static bool set_address(struct cyrus *cyrus, const char *path)
{
	const char *comma = strrchr(path, ',');
	size_t len = strlen(path);
	char *end;

	cyrus->interval_s = CYRUS_INTERVAL_S;
	if (comma != NULL && comma[1] >= '1' && comma[1] <= '9') {
		long interval_s = strtol(comma + 1, &end, 10);

		if (*end == '\0' && interval_s <= CYRUS_SESSION_S) {
			cyrus->interval_s = interval_s;
			len = (size_t)(comma - path);
		}
	}
	cyrus->address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (len >= sizeof cyrus->address.sun_path) {
		log_write(LOG_ERR, "cyrus socket=%s: the path is too long",
			  path);
		return false;
	}
	memcpy(cyrus->address.sun_path, path, len);
	return true;
}

/* With a socket of its own: one that asks for credentials would be bound. */
static bool is_read(const struct cyrus *cyrus)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool refused = connect(fd, (const struct sockaddr *)&cyrus->address,
			       sizeof cyrus->address) != 0 &&
		       errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return !refused;
}

/* False, logged: somebody else is there. */
static bool make_room(const struct cyrus *cyrus)
{
	const char *path = cyrus->address.sun_path;
	struct stat st;

	if (lstat(path, &st) != 0)
		return true; /* bind(2) tells what is wrong, if anything is */
	if (!S_ISSOCK(st.st_mode)) {
		log_write(LOG_ERR,
			  "cyrus socket=%s: there is a file that is no socket; "
			  "remove it or choose another path",
			  path);
		return false;
	}
	if (is_read(cyrus)) {
		log_write(LOG_ERR,
			  "cyrus socket=%s: another process reads it; if it is "
			  "notifyd of Cyrus, choose another path here and as "
			  "notifysocket in imapd.conf",
			  path);
		return false;
	}
	if (unlink(path) == 0)
		return true;
	log_errno(LOG_ERR, "cyrus socket=%s cannot be replaced", path);
	return false;
}

/*
 * For Cyrus alone, since the queue is short and whoever fills it stops the
 * logins. Without root its group must do, and its members.
 */
static bool give_away(const struct cyrus *cyrus, gid_t gid)
{
	const char *path = cyrus->address.sun_path;

	if (lchown(path, cyrus->uid, (gid_t)-1) == 0 &&
	    chmod(path, MODE_OWNER) == 0)
		return true;
	if (lchown(path, (uid_t)-1, gid) == 0 && chmod(path, MODE_GROUP) == 0)
		return true;
	log_errno(LOG_ERR,
		  "cyrus socket=%s cannot be given to uid=%u; run dracwatch as "
		  "root, or make its user a member of gid=%u",
		  path, (unsigned)cyrus->uid, (unsigned)gid);
	return false;
}

static bool make_socket(struct cyrus *cyrus, gid_t gid)
{
	const int on = 1;
	mode_t mask;
	bool bound;

	cyrus->fd =
	    socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (cyrus->fd < 0 || setsockopt(cyrus->fd, SOL_SOCKET, SO_PASSCRED, &on,
					sizeof on) != 0) {
		log_errno(LOG_ERR, "cyrus: no socket");
		return false;
	}
	if (!make_room(cyrus))
		return false;
	mask = umask(S_IRWXG | S_IRWXO);
	bound = bind(cyrus->fd, (const struct sockaddr *)&cyrus->address,
		     sizeof cyrus->address) == 0;
	umask(mask);
	if (bound && give_away(cyrus, gid))
		return true;
	if (bound)
		unlink(cyrus->address.sun_path);
	else
		log_errno(LOG_ERR, "cyrus socket=%s cannot be made",
			  cyrus->address.sun_path);
	return false;
}

struct cyrus *cyrus_open_as(const char *path, uid_t uid, gid_t gid,
			    event_fn *fn, void *ctx)
{
	struct cyrus *cyrus = calloc(1, sizeof *cyrus);

	if (cyrus == NULL) {
		log_errno(LOG_ERR, "cyrus socket=%s cannot be made", path);
		return NULL;
	}
	*cyrus = (struct cyrus){.fd = -1, .uid = uid, .fn = fn, .ctx = ctx};
	if (set_address(cyrus, path) && make_socket(cyrus, gid))
		return cyrus;
	if (cyrus->fd >= 0)
		close(cyrus->fd);
	free(cyrus);
	return NULL;
}

struct cyrus *cyrus_open(const char *path, event_fn *fn, void *ctx)
{
	const struct passwd *user = getpwnam(CYRUS_USER);

	if (user != NULL)
		return cyrus_open_as(path, user->pw_uid, user->pw_gid, fn, ctx);
	log_write(LOG_ERR,
		  "cyrus socket=%s: there is no user " CYRUS_USER
		  " on this host, so nobody whose logins can be believed",
		  path);
	return NULL;
}

void cyrus_close(struct cyrus *cyrus)
{
	if (cyrus == NULL)
		return;
	unlink(cyrus->address.sun_path);
	close(cyrus->fd);
	free(cyrus->session);
	free(cyrus);
}

int cyrus_fd(const struct cyrus *cyrus)
{
	return cyrus->fd;
}

/* ---- sessions ------------------------------------------------------------ */

static struct session *find(struct cyrus *cyrus, pid_t pid)
{
	for (size_t i = 0; i < cyrus->count; i++)
		if (cyrus->session[i].pid == pid)
			return &cyrus->session[i];
	return NULL;
}

static void forget(struct cyrus *cyrus, struct session *session)
{
	*session = cyrus->session[--cyrus->count];
}

/* NULL, logged: this one will not be told again. */
static struct session *add(struct cyrus *cyrus)
{
	struct session *grown;
	size_t room = cyrus->room != 0 ? 2 * cyrus->room : 64;

	if (cyrus->count == CYRUS_SESSIONS_MAX) {
		if (log_allowed(&cyrus->full))
			log_write(LOG_WARNING,
				  "cyrus sessions=%zu: more than can be "
				  "followed; the others are authorized once",
				  cyrus->count);
		return NULL;
	}
	if (cyrus->count == cyrus->room) {
		grown = reallocarray(cyrus->session, room, sizeof *grown);
		if (grown == NULL)
			return NULL;
		cyrus->session = grown;
		cyrus->room = room;
	}
	return &cyrus->session[cyrus->count++];
}

/* A process that logs a client in has done with the one before. */
static void session_begin(struct cyrus *cyrus, const struct ucred *sender,
			  const struct event *login)
{
	struct session *session = find(cyrus, sender->pid);
	int64_t now_s = clock_monotonic_s();

	if (sender->pid == 0) /* of another PID namespace */
		return;
	if (session == NULL && (session = add(cyrus)) == NULL)
		return;
	*session = (struct session){
	    .pid = sender->pid,
	    .uid = sender->uid,
	    .begin_s = now_s,
	    .due_s = now_s + cyrus->interval_s,
	    .login = *login,
	};
}

/* Whether it is there, and not another one with its number. */
static bool is_alive(const struct session *session)
{
	char path[PROC_PATH_MAX];
	struct stat st;

	snprintf(path, sizeof path, "/proc/%d", (int)session->pid);
	return stat(path, &st) == 0 && st.st_uid == session->uid;
}

void cyrus_tick(struct cyrus *cyrus)
{
	int64_t now_s = clock_monotonic_s();
	size_t i = 0;

	while (i < cyrus->count) {
		struct session *session = &cyrus->session[i];

		if (session->due_s > now_s) {
			i++;
		} else if (now_s - session->begin_s >= CYRUS_SESSION_S ||
			   !is_alive(session)) {
			forget(cyrus, session);
		} else {
			session->due_s = now_s + cyrus->interval_s;
			session->login.time_s = clock_wall_s();
			cyrus->fn(cyrus->ctx, &session->login);
			i++;
		}
	}
}

/* ---- datagrams ----------------------------------------------------------- */

static void complain(struct cyrus *cyrus, enum cyrus_result result)
{
	static const char *const text[] = {
	    [CYRUS_SERVICE] =
		"a login to a service whose name in cyrus.conf does not begin "
		"with imap or pop; nobody is authorized",
	    [CYRUS_NOADDRESS] =
		"a login without a numeric clientIP; write clientAddress "
		"into event_extra_params in imapd.conf",
	    [CYRUS_MALFORMED] = "not what Cyrus sends",
	};

	if (text[result] != NULL && log_allowed(&cyrus->bad))
		log_write(LOG_WARNING, "cyrus datagram ignored: %s",
			  text[result]);
}

static void take_datagram(struct cyrus *cyrus, const struct ucred *sender,
			  const char *data, size_t len)
{
	struct session *session;
	struct event event;
	enum cyrus_result result =
	    cyrus_event_parse(data, len, clock_wall_s(), &event);

	if (result != CYRUS_EVENT) {
		complain(cyrus, result);
	} else if (event.kind == EVENT_LOGIN) {
		session_begin(cyrus, sender, &event);
		cyrus->fn(cyrus->ctx, &event);
	} else if ((session = find(cyrus, sender->pid)) != NULL) {
		forget(cyrus, session);
	}
}

static bool is_believed(struct cyrus *cyrus, const struct ucred *sender)
{
	if (sender->uid == cyrus->uid || sender->uid == 0)
		return true;
	if (log_allowed(&cyrus->stranger))
		log_write(LOG_WARNING,
			  "cyrus datagram ignored: from uid=%u pid=%d, who is "
			  "neither uid=%u nor root",
			  (unsigned)sender->uid, (int)sender->pid,
			  (unsigned)cyrus->uid);
	return false;
}

/* Whom the kernel names as the sender. False: nobody. */
static bool sender_of(struct msghdr *message, struct ucred *sender)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(message);

	if (control == NULL || control->cmsg_level != SOL_SOCKET ||
	    control->cmsg_type != SCM_CREDENTIALS ||
	    control->cmsg_len != CMSG_LEN(sizeof *sender))
		return false;
	memcpy(sender, CMSG_DATA(control), sizeof *sender);
	return true;
}

/* False: there is none. */
static bool read_one(struct cyrus *cyrus)
{
	static char data[CYRUS_DATAGRAM_MAX];
	/* Room for credentials alone: descriptors that come along are closed.
	 */
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec part = {data, sizeof data};
	struct msghdr message = {
	    .msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof control,
	};
	struct ucred sender;
	ssize_t len = recvmsg(cyrus->fd, &message, MSG_CMSG_CLOEXEC);

	if (len < 0)
		return errno == EINTR;
	if (!sender_of(&message, &sender) || !is_believed(cyrus, &sender))
		return true;
	if (message.msg_flags & MSG_TRUNC)
		complain(cyrus, CYRUS_MALFORMED);
	else
		take_datagram(cyrus, &sender, data, (size_t)len);
	return true;
}

void cyrus_read(struct cyrus *cyrus)
{
	for (int i = 0; i < READ_MAX && read_one(cyrus); i++)
		;
}

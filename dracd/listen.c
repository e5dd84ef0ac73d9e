/* listen: see listen.h. */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

enum { BACKLOG = 4096 }; /* 5,000 connections at once need it */

/* ---- internet ---------------------------------------------------------- */

static socklen_t fill(struct sockaddr_storage *out,
		      const struct address *address, uint16_t port)
{
	*out = (struct sockaddr_storage){0};
	if (address_is_v4(address)) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, address->byte + 12, sizeof(in->sin_addr));
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, address->byte, sizeof(in6->sin6_addr));
	return sizeof(*in6);
}

static bool is_wildcard(const struct address *address)
{
	static const struct address any6;
	const struct address any4 = address_from_v4(INADDR_ANY);
	return address_equal(address, &any4) || address_equal(address, &any6);
}

/* 0 or errno. */
static int bind_inet(struct bound *bound, const struct address *address,
		     uint16_t port)
{
	const int on = 1;
	struct sockaddr_storage *at = &bound->address;
	socklen_t len = fill(at, address, port);
	int type = bound->transport == LISTEN_UDP ? SOCK_DGRAM : SOCK_STREAM;
	bound->wildcard = is_wildcard(address);
	bound->fd =
	    socket(at->ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bound->fd < 0)
		return errno;
	if (at->ss_family == AF_INET6)
		setsockopt(bound->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on,
			   sizeof(on));
	if (type == SOCK_STREAM)
		setsockopt(bound->fd, SOL_SOCKET, SO_REUSEADDR, &on,
			   sizeof(on));
	if (bind(bound->fd, (struct sockaddr *)at, len) == 0 &&
	    (type == SOCK_DGRAM || listen(bound->fd, BACKLOG) == 0) &&
	    getsockname(bound->fd, (struct sockaddr *)at, &len) == 0)
		return 0;
	int error = errno;
	close(bound->fd);
	bound->fd = -1;
	return error;
}

/* ---- unix ---------------------------------------------------------------- */

/* A name that nobody listens at any more may go. */
static int remove_stale(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	int error = 0;
	struct stat st;
	if (lstat(at->sun_path, &st) == 0 && !S_ISSOCK(st.st_mode))
		error = EEXIST;
	else if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0 ||
		 errno == EAGAIN)
		error = EADDRINUSE;
	else if (errno == ECONNREFUSED && unlink(at->sun_path) != 0)
		error = errno;
	close(fd);
	return error;
}

static int bind_unix(struct bound *bound, const char *path, uid_t uid,
		     gid_t gid)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(at.sun_path))
		return ENAMETOOLONG;
	memcpy(at.sun_path, path, strlen(path) + 1);
	int error = remove_stale(&at);
	if (error != 0)
		return error;
	bound->fd =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bound->fd < 0)
		return errno;
	mode_t mask = umask(0111); /* 0666: who may call is told by access.h */
	int bound_ok = bind(bound->fd, (struct sockaddr *)&at, sizeof(at));
	error = errno;
	umask(mask);
	if (bound_ok == 0) {
		if ((geteuid() != 0 || lchown(path, uid, gid) == 0) &&
		    listen(bound->fd, BACKLOG) == 0) {
			bound->path = strdup(path);
			return 0;
		}
		error = errno;
		unlink(path);
	}
	close(bound->fd);
	bound->fd = -1;
	return error;
}

/* ---- all ------------------------------------------------------------------
 */

static struct bound *add(struct bounds *bounds, enum listen_transport transport)
{
	struct bound *grown = reallocarray(bounds->bound, bounds->count + 1,
					   sizeof(*bounds->bound));
	if (grown == NULL)
		return NULL;
	bounds->bound = grown;
	struct bound *bound = &grown[bounds->count++];
	*bound = (struct bound){.fd = -1, .transport = transport};
	return bound;
}

static int open_inet(struct bounds *bounds, enum listen_transport transport,
		     const struct address *address, uint16_t port)
{
	struct bound *bound = add(bounds, transport);
	int error = bound ? bind_inet(bound, address, port) : ENOMEM;
	if (error != 0 && bound != NULL)
		bounds->count--;
	return error;
}

/* This host may have no IPv6; nobody asked for it by name. */
static bool is_no_ipv6(int error)
{
	return error == EAFNOSUPPORT || error == EADDRNOTAVAIL;
}

static int open_both(struct bounds *bounds, enum listen_transport transport,
		     const char *v4, const char *v6, uint16_t port)
{
	struct address address;
	address_from_text(&address, v4);
	int error = open_inet(bounds, transport, &address, port);
	if (error != 0)
		return error;
	address_from_text(&address, v6);
	error = open_inet(bounds, transport, &address, port);
	return is_no_ipv6(error) ? 0 : error;
}

static int open_unix(struct bounds *bounds, const char *path, uid_t uid,
		     gid_t gid)
{
	struct bound *bound = add(bounds, LISTEN_UNIX);
	int error = bound ? bind_unix(bound, path, uid, gid) : ENOMEM;
	if (error != 0 && bound != NULL)
		bounds->count--;
	return error;
}

static bool failed(const char *setting, const char *what, int error)
{
	if (error == 0)
		return false;
	errno = error;
	if (error == EADDRINUSE)
		log_errno(LOG_CRIT,
			  "%s=%s cannot be opened (is another dracd running? "
			  "set \"%s\" in dracd.conf)",
			  setting, what, setting);
	else if (error == EEXIST)
		log_write(LOG_CRIT,
			  "%s=%s cannot be opened: there is a file that is no "
			  "socket; remove it, or name another path",
			  setting, what);
	else
		log_errno(LOG_CRIT, "%s=%s cannot be opened", setting, what);
	return true;
}

static bool open_default(const struct access *access, uid_t uid, gid_t gid,
			 struct bounds *bounds)
{
	bool others = access_names_others(access);
	const char *v4 = others ? "0.0.0.0" : "127.0.0.1";
	const char *v6 = others ? "::" : "::1";
	if (failed("listen", "udp:5901",
		   open_both(bounds, LISTEN_UDP, v4, v6, CONFIG_PORT)) ||
	    failed("listen", "tcp:5901",
		   open_both(bounds, LISTEN_TCP, v4, v6, CONFIG_PORT)))
		return false;
	int error = open_unix(bounds, LISTEN_UNIX_DEFAULT, uid, gid);
	if (error == EADDRINUSE)
		return !failed("listen", "unix:" LISTEN_UNIX_DEFAULT, error);
	if (error != 0) {
		errno = error;
		log_errno(LOG_WARNING,
			  "listen=unix:%s cannot be opened; local callers "
			  "have UDP and TCP",
			  LISTEN_UNIX_DEFAULT);
	}
	return true;
}

static int open_one(const struct listen_config *listen_at, uid_t uid, gid_t gid,
		    struct bounds *bounds)
{
	if (listen_at->transport == LISTEN_UNIX)
		return open_unix(bounds, listen_at->path, uid, gid);
	if (listen_at->any)
		return open_both(bounds, listen_at->transport, "0.0.0.0",
				 "::", listen_at->port);
	return open_inet(bounds, listen_at->transport, &listen_at->address,
			 listen_at->port);
}

static bool open_lookup(const struct config *config, uid_t uid, gid_t gid,
			struct bounds *bounds)
{
	size_t first = bounds->count;
	for (size_t i = 0; i < config->lookup_count; i++) {
		const struct listen_config *lookup = &config->lookup[i];
		int error = open_one(lookup, uid, gid, bounds);
		if (!config->lookup_default &&
		    failed("lookup", lookup->text, error))
			return false;
		if (error == 0)
			continue;
		errno = error;
		log_errno(LOG_WARNING,
			  "lookup=%s cannot be opened; no MTA can ask by "
			  "socketmap (set \"lookup\" in dracd.conf, to {} for "
			  "none)",
			  lookup->text);
	}
	for (size_t i = first; i < bounds->count; i++)
		bounds->bound[i].lookup = true;
	return true;
}

bool listen_open(const struct config *config, const struct access *access,
		 uid_t uid, gid_t gid, struct bounds *bounds)
{
	*bounds = (struct bounds){0};
	bool done =
	    config->listen_count > 0 || open_default(access, uid, gid, bounds);
	for (size_t i = 0; i < config->listen_count && done; i++)
		done = !failed("listen", config->listen[i].text,
			       open_one(&config->listen[i], uid, gid, bounds));
	done = done && open_lookup(config, uid, gid, bounds);
	if (!done)
		listen_close(bounds);
	return done;
}

void listen_close(struct bounds *bounds)
{
	for (size_t i = 0; i < bounds->count; i++) {
		struct bound *bound = &bounds->bound[i];
		if (bound->fd >= 0)
			close(bound->fd);
		if (bound->path != NULL)
			unlink(bound->path);
		free(bound->path);
	}
	free(bounds->bound);
	*bounds = (struct bounds){0};
}

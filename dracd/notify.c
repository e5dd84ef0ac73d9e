/*
 * notify: see notify.h. The protocol of sd_notify(3) by hand, since it is one
 * datagram, and libsystemd brings seven libraries and a megabyte with it.
 */
#include "notify.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { STATE_MAX = 80 };

/* A name that begins with '@' is of the abstract namespace. */
static socklen_t address_of(struct sockaddr_un *address, const char *name)
{
	size_t len = strlen(name);
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if ((name[0] != '/' && name[0] != '@') || len < 2 ||
	    len >= sizeof(address->sun_path))
		return 0;
	memcpy(address->sun_path, name, len);
	if (name[0] == '@')
		address->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* Nobody to tell, or a failure to: the daemon serves all the same. */
static void tell(const char *state)
{
	struct sockaddr_un address;
	const char *name = getenv("NOTIFY_SOCKET");
	socklen_t len = name != NULL ? address_of(&address, name) : 0;
	int fd = len > 0 ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL,
	       (const struct sockaddr *)&address, len);
	close(fd);
}

void notify_ready(void)
{
	tell("READY=1");
}

void notify_reloading(void)
{
	struct timespec now;
	char state[STATE_MAX];
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)now.tv_sec * 1000000 +
		     (unsigned long long)now.tv_nsec / 1000);
	tell(state);
}

void notify_stopping(void)
{
	tell("STOPPING=1");
}

/* As sd_watchdog_enabled(3): for this process, or for whoever reads it. */
static bool is_watched(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	return us != NULL && strtoull(us, NULL, 10) > 0 &&
	       (pid == NULL || strtoll(pid, NULL, 10) == getpid());
}

void notify_alive(void)
{
	static int watched = -1;
	if (watched < 0)
		watched = is_watched();
	if (watched)
		tell("WATCHDOG=1");
}

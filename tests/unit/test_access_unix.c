/*
 * access: peers of a unix socket, by their credentials. As root it plays other
 * users; what it cannot do it says.
 */
#include "access.h"

#include <grp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "scratch.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
	DAEMON_UID = 4201,
	DAEMON_GID = 4202,
	OTHER_UID = 5001,
	OTHER_GID = 5002,
	MANY_GROUPS = 200,
};

struct peer {
	uid_t uid;
	gid_t gid;
	int group_count; /* OTHER_GID + 1 and up */
	bool member;     /* the last of them is the daemon's */
	bool permitted;
};

/* Connects with the rights of peer and waits for the other side's close. */
static void connect_as(const struct peer *peer, const struct sockaddr_un *un,
		       socklen_t len)
{
	gid_t groups[MANY_GROUPS];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char c;

	for (int i = 0; i < peer->group_count; i++)
		groups[i] = (gid_t)(OTHER_GID + 1 + i);
	if (peer->member)
		groups[peer->group_count - 1] = DAEMON_GID;
	if (setgroups((size_t)peer->group_count, groups) != 0 ||
	    setresgid(peer->gid, peer->gid, peer->gid) != 0 ||
	    setresuid(peer->uid, peer->uid, peer->uid) != 0 ||
	    connect(fd, (const struct sockaddr *)un, len) != 0)
		_exit(1);
	_exit(read(fd, &c, 1) == 0 ? 0 : 2);
}

/* Listens on an abstract name; the length of the address is in *len. */
static int listen_here(struct sockaddr_un *un, socklen_t *len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	assert_int_equal(bind(fd, (struct sockaddr *)un, sizeof(sa_family_t)),
			 0);
	*len = sizeof *un;
	assert_int_equal(getsockname(fd, (struct sockaddr *)un, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static void unix_peers_by_their_credentials(void **state)
{
	static const struct peer peers[] = {
	    {0, 0, 0, false, true},
	    {0, OTHER_GID, 0, false, true},
	    {DAEMON_UID, OTHER_GID, 0, false, true},
	    {OTHER_UID, DAEMON_GID, 0, false, true},
	    {OTHER_UID, OTHER_GID, 1, true, true},
	    {OTHER_UID, OTHER_GID, MANY_GROUPS, true, true},
	    {OTHER_UID, OTHER_GID, 0, false, false},
	    {OTHER_UID, OTHER_GID, 1, false, false},
	    {OTHER_UID, OTHER_GID, MANY_GROUPS, false, false},
	    {OTHER_UID, 0, 0, false, false},
	};
	struct sockaddr_un un;
	socklen_t len;
	int fd;

	(void)state;
	if (geteuid() != 0) {
		print_message("not root: cannot play other users\n");
		skip();
	}
	fd = listen_here(&un, &len);
	for (size_t i = 0; i < COUNT(peers); i++) {
		pid_t pid = fork();
		int conn, status;
		bool verdict;
		uid_t uid;

		assert_true(pid >= 0);
		if (pid == 0)
			connect_as(&peers[i], &un, len);
		conn = accept(fd, NULL, NULL);
		assert_true(conn >= 0);
		assert_int_equal(setegid(DAEMON_GID), 0);
		assert_int_equal(seteuid(DAEMON_UID), 0);
		verdict = access_unix_peer(conn, &uid);
		assert_int_equal(seteuid(0), 0);
		assert_int_equal(setegid(0), 0);
		close(conn);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		if (verdict != peers[i].permitted || uid != peers[i].uid)
			fail_msg("peer %zu", i);
	}
	close(fd);
}

static void a_peer_of_my_own(void **state)
{
	int pair[2];
	uid_t uid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_true(access_unix_peer(pair[0], &uid));
	assert_int_equal(uid, geteuid());
	close(pair[0]);
	close(pair[1]);
	assert_false(access_unix_peer(-1, &uid));
	assert_int_equal(uid, UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(unix_peers_by_their_credentials),
	    cmocka_unit_test(a_peer_of_my_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

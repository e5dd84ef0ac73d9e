/*
 * access: verdicts on internet callers and unix peers. As root it also plays
 * other users and an own network namespace; what it cannot do it says.
 */
#include "access.h"

#include "origin.h"

#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <tcpd.h>

#include "allow.h"
#include "scratch.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- name lookups: the program's own win over the C library's ---- */

static int lookups;

struct hostent *gethostbyname(const char *name)
{
	(void)name;
	lookups++;
	return NULL;
}

struct hostent *gethostbyaddr(const void *addr, socklen_t len, int type)
{
	(void)addr;
	(void)len;
	(void)type;
	lookups++;
	return NULL;
}

/* libwrap reads IPv6 patterns with it, which is no lookup if it says so. */
int getaddrinfo(const char *node, const char *service,
		const struct addrinfo *hints, struct addrinfo **res)
{
	int (*real)(const char *, const char *, const struct addrinfo *,
		    struct addrinfo **);

	if (hints == NULL || (hints->ai_flags & AI_NUMERICHOST) == 0) {
		lookups++;
		return EAI_FAIL;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(node, service, hints, res);
}

int getnameinfo(const struct sockaddr *sa, socklen_t len, char *host,
		socklen_t host_len, char *service, socklen_t service_len,
		int flags)
{
	(void)sa;
	(void)len;
	(void)host;
	(void)host_len;
	(void)service;
	(void)service_len;
	(void)flags;
	lookups++;
	return EAI_FAIL;
}

/* ---- helpers ---- */

static char allow_table[] = "hosts.allow", deny_table[] = "hosts.deny";

/* Each test begins without files. */
static int fresh_files(void **state)
{
	(void)state;
	unlink("allow");
	unlink(allow_table);
	unlink(deny_table);
	hosts_allow_table = allow_table;
	hosts_deny_table = deny_table;
	lookups = 0;
	return 0;
}

static bool verdict(struct access *access, const struct address *caller)
{
	struct origin origin = {.caller = *caller};

	access_unsigned(access, &origin);
	return origin.allowed;
}

static struct access *opened(bool hosts_access)
{
	struct access *access = access_open("allow", hosts_access, NULL);

	assert_non_null(access);
	return access;
}

static bool permitted(struct access *access, const char *text)
{
	struct address a;
	bool first;

	assert_true(address_from_text(&a, text));
	first = verdict(access, &a);
	/* the second answer comes from the cache */
	assert_int_equal(verdict(access, &a), first);
	return first;
}

/* Refreshes; returns what was logged. */
static const char *refreshed(struct access *access)
{
	capture_begin();
	access_refresh(access);
	return capture_end();
}

/* ---- dracd.allow ---- */

static void without_a_file_this_host_only(void **state)
{
	struct access *access = opened(false);
	struct ifaddrs *all;
	char text[ADDRESS_TEXT_MAX];
	struct address a;
	int others = 0;

	(void)state;
	assert_true(permitted(access, "127.0.0.1"));
	assert_true(permitted(access, "127.255.3.4"));
	assert_true(permitted(access, "::1"));
	assert_false(permitted(access, "126.255.255.255"));
	assert_false(permitted(access, "128.0.0.1"));
	assert_false(permitted(access, "::2"));
	assert_false(permitted(access, "::"));
	assert_false(permitted(access, "0.0.0.0"));
	assert_false(permitted(access, "203.0.113.1"));
	assert_false(access_names_others(access));

	assert_int_equal(getifaddrs(&all), 0);
	for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		if (i->ifa_addr == NULL ||
		    !address_from_sockaddr(&a, i->ifa_addr))
			continue;
		others += (i->ifa_flags & IFF_LOOPBACK) == 0;
		assert_true(permitted(access, address_text(&a, text)));
	}
	freeifaddrs(all);
	if (others == 0)
		print_message("only loopback addresses on this host\n");
	access_close(access);
}

static void with_a_file_only_whom_it_names(void **state)
{
	struct access *access;

	(void)state;
	scratch_write("allow", "255.255.255.0 192.0.2.0\n2001:db8::/32\n");
	access = opened(false);
	assert_true(permitted(access, "192.0.2.200"));
	assert_true(permitted(access, "::ffff:192.0.2.200"));
	assert_true(permitted(access, "2001:db8:1::2"));
	assert_false(permitted(access, "192.0.3.1"));
	assert_false(permitted(access, "127.0.0.1"));
	assert_false(permitted(access, "::1"));
	access_close(access);

	scratch_write("allow", "# nobody\n");
	access = opened(false);
	assert_false(permitted(access, "127.0.0.1"));
	assert_false(permitted(access, "192.0.2.200"));
	access_close(access);
}

static void a_bad_file_is_refused(void **state)
{
	(void)state;
	scratch_write("allow", "host 192.0.2.1\n999.1.1.1 127.0.0.1\n");
	capture_begin();
	assert_null(access_open("allow", false, NULL));
	assert_contains(capture_end(), "allow:2: \"999.1.1.1 127.0.0.1\"");
	access_close(NULL);
}

static void whether_others_are_named(void **state)
{
	static const struct {
		const char *text;
		bool others;
	} rows[] = {
	    {"", false},
	    {"127.0.0.1\n::1\n127.0.0.0/8\n127.3.0.0/16\n", false},
	    {"255.0.0.0 127.0.0.0\n", false},
	    {"255.255.255.255 127.0.0.2\n", false},
	    {"203.0.113.77\n", true},
	    {"127.0.0.1\n203.0.113.77\n", true},
	    {"0.0.0.0/0\n", true},
	    {"::/0\n", true},
	    {"126.0.0.0/7\n", true},
	    {"127.255.255.255 127.0.0.1\n", true}, /* 255.0.0.1 as well */
	    {"::/127\n", true},
	    {"2001:db8::1\n", true},
	};
	struct ifaddrs *all;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct access *access;

		scratch_write("allow", rows[i].text);
		access = opened(false);
		if (access_names_others(access) != rows[i].others)
			fail_msg("%s", rows[i].text);
		access_close(access);
	}
	assert_int_equal(getifaddrs(&all), 0);
	for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		struct access *access;
		char text[ADDRESS_TEXT_MAX];
		struct address a;

		if (i->ifa_addr == NULL ||
		    !address_from_sockaddr(&a, i->ifa_addr))
			continue;
		scratch_write("allow", address_text(&a, text));
		access = opened(false);
		assert_false(access_names_others(access));
		access_close(access);
	}
	freeifaddrs(all);
}

/* More callers than slots: a slot's new owner never gets the old verdict. */
static void many_callers_share_the_cache(void **state)
{
	enum { CALLERS = 20000 };
	struct access *access;

	(void)state;
	scratch_write("allow", "128.0.0.0/1\n8000::/1\n");
	access = opened(false);
	srandom(7);
	for (int i = 0; i < CALLERS; i++) {
		struct address a = address_from_v4((uint32_t)random() << 1 ^
						   (uint32_t)random());
		int at = 12;

		if (i % 2 == 0) {
			for (at = 0; at < 16; at++)
				a.byte[at] = (uint8_t)random();
			at = 0;
		}
		for (int again = 0; again < 2; again++)
			assert_int_equal(verdict(access, &a),
					 a.byte[at] >= 128);
	}
	access_close(access);
}

/* ---- hosts_access ---- */

static void both_lists_are_needed(void **state)
{
	struct access *access;

	(void)state;
	scratch_write("allow", "10.0.0.0/8\n2001:db8::/32\n");
	scratch_write(allow_table, "dracd: 10.1.0.0/16 [2001:db8:1::]/48\n"
				   "dracd: 192.0.2.\n"
				   "otherd: ALL\n");
	scratch_write(deny_table, "ALL: ALL\n");
	access = opened(true);
	assert_true(permitted(access, "10.1.2.3"));
	assert_true(permitted(access, "2001:db8:1::5"));
	assert_false(permitted(access, "10.2.2.3")); /* dracd.allow only */
	assert_false(permitted(access, "2001:db8:2::5"));
	assert_false(permitted(access, "192.0.2.1")); /* hosts.allow only */
	access_close(access);

	access = opened(false); /* hosts-access = false */
	assert_true(permitted(access, "10.2.2.3"));
	assert_false(permitted(access, "192.0.2.1"));
	access_close(access);
}

static void no_hosts_files_permit_everybody(void **state)
{
	struct access *access;

	(void)state;
	scratch_write("allow", "10.0.0.0/8\n");
	access = opened(true);
	assert_true(permitted(access, "10.1.2.3"));
	assert_false(permitted(access, "192.0.2.1"));
	access_close(access);
}

static void kinds_of_rules(void **state)
{
	static const struct {
		const char *rule;
		bool permitted; /* 10.1.2.3, in hosts.allow */
	} rows[] = {
	    {"dracd: 10.1.2.3", true},
	    {"dracd: 10.", true},
	    {"dracd: 10.0.0.0/255.0.0.0", true},
	    {"dracd: 10.0.0.0/8", true},
	    {"dracd: 10.1.2.4", false},
	    {"ALL: ALL EXCEPT 10.1.2.3", false},
	    {"ALL: ALL", true},
	    {"rpc.dracd: ALL", false},
	    {"dracd: 10.1.2.3 : deny", false},
	    {"dracd: 10.1.2.3 : allow", true},
	    {"dracd: 10.1.2.3 : severity mail.info : allow", true},
	    /* no names are looked up: these never match */
	    {"dracd: .example.org", false},
	    {"dracd: mail.example.org", false},
	    {"dracd: LOCAL", false},
	    {"dracd: KNOWN", false},
	    {"dracd: PARANOID", false},
	    {"dracd: joe@10.1.2.3", false},
	};

	(void)state;
	scratch_write("allow", "10.0.0.0/8\n");
	scratch_write(deny_table, "ALL: ALL\n");
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct access *access;

		strcat(strcpy(scratch_text, rows[i].rule), "\n");
		scratch_write(allow_table, scratch_text);
		access = opened(true);
		if (permitted(access, "10.1.2.3") != rows[i].permitted)
			fail_msg("%s", rows[i].rule);
		access_close(access);
	}
	assert_int_equal(lookups, 0);
}

/* For a process that is not known to stay, libwrap ends it with exit(0). */
static void a_twist_refuses_and_we_stay(void **state)
{
	enum { REFUSED = 42 };
	int status;
	pid_t pid;

	(void)state;
	scratch_write("allow", "10.0.0.0/8\n");
	scratch_write(allow_table, "dracd: 10.1.2.3 : twist /bin/true\n");
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct access *access;
		bool allowed;

		resident = -1; /* libwrap: not known, what it begins with */
		access = opened(true);
		allowed = permitted(access, "10.1.2.3");
		access_close(access);
		_exit(allowed ? 1 : REFUSED);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), REFUSED);
}

/* ---- changes ---- */

static void changed_hosts_files_are_noticed(void **state)
{
	struct access *access;

	(void)state;
	scratch_write("allow", "10.0.0.0/8\n");
	access = opened(true);
	assert_true(permitted(access, "10.1.2.3"));
	scratch_write(deny_table, "ALL: ALL\n");
	assert_true(permitted(access, "10.1.2.3")); /* until it is looked at */
	assert_string_equal(refreshed(access), "");
	assert_false(permitted(access, "10.1.2.3"));
	scratch_write(allow_table, "dracd: 10.\n");
	refreshed(access);
	assert_true(permitted(access, "10.1.2.3"));
	/* the same size and, on a coarse clock, the same time */
	scratch_write("new", "dracd: 11.\n");
	assert_int_equal(rename("new", allow_table), 0);
	refreshed(access);
	assert_false(permitted(access, "10.1.2.3"));
	unlink(deny_table);
	refreshed(access);
	assert_true(permitted(access, "10.1.2.3"));
	access_close(access);
}

static void a_changed_list_is_read_again(void **state)
{
	struct access *access;

	(void)state;
	scratch_write("allow", "10.0.0.0/8\n");
	access = opened(false);
	assert_true(permitted(access, "10.1.2.3"));
	assert_string_equal(refreshed(access), "");
	scratch_write("allow", "192.0.2.0/24\n");
	assert_contains(refreshed(access), "allow has changed");
	assert_string_equal(refreshed(access), "");
	assert_false(permitted(access, "10.1.2.3"));
	assert_true(permitted(access, "192.0.2.1"));
	assert_true(access_names_others(access));
	unlink("allow"); /* now only this host */
	refreshed(access);
	assert_false(permitted(access, "192.0.2.1"));
	assert_true(permitted(access, "127.0.0.1"));
	assert_false(access_names_others(access));
	scratch_write("allow", "192.0.2.0/24\n");
	refreshed(access);
	assert_true(permitted(access, "192.0.2.1"));
	assert_false(permitted(access, "127.0.0.1"));
	access_close(access);
}

static void a_list_gone_bad_leaves_the_old_one(void **state)
{
	struct access *access;

	(void)state;
	scratch_write("allow", "10.0.0.0/8\n");
	access = opened(false);
	scratch_write("allow", "192.0.2.0/24\nbad\n");
	assert_contains(refreshed(access), "allow:2: \"bad\"");
	assert_contains(scratch_text, "the list read before stays");
	assert_true(permitted(access, "10.1.2.3"));
	assert_false(permitted(access, "192.0.2.1"));
	for (int i = 0; i < 3; i++) /* said once, not every second */
		assert_string_equal(refreshed(access), "");
	capture_begin(); /* SIGHUP: said again */
	assert_false(access_reload(access));
	assert_contains(capture_end(), "allow:2: \"bad\"");
	assert_true(permitted(access, "10.1.2.3"));
	scratch_write("allow", "192.0.2.0/24\n");
	assert_true(access_reload(access));
	assert_string_equal(refreshed(access), "");
	assert_false(permitted(access, "10.1.2.3"));
	assert_true(permitted(access, "192.0.2.1"));
	access_close(access);
}

/* Gives 192.0.2.77 to the loopback device of the namespace. */
static int add_address(void)
{
	struct ifreq ifr = {.ifr_name = "lo:1"};
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(0xc000024d)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), rc;

	memcpy(&ifr.ifr_addr, &in, sizeof in);
	rc = ioctl(fd, SIOCSIFADDR, &ifr);
	close(fd);
	return rc;
}

static void new_addresses_of_this_host(void **state)
{
	struct access *access;
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		bool before, cached, after, asked;

		if (unshare(CLONE_NEWNET) != 0)
			_exit(errno == EPERM ? 77 : 1);
		access = opened(false);
		before = permitted(access, "192.0.2.77");
		if (add_address() != 0)
			_exit(2);
		cached = permitted(access, "192.0.2.77");
		access_refresh(access);
		after = permitted(access, "192.0.2.77");
		asked = permitted(access, "192.0.2.78");
		access_close(access);
		_exit(before ? 3 : cached ? 4 : !after ? 5 : asked ? 6 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("no right to make a network namespace\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- unix peers ---- */

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
#define TEST(f) cmocka_unit_test_setup(f, fresh_files)
	const struct CMUnitTest tests[] = {
	    TEST(without_a_file_this_host_only),
	    TEST(with_a_file_only_whom_it_names),
	    TEST(a_bad_file_is_refused),
	    TEST(whether_others_are_named),
	    TEST(many_callers_share_the_cache),
	    TEST(both_lists_are_needed),
	    TEST(no_hosts_files_permit_everybody),
	    TEST(kinds_of_rules),
	    TEST(a_twist_refuses_and_we_stay),
	    TEST(changed_hosts_files_are_noticed),
	    TEST(a_changed_list_is_read_again),
	    TEST(a_list_gone_bad_leaves_the_old_one),
	    TEST(new_addresses_of_this_host),
	    TEST(unix_peers_by_their_credentials),
	    TEST(a_peer_of_my_own),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/* access: hosts_access(5), beside dracd.allow and without looking up names. */
#include <dlfcn.h>
#include <netdb.h>
#include <tcpd.h>

#include "access_verdicts.h"

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

/* ---- files ---- */

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

/* ---- rules ---- */

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

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, fresh_files)
	const struct CMUnitTest tests[] = {
	    TEST(both_lists_are_needed),
	    TEST(no_hosts_files_permit_everybody),
	    TEST(kinds_of_rules),
	    TEST(a_twist_refuses_and_we_stay),
	    TEST(changed_hosts_files_are_noticed),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

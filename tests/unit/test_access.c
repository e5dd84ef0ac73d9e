/*
 * access: verdicts by dracd.allow, or for want of it by the addresses of this
 * host; as root in a network namespace, too.
 */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "access_verdicts.h"

/* Each test begins without the file. */
static int no_list(void **state)
{
	(void)state;
	unlink("allow");
	return 0;
}

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

/* ---- changes ---- */

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

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, no_list)
	const struct CMUnitTest tests[] = {
	    TEST(without_a_file_this_host_only),
	    TEST(with_a_file_only_whom_it_names),
	    TEST(a_bad_file_is_refused),
	    TEST(whether_others_are_named),
	    TEST(many_callers_share_the_cache),
	    TEST(a_changed_list_is_read_again),
	    TEST(a_list_gone_bad_leaves_the_old_one),
	    TEST(new_addresses_of_this_host),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/* mailclient: the address of a mail client, by text and by connection; names.
 */
#include "mailclient.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* cmocka wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void text_is_an_address(void **state)
{
	static const struct {
		const char *text, *address;
	} rows[] = {
	    {"192.0.2.1", "192.0.2.1"},
	    {"0.0.0.0", "0.0.0.0"},
	    {"2001:db8::1", "2001:db8::1"},
	    {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
	    {"::ffff:192.0.2.1", "192.0.2.1"},
	    {"::FFFF:c000:201", "192.0.2.1"},
	    {"0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"},
	    /* Like one that is mapped, and is not. */
	    {"::fffe:192.0.2.1", "::fffe:c000:201"},
	    {"64:ff9b::192.0.2.1", "64:ff9b::c000:201"},
	    {"::", "::"},
	    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	};
	char address[DRAC_ADDRESS_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_true(mailclient_from_text(rows[i].text, address));
		assert_string_equal(address, rows[i].address);
	}
}

static void text_is_none(void **state)
{
	static const char *const rows[] = {
	    NULL,
	    "",
	    " 192.0.2.1",
	    "192.0.2.1 ",
	    "192.0.2",
	    "192.0.2.256",
	    "192.0.2.1:110",
	    "0x7f.0.0.1",
	    "192.0.2.1\n",
	    "3232235777",
	    "[2001:db8::1]",
	    "fe80::1%lo",
	    "2001:db8::1/128",
	    "scanner.test",
	    "unknown",
	    "2001:db8:::1",
	    "IPv6:2001:db8::1",
	    "::ffff:192.0.2.256",
	};
	char address[DRAC_ADDRESS_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		memset(address, 'x', sizeof address);
		assert_false(mailclient_from_text(rows[i], address));
		assert_string_equal(address, "");
	}
}

/* A connection from host to a listener of this family. */
static void check_peer(int family, const char *host, const char *expected)
{
	struct sockaddr_in6 at = {.sin6_family = AF_INET6};
	struct sockaddr_in at4 = {.sin_family = AF_INET};
	struct sockaddr *name = (struct sockaddr *)&at;
	socklen_t len = sizeof at;
	int listener, ours, theirs;
	char address[DRAC_ADDRESS_SIZE];

	if (inet_pton(AF_INET6, host, &at.sin6_addr) != 1) {
		assert_int_equal(inet_pton(AF_INET, host, &at4.sin_addr), 1);
		name = (struct sockaddr *)&at4;
		len = sizeof at4;
	}
	listener = socket(family, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, name, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, name, &len), 0);
	ours = socket(family, SOCK_STREAM, 0);
	assert_int_equal(connect(ours, name, len), 0);
	theirs = accept(listener, NULL, NULL);
	assert_true(theirs >= 0);
	assert_true(mailclient_from_peer(theirs, address));
	assert_string_equal(address, expected);
	close(theirs);
	close(ours);
	close(listener);
}

static void peer_of_a_connection(void **state)
{
	(void)state;
	check_peer(AF_INET, "127.0.0.1", "127.0.0.1");
	check_peer(AF_INET6, "::1", "::1");
	check_peer(AF_INET6, "::ffff:127.0.0.1", "127.0.0.1");
}

static void peer_of_anything_else(void **state)
{
	char address[DRAC_ADDRESS_SIZE] = "x";
	int pair[2], fd[] = {-1, open("/dev/null", O_RDWR | O_CLOEXEC),
			     socket(AF_INET, SOCK_STREAM, 0), -1};

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fd[COUNT(fd) - 1] = pair[0];
	for (size_t i = 0; i < COUNT(fd); i++) {
		assert_false(mailclient_from_peer(fd[i], address));
		assert_string_equal(address, "");
		close(fd[i]);
	}
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_is_an_address),
	    cmocka_unit_test(text_is_none),
	    cmocka_unit_test(peer_of_a_connection),
	    cmocka_unit_test(peer_of_anything_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

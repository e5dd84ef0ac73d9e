/*
 * access: who may read, by which way, and what takes that away again; and
 * addresses that this host has no more. The addresses are this test's, and it
 * counts how often libwrap is asked.
 */
#include "access.h"

#include "origin.h"

#include <dlfcn.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <tcpd.h>

#include "scratch.h"

/* ---- this host's addresses: ours win over the C library's ---- */

static struct sockaddr_in6 own_address = {.sin6_family = AF_INET6};
static struct ifaddrs own = {.ifa_addr = (struct sockaddr *)&own_address};
static bool has_address;

int getifaddrs(struct ifaddrs **list)
{
	*list = has_address ? &own : NULL;
	return 0;
}

void freeifaddrs(struct ifaddrs *list)
{
	(void)list;
}

/* ---- libwrap: as it is, but counted ---- */

static int asked;

int hosts_ctl(char *daemon, char *name, char *address, char *user)
{
	int (*real)(char *, char *, char *, char *);

	asked++;
	*(void **)&real = dlsym(RTLD_NEXT, "hosts_ctl");
	return real(daemon, name, address, user);
}

/* ---- helpers ---- */

#define OWN "2001:db8::77"
#define READER "198.51.100.9"
#define STRANGER "198.51.100.10"

static char allow_table[] = "hosts.allow", deny_table[] = "hosts.deny";

static int begin(void **state)
{
	struct address a;

	(void)state;
	unlink("allow");
	unlink(allow_table);
	unlink(deny_table);
	hosts_allow_table = allow_table;
	hosts_deny_table = deny_table;
	has_address = true;
	asked = 0;
	return !address_from_text(&a, OWN) ||
	       memcpy(&own_address.sin6_addr, a.byte, sizeof a.byte) == NULL;
}

static struct origin from(const char *text, bool datagram)
{
	struct origin origin = {.datagram = datagram};

	assert_true(address_from_text(&origin.caller, text));
	return origin;
}

/* Whether he may read; the second answer comes from the cache. */
static bool reads(struct access *access, const char *text, bool datagram,
		  bool is_signed)
{
	struct origin origin = from(text, datagram);
	const char *denial;

	origin.key = is_signed ? (struct key *)&origin : NULL; /* any */
	denial = access_reading_denial(access, &origin);
	assert_ptr_equal(access_reading_denial(access, &origin), denial);
	return denial == NULL;
}

static bool writes(struct access *access, const char *text)
{
	struct origin origin = from(text, true);

	access_unsigned(access, &origin);
	return origin.allowed;
}

/* ---- tests ---- */

static void who_reads_by_which_way(void **state)
{
	struct prefix readers[1];
	struct access *access = access_open("allow", false, NULL);

	(void)state;
	assert_non_null(access);
	assert_true(prefix_from_text(&readers[0], READER));
	for (int udp = 0; udp < 2; udp++) {
		assert_true(reads(access, OWN, udp, false));
		assert_true(reads(access, "127.0.0.1", udp, false));
		assert_false(reads(access, READER, udp, false));
		assert_false(reads(access, STRANGER, udp, true));
	}
	access_set_readers(access, readers, 1);
	assert_true(reads(access, READER, false, false));
	assert_true(reads(access, READER, true, true));
	/* his address may be forged */
	assert_false(reads(access, READER, true, false));
	assert_false(reads(access, STRANGER, false, false));
	assert_false(reads(access, STRANGER, true, true));
	/* neither makes the other */
	assert_false(writes(access, READER));
	access_set_readers(access, NULL, 0);
	assert_false(reads(access, READER, false, false));
	access_close(access);
}

static void readers_are_others_to_listen_for(void **state)
{
	struct prefix readers[2];
	struct access *access = access_open("allow", false, NULL);

	(void)state;
	assert_non_null(access);
	assert_true(prefix_from_text(&readers[0], OWN));
	assert_true(prefix_from_text(&readers[1], READER));
	access_set_readers(access, readers, 1);
	assert_false(access_names_others(access));
	access_set_readers(access, readers, 2);
	assert_true(access_names_others(access));
	access_close(access);
}

static void hosts_access_is_asked_for_readers_too(void **state)
{
	struct prefix readers[1];
	struct access *access;

	(void)state;
	scratch_write(deny_table, "dracd: " READER " [" OWN "]\n");
	access = access_open("allow", true, NULL);
	assert_non_null(access);
	assert_true(prefix_from_text(&readers[0], "198.51.100.0/24"));
	access_set_readers(access, readers, 1);
	assert_false(reads(access, READER, false, false));
	assert_false(reads(access, OWN, false, false));
	assert_true(reads(access, STRANGER, false, false));
	access_close(access);
}

/* The address may be another host's by now. */
static void an_address_that_is_gone(void **state)
{
	struct access *access = access_open("allow", false, NULL);

	(void)state;
	assert_non_null(access);
	assert_true(writes(access, OWN));
	assert_true(reads(access, OWN, false, false));
	has_address = false;
	access_refresh(access);
	assert_false(writes(access, OWN));
	assert_false(reads(access, OWN, false, false));
	access_close(access);
}

/* Also when they are neighbours, as callers mostly are. */
static void each_caller_is_asked_about_once(void **state)
{
	enum { CALLERS = 200, ROUNDS = 5 };
	struct access *access;

	(void)state;
	scratch_write("allow", "192.0.2.0/24\n2001:db8::/32\n");
	access = access_open("allow", true, NULL);
	assert_non_null(access);
	for (int round = 0; round < ROUNDS; round++)
		for (int i = 1; i <= CALLERS; i++) {
			char v4[32], v6[32];

			snprintf(v4, sizeof v4, "192.0.2.%d", i);
			snprintf(v6, sizeof v6, "2001:db8::%x", i);
			assert_true(writes(access, v4));
			assert_true(writes(access, v6));
		}
	/* some may share a slot */
	assert_in_range(asked, 2 * CALLERS, 4 * CALLERS);
	access_close(access);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, begin)
	const struct CMUnitTest tests[] = {
	    TEST(who_reads_by_which_way),
	    TEST(readers_are_others_to_listen_for),
	    TEST(hosts_access_is_asked_for_readers_too),
	    TEST(an_address_that_is_gone),
	    TEST(each_caller_is_asked_about_once),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/* server: the syntax of a list of servers. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cmocka wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { RANDOM_ROUNDS = 100000, RANDOM_MAX = 40 };

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/*
 * "host|port|path" of each, joined by blanks; "error" for none. For drac://
 * with
 * "|name|key|tcp" behind it.
 */
static const char *parsed(const char *list)
{
	static char text[8192];
	size_t room = drac_server_room(list), used = 0, count;
	/* Exactly the room: the sanitizers see one more. */
	struct drac_server *servers = calloc(room, sizeof *servers);

	assert_non_null(servers);
	count = drac_server_parse(list, servers);
	assert_true(count <= room);
	snprintf(text, sizeof text, "%s", count == 0 ? "error" : "");
	for (size_t i = 0; i < count && used < sizeof text; i++) {
		const struct drac_server *s = &servers[i];

		used += (size_t)snprintf(text + used, sizeof text - used,
					 "%s%s|%u|%s", i ? " " : "", s->host,
					 s->port, s->path);
		if (s->key_name[0] != '\0' || s->key_path[0] != '\0' ||
		    s->stream)
			used += (size_t)snprintf(
			    text + used, sizeof text - used, "|%s|%s|%s",
			    s->key_name, s->key_path, s->stream ? "tcp" : "");
	}
	free(servers);
	return text;
}

static void right(void **state)
{
	static const struct {
		const char *list, *parts;
	} rows[] = {
	    {"host", "host|0|"},
	    {"host:1", "host|1|"},
	    {"host:65535", "host|65535|"},
	    {"host:005901", "host|5901|"},
	    {"192.0.2.1:5901", "192.0.2.1|5901|"},
	    {"::1", "::1|0|"},
	    {"2001:db8::1", "2001:db8::1|0|"},
	    {"fe80::1%eth0", "fe80::1%eth0|0|"},
	    {"[::1]", "::1|0|"},
	    {"[2001:db8::1]:5901", "2001:db8::1|5901|"},
	    {"unix:/a", "|0|/a"},
	    {"unix:/a:b c", "|0|/a:b c"},
	    {"localhost", "|0|" DRAC_LOCAL_SOCKET " localhost|0|"},
	    {"LOCALHOST", "|0|" DRAC_LOCAL_SOCKET " LOCALHOST|0|"},
	    {"localhost:5901", "localhost|5901|"},
	    {"localhost.example", "localhost.example|0|"},
	    {"drac://host", "host|0|"},
	    {"drac://k@host:1", "host|1||k||"},
	    {"drac://k@[::1]:1?key=/a/b", "::1|1||k|/a/b|"},
	    {"drac://host?tcp", "host|0||||tcp"},
	    {"drac://host?key=/a@b?c", "host|0|||/a@b?c|"},
	    {"drac://host?tcp&key=/a", "host|0|||/a|tcp"},
	    {"drac://A.b-c_9@host?key=/a&tcp,b", "host|0||A.b-c_9|/a|tcp b|0|"},
	    {"drac://k@localhost",
	     "|0|" DRAC_LOCAL_SOCKET "|k|| localhost|0||k||"},
	    {"a,b:2,unix:/c,[::1]:4", "a|0| b|2| |0|/c ::1|4|"},
	    {" a ,\tb ", "a|0| b|0|"},
	    {"localhost,localhost",
	     "|0|" DRAC_LOCAL_SOCKET " localhost|0| |0|" DRAC_LOCAL_SOCKET
	     " localhost|0|"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_string_equal(parsed(rows[i].list), rows[i].parts);
}

static void wrong(void **state)
{
	static const char *const rows[] = {
	    "",
	    " ",
	    ",",
	    "a,",
	    ",a",
	    "a,,b",
	    "a, ,b",
	    ":",
	    ":1",
	    "a:",
	    "a:0",
	    "a:65536",
	    "a:+1",
	    "a:-1",
	    "a: 1",
	    "a:1x",
	    "a:0x1",
	    "[]",
	    "[]:1",
	    "[::1",
	    "[::1]1",
	    "[::1]:",
	    "[::1]:0",
	    "unix:",
	    "unix:a",
	    "unix:,/",
	    "a:4294967297",
	    "drac://",
	    "drac://@host",
	    "drac://k@",
	    "drac://k/@host",
	    "drac://host?",
	    "drac://host?key=",
	    "drac://host?key=/",
	    "drac://host?key=a",
	    "drac://host?tcp&",
	    "drac://host?tcpx",
	    "drac://host?udp",
	    "drac://host:0",
	    "drac://unix:/a",
	    "drac://a@b@host:1",
	    "drac:/host",
	    "DRAC://host",
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (strcmp(parsed(rows[i]), "error") != 0)
			fail_msg("\"%s\" is accepted", rows[i]);
}

static void lengths(void **state)
{
	char list[DRAC_HOST_MAX + 32];
	size_t path_max = sizeof((struct sockaddr_un *)0)->sun_path - 1;

	(void)state;
	memset(list, 'h', sizeof list);
	snprintf(list + DRAC_HOST_MAX, 7, ":65535");
	assert_string_not_equal(parsed(list), "error");
	list[DRAC_HOST_MAX] = 'h';
	snprintf(list + DRAC_HOST_MAX + 1, 3, ":1");
	assert_string_equal(parsed(list), "error");

	memset(list, 'p', sizeof list);
	memcpy(list, "unix:/", 6);
	list[5 + path_max] = '\0';
	assert_string_not_equal(parsed(list), "error");
	list[5 + path_max] = 'p';
	list[5 + path_max + 1] = '\0';
	assert_string_equal(parsed(list), "error");
}

/* Never reads or writes outside, whatever is written there. */
static void random_lists(void **state)
{
	static const char alphabet[] = ",:[]/ \tunixlocalhost019@?&=";
	unsigned int seed = 1;

	(void)state;
	for (int round = 0; round < RANDOM_ROUNDS; round++) {
		size_t len = (size_t)rand_r(&seed) % RANDOM_MAX;
		char *list = malloc(len + 1);

		assert_non_null(list);
		for (size_t i = 0; i < len; i++)
			list[i] = (round & 1) && i < 7
				      ? "drac://"[i]
				      : alphabet[(size_t)rand_r(&seed) %
						 (sizeof alphabet - 1)];
		list[len] = '\0';
		parsed(list);
		free(list);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(right),
	    cmocka_unit_test(wrong),
	    cmocka_unit_test(lengths),
	    cmocka_unit_test(random_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

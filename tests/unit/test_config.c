/* config, setting, validate: each name in the file, its default, its refusal */
#include "config_load.h"

/* ---- defaults and files ---- */

static void assert_defaults(const struct config *c)
{
	assert_int_equal(c->lifetime_s, 1800);
	assert_int_equal(c->map_count, 1);
	assert_int_equal(c->maps[0].type, MAP_BTREE);
	assert_string_equal(c->maps[0].path, "/var/lib/dracd/dracd.db");
	assert_false(c->maps[0].nul);
	assert_int_equal(c->maps[0].capacity, 65536);
	assert_string_equal(c->journal, "/var/lib/dracd/journal");
	assert_int_equal(c->durability, DURABILITY_OS);
	assert_int_equal(c->listen_count, 0);
	assert_int_equal(c->lookup_count, 1);
	assert_true(c->lookup_default);
	assert_int_equal(c->lookup[0].transport, LISTEN_UNIX);
	assert_string_equal(c->lookup[0].path, "/run/dracd/map.sock");
	assert_int_equal(c->ipv6_prefix, 128);
	assert_true(c->rpcbind);
	assert_string_equal(c->allow_file, "/etc/mail/dracd.allow");
	assert_true(c->hosts_access);
	assert_string_equal(c->user, "dracd");
	assert_int_equal(c->never_count, 0);
	assert_int_equal(c->max_entries, 1000000);
	assert_int_equal(c->max_connections, 4096);
	assert_int_equal(c->max_connections_per_address, 128);
	assert_int_equal(c->idle_timeout_s, 30);
}

static void an_empty_file_means_the_defaults(void **state)
{
	static const char *const files[] = {"", "\n", "# only a comment",
					    "/* another */\n// third",
					    "listen = {}\nnever = {}\n"};

	(void)state;
	for (size_t i = 0; i < COUNT(files); i++) {
		struct config *c = with_file(files[i]);

		assert_defaults(c);
		assert_path(c->file, "t.conf");
		assert_false(c->initialize || c->foreground || c->check_only);
		config_free(c);
	}
}

static void no_file_means_the_defaults(void **state)
{
	struct config *c;

	(void)state;
	if (access(CONFIG_FILE, F_OK) == 0) {
		print_message("%s exists on this host\n", CONFIG_FILE);
		skip();
	}
	c = loaded("");
	assert_defaults(c);
	assert_string_equal(c->file, "");
	config_free(c);
}

static void every_setting(void **state)
{
	static const char text[] =
	    "lifetime = \"2h\"   # trailing comment\n"
	    "map \"btree:/a/b.db\" {\n"
	    "	nul = true\n"
	    "	capacity = 1000\n"
	    "}\n"
	    "map \"hash:c.db\" { }\n"
	    "journal = \"j\"\n"
	    "durability = \"disk\"\n"
	    "listen = {\"udp:127.0.0.1:5901\", \"tcp:[::1]\",\n"
	    "          \"unix:/run/dracd/rpc.sock\"}\n"
	    "lookup = {\"unix:map.sock\", \"tcp:127.0.0.1\"}\n"
	    "ipv6-prefix = 64\n"
	    "rpcbind = false\n"
	    "allow-file = \"allow\"\n"
	    "hosts-access = no\n"
	    "user = \"\"\n"
	    "never = {\"192.0.2.1\", \"10.0.0.0/8\", \"2001:db8::/32\"}\n"
	    "max-entries = 5\n"
	    "max-connections = 6\n"
	    "max-connections-per-address = 7\n"
	    "idle-timeout = 90\n";
	struct config *c;
	struct address a;

	(void)state;
	c = with_file(text);
	assert_int_equal(c->lifetime_s, 7200);
	assert_int_equal(c->map_count, 2);
	assert_int_equal(c->maps[0].type, MAP_BTREE);
	assert_string_equal(c->maps[0].path, "/a/b.db");
	assert_true(c->maps[0].nul);
	assert_int_equal(c->maps[0].capacity, 1000);
	assert_int_equal(c->maps[1].type, MAP_HASH);
	assert_path(c->maps[1].path, "c.db");
	assert_false(c->maps[1].nul);
	assert_int_equal(c->maps[1].capacity, 65536);
	assert_path(c->journal, "j");
	assert_int_equal(c->durability, DURABILITY_DISK);
	assert_int_equal(c->listen_count, 3);
	assert_int_equal(c->lookup_count, 2);
	assert_false(c->lookup_default);
	assert_path(c->lookup[0].path, "map.sock");
	assert_int_equal(c->lookup[1].port, CONFIG_LOOKUP_PORT);
	assert_int_equal(c->ipv6_prefix, 64);
	assert_false(c->rpcbind);
	assert_path(c->allow_file, "allow");
	assert_false(c->hosts_access);
	assert_string_equal(c->user, "");
	assert_int_equal(c->never_count, 3);
	assert_true(address_from_text(&a, "10.255.0.1"));
	assert_false(prefix_contains(&c->never[0], &a));
	assert_true(prefix_contains(&c->never[1], &a));
	assert_int_equal(c->max_entries, 5);
	assert_int_equal(c->max_connections, 6);
	assert_int_equal(c->max_connections_per_address, 7);
	assert_int_equal(c->idle_timeout_s, 90);
	config_free(c);
}

/* ---- kinds of values ---- */

/* {} is no default, and the default written out is none either. */
static void lookup_off_and_explicit(void **state)
{
	struct config *c = with_file("lookup = {}\n");

	(void)state;
	assert_int_equal(c->lookup_count, 0);
	assert_false(c->lookup_default);
	config_free(c);
	c = with_file("lookup = {\"unix:/run/dracd/map.sock\"}\n");
	assert_int_equal(c->lookup_count, 1);
	assert_false(c->lookup_default);
	config_free(c);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t s; /* 0: refused */
	} rows[] = {
	    {"1", 1},
	    {"90", 90},
	    {"90s", 90},
	    {"30m", 1800},
	    {"1h", 3600},
	    {"2d", 172800},
	    {"366d", 31622400},
	    {"367d", 0},
	    {"31622401", 0},
	    {"0", 0},
	    {"0m", 0},
	    {"-1", 0},
	    {"-30m", 0},
	    {"+5", 0},
	    {"", 0},
	    {"m", 0},
	    {"30 m", 0},
	    {"30M", 0},
	    {"30mm", 0},
	    {"1.5h", 0},
	    {" 30m", 0},
	    {"30m ", 0},
	    {"1w", 0},
	    {"1m30s", 0},
	    {"18446744073709551617", 0},
	    {"9223372036854775807d", 0},
	    {"99999999999999999999999999999999999999h", 0},
	};
	static const char *const names[] = {"lifetime", "idle-timeout"};
	char file[128], place[128];

	(void)state;
	for (size_t i = 0; i < COUNT(rows) * COUNT(names); i++) {
		const char *name = names[i % 2];
		int64_t s = rows[i / 2].s;

		snprintf(file, sizeof file, "\n%s = \"%s\"\n", name,
			 rows[i / 2].text);
		if (s > 0) {
			struct config *c = with_file(file);

			assert_int_equal(
			    i % 2 == 0 ? c->lifetime_s : c->idle_timeout_s, s);
			config_free(c);
			continue;
		}
		snprintf(place, sizeof place,
			 "t.conf:2: setting \"%s\": \"%s\": ", name,
			 rows[i / 2].text);
		assert_contains(refused(file), place);
		assert_contains(scratch_text, "1s to 366d");
		assert_contains(scratch_text, "\"30m\"");
	}
}

static void listen_texts(void **state)
{
	static const struct {
		const char *text;
		enum listen_transport transport;
		bool any;
		const char *address;
		int port;
	} rows[] = {
	    {"udp:127.0.0.1:5901", LISTEN_UDP, false, "127.0.0.1", 5901},
	    {"udp:127.0.0.1", LISTEN_UDP, false, "127.0.0.1", 5901},
	    {"tcp:[::1]", LISTEN_TCP, false, "::1", 5901},
	    {"tcp:[::1]:900", LISTEN_TCP, false, "::1", 900},
	    {"udp:*", LISTEN_UDP, true, NULL, 5901},
	    {"tcp:*:900", LISTEN_TCP, true, NULL, 900},
	    {"udp:*:0", LISTEN_UDP, true, NULL, 0},
	    {"tcp:0.0.0.0:65535", LISTEN_TCP, false, "0.0.0.0", 65535},
	    {"tcp:[::]:1", LISTEN_TCP, false, "::", 1},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct listen_config *l;
		struct config *c;
		char file[128], buf[ADDRESS_TEXT_MAX];

		snprintf(file, sizeof file, "listen = {\"%s\"}", rows[i].text);
		c = with_file(file);
		assert_int_equal(c->listen_count, 1);
		l = &c->listen[0];
		assert_int_equal(l->transport, rows[i].transport);
		assert_int_equal(l->any, rows[i].any);
		if (rows[i].address != NULL)
			assert_string_equal(address_text(&l->address, buf),
					    rows[i].address);
		assert_int_equal(l->port, rows[i].port);
		assert_null(l->path);
		assert_string_equal(l->text, rows[i].text);
		config_free(c);
	}
}

static void listen_on_unix_sockets(void **state)
{
	char file[256], name[108];
	struct config *c;

	(void)state;
	c = with_file("listen = {\"unix:/run/x.sock\", \"unix:rel.sock\"}");
	assert_int_equal(c->listen_count, 2);
	assert_int_equal(c->listen[0].transport, LISTEN_UNIX);
	assert_string_equal(c->listen[0].path, "/run/x.sock");
	assert_path(c->listen[1].path, "rel.sock");
	assert_string_equal(c->listen[1].text, "unix:rel.sock");
	config_free(c);

	memset(name, 'x', sizeof name);
	name[sizeof name - 1] = '\0';
	snprintf(file, sizeof file, "listen = {\"unix:/%s\"}", name);
	assert_contains(refused(file), "longer than the 107 bytes");
	name[sizeof name - 2] = '\0';
	snprintf(file, sizeof file, "listen = {\"unix:/%s\"}", name);
	config_free(with_file(file));
}

static void wrong_listen_texts(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
	    {"127.0.0.1", "does not begin with"},
	    {"", "does not begin with"},
	    {"sctp:127.0.0.1", "does not begin with"},
	    {"UDP:127.0.0.1", "does not begin with"},
	    {"udp:", "not a numeric address"},
	    {"udp:localhost", "not a numeric address"},
	    {"udp:::1", "not a numeric address"},
	    {"udp:::1:5901", "not a numeric address"},
	    {"udp:[127.0.0.1]", "not a numeric address"},
	    {"udp:[::1", "not closed"},
	    {"udp:[]", "not a numeric address"},
	    {"udp:[::1]5901", "the port is not"},
	    {"udp:127.0.0.1:", "the port is not"},
	    {"udp:127.0.0.1:65536", "the port is not"},
	    {"udp:127.0.0.1:-1", "the port is not"},
	    {"udp:127.0.0.1:sunrpc", "the port is not"},
	    {"udp:127.0.0.1:5901:1", "the port is not"},
	    {"udp:**", "the port is not"},
	    {"udp:*:", "the port is not"},
	    {"unix:", "no path"},
	};
	char file[128], place[128];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(file, sizeof file,
			 "listen = {\"udp:*\",\n \"%s\",\n \"tcp:*\"}",
			 rows[i].text);
		snprintf(
		    place, sizeof place,
		    "t.conf:2: setting \"listen\": \"%s\": ", rows[i].text);
		assert_contains(refused(file), place);
		assert_contains(scratch_text, rows[i].why);
		assert_contains(scratch_text, "write for example");
	}
	refused("listen = {\"udp:"
		"11111111111111111111111111111111111111111111111111111111111111"
		"11111111111111111111111111111111111111111111111111111111111111"
		"11111111111111111111111111111111111111111111111111111111111111"
		"\"}");
}

/* Each row: a file of which line `line` is wrong, and part of the message. */
static void wrong_settings_name_file_and_line(void **state)
{
	static const struct {
		const char *file;
		int line;
		const char *why;
	} rows[] = {
	    {"rpcbind = true\nno-such = 1\n", 2, "'no-such'"},
	    {"Lifetime = 30m\n", 1, "'Lifetime'"},
	    {"\n\nmap \"dbm:/x\" { }\n", 3, "btree:/path"},
	    {"\n\nmap \"dbm:/x\" { }\n", 3, "lmdb:/path"},
	    {"map \"/x\" { }\n", 1, "not of a known type"},
	    {"map \"btree:\" { }\n", 1, "no path"},
	    {"map { }\n", 1, "missing title"},
	    {"map \"btree:/x\" { }\nmap \"btree:/x\" { }\n", 2, "btree:/x"},
	    {"map \"btree:/x\" { }\n\nmap \"hash:/x\" { }\n", 3,
	     "another map has this file"},
	    {"map \"btree:/x\" {\n  capacity = 0\n}\n", 2,
	     "setting \"capacity\": \"0\": not a number from 1 to "},
	    {"map \"btree:/x\" {\n  capacity = lots\n}\n", 2, "capacity"},
	    {"map \"btree:/x\" {\n\n  mode = 1\n}\n", 3, "'mode'"},
	    {"map \"btree:/x\" {\n  nul = maybe\n}\n", 2, "nul"},
	    {"journal = \"\"\n", 1, "setting \"journal\": \"\": no path"},
	    {"allow-file = \"\"\n", 1, "setting \"allow-file\""},
	    {"durability = \"ram\"\n", 1,
	     "setting \"durability\": \"ram\": write \"os\" or \"disk\""},
	    {"\nlookup = {\"unix:/x\",\n\"udp:127.0.0.1\"}\n", 3,
	     "setting \"lookup\": \"udp:127.0.0.1\": no MTA asks a socketmap "
	     "by udp"},
	    {"lookup = {\"inet:127.0.0.1\"}\n", 1, "does not begin with"},
	    {"lookup = {\"tcp:127.0.0.1:x\"}\n", 1, "the port is not"},
	    {"lookup = {\"unix:\"}\n", 1, "no path"},
	    {"ipv6-prefix = 31\n", 1, "not a number from 32 to 128"},
	    {"ipv6-prefix = 129\n", 1, "not a number from 32 to 128"},
	    {"rpcbind = perhaps\n", 1, "rpcbind"},
	    {"never = {\"192.0.2.1\",\n\"192.0.2.1/24\"}\n", 2,
	     "setting \"never\": \"192.0.2.1/24\": bits are set behind "
	     "the prefix; write 192.0.2.0/24"},
	    {"never = {\"proxy.example\"}\n", 1, "not an IPv4 or IPv6 address"},
	    {"never = {\"2001:db8::/129\"}\n", 1, "from 0 to 128"},
	    {"max-entries = 0\n", 1,
	     "setting \"max-entries\": \"0\": not a number from 1 to"},
	    {"max-entries = -1\n", 1, "\"-1\": not a number from 1 to"},
	    {"max-entries = 4294967297\n", 1, "not a number from 1 to"},
	    {"max-entries = 99999999999999999999\n", 1, "out of range"},
	    {"max-connections = 0\n", 1, "\"max-connections\""},
	    {"max-connections-per-address = 0\n", 1,
	     "\"max-connections-per-address\""},
	    {"max-entries = 10x\n", 1, "max-entries"},
	    {"lifetime\n", 2, "end of file"},
	    {"lifetime = \"30m\n", 2, "end of file"},
	    {"never = {\"192.0.2.1\"\n", 2, "end of file"},
	    {"lifetime \"30m\"\n", 1, "lifetime"},
	    {"user = \"a\\nb\"\nlifetime = \"\\n\"\n", 2, "\"\\x0a\""},
	};
	char place[sizeof scratch_dir + 32];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(place, sizeof place, "%s/t.conf:%d: ", scratch_dir,
			 rows[i].line);
		assert_contains(refused(rows[i].file), place);
		assert_contains(scratch_text, rows[i].why);
	}
}

static void files_that_are_no_text(void **state)
{
	static const char nul[] = "lifetime = \"30m\"\n\0rpcbind = false\n";
	static char big[1024 * 1024 + 2];
	struct config *c;

	(void)state;
	scratch_write_bytes("t.conf", nul, sizeof nul - 1);
	capture_begin();
	assert_int_equal(load_line("-c t.conf", &c), EX_CONFIG);
	assert_contains(capture_end(), "t.conf: ");
	memset(big, '\n', sizeof big);
	scratch_write_bytes("t.conf", big, sizeof big);
	capture_begin();
	assert_int_equal(load_line("-c t.conf", &c), EX_CONFIG);
	assert_contains(capture_end(), "t.conf: File too large");
	scratch_write_bytes("t.conf", big, sizeof big - 2);
	config_free(loaded("-c t.conf"));
	capture_begin();
	assert_int_equal(load_line("-c .", &c), EX_CONFIG);
	assert_contains(capture_end(), "Is a directory");
	capture_begin();
	assert_int_equal(load_line("-c missing.conf", &c), EX_CONFIG);
	assert_contains(capture_end(),
			"missing.conf: No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_empty_file_means_the_defaults),
	    cmocka_unit_test(no_file_means_the_defaults),
	    cmocka_unit_test(every_setting),
	    cmocka_unit_test(lookup_off_and_explicit),
	    cmocka_unit_test(durations),
	    cmocka_unit_test(listen_texts),
	    cmocka_unit_test(listen_on_unix_sockets),
	    cmocka_unit_test(wrong_listen_texts),
	    cmocka_unit_test(wrong_settings_name_file_and_line),
	    cmocka_unit_test(files_that_are_no_text),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

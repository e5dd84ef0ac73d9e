/* options: the command line, and how it goes with the file. */
#include <sys/wait.h>

#include "config_load.h"

static void options(void **state)
{
	struct config *c;

	(void)state;
	scratch_write("t.conf", "lifetime = \"2h\"\n");
	c = loaded("-i -f -t -e 5 -c t.conf");
	assert_true(c->initialize && c->foreground && c->check_only);
	assert_int_equal(c->lifetime_s, 300);
	config_free(c);
	c = loaded("-fic t.conf");
	assert_true(c->initialize && c->foreground && !c->check_only);
	assert_int_equal(c->lifetime_s, 7200);
	config_free(c);
	/* again, as a reload does: nothing of getopt's state is left */
	c = loaded("-e1 -c t.conf");
	assert_false(c->initialize || c->foreground || c->check_only);
	assert_int_equal(c->lifetime_s, 60);
	config_free(c);
	c = loaded("-e 527040 -c t.conf");
	assert_int_equal(c->lifetime_s, CONFIG_LIFETIME_MAX_S);
	config_free(c);
}

/* The daemon lives in /, but its configuration does not. */
static void a_reload_finds_the_same_files(void **state)
{
	struct config *c;

	(void)state;
	scratch_write("t.conf", "journal = \"j\"\n");
	config_free(loaded("-c t.conf my.db"));
	assert_int_equal(chdir("/"), 0);
	c = loaded("-c t.conf my.db");
	assert_int_equal(chdir(scratch_dir), 0);
	assert_path(c->file, "t.conf");
	assert_path(c->journal, "j");
	assert_path(c->maps[0].path, "my.db");
	config_free(c);
}

static void wrong_command_lines(void **state)
{
	static const struct {
		const char *line, *why;
	} rows[] = {
	    {"-e 0", "option -e: \"0\""},
	    {"-e -5", "option -e: \"-5\""},
	    {"-e 30m", "option -e: \"30m\""},
	    {"-e ''", "option -e: \"\""},
	    {"-e 527041", "from 1 to 527040"},
	    {"-e 99999999999999999999", "from 1 to 527040"},
	    {"-e", "without its value: \"-e\""},
	    {"-fe", "without its value: \"-e\""},
	    {"-c", "without its value: \"-c\""},
	    {"-x", "unknown option: \"-x\""},
	    {"-fx", "unknown option: \"-x\""},
	    {"--no-such", "unknown option: \"--no-such\""},
	    {"a.db b.db", "more than one dbfile: \"b.db\""},
	    {"''", "no path"},
	    {"-c ''", "no path"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct config *c = (void *)1;
		int rc;

		capture_begin();
		rc = load_line(rows[i].line, &c);
		assert_contains(capture_end(), rows[i].why);
		assert_int_equal(rc, EX_USAGE);
		assert_null(c);
	}
}

static void dbfile_is_the_first_map(void **state)
{
	static const char file[] =
	    "map \"btree:/a.db\" { nul = true capacity = 7 }\n"
	    "map \"hash:/b.db\" { nul = true capacity = 8 }\n";
	struct config *c;

	(void)state;
	scratch_write("t.conf", file);
	c = loaded("-c t.conf other");
	assert_int_equal(c->map_count, 2);
	assert_path(c->maps[0].path, "other"); /* no ".db" is added */
	assert_int_equal(c->maps[0].type, MAP_BTREE);
	assert_false(c->maps[0].nul);
	assert_int_equal(c->maps[0].capacity, 65536);
	assert_string_equal(c->maps[1].path, "/b.db");
	assert_int_equal(c->maps[1].capacity, 8);
	config_free(c);

	c = loaded("-c t.conf /a.db");
	assert_string_equal(c->maps[0].path, "/a.db");
	assert_true(c->maps[0].nul);
	assert_int_equal(c->maps[0].capacity, 7);
	config_free(c);

	scratch_write("t.conf", "");
	c = loaded("-c t.conf /c.db");
	assert_int_equal(c->map_count, 1);
	assert_string_equal(c->maps[0].path, "/c.db");
	config_free(c);

	scratch_write("t.conf", "map \"hash:/a.db\" { nul = true }\n");
	c = loaded("-c t.conf /a.db");
	assert_int_equal(c->maps[0].type, MAP_BTREE);
	config_free(c);

	scratch_write("t.conf", file);
	capture_begin();
	assert_int_equal(load_line("-c t.conf /b.db", &c), EX_CONFIG);
	assert_contains(capture_end(), "also the dbfile");
	assert_null(c);
}

/* Runs the command line in a child; its standard output is in scratch_text. */
static int run(const char *line)
{
	int fd = memfd_create("stdout", MFD_CLOEXEC), status;
	ssize_t n;
	pid_t pid;

	assert_true(fd >= 0);
	fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct config *c;

		dup2(fd, STDOUT_FILENO);
		load_line(line, &c);
		_exit(99); /* it was to end in there */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	n = pread(fd, scratch_text, sizeof scratch_text - 1, 0);
	assert_true(n >= 0);
	scratch_text[n] = '\0';
	close(fd);
	return WEXITSTATUS(status);
}

static void help_and_version(void **state)
{
	static const char *const help[] = {"-h", "--help", "-f -h"};

	(void)state;
	for (size_t i = 0; i < COUNT(help); i++) {
		assert_int_equal(run(help[i]), 0);
		assert_contains(scratch_text,
				"dracd [-i] [-e minutes] [-f] [-t] [-c file] "
				"[dbfile]");
	}
	assert_int_equal(run("--version"), 0);
	assert_string_equal(scratch_text, "dracd " DRACD_VERSION "\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(options),
	    cmocka_unit_test(a_reload_finds_the_same_files),
	    cmocka_unit_test(wrong_command_lines),
	    cmocka_unit_test(dbfile_is_the_first_map),
	    cmocka_unit_test(help_and_version),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

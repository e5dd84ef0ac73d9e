/* keys: files that the daemon may not open, and a reload of which one is bad.
 */
#include "keys.h"

#include "scratch.h"

#define FIRST "the-first-of-the-secrets-long-enough-0"
#define SECOND "the-second-of-the-secrets-long-enough"

enum { OTHER_UID = 4201 };

static char key_a[] = "a", key_b[] = "b", no_user[] = "";
static struct key_config key_configs[2];
static struct config config;

static void put(const char *file, const char *secret)
{
	unlink(file);
	scratch_write(file, secret);
	assert_int_equal(chmod(file, 0600), 0);
}

static int begin(void **state)
{
	(void)state;
	put(key_a, FIRST);
	put(key_b, FIRST);
	key_configs[0] = (struct key_config){.name = key_a, .file = key_a};
	key_configs[1] = (struct key_config){.name = key_b, .file = key_b};
	config = (struct config){
	    .user = no_user, .keys = key_configs, .key_count = 2};
	return 0;
}

static bool has(const struct keys *keys, const char *name, const char *secret)
{
	const struct key *key = keys_find(keys, name);

	return key != NULL && key->secret.len == strlen(secret) &&
	       memcmp(key->secret.secret, secret, key->secret.len) == 0;
}

/* A secret that was not read would be an empty one, which everybody has. */
static void a_file_of_others(void **state)
{
	struct keys *keys;

	(void)state;
	if (geteuid() != 0) {
		print_message("not root: cannot play another user\n");
		skip();
	}
	keys = keys_open(&config);
	assert_non_null(keys);
	put("c", SECOND);
	put(key_b, SECOND);
	assert_int_equal(chmod(scratch_dir, 0755), 0);
	assert_int_equal(seteuid(OTHER_UID), 0);
	capture_begin();
	assert_null(keys_open(&config));
	assert_true(keys_reload(keys, &config)); /* those of the start */
	key_configs[0].file = "c";
	assert_false(keys_reload(keys, &config));
	config.check_only = true;
	struct keys *checked = keys_open(&config);
	capture_end();
	assert_int_equal(seteuid(0), 0);
	assert_non_null(checked);
	assert_true(has(keys, key_a, FIRST));
	assert_true(has(keys, key_b, FIRST));
	keys_free(checked);
	keys_free(keys);
}

static void all_or_none(void **state)
{
	struct keys *keys = keys_open(&config);

	(void)state;
	assert_non_null(keys);
	put(key_a, SECOND);
	put(key_b, "short");
	capture_begin();
	assert_false(keys_reload(keys, &config));
	capture_end();
	assert_true(has(keys, key_a, FIRST));
	assert_true(has(keys, key_b, FIRST));
	put(key_b, SECOND);
	config.key_count = 1;
	assert_true(keys_reload(keys, &config));
	assert_true(has(keys, key_a, SECOND));
	assert_null(keys_find(keys, key_b));
	keys_free(keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_file_of_others, begin),
	    cmocka_unit_test_setup(all_or_none, begin),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/* state and joins: what is known again after a restart, and what is not. */
#include "state.h"

#include "joins.h"
#include "scratch.h"

static json_t *load(const char *text)
{
	scratch_write("state", text);
	return state_load("state");
}

static void round_trip(void **state)
{
	json_t *saved = json_pack("{s:{s:s}}", "file:/x", "a", "b"), *loaded;

	(void)state;
	assert_true(state_save("state", saved));
	assert_int_equal(access("state.new", F_OK), -1);
	loaded = state_load("state");
	assert_true(json_equal(saved, loaded));
	json_decref(loaded);
	json_object_clear(saved);
	assert_true(state_save("state", saved));
	loaded = state_load("state");
	assert_int_equal(json_object_size(loaded), 0);
	json_decref(loaded);
	json_decref(saved);
}

static void no_file(void **state)
{
	json_t *loaded = state_load("none");

	(void)state;
	assert_int_equal(json_object_size(loaded), 0);
	assert_true(json_is_object(loaded));
	json_decref(loaded);
}

static void damaged(void **state)
{
	static const char *const texts[] = {
	    "", "{", "[]", "7", "{} {}", "{\"a\":1,\"a\":2}", "\xff"};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		json_t *loaded;

		capture_begin();
		loaded = load(texts[i]);
		assert_contains(capture_end(), "state=state is damaged");
		assert_true(json_is_object(loaded));
		json_decref(loaded);
	}
}

static void unreadable(void **state)
{
	(void)state;
	assert_int_equal(mkdir("directory", 0700), 0);
	capture_begin();
	assert_null(state_load("directory"));
	assert_contains(capture_end(), "state=directory cannot be read: Is a");
	capture_begin();
	assert_null(state_load("state/below"));
	assert_contains(capture_end(), "cannot be read: Not a directory");
}

/* What could not be written leaves the old file as it was. */
static void unwritable(void **state)
{
	json_t *saved = json_object(), *loaded = load("{\"a\": 1}");

	(void)state;
	json_decref(loaded);
	assert_int_equal(mkdir("state.new", 0700), 0);
	assert_false(state_save("state", saved));
	loaded = state_load("state");
	assert_int_equal(json_object_size(loaded), 1);
	json_decref(loaded);
	assert_int_equal(rmdir("state.new"), 0);
	assert_false(state_save("nowhere/state", saved));
	json_decref(saved);
}

/* ---- joins --------------------------------------------------------------- */

static struct line line(int64_t pid, int64_t time_s)
{
	return (struct line){
	    .host = "h", .program = "p", .pid = pid, .time_s = time_s};
}

static bool take(struct joins *joins, int64_t pid, int64_t time_s,
		 const char *wanted)
{
	char address[DRAC_ADDRESS_SIZE];
	struct line second = line(pid, time_s);

	if (!joins_take(joins, "a", &second, address))
		return false;
	assert_string_equal(address, wanted);
	return true;
}

static void put(struct joins *joins, int64_t pid, int64_t time_s,
		const char *address)
{
	struct line first = line(pid, time_s);

	joins_put(joins, "a", &first, address);
}

static void joined(void **state)
{
	struct joins *joins = joins_create();
	char address[DRAC_ADDRESS_SIZE];
	struct line other = line(1, 100);

	(void)state;
	put(joins, 1, 100, "::1");
	put(joins, 0, 100, "::2"); /* nobody knows whose it is */
	assert_false(take(joins, 0, 100, ""));
	assert_false(take(joins, 2, 100, ""));
	assert_false(joins_take(joins, "b", &other, address));
	strcpy(other.host, "i");
	assert_false(joins_take(joins, "a", &other, address));
	assert_true(take(joins, 1, 100, "::1"));
	assert_false(take(joins, 1, 100, "")); /* once */
	put(joins, 1, 100, "::1");
	put(joins, 1, 101, "::2"); /* the next process with this PID */
	assert_true(take(joins, 1, 102, "::2"));
	put(joins, 1, 100, "::1");
	assert_true(take(joins, 1, 100 + JOINS_AGE_MAX_S, "::1"));
	put(joins, 1, 100, "::1");
	assert_false(take(joins, 1, 101 + JOINS_AGE_MAX_S, ""));
	joins_free(joins);
}

static void oldest_goes(void **state)
{
	struct joins *joins = joins_create();

	(void)state;
	for (int i = 1; i <= JOINS_MAX + 1; i++)
		put(joins, i, i, "::1");
	assert_false(take(joins, 1, 1, ""));
	for (int i = 2; i <= JOINS_MAX + 1; i++)
		assert_true(take(joins, i, i, "::1"));
	joins_free(joins);
}

static void joins_saved(void **state)
{
	struct joins *joins = joins_create(), *loaded = joins_create();
	struct line odd = line(3, 100);
	json_t *saved;

	(void)state;
	put(joins, 1, 100, "::1");
	put(joins, 2, 100, "1.2.3.4");
	strcpy(odd.host, "\xff"); /* not to be had in JSON */
	joins_put(joins, "a", &odd, "::3");
	saved = joins_save(joins);
	assert_int_equal(json_array_size(saved), 2);
	json_array_append_new(saved, json_string("x"));
	json_array_append_new(saved, json_pack("{s:s}", "key", "k"));
	joins_load(loaded, saved);
	joins_load(loaded, NULL);
	assert_true(take(loaded, 1, 100, "::1"));
	assert_true(take(loaded, 2, 100, "1.2.3.4"));
	assert_false(take(loaded, 3, 100, ""));
	json_decref(saved);
	joins_free(joins);
	joins_free(loaded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(round_trip),  cmocka_unit_test(no_file),
	    cmocka_unit_test(damaged),     cmocka_unit_test(unreadable),
	    cmocka_unit_test(unwritable),  cmocka_unit_test(joined),
	    cmocka_unit_test(oldest_goes), cmocka_unit_test(joins_saved),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}

/*
 * users: against a model that looks at everything.
 */
#include "users.h"

#include "scratch.h"

enum { SLOTS = 3000, STEPS = 60000, USERS = 50, TIMES = 40 };

static struct {
	int user; /* 0: nobody's */
	uint32_t last_s;
} model[SLOTS + 1];

static const char *name(int user)
{
	static char text[16];

	snprintf(text, sizeof text, "user%d", user);
	return text;
}

static void compare(struct users *users)
{
	uint32_t seen = 0, there = 0;

	for (int user = 1; user <= USERS; user++) {
		uint32_t last_s = 0;

		for (uint32_t slot = users_first(users, name(user)); slot != 0;
		     slot = users_next(users, slot), seen++) {
			assert_int_equal(model[slot].user, user);
			assert_true(model[slot].last_s >= last_s);
			last_s = model[slot].last_s;
		}
	}
	for (int slot = 1; slot <= SLOTS; slot++)
		there += model[slot].user != 0;
	assert_int_equal(seen, there);
}

static void anything(void **state)
{
	struct users *users = users_create();
	unsigned seed = 1;

	(void)state;
	assert_non_null(users);
	for (int step = 0; step < STEPS; step++) {
		uint32_t slot = 1 + (uint32_t)rand_r(&seed) % SLOTS;

		users_leave(users, slot);
		model[slot].user = 0;
		if (rand_r(&seed) % 2) {
			model[slot].user = 1 + rand_r(&seed) % USERS;
			model[slot].last_s = (uint32_t)rand_r(&seed) % TIMES;
			assert_true(users_reserve(users, slot));
			assert_true(users_join(users, slot,
					       name(model[slot].user),
					       model[slot].last_s));
		}
		if (step % (STEPS / 20) == 0)
			compare(users);
	}
	compare(users);
	users_free(users);
}

/* Of one second: in the order in which they came. */
static void of_one_second(void **state)
{
	struct users *users = users_create();

	(void)state;
	assert_non_null(users);
	assert_int_equal(users_first(users, "joe"), 0);
	for (uint32_t slot = 5; slot > 0; slot--) {
		assert_true(users_reserve(users, slot));
		assert_true(users_join(users, slot, "joe", 100));
	}
	for (uint32_t slot = 5; slot > 0; slot--) {
		assert_int_equal(users_first(users, "joe"), slot);
		users_leave(users, slot);
		users_leave(users, slot);
	}
	assert_int_equal(users_first(users, "joe"), 0);
	users_free(users);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(anything),
	    cmocka_unit_test(of_one_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

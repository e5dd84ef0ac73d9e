/*
 * pam_drac: the process that logs somebody in goes on as if it were not there:
 * its decision, descriptors, signals and threads.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>

#include "pam_world.h"

enum { ROUNDS = 25 };

static void never_decides(void **state)
{
	static const char *const names[] = {
	    "pam_sm_acct_mgmt",     "pam_sm_open_session",
	    "pam_sm_close_session", "pam_sm_authenticate",
	    "pam_sm_setcred",       "pam_sm_chauthtok",
	};
	void *loaded = dlopen(module, RTLD_NOW);
	const char *argv[2] = {"server=unix:/nowhere", "rubbish"};

	(void)state;
	assert_non_null(loaded);
	for (size_t i = 0; i < COUNT(names); i++)
		for (int argc = 0; argc <= 2; argc++) {
			int (*function)(pam_handle_t *, int, int,
					const char **);
			pam_handle_t *pamh = start("pop3", "joe", "192.0.2.1");

			*(void **)&function = dlsym(loaded, names[i]);
			assert_non_null(function);
			assert_int_equal(function(pamh, 0, argc, argv),
					 PAM_IGNORE);
			pam_end(pamh, PAM_SUCCESS);
		}
	assert_int_equal(dlclose(loaded), 0);
	/* A lookup that comes back late finds its code. */
	assert_non_null(dlopen(module, RTLD_NOW | RTLD_NOLOAD));
}

static size_t descriptors(void)
{
	DIR *dir;
	size_t count = 0;

	for (int i = 0; i < SLACK_MS && dracd.busy; i++)
		usleep(1000);
	dir = opendir("/proc/self/fd");
	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void leaves_nothing(void **state)
{
	static const enum manner manners[] = {ANSWERS, REFUSES, CLOSES,
					      SAYS_NOTHING};
	struct sigaction before[NSIG], after;
	sigset_t mask, mask_after;
	size_t count = descriptors();

	(void)state;
	for (int i = 1; i < SIGSYS; i++)
		sigaction(i, NULL, &before[i]);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	assert_true(before[SIGPIPE].sa_handler == SIG_DFL);
	for (size_t i = 0; i < COUNT(manners); i++) {
		dracd.manner = manners[i];
		login("pop3", "joe", "192.0.2.1");
	}
	for (int i = 1; i < SIGSYS; i++) {
		sigaction(i, NULL, &after);
		assert_true(before[i].sa_handler == after.sa_handler);
	}
	pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
	for (int i = 1; i < SIGSYS; i++)
		assert_int_equal(sigismember(&mask, i),
				 sigismember(&mask_after, i));
	assert_int_equal(descriptors(), count);
}

static void *log_in_often(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		login("pop3", "joe", "192.0.2.1");
	return arg;
}

static void many_threads(void **state)
{
	pthread_t thread[THREADS];

	(void)state;
#ifdef MEMCHECK
	print_message("not run: under memcheck, logins are given up\n");
	skip();
#endif
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&thread[i], NULL, log_in_often, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(dracd.calls, THREADS * ROUNDS);
	assert_int_equal(lines, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(never_decides, fresh),
	    cmocka_unit_test_setup(leaves_nothing, fresh),
	    cmocka_unit_test_setup(many_threads, fresh),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

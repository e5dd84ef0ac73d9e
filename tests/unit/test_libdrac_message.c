/* message: our texts are those that libtirpc would have made. */
#include "message.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* cmocka wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { STATUSES = 18, AUTH_STATUSES = 20 };

static struct rpc_err current;

static void give_error(CLIENT *client, struct rpc_err *error)
{
	(void)client;
	*error = current;
}

/* A CLIENT that has failed with `current`, which is all that is asked of it. */
static const char *libtirpc_call(void)
{
	struct clnt_ops ops = {.cl_geterr = give_error};
	CLIENT client = {.cl_ops = &ops};

	return clnt_sperror(&client, "call failed");
}

static const char *libtirpc_create(void)
{
	rpc_createerr.cf_stat = current.re_status;
	rpc_createerr.cf_error = current;
	return clnt_spcreateerror("some.host");
}

static void set(int status, int number)
{
	memset(&current, 0, sizeof current);
	current.re_status = (enum clnt_stat)status;
	current.re_errno = number;
}

static void every_status(void **state)
{
	(void)state;
	for (int status = 0; status < STATUSES; status++) {
		set(status, ECONNREFUSED);
		/* Ours never has this one; theirs adds another status. */
		if (status != RPC_PMAPFAILURE)
			assert_string_equal(
			    drac_message_create("some.host", &current),
			    libtirpc_create());
		assert_string_equal(drac_message_call("call failed", &current),
				    libtirpc_call());
	}
}

static void details(void **state)
{
	(void)state;
	for (int why = 0; why < AUTH_STATUSES; why++) {
		set(RPC_AUTHERROR, 0);
		current.re_why = (enum auth_stat)why;
		assert_string_equal(drac_message_call("call failed", &current),
				    libtirpc_call());
	}
	set(RPC_PROGVERSMISMATCH, 0);
	current.re_vers.low = 1;
	current.re_vers.high = 4294967295;
	assert_string_equal(drac_message_call("call failed", &current),
			    libtirpc_call());
	set(RPC_CANTSEND, 9999);
	assert_string_equal(drac_message_call("call failed", &current),
			    libtirpc_call());
}

static void long_text_is_cut(void **state)
{
	char prefix[4096];

	(void)state;
	memset(prefix, 'x', sizeof prefix - 1);
	prefix[sizeof prefix - 1] = '\0';
	set(RPC_UNKNOWNHOST, 0);
	assert_true(strlen(drac_message_create(prefix, &current)) < 1024);
}

static void *other_thread(void *unused)
{
	assert_string_equal(drac_message_last(), "");
	drac_message("theirs");
	return unused;
}

static void each_thread_has_its_own(void **state)
{
	pthread_t thread;

	(void)state;
	drac_message("mine");
	assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
	pthread_join(thread, NULL);
	assert_string_equal(drac_message_last(), "mine");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_status),
	    cmocka_unit_test(details),
	    cmocka_unit_test(long_text_is_cut),
	    cmocka_unit_test(each_thread_has_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

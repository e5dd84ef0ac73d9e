/*
 * message: one buffer a thread. The words of the statuses come from libtirpc;
 * what follows them is put together as its clnt_perror.c does, word for word,
 * because programs and administrators search logs for it.
 */
#include "message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_MAX = 512, DETAIL_MAX = 128 };

static _Thread_local char message[MESSAGE_MAX];

char *drac_message(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);
	return message;
}

char *drac_message_last(void)
{
	return message;
}

/* A copy: the text of a number that nobody knows is the thread's own. */
static const char *errno_text(int number, char buf[DETAIL_MAX])
{
	char scratch[DETAIL_MAX];

	snprintf(buf, DETAIL_MAX, "%s",
		 strerror_r(number, scratch, sizeof scratch));
	return buf;
}

static const char *auth_text(enum auth_stat why, char buf[DETAIL_MAX])
{
	static const char *const text[] = {
	    [AUTH_OK] = "Authentication OK",
	    [AUTH_BADCRED] = "Invalid client credential",
	    [AUTH_REJECTEDCRED] = "Server rejected credential",
	    [AUTH_BADVERF] = "Invalid client verifier",
	    [AUTH_REJECTEDVERF] = "Server rejected verifier",
	    [AUTH_TOOWEAK] = "Client credential too weak",
	    [AUTH_INVALIDRESP] = "Invalid server verifier",
	    [AUTH_FAILED] = "Failed (unspecified error)",
	};

	if ((size_t)why < sizeof text / sizeof *text)
		return text[why];
	snprintf(buf, DETAIL_MAX, "(unknown authentication error - %d)",
		 (int)why);
	return buf;
}

char *drac_message_create(const char *prefix, const struct rpc_err *error)
{
	char detail[DETAIL_MAX];
	const char *text = clnt_sperrno(error->re_status);

	if (error->re_status == RPC_SYSTEMERROR)
		return drac_message("%s: %s - %s", prefix, text,
				    errno_text(error->re_errno, detail));
	return drac_message("%s: %s", prefix, text);
}

char *drac_message_call(const char *prefix, const struct rpc_err *error)
{
	char detail[DETAIL_MAX];
	const char *text = clnt_sperrno(error->re_status);

	switch (error->re_status) {
	case RPC_CANTSEND:
	case RPC_CANTRECV:
		return drac_message("%s: %s; errno = %s", prefix, text,
				    errno_text(error->re_errno, detail));
	case RPC_VERSMISMATCH:
	case RPC_PROGVERSMISMATCH:
		return drac_message("%s: %s; low version = %u, "
				    "high version = %u",
				    prefix, text,
				    (unsigned int)error->re_vers.low,
				    (unsigned int)error->re_vers.high);
	case RPC_AUTHERROR:
		return drac_message("%s: %s; why = %s", prefix, text,
				    auth_text(error->re_why, detail));
	default:
		return drac_message("%s: %s", prefix, text);
	}
}

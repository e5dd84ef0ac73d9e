/*
 * message: the text of this thread's last failure, in the words of libtirpc.
 * Its own clnt_sperror(3) cannot be used: all threads share its buffer.
 */
#ifndef LIBDRAC_MESSAGE_H
#define LIBDRAC_MESSAGE_H

#include <rpc/rpc.h>

/* All return the text, which lasts until the thread's next one. */
char *drac_message(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
/* As clnt_spcreateerror(3): no server was found. */
char *drac_message_create(const char *prefix, const struct rpc_err *error);
/* As clnt_sperror(3): the call failed. */
char *drac_message_call(const char *prefix, const struct rpc_err *error);
/* What was said last; "" at first. */
char *drac_message_last(void);

#endif

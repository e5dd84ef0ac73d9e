/*
 * say: what goes to standard error, and text from outside made fit to be
 * printed: a server must not be able to send escapes to a terminal.
 */
#ifndef DRACCTL_SAY_H
#define DRACCTL_SAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drac.h"

enum { SAY_SPAN_SIZE = 24, SAY_TIME_SIZE = 32 };

/* "dracctl: ..." and a newline. */
__attribute__((format(printf, 1, 2))) void say_error(const char *format, ...);

/*
 * Strings of the entry that are not UTF-8 without control characters, as no
 * dracd sends them, become ASCII with a ? for every byte that is neither.
 */
void say_clean(char *text);
void say_clean_entry(struct drac_entry *entry);

/* "45s", "29m12s", "2h05m", "3d04h"; "0s" when it is not positive. */
const char *say_span(int64_t span_s, char out[SAY_SPAN_SIZE]);
/* "2026-11-22 04:25:48", local time. */
const char *say_time(int64_t time_s, char out[SAY_TIME_SIZE]);

#endif

/* trial: --test: what a log would have authorized. Contacts nobody. */
#ifndef WATCH_TRIAL_H
#define WATCH_TRIAL_H

#include "patterns.h"

/*
 * Prints a line for each login in file, and a summary. The exit status:
 * EX_OK, 1 without a login, EX_NOINPUT when the file cannot be read.
 */
int trial_run(const char *file, const struct patterns *patterns);

#endif

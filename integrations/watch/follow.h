/*
 * follow: the log file that has a certain name, over rotation: by renaming,
 * by copying and truncating, while we look and while we do not.
 */
#ifndef WATCH_FOLLOW_H
#define WATCH_FOLLOW_H

#include <jansson.h>
#include <stdbool.h>

#include "tail.h"

struct follow;

/*
 * saved: what follow_save() gave, or NULL: from now on. path need not be there
 * yet. NULL: no memory.
 */
struct follow *follow_open(const char *path, const json_t *saved, tail_fn *fn,
			   void *ctx);
void follow_close(struct follow *follow);

/* Readable when something may have happened; -1: look once a second. */
int follow_fd(const struct follow *follow);
/* Gives some of what is new. True: there may be more. */
bool follow_read(struct follow *follow);

json_t *follow_save(const struct follow *follow);

#endif

/*
 * state: how far each source has been read, in one file over restarts. It is
 * written after dracd has answered, so that nothing is lost; who is told twice
 * of a login gives it no more time.
 */
#ifndef WATCH_STATE_H
#define WATCH_STATE_H

#include <jansson.h>
#include <stdbool.h>

/*
 * An object: a member for each source. An empty one if there is no file, or
 * one that is none (logged): then every source begins now. NULL after logging:
 * the file is there and cannot be read.
 */
json_t *state_load(const char *file);

/* Replaces the file at once or not at all. False: errno. */
bool state_save(const char *file, const json_t *state);

#endif

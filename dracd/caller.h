/*
 * caller: who asks, in 16 bytes: an internet address, or the user of a process
 * of this host, or (zeros) nobody knows. And a list of callers, so that an
 * entry needs two bytes for its own.
 */
#ifndef DRACD_CALLER_H
#define DRACD_CALLER_H

#include <stdint.h>

#include "address.h"

enum { CALLER_TEXT_MAX = ADDRESS_TEXT_MAX };

struct address caller_local(uint32_t uid);
/* "192.0.2.1", "local uid=65" or ""; returns buf. */
const char *caller_text(const struct address *caller,
			char buf[CALLER_TEXT_MAX]);

struct callers;

enum { CALLER_UNKNOWN = 0 };

struct callers *callers_create(void); /* NULL: out of memory */
void callers_free(struct callers *callers);
/*
 * Its number, to be given back with callers_drop(). CALLER_UNKNOWN when there
 * is no memory or there are 65,535 others.
 */
uint16_t callers_take(struct callers *callers, const struct address *caller);
void callers_drop(struct callers *callers, uint16_t number);
const struct address *callers_at(const struct callers *callers,
				 uint16_t number);

#endif

/* text: strings from outside. */
#ifndef DRACD_TEXT_H
#define DRACD_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Whether it is UTF-8 (RFC 3629) without control characters (C0, DEL, C1). */
bool text_is_clean(const char *text, size_t len);

#endif

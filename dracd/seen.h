/*
 * seen: the signed calls of one key that have come within the clock window,
 * so that none is carried out twice. A call is known by its nonce.
 *
 * It holds SEEN_MAX calls. When there are more, the oldest second's go, and
 * what is as old as they were is refused from then on: the window becomes
 * shorter for this key, nothing is ever taken twice, and fresh calls go on.
 */
#ifndef DRACD_SEEN_H
#define DRACD_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sign.h"

enum {
	SEEN_MAX = 65536,    /* calls; 9 MB when all are there */
	SEEN_REPLY_MAX = 72, /* the longest answer to a change, signed */
};

struct seen;

enum seen_verdict {
	SEEN_NEW,
	SEEN_READ,     /* again; it changed nothing */
	SEEN_HELD,     /* again; not answered yet */
	SEEN_ANSWERED, /* again; the answer is at hand */
	SEEN_FORGED,   /* its nonce belongs to another call */
	SEEN_STALE,    /* outside the clock window */
};

/* NULL: no memory. */
struct seen *seen_create(void);
void seen_free(struct seen *seen);

/*
 * A call whose MAC is right. SEEN_ANSWERED: *reply and *len are its answer,
 * valid until the next call of a function here.
 */
enum seen_verdict seen_call(struct seen *seen,
			    const struct drac_sign_credential *credential,
			    const uint8_t mac[DRAC_SIGN_MAC], int64_t now_s,
			    const void **reply, size_t *len);
/* The call is carried out later, unless it has been answered meanwhile. */
void seen_held(struct seen *seen, const uint8_t nonce[DRAC_SIGN_NONCE]);
/* The answer to a change. What is too long, or not known, is passed over. */
void seen_answered(struct seen *seen, const uint8_t nonce[DRAC_SIGN_NONCE],
		   const void *reply, size_t len);

#endif

/*
 * seen: see seen.h. A hash by nonce, and a list for each second that a call
 * may claim to be of. The hash is mixed with a number that callers cannot
 * know. Knows neither keys nor messages.
 */
#include "seen.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
	NONE = UINT16_MAX + 1, /* end of a chain; slots are below */
	SECONDS = 1024,        /* a power of two above twice the window */
};
_Static_assert((int)SEEN_MAX <= (int)NONE,
	       "a slot's number is below the end's");
_Static_assert(2 * (int)DRAC_SIGN_WINDOW_S < (int)SECONDS,
	       "no two share a list");

struct slot {
	uint8_t nonce[DRAC_SIGN_NONCE];
	uint8_t mac[DRAC_SIGN_MAC];
	uint32_t next_in_hash;
	uint32_t next_in_second; /* or on the free list */
	uint8_t state;           /* enum seen_verdict */
	uint8_t len;
	uint8_t reply[SEEN_REPLY_MAX];
};

struct seen {
	uint64_t mix;
	int64_t oldest_s; /* what is older is refused */
	int64_t latest_s; /* the clock's highest reading */
	int64_t newest_s; /* the highest time of a call that was taken */
	uint32_t free;
	uint32_t touched; /* slots from here on have never been used */
	uint32_t second[SECONDS];
	uint32_t hash[SEEN_MAX];
	struct slot slot[SEEN_MAX];
};

static void clear(struct seen *seen, int64_t now_s)
{
	seen->oldest_s = now_s - DRAC_SIGN_WINDOW_S;
	seen->latest_s = now_s;
	seen->free = NONE;
	seen->touched = 0;
	for (size_t i = 0; i < SECONDS; i++)
		seen->second[i] = NONE;
	for (size_t i = 0; i < SEEN_MAX; i++)
		seen->hash[i] = NONE;
}

struct seen *seen_create(void)
{
	/* Pages of slots that are never used cost nothing. */
	struct seen *seen = calloc(1, sizeof *seen);

	if (seen == NULL)
		return NULL;
	if (getrandom(&seen->mix, sizeof seen->mix, GRND_NONBLOCK) !=
	    sizeof seen->mix)
		seen->mix = (uintptr_t)seen;
	clear(seen, 0);
	return seen;
}

void seen_free(struct seen *seen)
{
	free(seen);
}

/* ---- finding ---------------------------------------------------------------
 */

static uint32_t *chain(struct seen *seen, const uint8_t *nonce)
{
	uint64_t word[2];

	memcpy(word, nonce, sizeof word);
	word[0] = (word[0] ^ seen->mix) * UINT64_C(0x9e3779b97f4a7c15);
	word[0] = (word[0] ^ word[1] ^ word[0] >> 32) * (seen->mix | 1);
	return &seen->hash[(word[0] >> 32) % SEEN_MAX];
}

static struct slot *find(struct seen *seen, const uint8_t *nonce)
{
	uint32_t i = *chain(seen, nonce);

	while (i != NONE &&
	       memcmp(seen->slot[i].nonce, nonce, DRAC_SIGN_NONCE) != 0)
		i = seen->slot[i].next_in_hash;
	return i == NONE ? NULL : &seen->slot[i];
}

/* ---- coming and going ------------------------------------------------------
 */

static uint32_t *list_of(struct seen *seen, int64_t second_s)
{
	return &seen->second[second_s & (SECONDS - 1)];
}

static void forget(struct seen *seen, uint32_t slot)
{
	uint32_t *at = chain(seen, seen->slot[slot].nonce);

	while (*at != slot)
		at = &seen->slot[*at].next_in_hash;
	*at = seen->slot[slot].next_in_hash;
	seen->slot[slot].next_in_second = seen->free;
	seen->free = slot;
}

/* All calls of the oldest second; they are too old from now on. */
static void forget_second(struct seen *seen)
{
	uint32_t *list = list_of(seen, seen->oldest_s++);

	while (*list != NONE) {
		uint32_t slot = *list;

		*list = seen->slot[slot].next_in_second;
		forget(seen, slot);
	}
}

static void follow_clock(struct seen *seen, int64_t now_s)
{
	int64_t gone_s = now_s - DRAC_SIGN_WINDOW_S - seen->oldest_s;

	/*
	 * A clock that was set back so far (or that we see for the first time)
	 * makes another window; so does one that jumps over the whole of it.
	 * What was taken before has been forgotten, and must not come again.
	 */
	if (now_s < seen->latest_s - DRAC_SIGN_WINDOW_S || gone_s > SECONDS) {
		clear(seen, now_s);
		if (seen->oldest_s <= seen->newest_s)
			seen->oldest_s = seen->newest_s + 1;
		return;
	}
	if (now_s > seen->latest_s)
		seen->latest_s = now_s;
	for (; gone_s > 0; gone_s--)
		forget_second(seen);
}

/* Makes room; NONE when that makes the call itself too old. */
static uint32_t new_slot(struct seen *seen, int64_t time_s)
{
	uint32_t slot;

	if (seen->free == NONE && seen->touched < SEEN_MAX)
		return seen->touched++;
	while (seen->free == NONE && seen->oldest_s <= time_s)
		forget_second(seen);
	if (seen->oldest_s > time_s)
		return NONE;
	slot = seen->free;
	seen->free = seen->slot[slot].next_in_second;
	return slot;
}

static enum seen_verdict insert(struct seen *seen,
				const struct drac_sign_credential *credential,
				const uint8_t *mac)
{
	uint32_t slot = new_slot(seen, credential->time_s);
	uint32_t *hash = chain(seen, credential->nonce);
	uint32_t *second = list_of(seen, credential->time_s);

	if (slot == NONE)
		return SEEN_STALE;
	memcpy(seen->slot[slot].nonce, credential->nonce, DRAC_SIGN_NONCE);
	memcpy(seen->slot[slot].mac, mac, DRAC_SIGN_MAC);
	if (credential->time_s > seen->newest_s)
		seen->newest_s = credential->time_s;
	seen->slot[slot].state = SEEN_READ;
	seen->slot[slot].len = 0;
	seen->slot[slot].next_in_hash = *hash;
	seen->slot[slot].next_in_second = *second;
	*hash = *second = slot;
	return SEEN_NEW;
}

/* ---- the door --------------------------------------------------------------
 */

enum seen_verdict seen_call(struct seen *seen,
			    const struct drac_sign_credential *credential,
			    const uint8_t mac[DRAC_SIGN_MAC], int64_t now_s,
			    const void **reply, size_t *len)
{
	const struct slot *known;

	follow_clock(seen, now_s);
	if (credential->time_s > now_s + DRAC_SIGN_WINDOW_S ||
	    credential->time_s < seen->oldest_s)
		return SEEN_STALE;
	known = find(seen, credential->nonce);
	if (known == NULL)
		return insert(seen, credential, mac);
	if (memcmp(known->mac, mac, DRAC_SIGN_MAC) != 0)
		return SEEN_FORGED;
	*reply = known->reply;
	*len = known->len;
	return (enum seen_verdict)known->state;
}

void seen_held(struct seen *seen, const uint8_t nonce[DRAC_SIGN_NONCE])
{
	struct slot *slot = find(seen, nonce);

	if (slot != NULL && slot->state == SEEN_READ)
		slot->state = SEEN_HELD;
}

void seen_answered(struct seen *seen, const uint8_t nonce[DRAC_SIGN_NONCE],
		   const void *reply, size_t len)
{
	struct slot *slot = find(seen, nonce);

	if (slot == NULL || len > SEEN_REPLY_MAX)
		return;
	memcpy(slot->reply, reply, len);
	slot->len = (uint8_t)len;
	slot->state = SEEN_ANSWERED;
}

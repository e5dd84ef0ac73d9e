/*
 * caller: see caller.h. A local one is written as a multicast address, which
 * no caller has, with the uid in its last bytes.
 */
#include "caller.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	UID_AT = 12,
	LOCAL_BYTE = 0xff, /* before the uid */
	BUCKETS = 1024,
};

struct slot {
	struct address caller;
	uint32_t users; /* 0: free */
	uint16_t next;  /* in its bucket, or among the free */
};

struct callers {
	struct slot *slot; /* slot 0 is CALLER_UNKNOWN */
	uint32_t used, room;
	uint16_t free;
	uint16_t bucket[BUCKETS];
};

struct address caller_local(uint32_t uid)
{
	struct address caller;
	memset(caller.byte, LOCAL_BYTE, sizeof(caller.byte));
	uid = htonl(uid);
	memcpy(caller.byte + UID_AT, &uid, sizeof(uid));
	return caller;
}

const char *caller_text(const struct address *caller, char buf[CALLER_TEXT_MAX])
{
	static const struct address unknown;
	buf[0] = '\0';
	if (address_equal(caller, &unknown))
		return buf;
	if (caller->byte[0] != LOCAL_BYTE)
		return address_text(caller, buf);
	uint32_t uid;
	memcpy(&uid, caller->byte + UID_AT, sizeof(uid));
	snprintf(buf, CALLER_TEXT_MAX, "local uid=%u", ntohl(uid));
	return buf;
}

/* ---- the list ------------------------------------------------------------ */

struct callers *callers_create(void)
{
	struct callers *callers = calloc(1, sizeof(*callers));
	if (callers == NULL)
		return NULL;
	callers->room = 16;
	callers->used = 1;
	callers->slot = calloc(callers->room, sizeof(*callers->slot));
	if (callers->slot != NULL)
		return callers;
	free(callers);
	return NULL;
}

void callers_free(struct callers *callers)
{
	if (callers == NULL)
		return;
	free(callers->slot);
	free(callers);
}

/* Who may call is not chosen by strangers: no key is needed. */
static uint16_t *bucket_of(struct callers *callers,
			   const struct address *caller)
{
	return &callers->bucket[address_hash(caller) % BUCKETS];
}

/* A free slot, or CALLER_UNKNOWN. */
static uint16_t slot_get(struct callers *callers)
{
	uint16_t number = callers->free;
	if (number != CALLER_UNKNOWN) {
		callers->free = callers->slot[number].next;
		return number;
	}
	if (callers->used > UINT16_MAX)
		return CALLER_UNKNOWN;
	if (callers->used == callers->room) {
		struct slot *grown = reallocarray(
		    callers->slot, 2 * (size_t)callers->room, sizeof(*grown));
		if (grown == NULL)
			return CALLER_UNKNOWN;
		callers->slot = grown;
		callers->room *= 2;
	}
	return (uint16_t)callers->used++;
}

uint16_t callers_take(struct callers *callers, const struct address *caller)
{
	uint16_t *bucket = bucket_of(callers, caller), number = *bucket;
	if (address_equal(caller, &callers->slot[CALLER_UNKNOWN].caller))
		return CALLER_UNKNOWN;
	while (number != CALLER_UNKNOWN &&
	       !address_equal(&callers->slot[number].caller, caller))
		number = callers->slot[number].next;
	if (number == CALLER_UNKNOWN) {
		number = slot_get(callers);
		if (number == CALLER_UNKNOWN)
			return CALLER_UNKNOWN;
		callers->slot[number] =
		    (struct slot){.caller = *caller, .next = *bucket};
		*bucket = number;
	}
	callers->slot[number].users++;
	return number;
}

void callers_drop(struct callers *callers, uint16_t number)
{
	struct slot *slot = &callers->slot[number];
	if (number == CALLER_UNKNOWN || --slot->users > 0)
		return;
	uint16_t *link = bucket_of(callers, &slot->caller);
	while (*link != number)
		link = &callers->slot[*link].next;
	*link = slot->next;
	slot->next = callers->free;
	callers->free = number;
}

const struct address *callers_at(const struct callers *callers, uint16_t number)
{
	return &callers->slot[number].caller;
}

/*
 * users: the slots of each user's entries, the one whose last add is longest
 * ago first. Only for the table, and only when max-addresses-per-user is set.
 */
#ifndef DRACD_USERS_H
#define DRACD_USERS_H

#include <stdbool.h>
#include <stdint.h>

struct users;

struct users *users_create(void); /* NULL: out of memory */
void users_free(struct users *users);

/* Room for the slot; it must be there before users_join(). */
bool users_reserve(struct users *users, uint32_t slot);
/*
 * The slot, which is no user's, becomes this one's, behind those with an
 * earlier last_s. Quick for the latest. False: out of memory.
 */
bool users_join(struct users *users, uint32_t slot, const char *user,
		uint32_t last_s);
/* It is no user's any more; nothing if it was none's. */
void users_leave(struct users *users, uint32_t slot);

/* The wall clock was set: the last adds of all slots below `slots` move. */
void users_step(struct users *users, uint32_t slots, int64_t step_s);

/* 0: no more. */
uint32_t users_first(struct users *users, const char *user);
uint32_t users_next(const struct users *users, uint32_t slot);

#endif

/*
 * loop: descriptors and what to call when they are ready (epoll). It knows
 * nothing of what they are for.
 */
#ifndef DRACD_LOOP_H
#define DRACD_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* Embedded in its owner; fd and ready are set by the owner. */
struct watch {
	int fd;
	void (*ready)(struct watch *watch, uint32_t events);
};

struct loop;

struct loop *loop_create(void); /* NULL: errno */
void loop_free(struct loop *loop);

/* events: EPOLLIN. False: errno. */
bool loop_add(struct loop *loop, struct watch *watch, uint32_t events);
/* No call for it comes after one of these; the second closes its fd, too. */
void loop_remove(struct loop *loop, struct watch *watch);
void loop_close(struct loop *loop, struct watch *watch);

/* Waits until something is ready; returns how many, 0 after timeout_ms. */
int loop_wait(struct loop *loop, int timeout_ms);
/* Calls ready() of all that loop_wait() has found. */
void loop_dispatch(struct loop *loop);

#endif

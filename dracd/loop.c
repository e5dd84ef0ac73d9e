/* loop: see loop.h. Owns the epoll descriptor and the events of one pass. */
#include "loop.h"

#include <stdlib.h>
#include <unistd.h>

enum { EVENTS_MAX = 256 };

struct loop {
	int fd;
	int count, next; /* of the pass under way */
	struct epoll_event event[EVENTS_MAX];
};

struct loop *loop_create(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	if (loop == NULL)
		return NULL;
	loop->fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->fd >= 0)
		return loop;
	free(loop);
	return NULL;
}

void loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	close(loop->fd);
	free(loop);
}

bool loop_add(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};
	return epoll_ctl(loop->fd, EPOLL_CTL_ADD, watch->fd, &event) == 0;
}

/* What this pass has found of it is not told any more. */
static void forget(struct loop *loop, const struct watch *watch)
{
	for (int i = loop->next; i < loop->count; i++)
		if (loop->event[i].data.ptr == watch)
			loop->event[i].data.ptr = NULL;
}

void loop_remove(struct loop *loop, struct watch *watch)
{
	epoll_ctl(loop->fd, EPOLL_CTL_DEL, watch->fd, NULL);
	forget(loop, watch);
}

/* epoll(7): a descriptor that has no copy leaves the set when it is closed. */
void loop_close(struct loop *loop, struct watch *watch)
{
	close(watch->fd);
	forget(loop, watch);
}

int loop_wait(struct loop *loop, int timeout_ms)
{
	int count = epoll_wait(loop->fd, loop->event, EVENTS_MAX, timeout_ms);
	loop->count = count < 0 ? 0 : count;
	loop->next = 0;
	return loop->count;
}

void loop_dispatch(struct loop *loop)
{
	while (loop->next < loop->count) {
		const struct epoll_event *event = &loop->event[loop->next++];
		struct watch *watch = event->data.ptr;
		if (watch != NULL)
			watch->ready(watch, event->events);
	}
}

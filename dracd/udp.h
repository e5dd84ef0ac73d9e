/*
 * udp: one datagram socket. Reads up to UDP_BATCH calls a pass and sends the
 * answers of a pass together. A datagram's source is judged before it is
 * decoded, and it is decoded within its own length.
 */
#ifndef DRACD_UDP_H
#define DRACD_UDP_H

#include <stdbool.h>

#include "loop.h"
#include "service.h"

enum { UDP_BATCH = 64 };

struct udp;

/*
 * Takes the bound socket over. wildcard: bound to every address, so that the
 * answer must name the one that was asked. NULL: errno, fd is closed.
 */
struct udp *udp_open(struct loop *loop, struct service *service, int fd,
		     bool wildcard);
void udp_close(struct udp *udp);
/* At the end of each pass. */
void udp_flush(struct udp *udp);

#endif

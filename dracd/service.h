/*
 * service: the procedures of all versions: arguments decoded and checked, who
 * may call them, and the results encoded. What changes an entry goes to the
 * turn; what only reads is answered from the table.
 */
#ifndef DRACD_SERVICE_H
#define DRACD_SERVICE_H

#include <rpc/rpc.h>

#include "access.h"
#include "config.h"
#include "rpc.h"
#include "stats.h"
#include "table.h"
#include "turn.h"

struct service {
	const struct config *config;
	struct access *access;
	const struct keys *keys;
	struct table *table;
	struct turn *turn;
	struct stats *stats;
	struct audit *audit;
	int64_t now_s;  /* of this pass */
	uint64_t calls; /* handled, to see whether a pass was idle */
};

/* What became of a call. */
enum service_result {
	SERVICE_REPLIED, /* results are encoded */
	SERVICE_HELD,    /* origin->send() comes later */
	SERVICE_NO_VERSION,
	SERVICE_NO_PROCEDURE,
	SERVICE_BAD_ARGUMENTS,
	SERVICE_FAILED,
};

/*
 * Calls a procedure: arguments from `in`, results to `out`. A call that is
 * held (SERVICE_HELD) is answered through a copy of its origin.
 */
enum service_result service_call(struct service *service, uint32_t version,
				 uint32_t procedure, XDR *in, XDR *out,
				 struct origin *origin);

/* A caller that access.h refuses: counted, and logged now and then. */
void service_deny_caller(struct service *service, const struct origin *origin,
			 const char *reason);

/* Decodes an address of version 3 of *len bytes, checked by nobody yet. */
bool service_address(XDR *in, uint8_t byte[16], u_int *len);

/* turn_answer() for turn_create(): encodes and sends what was held. */
void service_answer(const struct request *request, enum outcome outcome,
		    int64_t expiry_s);

#endif

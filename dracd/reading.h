/*
 * reading: the procedures of version 3 that change nothing: query, list,
 * statistics, events. Who may call them is not who may write: read-allow of
 * dracd.conf(5).
 */
#ifndef DRACD_READING_H
#define DRACD_READING_H

#include "service.h"

/* SERVICE_NO_PROCEDURE for one that does not read. */
enum service_result reading_call(struct service *service, uint32_t procedure,
				 XDR *in, XDR *out,
				 const struct origin *origin);

#endif

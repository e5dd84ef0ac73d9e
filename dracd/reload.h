/*
 * reload: what a changed dracd.conf(5) changes in a daemon that serves, and
 * what it does not.
 */
#ifndef DRACD_RELOAD_H
#define DRACD_RELOAD_H

#include "service.h"

/*
 * Takes from fresh what can be taken; what needs a restart is logged. config
 * is the service's. What is left in fresh is still the caller's to free.
 */
void reload_apply(struct service *service, struct config *config,
		  struct config *fresh);

#endif

/*
 * validate: each value of dracd.conf(5) is checked while it is read, where it
 * stands, so that a message can name the line. Only for config.c.
 */
#ifndef DRACD_VALIDATE_H
#define DRACD_VALIDATE_H

#include <confuse.h>

/* Sets a function for every setting of the parser that needs one. */
void validate_all(cfg_t *cfg);

#endif

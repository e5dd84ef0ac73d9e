/*
 * verb: what dracctl can do, one function each. They return the exit status
 * and have said what failed.
 */
#ifndef DRACCTL_VERB_H
#define DRACCTL_VERB_H

#include "options.h"
#include "talk.h"

int verb_list(struct talk *talk, const struct options *options);
int verb_query(struct talk *talk, const struct options *options);

int verb_add(struct talk *talk, const struct options *options);
int verb_remove(struct talk *talk, const struct options *options);
int verb_flush(struct talk *talk, const struct options *options);

int verb_stats(struct talk *talk, const struct options *options);
int verb_ping(struct talk *talk, const struct options *options);
int verb_watch(struct talk *talk, const struct options *options);

int verb_export(struct talk *talk, const struct options *options);
int verb_import(struct talk *talk, const struct options *options);

#endif

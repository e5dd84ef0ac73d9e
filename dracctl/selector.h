/*
 * selector: which entries are meant. It looks at one entry at a time and
 * knows no server.
 */
#ifndef DRACCTL_SELECTOR_H
#define DRACCTL_SELECTOR_H

#include <netinet/in.h>
#include <stdbool.h>

#include "drac.h"

struct selector {
	/* Whole strings, not parts; NULL: any. They stay the caller's. */
	const char *user, *service, *caller;
	/* Set by selector_parse(); IPv4 addresses are v4-mapped. */
	bool has_prefix, is_v4;
	struct in6_addr net;
	unsigned int bits;
};

/*
 * Takes "192.0.2.7", "192.0.2.0/24", "2001:db8::/32" into the selector. NULL,
 * or what is wrong with the text.
 */
const char *selector_parse(struct selector *selector, const char *text);
bool selector_matches(const struct selector *selector,
		      const struct drac_entry *entry);

#endif

/*
 * mailclient: which address does the mail client come from, and who is it? For
 * pam_drac, dracexec, dracwatch and dracctl. Numeric only, never a name lookup:
 * a login must not wait.
 */
#ifndef INTEGRATIONS_MAILCLIENT_H
#define INTEGRATIONS_MAILCLIENT_H

#include <stdbool.h>

#include "drac.h"

/*
 * Each writes the address as RFC 5952 text, a v4-mapped one (::ffff:192.0.2.1)
 * as IPv4, and returns true; false: there is none, out is "".
 */

/* text: NULL, or what should be a numeric address. */
bool mailclient_from_text(const char *text, char out[DRAC_ADDRESS_SIZE]);
/* The other end of a connected TCP socket. */
bool mailclient_from_peer(int fd, char out[DRAC_ADDRESS_SIZE]);

/*
 * name, or NULL if version 3 cannot carry it (longer than max bytes, control
 * characters, not UTF-8): nobody's fault, so the address is sent without it.
 */
const char *mailclient_name(const char *name, size_t max);

#endif

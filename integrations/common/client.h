/*
 * client: which address does the mail client come from? For hooks that run in
 * a login, pam_drac and dracexec. Numeric only, never a name lookup: it must
 * not wait.
 */
#ifndef INTEGRATIONS_CLIENT_H
#define INTEGRATIONS_CLIENT_H

#include <stdbool.h>

#include "drac.h"

/*
 * Each writes the address as RFC 5952 text, a v4-mapped one (::ffff:192.0.2.1)
 * as IPv4, and returns true; false: there is none, out is "".
 */

/* text: NULL, or what should be a numeric address. */
bool client_from_text(const char *text, char out[DRAC_ADDRESS_SIZE]);
/* The other end of a connected TCP socket. */
bool client_from_peer(int fd, char out[DRAC_ADDRESS_SIZE]);

#endif

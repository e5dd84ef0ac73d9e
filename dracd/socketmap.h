/*
 * socketmap: lookups as sendmail (op.me, "socket" maps) and Postfix
 * (socketmap_table(5)) ask them: a netstring with the map's name, a blank and
 * the key, answered by a netstring. Reads bytes that strangers may send; opens
 * and closes nothing, and changes nothing but counters.
 *
 * sendmail crashes at a bare "OK", and an empty value means trouble to Postfix
 * and no to sendmail: the value is always the expiry, as in the map files.
 */
#ifndef DRACD_SOCKETMAP_H
#define DRACD_SOCKETMAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "service.h"

enum {
	/* Bytes of "NAME KEY": a map's name and a host's are shorter. */
	SOCKETMAP_REQUEST_MAX = 512,
	SOCKETMAP_RECORD_MAX = SOCKETMAP_REQUEST_MAX + sizeof("512:,") - 1,
	SOCKETMAP_REPLY_MAX = sizeof("22:OK 9223372036854775807,"),
};

/*
 * The length of the netstring that in begins with, its frame included; 0: not
 * whole yet; -1: it can become none, or a longer one than is served.
 */
ssize_t socketmap_record(const uint8_t *in, size_t len);
/*
 * The address that a whole netstring asks for; false: its key is none. IPv6
 * may have sendmail's "IPv6:" before it, in any case.
 */
bool socketmap_address(const uint8_t *record, size_t len,
		       struct address *address);
/*
 * The answer to a whole netstring: "OK expiry" or "NOTFOUND " as a netstring
 * in out. Returns its length.
 */
size_t socketmap_answer(struct service *service, const uint8_t *record,
			size_t len, char out[SOCKETMAP_REPLY_MAX]);

#endif

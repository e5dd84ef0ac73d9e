/*
 * access: who may ask for authorizations, and who may read. dracd.allow (or, to
 * read, this host's addresses and read-allow) first, then
 * hosts_access(5), both needed; for unix callers their credentials. Never
 * looks a name up, never blocks; verdicts are cached.
 */
#ifndef DRACD_ACCESS_H
#define DRACD_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "address.h"

struct access;
struct keys;
struct origin;

/* Why a caller by a unix socket is denied, for the log. */
#define ACCESS_NOT_A_MEMBER "neither root nor of the daemon's user or group"

/*
 * allow_file: dracd.allow(5). A missing file permits the addresses of this
 * host only. Returns NULL after logging file:line for a bad or unreadable
 * file; the message says what a right line looks like. keys: those that the
 * file may name; it must live as long as this, and may be NULL for none.
 */
struct access *access_open(const char *allow_file, bool hosts_access,
			   const struct keys *keys);
void access_close(struct access *access);

/*
 * Reads the allow file again and forgets all verdicts (SIGHUP). On error the
 * old list stays, the error is logged, and false is returned.
 */
bool access_reload(struct access *access);
/*
 * Once a second: forgets all verdicts when hosts.allow, hosts.deny or this
 * host's addresses have changed, and re-reads the allow file when it has.
 */
void access_refresh(struct access *access);

/* read-allow: the list stays the caller's, until another is set. */
void access_set_readers(struct access *access, const struct prefix *readers,
			size_t count);

/* Whether one of the lists names a host other than this one (what to listen
 * on). */
bool access_names_others(const struct access *access);

/*
 * The verdict for a call of an internet caller, put into origin->allowed and
 * ->denial; a few nanoseconds when cached.
 */
void access_unsigned(struct access *access, struct origin *origin);
/* The same once more when the call is found to be signed, by origin->key. */
void access_signed(struct access *access, struct origin *origin);
/*
 * Why one who only reads may not; NULL: he may. Another host than this one
 * only where its address cannot be forged: by TCP, or signed.
 */
const char *access_reading_denial(struct access *access,
				  const struct origin *origin);

/*
 * A verdict for the peer of a connected AF_UNIX socket: root, the daemon's
 * own user, and members of its group (primary or supplementary). uid: who that
 * is; UINT32_MAX, which nobody has, when the kernel does not say.
 */
bool access_unix_peer(int fd, uid_t *uid);

#endif

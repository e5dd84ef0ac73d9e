/*
 * sign: signed calls and answers, and the secrets they are signed with. Used
 * by the library and by the daemon: what is written here is the protocol.
 *
 * A signed call is an ONC RPC call (RFC 5531) of any version and procedure of
 * program 900101. Integers are in network order.
 *
 *   credential
 *     flavor       0x20d7ac01
 *     scheme       4 bytes: 1, HMAC-SHA-256
 *     time         8 bytes: seconds since the Epoch, below 2^63
 *     nonce        16 bytes: random, another one each call
 *     name length  4 bytes: 1 to 64
 *     name         A-Z a-z 0-9 . _ -
 *     padding      0 to 3 zero bytes, up to a multiple of 4
 *   verifier
 *     flavor       0x20d7ac01
 *     MAC          32 bytes
 *
 * The MAC of a call is HMAC-SHA-256, with the secret as the key, of the whole
 * message from the xid to the last byte of the arguments, with the 32 bytes of
 * the MAC itself as zeros. So it covers xid, program, version, procedure,
 * time, nonce, name and arguments. A record mark is not part of a message.
 *
 * An accepted reply to it (also one with an error, such as PROG_MISMATCH) has
 * a verifier of the same form. Its MAC is computed in the same way over the
 * reply, from the xid to the last byte of the results, with the reply key:
 * HMAC-SHA-256, with the secret as the key, of the 10 bytes "drac reply" and
 * the 32 bytes of the call's MAC. A denied reply has no verifier in RFC 5531
 * and is never signed.
 *
 * The secret is the characters of its text as they are; nothing is decoded.
 *
 * libcrypto is loaded when the first secret is read: a program that has no
 * key has no part of it.
 */
#ifndef LIBDRAC_SIGN_H
#define LIBDRAC_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DRAC_SIGN_FLAVOR 0x20d7ac01
/* Without a path of its own, libdrac looks here. */
#define DRAC_SIGN_FILE "/etc/mail/drac.key"

enum {
	DRAC_SIGN_SCHEME = 1,
	DRAC_SIGN_NONCE = 16,
	DRAC_SIGN_MAC = 32,
	DRAC_SIGN_NAME_MAX = 64,
	DRAC_SIGN_NAME_AT = 4 + 8 + DRAC_SIGN_NONCE + 4,
	DRAC_SIGN_CREDENTIAL_MAX = DRAC_SIGN_NAME_AT + DRAC_SIGN_NAME_MAX,
	DRAC_SIGN_WINDOW_S = 300, /* clocks may differ by so much */
	/* Of an accepted reply: its verifier's length, its verifier's body. */
	DRAC_SIGN_REPLY_MAC_AT = 20,
	DRAC_SIGN_SECRET_MIN = 32,
	DRAC_SIGN_SECRET_MAX = 512,
	DRAC_SIGN_FAULT_MAX = 256,
};

struct drac_sign_key {
	char name[DRAC_SIGN_NAME_MAX + 1]; /* "": the file has none */
	size_t len;
	char secret[DRAC_SIGN_SECRET_MAX];
};

struct drac_sign_credential {
	char name[DRAC_SIGN_NAME_MAX + 1];
	int64_t time_s;
	uint8_t nonce[DRAC_SIGN_NONCE];
};

/* Whether text may be the name of a key. */
bool drac_sign_is_name(const char *text);

/*
 * A key file: one line with the secret, or with a name, blanks and the secret;
 * besides that only empty lines and lines that begin with `#`. The secret is
 * 32 to 512 printable ASCII characters without blanks.
 *
 * It must be a regular file of root's, of user's or of the effective user's,
 * with no rights for others and none but reading for the group. group: the
 * only one that may have it; (gid_t)-1: any. Returns NULL, or what is wrong,
 * put into fault; errno is then that of open(2), or 0.
 */
const char *drac_sign_read(const char *path, uid_t user, gid_t group,
			   struct drac_sign_key *key,
			   char fault[DRAC_SIGN_FAULT_MAX]);
/* The same for text in memory. */
const char *drac_sign_parse(const char *text, size_t len,
			    struct drac_sign_key *key,
			    char fault[DRAC_SIGN_FAULT_MAX]);

/* The body of a credential; returns its length. */
size_t drac_sign_encode(const struct drac_sign_credential *credential,
			uint8_t body[DRAC_SIGN_CREDENTIAL_MAX]);
/* False: not exactly what is described above. */
bool drac_sign_decode(const void *body, size_t len,
		      struct drac_sign_credential *credential);

/*
 * Puts the MAC of the message where it belongs: mac_at bytes from its
 * beginning. Works on both kinds; for a reply the key is the reply key.
 * False: libcrypto failed, and no MAC is there.
 */
bool drac_sign_message(const void *key, size_t key_len, uint8_t *message,
		       size_t len, size_t mac_at);
/*
 * Whether the MAC is right; the time it takes does not depend on it. The MAC's
 * bytes in the message are zeros afterwards, and *mac has what they were.
 */
bool drac_sign_check(const void *key, size_t key_len, uint8_t *message,
		     size_t len, size_t mac_at, uint8_t mac[DRAC_SIGN_MAC]);
/* False: libcrypto failed. */
bool drac_sign_reply_key(const void *key, size_t key_len,
			 const uint8_t call_mac[DRAC_SIGN_MAC],
			 uint8_t reply_key[DRAC_SIGN_MAC]);

/* Loads libcrypto. Returns NULL, or why there is none, put into fault. */
const char *drac_sign_load(char fault[DRAC_SIGN_FAULT_MAX]);

#endif

/*
 * sign: see sign.h. Bytes and files; it sends nothing and knows no clock. All
 * cryptography is libcrypto's.
 */
#include "sign.h"

#include <dlfcn.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_OPENSSL
#include <openssl/hmac.h>
#include <openssl/opensslv.h>
#endif

enum {
	FILE_MAX = 4096, /* bytes of a key file */
	ALIGN = 4,
	FORBIDDEN = 0037, /* rights that nobody but the owner has */
	FOR_GROUP = 0040,
};

static const char reply_label[] = "drac reply";

static const char *fail(char fault[DRAC_SIGN_FAULT_MAX], const char *format,
			...) __attribute__((format(printf, 2, 3)));
static const char *fail(char fault[DRAC_SIGN_FAULT_MAX], const char *format,
			...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(fault, DRAC_SIGN_FAULT_MAX, format, args);
	va_end(args);
	errno = 0;
	return fault;
}

/* ---- libcrypto ------------------------------------------------------------
 */

/*
 * Not linked: every POP server would load 4 MB at each login, with or without
 * a key. It stays loaded, since it leaves handlers for the end of the process.
 */
#ifdef HAVE_OPENSSL
#define TEXT_OF(number) #number
#define SONAME(version) "libcrypto.so." TEXT_OF(version)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static __typeof__(&HMAC) hmac;
static __typeof__(&EVP_sha256) sha256;

static void load(void)
{
	void *library = dlopen(SONAME(OPENSSL_SHLIB_VERSION),
			       RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (library == NULL)
		return;
	/* POSIX lets an object pointer be a function's; ISO C has no word. */
	*(void **)&sha256 = dlsym(library, "EVP_sha256");
	*(void **)&hmac = dlsym(library, "HMAC");
}

const char *drac_sign_load(char fault[DRAC_SIGN_FAULT_MAX])
{
	pthread_once(&once, load);
	return hmac != NULL && sha256 != NULL
		   ? NULL
		   : fail(fault, "keys need %s, which cannot be loaded",
			  SONAME(OPENSSL_SHLIB_VERSION));
}

static bool mac_of(const void *key, size_t key_len, const void *data,
		   size_t len, uint8_t mac[DRAC_SIGN_MAC])
{
	unsigned int mac_len = 0;

	pthread_once(&once, load);
	return hmac != NULL && sha256 != NULL &&
	       hmac(sha256(), key, (int)key_len, data, len, mac, &mac_len) !=
		   NULL &&
	       mac_len == DRAC_SIGN_MAC;
}
#else
const char *drac_sign_load(char fault[DRAC_SIGN_FAULT_MAX])
{
	return fail(fault, "keys need OpenSSL's libcrypto, and this program "
			   "was built without it");
}

static bool mac_of(const void *key, size_t key_len, const void *data,
		   size_t len, uint8_t mac[DRAC_SIGN_MAC])
{
	(void)key, (void)key_len, (void)data, (void)len, (void)mac;
	return false;
}
#endif

/* ---- MACs ------------------------------------------------------------------
 */

static bool fits(size_t len, size_t mac_at)
{
	return len >= DRAC_SIGN_MAC && mac_at <= len - DRAC_SIGN_MAC;
}

bool drac_sign_message(const void *key, size_t key_len, uint8_t *message,
		       size_t len, size_t mac_at)
{
	uint8_t mac[DRAC_SIGN_MAC];

	if (!fits(len, mac_at))
		return false;
	memset(message + mac_at, 0, sizeof mac);
	if (!mac_of(key, key_len, message, len, mac))
		return false;
	memcpy(message + mac_at, mac, sizeof mac);
	return true;
}

/* As CRYPTO_memcmp(3): no branch depends on what is compared. */
static bool equal(const uint8_t *a, const uint8_t *b, size_t len)
{
	volatile uint8_t differ = 0;

	for (size_t i = 0; i < len; i++)
		differ = (uint8_t)(differ | (a[i] ^ b[i]));
	return differ == 0;
}

bool drac_sign_check(const void *key, size_t key_len, uint8_t *message,
		     size_t len, size_t mac_at, uint8_t mac[DRAC_SIGN_MAC])
{
	uint8_t right[DRAC_SIGN_MAC];

	if (!fits(len, mac_at))
		return false;
	memcpy(mac, message + mac_at, DRAC_SIGN_MAC);
	memset(message + mac_at, 0, DRAC_SIGN_MAC);
	return mac_of(key, key_len, message, len, right) &&
	       equal(mac, right, sizeof right);
}

bool drac_sign_reply_key(const void *key, size_t key_len,
			 const uint8_t call_mac[DRAC_SIGN_MAC],
			 uint8_t reply_key[DRAC_SIGN_MAC])
{
	enum { LABEL = sizeof reply_label - 1 };
	uint8_t text[LABEL + DRAC_SIGN_MAC];

	memcpy(text, reply_label, LABEL);
	memcpy(text + LABEL, call_mac, DRAC_SIGN_MAC);
	return mac_of(key, key_len, text, sizeof text, reply_key);
}

/* ---- credentials -----------------------------------------------------------
 */

static bool is_name(const char *text, size_t len)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz"
				      "0123456789._-";

	if (len == 0 || len > DRAC_SIGN_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (memchr(allowed, text[i], sizeof allowed - 1) == NULL)
			return false;
	return true;
}

bool drac_sign_is_name(const char *text)
{
	return is_name(text, strlen(text));
}

size_t drac_sign_encode(const struct drac_sign_credential *credential,
			uint8_t body[DRAC_SIGN_CREDENTIAL_MAX])
{
	size_t len = strlen(credential->name);
	const uint32_t scheme = htobe32(DRAC_SIGN_SCHEME);
	const uint64_t time = htobe64((uint64_t)credential->time_s);
	const uint32_t name_len = htobe32((uint32_t)len);

	memset(body, 0, DRAC_SIGN_CREDENTIAL_MAX);
	memcpy(body, &scheme, sizeof scheme);
	memcpy(body + 4, &time, sizeof time);
	memcpy(body + 12, credential->nonce, DRAC_SIGN_NONCE);
	memcpy(body + DRAC_SIGN_NAME_AT - 4, &name_len, sizeof name_len);
	memcpy(body + DRAC_SIGN_NAME_AT, credential->name, len);
	return DRAC_SIGN_NAME_AT + (len + ALIGN - 1) / ALIGN * ALIGN;
}

bool drac_sign_decode(const void *body, size_t len,
		      struct drac_sign_credential *credential)
{
	const uint8_t *bytes = body;
	uint8_t again[DRAC_SIGN_CREDENTIAL_MAX];
	uint32_t name_len;
	uint64_t time;

	memset(credential, 0, sizeof *credential);
	if (len <= DRAC_SIGN_NAME_AT || len > sizeof again)
		return false;
	memcpy(&time, bytes + 4, sizeof time);
	credential->time_s = (int64_t)be64toh(time);
	memcpy(credential->nonce, bytes + 12, DRAC_SIGN_NONCE);
	memcpy(&name_len, bytes + DRAC_SIGN_NAME_AT - 4, sizeof name_len);
	name_len = be32toh(name_len);
	if (credential->time_s < 0 || name_len > len - DRAC_SIGN_NAME_AT ||
	    !is_name((const char *)bytes + DRAC_SIGN_NAME_AT, name_len))
		return false;
	memcpy(credential->name, bytes + DRAC_SIGN_NAME_AT, name_len);
	/* Scheme, length and padding are right when it comes out the same. */
	return drac_sign_encode(credential, again) == len &&
	       memcmp(again, body, len) == 0;
}

/* ---- key files -------------------------------------------------------------
 */

/* Printable ASCII without the blank. */
static bool is_secret(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return true;
}

/* What may stand behind the last word. */
static bool is_end(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static size_t blanks(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && (text[n] == ' ' || text[n] == '\t'))
		n++;
	return n;
}

static size_t word(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && text[n] != ' ' && text[n] != '\t')
		n++;
	return n;
}

/* A line without blanks around it, and not empty. */
static const char *parse_line(const char *line, size_t len,
			      struct drac_sign_key *key,
			      char fault[DRAC_SIGN_FAULT_MAX])
{
	size_t first = word(line, len);

	if (key->len > 0)
		return fail(fault, "more than one line; write one line with "
				   "the secret, or a name and the secret");
	if (first < len) {
		if (!is_name(line, first))
			return fail(fault, "the name before the secret is not "
					   "1 to 64 of A-Z a-z 0-9 . _ -");
		memcpy(key->name, line, first);
		first += blanks(line + first, len - first);
		line += first;
		len -= first;
	}
	if (!is_secret(line, len))
		return fail(fault, "the secret has blanks, or characters that "
				   "are not printable ASCII");
	if (len < DRAC_SIGN_SECRET_MIN || len > DRAC_SIGN_SECRET_MAX)
		return fail(fault,
			    "the secret has %zu characters, not %d to %d; make "
			    "one with \"openssl rand -base64 32\"",
			    len, DRAC_SIGN_SECRET_MIN, DRAC_SIGN_SECRET_MAX);
	memcpy(key->secret, line, len);
	key->len = len;
	return NULL;
}

const char *drac_sign_parse(const char *text, size_t len,
			    struct drac_sign_key *key,
			    char fault[DRAC_SIGN_FAULT_MAX])
{
	const char *end = text + len;

	memset(key, 0, sizeof *key);
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line = (size_t)((newline ? newline : end) - text);
		size_t skip = blanks(text, line);
		size_t used = line;

		while (used > skip && is_end(text[used - 1]))
			used--;
		if (used > skip && text[skip] != '#' &&
		    parse_line(text + skip, used - skip, key, fault) != NULL) {
			explicit_bzero(key, sizeof *key);
			return fault;
		}
		text += newline ? line + 1 : line;
	}
	return key->len > 0 ? NULL : fail(fault, "no secret in it");
}

/* NULL: the file may be believed. */
static const char *judge(const struct stat *st, uid_t user, gid_t group,
			 char fault[DRAC_SIGN_FAULT_MAX])
{
	if (!S_ISREG(st->st_mode))
		return fail(fault, "not a regular file");
	if (st->st_uid != 0 && st->st_uid != user && st->st_uid != geteuid())
		return fail(fault,
			    "it is uid %u's; chown it to root or to "
			    "the user that reads it",
			    (unsigned int)st->st_uid);
	if ((st->st_mode & FORBIDDEN) != 0)
		return fail(fault,
			    "mode %04o lets others read or change it; "
			    "chmod 600, or 640 for a group that needs it",
			    (unsigned int)st->st_mode & 07777);
	if ((st->st_mode & FOR_GROUP) != 0 && group != (gid_t)-1 &&
	    st->st_gid != group)
		return fail(fault,
			    "group %u may read it, which is not the "
			    "daemon's; chmod 600, or chgrp it",
			    (unsigned int)st->st_gid);
	return NULL;
}

const char *drac_sign_read(const char *path, uid_t user, gid_t group,
			   struct drac_sign_key *key,
			   char fault[DRAC_SIGN_FAULT_MAX])
{
	/* O_NONBLOCK: a FIFO in its place must not stop anybody. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char text[FILE_MAX + 1];
	const char *wrong;
	struct stat st;
	ssize_t len = -1;

	if (fd < 0) {
		int number = errno;
		char scratch[DRAC_SIGN_FAULT_MAX / 2];

		fail(fault, "%s", strerror_r(number, scratch, sizeof scratch));
		errno = number;
		return fault;
	}
	wrong = fstat(fd, &st) != 0 ? fail(fault, "cannot be looked at")
				    : judge(&st, user, group, fault);
	if (wrong == NULL)
		len = read(fd, text, sizeof text);
	close(fd);
	if (wrong != NULL)
		return wrong;
	if (len < 0 || len > FILE_MAX)
		return fail(fault, len < 0 ? "cannot be read" : "too long");
	wrong = drac_sign_parse(text, (size_t)len, key, fault);
	explicit_bzero(text, sizeof text);
	return wrong != NULL ? wrong : drac_sign_load(fault);
}

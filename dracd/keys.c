/*
 * keys: see keys.h. Owns the secrets. What a key file must look like is
 * libdrac's, sign.h.
 */
#include "keys.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

struct keys {
	struct key *first;
};

static struct key *find_any(const struct keys *keys, const char *name)
{
	struct key *key = keys == NULL ? NULL : keys->first;

	while (key != NULL && strcmp(key->secret.name, name) != 0)
		key = key->next;
	return key;
}

struct key *keys_find(const struct keys *keys, const char *name)
{
	struct key *key = find_any(keys, name);

	return key != NULL && key->active ? key : NULL;
}

/* Whose the files may be: those that the daemon will have, or has already. */
static void find_owner(const struct config *config, uid_t *user, gid_t *group)
{
	const struct passwd *found = NULL;

	if (geteuid() == 0 && config->user[0] != '\0')
		found = getpwnam(config->user);
	*user = found != NULL ? found->pw_uid : geteuid();
	*group = found != NULL ? found->pw_gid : getegid();
}

/* A secret of length 0: the file may not be opened, and need not be. */
static bool read_one(const struct keys *keys, const struct config *config,
		     const struct key_config *from, struct drac_sign_key *into)
{
	char fault[DRAC_SIGN_FAULT_MAX];
	const struct key *old = keys_find(keys, from->name);
	const char *wrong;
	uid_t user;
	gid_t group;
	int number;

	find_owner(config, &user, &group);
	wrong = drac_sign_read(from->file, user, group, into, fault);
	number = errno;

	if (wrong == NULL && into->name[0] != '\0' &&
	    strcmp(into->name, from->name) != 0)
		wrong = "the name in it is that of another key";
	if (wrong == NULL) {
		memcpy(into->name, from->name, strlen(from->name) + 1);
		return true;
	}
	explicit_bzero(into, sizeof *into);
	if (number == EACCES && geteuid() != 0) {
		if (old != NULL && strcmp(old->path, from->file) == 0) {
			log_write(LOG_WARNING,
				  "key=%s file=%s may not be read by the "
				  "daemon's user: the secret read at start "
				  "stays in force; chgrp it and chmod 640",
				  from->name, from->file);
			return true;
		}
		if (config->check_only) {
			log_write(LOG_WARNING,
				  "key=%s file=%s may not be read by this "
				  "user: not checked",
				  from->name, from->file);
			return true;
		}
	}
	log_write(LOG_ERR, "key=%s file=%s: %s", from->name, from->file, wrong);
	return false;
}

/* A new one, of that name, without a secret. */
static struct key *add(struct keys *keys, const char *name)
{
	struct key *key = calloc(1, sizeof *key);

	if (key == NULL || (key->seen = seen_create()) == NULL) {
		free(key);
		return NULL;
	}
	memcpy(key->secret.name, name, strlen(name) + 1);
	key->next = keys->first;
	keys->first = key;
	return key;
}

/* False: no memory, and the key is not active. */
static bool put(struct keys *keys, const struct key_config *from,
		const struct drac_sign_key *secret)
{
	struct key *key = find_any(keys, from->name);
	char *path = strdup(from->file);

	if (key == NULL)
		key = add(keys, from->name);
	if (key == NULL || path == NULL) {
		log_errno(LOG_ERR, "key=%s", from->name);
		free(path);
		return false;
	}
	free(key->path);
	key->path = path;
	if (secret->len > 0)
		key->secret = *secret;
	key->active = true;
	return true;
}

bool keys_reload(struct keys *keys, const struct config *config)
{
	struct drac_sign_key *fresh =
	    calloc(config->key_count + 1, sizeof *fresh);
	bool done = fresh != NULL;

	if (!done)
		log_errno(LOG_ERR, "keys");
	for (size_t i = 0; i < config->key_count && fresh != NULL; i++)
		done =
		    read_one(keys, config, &config->keys[i], &fresh[i]) && done;
	if (done) {
		for (struct key *key = keys->first; key; key = key->next)
			key->active = false;
		for (size_t i = 0; i < config->key_count; i++)
			done = put(keys, &config->keys[i], &fresh[i]) && done;
		for (struct key *key = keys->first; key; key = key->next)
			if (!key->active)
				explicit_bzero(key->secret.secret,
					       sizeof key->secret.secret);
	}
	if (fresh != NULL)
		explicit_bzero(fresh, config->key_count * sizeof *fresh);
	free(fresh);
	return done;
}

struct keys *keys_open(const struct config *config)
{
	struct keys *keys = calloc(1, sizeof *keys);

	if (keys == NULL) {
		log_errno(LOG_ERR, "keys");
		return NULL;
	}
	if (keys_reload(keys, config))
		return keys;
	keys_free(keys);
	return NULL;
}

void keys_free(struct keys *keys)
{
	struct key *next;

	if (keys == NULL)
		return;
	for (struct key *key = keys->first; key != NULL; key = next) {
		next = key->next;
		seen_free(key->seen);
		free(key->path);
		explicit_bzero(key, sizeof *key);
		free(key);
	}
	free(keys);
}

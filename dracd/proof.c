/*
 * proof: see proof.h. No state of its own; secrets are keys.c's, what has come
 * before is seen.c's.
 */
#include "proof.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "keys.h"
#include "rpc.h"
#include "service.h"

/* name: of the key, or NULL when even that cannot be said. */
static enum auth_stat refuse(struct service *service,
			     const struct origin *origin, const char *name,
			     enum auth_stat why, const char *reason)
{
	service->stats->denied++;
	audit_deny_key(service->audit, &origin->caller, name, reason);
	return why;
}

static bool is_right(const struct key *key, const struct proof_call *call,
		     struct origin *origin, uint8_t mac[DRAC_SIGN_MAC])
{
	const struct drac_sign_key *secret = &key->secret;
	uint8_t copy[RPC_CALL_MAX];

	if (call->len > sizeof copy)
		return false;
	memcpy(copy, call->data, call->len);
	return drac_sign_check(secret->secret, secret->len, copy, call->len,
			       call->arguments_at - DRAC_SIGN_MAC, mac) &&
	       drac_sign_reply_key(secret->secret, secret->len, mac,
				   origin->reply_key);
}

static enum auth_stat stale(struct service *service,
			    const struct origin *origin,
			    const struct drac_sign_credential *credential)
{
	char reason[160];
	int64_t behind_s = service->now_s - credential->time_s;

	if (behind_s >= -DRAC_SIGN_WINDOW_S && behind_s <= DRAC_SIGN_WINDOW_S)
		snprintf(reason, sizeof reason,
			 "too old, since there are more than %d calls by this "
			 "key in %d s",
			 SEEN_MAX, DRAC_SIGN_WINDOW_S);
	else
		snprintf(reason, sizeof reason,
			 "its time is %" PRId64 " s %s ours; set the clocks "
			 "right, or it was replayed",
			 behind_s < 0 ? -behind_s : behind_s,
			 behind_s < 0 ? "ahead of" : "behind");
	return refuse(service, origin, credential->name, AUTH_REJECTEDVERF,
		      reason);
}

enum auth_stat proof_check(struct service *service,
			   const struct proof_call *call, struct origin *origin,
			   enum seen_verdict *seen, const void **reply,
			   size_t *reply_len)
{
	const struct opaque_auth *cred = &call->message->rm_call.cb_cred;
	const struct opaque_auth *verf = &call->message->rm_call.cb_verf;
	struct drac_sign_credential credential;
	uint8_t mac[DRAC_SIGN_MAC];
	struct key *key;

	if (!drac_sign_decode(cred->oa_base, cred->oa_length, &credential))
		return refuse(service, origin, NULL, AUTH_BADCRED,
			      "credential is malformed");
	key = keys_find(service->keys, credential.name);
	if (key == NULL)
		return refuse(service, origin, credential.name,
			      AUTH_REJECTEDCRED, "no such key in dracd.conf");
	if (verf->oa_flavor != DRAC_SIGN_FLAVOR ||
	    verf->oa_length != DRAC_SIGN_MAC ||
	    !is_right(key, call, origin, mac))
		return refuse(service, origin, credential.name, AUTH_BADVERF,
			      "signed with another secret, or altered");
	*seen = seen_call(key->seen, &credential, mac, service->now_s, reply,
			  reply_len);
	if (*seen == SEEN_STALE)
		return stale(service, origin, &credential);
	/* A connection loses nothing, so nothing comes twice. */
	if (*seen == SEEN_FORGED || (*seen != SEEN_NEW && !origin->datagram))
		return refuse(service, origin, credential.name,
			      AUTH_REJECTEDVERF, "replayed");
	origin->key = key;
	memcpy(origin->nonce, credential.nonce, sizeof origin->nonce);
	return AUTH_OK;
}

void proof_sign(const struct origin *origin, void *reply, size_t len)
{
	if (origin->key != NULL)
		drac_sign_message(origin->reply_key, sizeof origin->reply_key,
				  reply, len, DRAC_SIGN_REPLY_MAC_AT);
}

void proof_held(const struct origin *origin)
{
	if (origin->key != NULL)
		seen_held(origin->key->seen, origin->nonce);
}

void proof_answered(const struct origin *origin, const void *reply, size_t len)
{
	if (origin->key != NULL)
		seen_answered(origin->key->seen, origin->nonce, reply, len);
}

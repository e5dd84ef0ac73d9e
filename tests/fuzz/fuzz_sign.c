/*
 * libFuzzer: what sign.h describes. The first byte says what the rest is: a
 * credential or a key file. A credential that is taken must come out the same;
 * a key that is taken must be one.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
	if (!condition)
		abort();
}

static void credential(const uint8_t *data, size_t size)
{
	struct drac_sign_credential found;
	uint8_t again[DRAC_SIGN_CREDENTIAL_MAX];

	if (!drac_sign_decode(data, size, &found))
		return;
	require(drac_sign_is_name(found.name) && found.time_s >= 0);
	require(drac_sign_encode(&found, again) == size);
	require(memcmp(again, data, size) == 0);
}

static void key_file(const uint8_t *data, size_t size)
{
	char fault[DRAC_SIGN_FAULT_MAX];
	struct drac_sign_key key;

	if (drac_sign_parse((const char *)data, size, &key, fault) != NULL) {
		require(key.len == 0 && fault[0] != '\0');
		return;
	}
	require(key.len >= DRAC_SIGN_SECRET_MIN &&
		key.len <= DRAC_SIGN_SECRET_MAX);
	require(key.name[0] == '\0' || drac_sign_is_name(key.name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *exact;

	if (size == 0)
		return 0;
	/* Exactly as long as the input, so that a read beyond is seen. */
	exact = malloc(size - 1);
	if (exact == NULL)
		return 0;
	memcpy(exact, data + 1, size - 1);
	if (data[0] == 'c')
		credential(exact, size - 1);
	else
		key_file(exact, size - 1);
	free(exact);
	return 0;
}

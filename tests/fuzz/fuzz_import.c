/*
 * libFuzzer: what `dracctl import` reads. An entry that is taken must keep
 * what drac.h says of it: it goes to the server as it is.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../integrations/common/mailclient.h"
#include "import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
	if (!condition)
		abort();
}

static void check_name(const char *name, size_t size)
{
	require(memchr(name, '\0', size) != NULL);
	for (; *name != '\0'; name++)
		require((unsigned char)*name >= ' ' && *name != 0x7f);
}

static void check_entry(const struct drac_entry *entry)
{
	char again[DRAC_ADDRESS_SIZE];

	require(mailclient_from_text(entry->address, again));
	require(strcmp(entry->address, again) == 0);
	require(entry->expiry_s >= 0);
	check_name(entry->user, sizeof entry->user);
	check_name(entry->service, sizeof entry->service);
	check_name(entry->caller, sizeof entry->caller);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct import import;
	struct drac_entry entry;
	enum import_result result = IMPORT_NOTHING;

	import_begin(&import);
	for (size_t at = 0, len; at < size && result != IMPORT_ALIEN;
	     at += len + 1) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		char *exact;

		len = end ? (size_t)(end - data) - at : size - at;
		/* So that a read beyond the line is seen. */
		exact = malloc(len);
		if (exact == NULL)
			return 0;
		if (len > 0)
			memcpy(exact, data + at, len);
		import.error = NULL;
		result = import_line(&import, exact, len, &entry);
		free(exact);
		if (result == IMPORT_ENTRY)
			check_entry(&entry);
		else if (result != IMPORT_NOTHING)
			require(import.error != NULL);
	}
	import_is_whole(&import);
	return 0;
}

/*
 * libFuzzer: dracd.allow(5). What is taken must be a list of clean prefixes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "allow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct allow_list list;
	/* Exactly as long as the text, so that a read beyond is seen. */
	char *text = malloc(size);

	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	if (!allow_parse("fuzz", text, size, NULL, &list)) {
		if (list.rules != NULL || list.count != 0)
			abort();
		free(text);
		return 0;
	}
	if (list.missing || list.count > size)
		abort();
	for (size_t i = 0; i < list.count; i++)
		if (allow_ways(&list, &list.rules[i].prefix.net, NULL) == 0)
			abort();
	allow_free(&list);
	free(text);
	return 0;
}

/* script: an input that is read as operations, each with its argument. */
#ifndef TESTS_FUZZ_SCRIPT_H
#define TESTS_FUZZ_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

struct script {
	const uint8_t *at;
	size_t left;
};

/* 0 behind the end. */
static inline uint8_t script_byte(struct script *script)
{
	if (script->left == 0)
		return 0;
	script->left--;
	return *script->at++;
}

/* So many bytes; len becomes smaller when there are fewer. */
static inline const uint8_t *script_bytes(struct script *script, size_t *len)
{
	const uint8_t *bytes = script->at;

	if (*len > script->left)
		*len = script->left;
	script->at += *len;
	script->left -= *len;
	return bytes;
}

#endif

/*
 * replay: a fuzz target as an ordinary test: every file of its corpus once,
 * one cmocka test a file. It breaks a promise by dying. The name of the
 * program, test_fuzz_NAME, says which corpus; run it in the top directory.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FILES_MAX = 256, PATH_ROOM = 512, INPUT_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[PATH_ROOM / 2];

static void run_file(void **state)
{
	static uint8_t input[INPUT_MAX];
	char path[PATH_ROOM];
	FILE *file;
	size_t size;

	snprintf(path, sizeof path, "%s/%s", directory, (char *)*state);
	file = fopen(path, "re");
	assert_non_null(file);
	size = fread(input, 1, sizeof input, file);
	assert_true(feof(file));
	fclose(file);
	LLVMFuzzerTestOneInput(input, size);
}

static int is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(void)
{
	static struct CMUnitTest tests[FILES_MAX];
	const char *dash = strrchr(program_invocation_short_name, '_');
	struct dirent **files;
	int count, failed;

	snprintf(directory, sizeof directory, "tests/fuzz/corpus/%s",
		 dash != NULL ? dash + 1 : "");
	count = scandir(directory, &files, is_input, alphasort);
	if (count <= 0 || count > FILES_MAX) {
		fprintf(stderr, "%s: no corpus, or too much\n", directory);
		return EXIT_FAILURE;
	}
	for (int i = 0; i < count; i++)
		tests[i] =
		    (struct CMUnitTest){.name = files[i]->d_name,
					.test_func = run_file,
					.initial_state = files[i]->d_name};
	failed = _cmocka_run_group_tests(directory, tests, (size_t)count, NULL,
					 NULL);
	while (count > 0)
		free(files[--count]);
	free(files);
	return failed;
}

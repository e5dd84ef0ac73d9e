/*
 * threads: how many a program has. ThreadSanitizer adds one when the first is
 * created.
 */
#ifndef TOOLS_THREADS_H
#define TOOLS_THREADS_H

#include <dirent.h>
#include <err.h>
#include <stddef.h>

#ifdef __SANITIZE_THREAD__
enum { THREADS_SANITIZER = 1 };
#else
enum { THREADS_SANITIZER = 0 };
#endif

static inline size_t threads_now(void)
{
	DIR *dir = opendir("/proc/self/task");
	size_t count = 0;

	if (dir == NULL)
		err(1, "/proc/self/task");
	for (const struct dirent *each; (each = readdir(dir)) != NULL;)
		count += each->d_name[0] != '.';
	closedir(dir);
	return count;
}

#endif

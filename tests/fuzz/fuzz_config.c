/*
 * libFuzzer: dracd.conf(5), by way of a file in memory. What is taken must
 * keep the promises of config.h.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include "config.h"
#include "sign.h"

static void require(int condition)
{
	if (!condition)
		abort();
}

static void check(const struct config *c)
{
	struct sockaddr_un un;

	require(c->lifetime_s >= 1 && c->lifetime_s <= CONFIG_LIFETIME_MAX_S);
	require(c->idle_timeout_s >= 1);
	require(c->map_count >= 1 && c->journal[0] == '/');
	require(c->allow_file[0] == '/' && c->user != NULL);
	require(c->max_entries >= 1 && c->max_connections >= 1);
	require(c->max_connections_per_address >= 1);
	for (size_t i = 0; i < c->map_count; i++) {
		require(c->maps[i].path[0] == '/');
		require(c->maps[i].capacity >= 1);
		for (size_t j = 0; j < i; j++)
			require(strcmp(c->maps[i].path, c->maps[j].path) != 0);
	}
	for (size_t i = 0; i < c->listen_count; i++) {
		const struct listen_config *l = &c->listen[i];

		require((l->transport == LISTEN_UNIX) == (l->path != NULL));
		require(l->path == NULL ||
			strlen(l->path) < sizeof un.sun_path);
		require(l->text != NULL);
	}
	for (size_t i = 0; i < c->lookup_count; i++)
		require(c->lookup[i].transport != LISTEN_UDP);
	require(c->ipv6_prefix >= CONFIG_IPV6_PREFIX_MIN);
	require(c->ipv6_prefix <= CONFIG_IPV6_PREFIX_MAX);
	for (size_t i = 0; i < c->key_count; i++) {
		require(drac_sign_is_name(c->keys[i].name));
		require(c->keys[i].file[0] == '/');
		for (size_t j = 0; j < i; j++)
			require(strcmp(c->keys[i].name, c->keys[j].name) != 0);
	}
	for (size_t i = 0; i < c->never_count; i++)
		require(prefix_contains(&c->never[i], &c->never[i].net));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char program[] = "dracd", option[] = "-c", path[64];
	char *argv[] = {program, option, path, NULL};
	struct config *config;
	int fd = memfd_create("conf", MFD_CLOEXEC);

	require(fd >= 0);
	require(write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (config_load(3, argv, &config) == 0)
		check(config);
	else
		require(config == NULL);
	config_free(config);
	close(fd);
	return 0;
}

/* reload: see reload.h. */
#include "reload.h"

#include <string.h>
#include <unistd.h>

#include "caller.h"
#include "log.h"

static bool same_maps(const struct config *a, const struct config *b)
{
	if (a->map_count != b->map_count)
		return false;
	for (size_t i = 0; i < a->map_count; i++)
		if (a->maps[i].type != b->maps[i].type ||
		    strcmp(a->maps[i].path, b->maps[i].path) != 0 ||
		    a->maps[i].nul != b->maps[i].nul ||
		    a->maps[i].capacity != b->maps[i].capacity)
			return false;
	return true;
}

static bool same_sockets(const struct listen_config *a, size_t a_count,
			 const struct listen_config *b, size_t b_count)
{
	if (a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++)
		if (strcmp(a[i].text, b[i].text) != 0)
			return false;
	return true;
}

/* What is open stays open until a restart; say so if it should be another. */
static void warn_fixed(const struct service *service, const struct config *new)
{
	const struct config *old = service->config;
	const struct {
		const char *name;
		bool same;
	} fixed[] = {
	    {"map", same_maps(old, new)},
	    {"listen", same_sockets(old->listen, old->listen_count, new->listen,
				    new->listen_count)},
	    {"lookup", same_sockets(old->lookup, old->lookup_count, new->lookup,
				    new->lookup_count)},
	    {"ipv6-prefix", old->ipv6_prefix == new->ipv6_prefix},
	    {"journal", strcmp(old->journal, new->journal) == 0},
	    {"durability", old->durability == new->durability},
	    {"rpcbind", old->rpcbind == new->rpcbind},
	    {"user", strcmp(old->user, new->user) == 0},
	    {"allow-file", strcmp(old->allow_file, new->allow_file) == 0},
	    {"hosts-access", old->hosts_access == new->hosts_access},
	    {"max-addresses-per-user", table_knows_users(service->table) ||
					   new->max_addresses_per_user == 0},
	};
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (!fixed[i].same)
			log_write(LOG_WARNING,
				  "setting \"%s\" has changed: restart dracd "
				  "to apply it",
				  fixed[i].name);
}

static void swap_prefixes(struct prefix **a, size_t *a_count, struct prefix **b,
			  size_t *b_count)
{
	struct prefix *prefixes = *a;
	size_t count = *a_count;
	*a = *b;
	*a_count = *b_count;
	*b = prefixes;
	*b_count = count;
}

/* What may not relay any more goes, as if somebody had removed it. */
static void remove_never(struct service *service)
{
	struct request request = {
	    .kind = REQUEST_REMOVE,
	    .silent = true,
	    .origin = {.local = true, .caller = caller_local(geteuid())},
	};
	uint32_t slots = table_slots(service->table);
	for (uint32_t slot = 1; slot <= slots; slot++) {
		const struct entry *entry = table_at(service->table, slot);
		if (entry == NULL ||
		    config_may_relay(service->config, &entry->address))
			continue;
		table_revoke(service->table, entry);
		request.address = entry->address;
		turn_request(service->turn, &request, service->now_s);
	}
}

void reload_apply(struct service *service, struct config *config,
		  struct config *fresh)
{
	warn_fixed(service, fresh);
	config->lifetime_s = fresh->lifetime_s;
	config->max_entries = fresh->max_entries;
	config->max_connections = fresh->max_connections;
	config->max_connections_per_address =
	    fresh->max_connections_per_address;
	config->idle_timeout_s = fresh->idle_timeout_s;
	config->on_limit = fresh->on_limit;
	if (table_knows_users(service->table))
		config->max_addresses_per_user = fresh->max_addresses_per_user;
	swap_prefixes(&config->never, &config->never_count, &fresh->never,
		      &fresh->never_count);
	swap_prefixes(&config->read_allow, &config->read_allow_count,
		      &fresh->read_allow, &fresh->read_allow_count);
	access_set_readers(service->access, config->read_allow,
			   config->read_allow_count);
	remove_never(service);
}

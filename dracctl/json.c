/* json: see json.h. */
#include "json.h"

#include <jansson.h>
#include <stdio.h>

static bool put(json_t *object)
{
	bool done = object != NULL &&
		    json_dumpf(object, stdout, JSON_COMPACT) == 0 &&
		    putchar('\n') != EOF;

	json_decref(object);
	return done;
}

static json_t *entry_object(const struct drac_entry *entry)
{
	return json_pack("{s:s, s:I, s:s, s:s, s:I, s:I, s:I, s:s}", "address",
			 entry->address, "expiry", (json_int_t)entry->expiry_s,
			 "user", entry->user, "service", entry->service,
			 "first", (json_int_t)entry->first_s, "last",
			 (json_int_t)entry->last_s, "adds",
			 (json_int_t)entry->adds, "caller", entry->caller);
}

bool json_entry(const struct drac_entry *entry)
{
	return put(entry_object(entry));
}

bool json_event(const struct drac_event *event, const char *kind)
{
	json_t *object = json_pack("{s:s, s:I}", "event", kind, "time",
				   (json_int_t)event->time_s);
	json_t *entry = entry_object(&event->entry);

	if (entry == NULL || json_object_update(object, entry) != 0) {
		json_decref(object);
		object = NULL;
	}
	json_decref(entry);
	return put(object);
}

bool json_lost(uint64_t count)
{
	return put(json_pack("{s:s, s:I}", "event", "lost", "count",
			     (json_int_t)count));
}

bool json_counters(const struct drac_counter *counters, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		json_object_set_new(
		    object, counters[i].name,
		    json_integer((json_int_t)counters[i].value));
	return put(object);
}

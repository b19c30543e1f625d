#include "agent/verdict_state.h"

#include <stdlib.h>
#include <string.h>

struct verdict *verdict_new(void)
{
	struct verdict *v = calloc(1, sizeof(*v));
	if (!v) abort();
	return v;
}

void verdict_free(struct verdict **v)
{
	if (!*v) return;
	while ((*v)->count) verdict_remove(*v, (*v)->count - 1);
	free((*v)->records);
	free((*v)->status);
	free((*v)->events);
	free(*v);
	*v = NULL;
}

struct verdict_record *verdict_find(const struct verdict *v, const char *server)
{
	for (uint32_t i = 0; i < v->count; i++)
		if (!strcmp(v->records[i]->server, server)) return v->records[i];
	return NULL;
}

struct verdict_record *verdict_add(struct verdict *v, const char *server, const char *address)
{
	if (v->count == v->cap) {
		v->cap = v->cap ? v->cap * 2 : 8;
		v->records = realloc(v->records, v->cap * sizeof(struct verdict_record *));
		if (!v->records) abort();
	}
	struct verdict_record *r = calloc(1, sizeof(*r));
	if (!r) abort();
	r->server = strdup(server);
	r->address = strdup(address);
	if (!r->server || !r->address) abort();
	v->records[v->count++] = r;
	return r;
}

void verdict_remove(struct verdict *v, uint32_t i)
{
	struct verdict_record *r = v->records[i];
	v->records[i] = v->records[--v->count];
	free(r->server);
	free(r->address);
	free(r);
}

/* --- to JSON ---------------------------------------------------------------------------------- */

static json_t *record_save(const struct verdict_record *r)
{
	json_t *o =
	    json_pack("{s:s, s:I, s:I, s:I}", "server", r->server, "since", (json_int_t)r->since_ms,
		      "level", (json_int_t)r->level, "count", (json_int_t)r->count);
	if (!o) abort();
	if (r->address[0]) json_object_set_new(o, "address", json_string(r->address));
	if (r->out) {
		json_object_set_new(o, "why", json_string(r->why));
		json_object_set_new(o, "until", json_integer((json_int_t)r->until_ms));
	}
	if (r->pinned) json_object_set_new(o, "pinned", json_true());
	if (r->quarantined) json_object_set_new(o, "quarantined", json_true());
	if (r->count > 0) {
		json_t *times = json_array();
		for (uint32_t i = 0; i < r->count; i++)
			json_array_append_new(times, json_integer((json_int_t)r->times[i]));
		json_object_set_new(o, "times", times);
	}
	return o;
}

static int by_name(const void *a, const void *b)
{
	const struct verdict_record *const *x = a, *const *y = b;
	return strcmp((*x)->server, (*y)->server);
}

json_t *verdict_save(const struct verdict *v)
{
	json_t *ejected = json_array(), *returned = json_array();
	struct verdict_record **sorted = calloc(v->count + 1, sizeof(*sorted));
	if (!sorted) abort();
	for (uint32_t i = 0; i < v->count; i++) sorted[i] = v->records[i];
	qsort(sorted, v->count, sizeof(*sorted), by_name);
	for (uint32_t i = 0; i < v->count; i++)
		json_array_append_new(sorted[i]->out ? ejected : returned, record_save(sorted[i]));
	free(sorted);
	json_t *o = json_pack("{s:o, s:o, s:b, s:b, s:I}", "ejected", ejected, "returned", returned,
			      "panic", v->panic, "blind", v->blind, "last_ejection",
			      (json_int_t)v->last_ms);
	if (!o) abort();
	return o;
}

/* --- from JSON -------------------------------------------------------------------------------- */

static uint64_t number_of(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));
	return n > 0 ? (uint64_t)n : 0;
}

static void times_load(struct verdict_record *r, const json_t *o)
{
	const json_t *times = json_object_get(o, "times"), *t;
	size_t i;
	json_array_foreach (times, i, t)
		if (json_is_integer(t) && json_integer_value(t) > 0 && r->count < VERDICT_TIMES_MAX)
			r->times[r->count++] = (uint64_t)json_integer_value(t);
	uint64_t count = number_of(o, "count");
	if (count > VERDICT_TIMES_MAX) count = VERDICT_TIMES_MAX;
	/* Only counted: none was later than the latest. */
	if (r->count == 0)
		while (r->count < count) r->times[r->count++] = r->since_ms;
}

static void records_load(struct verdict *v, const json_t *list, bool out)
{
	const json_t *o;
	size_t i;
	json_array_foreach (list, i, o) {
		const char *server = json_string_value(json_object_get(o, "server"));
		const char *address = json_string_value(json_object_get(o, "address"));
		const char *why = json_string_value(json_object_get(o, "why"));
		if (!server || verdict_find(v, server)) continue;
		struct verdict_record *r = verdict_add(v, server, address ? address : "");
		r->out = out;
		r->since_ms = number_of(o, "since");
		r->until_ms = number_of(o, "until");
		uint64_t level = number_of(o, "level");
		r->level = level < 32 ? (uint32_t)level : 32;
		r->pinned = out && json_is_true(json_object_get(o, "pinned"));
		r->quarantined = out && json_is_true(json_object_get(o, "quarantined"));
		snprintf(r->why, sizeof(r->why), "%s", why ? why : "");
		times_load(r, o);
	}
}

struct verdict *verdict_load(const json_t *state)
{
	struct verdict *v = verdict_new();
	records_load(v, json_object_get(state, "ejected"), true);
	records_load(v, json_object_get(state, "returned"), false);
	v->panic = json_is_true(json_object_get(state, "panic"));
	v->blind = json_is_true(json_object_get(state, "blind"));
	v->last_ms = number_of(state, "last_ejection");
	return v;
}

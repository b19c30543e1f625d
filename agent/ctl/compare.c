#include "agent/ctl/compare.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/pool_text.h"
#include "common/topology_ring.h"

/* Servers of one pool by name. */
struct by_name {
	const struct server_spec **sorted;
	uint32_t count;
};

static int by_name_cmp(const void *a, const void *b)
{
	const struct server_spec *x = *(const struct server_spec *const *)a;
	const struct server_spec *y = *(const struct server_spec *const *)b;
	return strcmp(x->ring_name, y->ring_name);
}

static struct by_name by_name_of(const struct pool_spec *p)
{
	struct by_name b = { calloc(p->server_count + 1, sizeof(*b.sorted)), p->server_count };
	if (b.sorted == NULL) abort();
	for (uint32_t i = 0; i < p->server_count; i++) b.sorted[i] = &p->servers[i];
	qsort(b.sorted, b.count, sizeof(*b.sorted), by_name_cmp);
	return b;
}

static const struct server_spec *by_name_find(const struct by_name *b, const char *name)
{
	struct server_spec key = { .ring_name = (char *)(uintptr_t)name };
	const struct server_spec *p = &key;
	const struct server_spec **found =
	    bsearch(&p, b->sorted, b->count, sizeof(*b->sorted), by_name_cmp);
	return found != NULL ? *found : NULL;
}

/* --- servers ---------------------------------------------------------------------------------- */

static json_t *address_json(const struct server_spec *s)
{
	if (s->port == 0) return json_string(s->host);
	if (strchr(s->host, ':') != NULL) return json_sprintf("[%s]:%u", s->host, s->port);
	return json_sprintf("%s:%u", s->host, s->port);
}

static json_t *server_json(const struct server_spec *s)
{
	return json_pack("{s:s, s:o, s:i}", "server", s->ring_name, "address", address_json(s),
			 "weight", (int)s->weight);
}

static void compare_server(const struct server_spec *from, const struct server_spec *to,
			   json_t *out)
{
	if (from->weight != to->weight)
		json_array_append_new(json_object_get(out, "reweighted"),
				      json_pack("{s:s, s:i, s:i}", "server", to->ring_name, "from",
						(int)from->weight, "to", (int)to->weight));
	if (strcmp(from->host, to->host) != 0 || from->port != to->port)
		json_array_append_new(json_object_get(out, "moved"),
				      json_pack("{s:s, s:o, s:o}", "server", to->ring_name, "from",
						address_json(from), "to", address_json(to)));
}

static void compare_servers(const struct pool_spec *from, const struct pool_spec *to, json_t *out)
{
	struct by_name old = by_name_of(from), new = by_name_of(to);
	for (uint32_t i = 0; i < to->server_count; i++) {
		const struct server_spec *s = &to->servers[i];
		const struct server_spec *before = by_name_find(&old, s->ring_name);
		if (before != NULL) compare_server(before, s, out);
		else json_array_append_new(json_object_get(out, "added"), server_json(s));
	}
	for (uint32_t i = 0; i < from->server_count; i++)
		if (by_name_find(&new, from->servers[i].ring_name) == NULL)
			json_array_append_new(json_object_get(out, "removed"),
					      server_json(&from->servers[i]));
	free(old.sorted);
	free(new.sorted);
}

/* --- options ---------------------------------------------------------------------------------- */

/* Passwords only as the same or another one. */
static json_t *options_of(const struct pool_spec *p, const struct pool_spec *than)
{
	json_t *out = pool_spec_to_json(p);
	json_object_del(out, "servers");
	if (p->auth_password == NULL) return out;
	bool same = than == NULL || than->auth_password == NULL ||
		    strcmp(p->auth_password, than->auth_password) == 0;
	json_object_set_new(json_object_get(out, "auth"), "password",
			    json_string(same ? "(hidden)" : "(hidden, another)"));
	return out;
}

static void compare_option(json_t *out, const char *key, json_t *from, json_t *to)
{
	if (from == to || (from != NULL && to != NULL && json_equal(from, to))) return;
	json_t *pair = json_object();
	json_object_set(pair, "from", from != NULL ? from : json_null());
	json_object_set(pair, "to", to != NULL ? to : json_null());
	json_object_set_new(json_object_get(out, "options"), key, pair);
}

static void compare_options(const struct pool_spec *from, const struct pool_spec *to, json_t *out)
{
	json_t *old = options_of(from, NULL), *new = options_of(to, from), *value;
	const char *key;
	json_object_foreach (new, key, value)
		compare_option(out, key, json_object_get(old, key), value);
	json_object_foreach (old, key, value)
		if (json_object_get(new, key) == NULL) compare_option(out, key, value, NULL);
	json_decref(old);
	json_decref(new);
}

/* --- keys ------------------------------------------------------------------------------------- */

/* Who owns how many of the sample, by place in the pool. */
struct shares {
	uint32_t *from, *to;
	uint32_t moved;
};

static const char *owner_name(const struct pool_spec *p, uint32_t i)
{
	return i == RING_NONE ? "" : p->servers[i].ring_name;
}

static void sample_keys(const struct pool_spec *from, const struct ring *old,
			const struct pool_spec *to, const struct ring *new, struct shares *out)
{
	for (uint32_t k = 0; k < COMPARE_SAMPLES; k++) {
		char key[32];
		int n = snprintf(key, sizeof(key), "key-%u", k);
		uint32_t i = ring_lookup(old, (struct slice){ key, (size_t)n }, NULL);
		uint32_t j = ring_lookup(new, (struct slice){ key, (size_t)n }, NULL);
		if (strcmp(owner_name(from, i), owner_name(to, j)) != 0) out->moved++;
		if (i != RING_NONE) out->from[i]++;
		if (j != RING_NONE) out->to[j]++;
	}
}

static json_t *percent_json(uint32_t n)
{
	/* two digits, so that the same numbers are always the same text */
	return json_real((double)(uint32_t)(n * 10000.0 / COMPARE_SAMPLES + 0.5) / 100.0);
}

static json_t *spread_json(const struct pool_spec *from, const struct pool_spec *to,
			   const struct shares *s)
{
	json_t *out = json_array();
	struct by_name old = by_name_of(from), new = by_name_of(to);
	for (uint32_t i = 0; i < to->server_count; i++) {
		const struct server_spec *before = by_name_find(&old, to->servers[i].ring_name);
		uint32_t had = before != NULL ? s->from[before - from->servers] : 0;
		json_array_append_new(
		    out, json_pack("{s:s, s:o, s:o}", "server", to->servers[i].ring_name, "from",
				   percent_json(had), "to", percent_json(s->to[i])));
	}
	for (uint32_t i = 0; i < from->server_count; i++)
		if (by_name_find(&new, from->servers[i].ring_name) == NULL)
			json_array_append_new(out, json_pack("{s:s, s:o, s:o}", "server",
							     from->servers[i].ring_name, "from",
							     percent_json(s->from[i]), "to",
							     percent_json(0)));
	free(old.sorted);
	free(new.sorted);
	return out;
}

static json_t *compare_keys(const struct pool_spec *from, const struct pool_spec *to)
{
	struct ring *old = NULL, *new = NULL;
	struct shares s = { calloc(from->server_count + 1, sizeof(uint32_t)),
			    calloc(to->server_count + 1, sizeof(uint32_t)), 0 };
	json_t *out = NULL;
	if (s.from == NULL || s.to == NULL) abort();
	if (from->distribution != RING_RANDOM && to->distribution != RING_RANDOM &&
	    pool_ring_build(from, &old) == ERR_NONE && pool_ring_build(to, &new) == ERR_NONE) {
		sample_keys(from, old, to, new, &s);
		out = json_pack("{s:i, s:i, s:o, s:o}", "sampled", COMPARE_SAMPLES, "moved",
				(int)s.moved, "percent", percent_json(s.moved), "spread",
				spread_json(from, to, &s));
	}
	ring_free(&old);
	ring_free(&new);
	free(s.from);
	free(s.to);
	return out != NULL ? out : json_null();
}

json_t *compare_pools(const struct pool_spec *from, const struct pool_spec *to)
{
	json_t *out = json_pack("{s:[], s:[], s:[], s:[], s:{}}", "added", "removed", "reweighted",
				"moved", "options");
	struct pool_spec none = { 0 };
	compare_servers(from != NULL ? from : &none, to, out);
	if (from != NULL) compare_options(from, to, out);
	json_object_set_new(out, "keys", from != NULL ? compare_keys(from, to) : json_null());
	return out;
}

bool compare_differs(const json_t *comparison)
{
	static const char *const lists[] = { "added", "removed", "reweighted", "moved" };
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		if (json_array_size(json_object_get(comparison, lists[i])) > 0) return true;
	return json_object_size(json_object_get(comparison, "options")) > 0;
}

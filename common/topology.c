#include "common/topology.h"

#include <stdlib.h>

#include "common/giveway.h"
#include "common/topology_check.h"

const char *protocol_name(enum protocol p)
{
	static const char *const names[PROTOCOL_MAX] = {
		[PROTOCOL_MEMCACHED] = "memcached",
		[PROTOCOL_REDIS] = "redis",
	};
	return names[p];
}

const struct pool_spec *topology_pool(const struct topology *t, struct slice name)
{
	for (uint32_t i = 0; i < t->pool_count; i++) {
		const struct pool_spec *p = &t->pools[i];
		if (p->name != NULL && slice_eq(slice_of(p->name), name)) return p;
	}
	return NULL;
}

enum err topology_from_json(const json_t *doc, struct topology **topology_out,
			    struct err_at *where_out)
{
	struct report r = { 0 };
	enum err e = topology_read_json(doc, topology_out, &r);
	if (where_out != NULL) *where_out = (struct err_at){ "$", "" };
	report_outcome(&r, where_out);
	report_fini(&r);
	return e;
}

/* --- to JSON ---------------------------------------------------------------------------------- */

/* Takes over `value`. False when out of memory, with *object freed and NULL: the callers below then
 * fall through to their return. */
static void put(json_t **object, const char *key, json_t *value)
{
	if (*object == NULL) json_decref(value);
	if (*object == NULL || json_object_set_new(*object, key, value) == 0) return;
	json_decref(*object);
	*object = NULL;
}

json_t *pool_spec_to_json(const struct pool_spec *p)
{
	json_t *servers = json_array();
	for (uint32_t i = 0; i < p->server_count && servers != NULL; i++) {
		json_array_append_new(servers, settings_to_json(&server_settings, &p->servers[i]));
		give_way_each(64, i);
	}
	json_t *out = settings_to_json(&pool_settings, p);
	put(&out, "servers", servers);
	return out;
}

static json_t *transition_to_json(const struct transition *t)
{
	json_t *out = settings_to_json(&transition_rules_settings, &t->rules);
	put(&out, "lease_ms", json_integer(t->lease_ms));
	put(&out, "next", pool_spec_to_json(t->next));
	return out;
}

json_t *topology_to_json(const struct topology *t)
{
	json_t *pools = json_object(), *transitions = json_object();
	for (uint32_t i = 0; i < t->pool_count; i++) {
		const struct pool_spec *p = &t->pools[i];
		put(&pools, p->name, pool_spec_to_json(p));
		if (p->transition) put(&transitions, p->name, transition_to_json(p->transition));
	}
	json_t *out = settings_to_json(&topology_settings, t);
	put(&out, "pools", pools);
	if (json_object_size(transitions) > 0) put(&out, "transitions", transitions);
	else json_decref(transitions);
	if (t->routes != NULL) put(&out, "routes", json_deep_copy(t->routes));
	return out;
}

/* --- copies ----------------------------------------------------------------------------------- */

bool server_spec_same(const struct server_spec *a, const struct server_spec *b)
{
	return a->port == b->port && strcmp(a->ring_name, b->ring_name) == 0 &&
	       strcmp(a->host, b->host) == 0;
}

static void pool_fini(struct pool_spec *p);

static void transition_free(struct transition **t)
{
	if (*t == NULL) return;
	settings_fini(&transition_rules_settings, &(*t)->rules);
	if ((*t)->next != NULL) pool_fini((*t)->next);
	free((*t)->next);
	free(*t);
	*t = NULL;
}

static void pool_fini(struct pool_spec *p)
{
	transition_free(&p->transition);
	for (uint32_t i = 0; i < p->server_count; i++) {
		server_fini(&p->servers[i]);
		give_way_each(256, i);
	}
	free(p->servers);
	free(p->name);
	settings_fini(&pool_settings, p);
}

static bool server_copy(struct server_spec *to, const struct server_spec *from)
{
	*to = *from;
	bool good = settings_copy(&server_settings, to, from);
	to->ring_name = strdup(from->ring_name);
	return good && to->ring_name != NULL;
}

static struct transition *transition_copy(const struct transition *from);

/* On failure `to` holds what pool_fini can free. */
static bool pool_copy(struct pool_spec *to, const struct pool_spec *from)
{
	*to = *from;
	bool good = settings_copy(&pool_settings, to, from);
	to->name = strdup(from->name);
	to->transition = NULL;
	to->server_count = 0;
	to->servers = calloc(from->server_count, sizeof(*to->servers));
	if (!good || to->name == NULL || to->servers == NULL) return false;
	for (uint32_t i = 0; i < from->server_count; i++, to->server_count++) {
		if (!server_copy(&to->servers[i], &from->servers[i])) good = false;
		give_way_each(256, i);
	}
	if (from->transition == NULL) return good;
	to->transition = transition_copy(from->transition);
	return good && to->transition != NULL;
}

/* NULL: no memory. */
static struct transition *transition_copy(const struct transition *from)
{
	struct transition *to = malloc(sizeof(*to));
	if (to == NULL) return NULL;
	*to = *from;
	bool good = settings_copy(&transition_rules_settings, &to->rules, &from->rules);
	to->next = calloc(1, sizeof(*to->next));
	if (to->next == NULL || !pool_copy(to->next, from->next)) good = false;
	if (!good) transition_free(&to);
	return to;
}

struct topology *topology_copy(const struct topology *t)
{
	struct topology *copy = malloc(sizeof(*copy));
	if (copy == NULL) return NULL;
	*copy = *t;
	bool good = settings_copy(&topology_settings, copy, t);
	copy->pool_count = 0;
	copy->pools = calloc(t->pool_count, sizeof(*copy->pools));
	copy->routes = t->routes != NULL ? json_deep_copy(t->routes) : NULL;
	if (copy->pools == NULL || (t->routes != NULL && copy->routes == NULL)) good = false;
	for (uint32_t i = 0; i < t->pool_count && good; i++, copy->pool_count++)
		good = pool_copy(&copy->pools[i], &t->pools[i]);
	if (!good) topology_free(&copy);
	return copy;
}

void topology_free(struct topology **t)
{
	if (*t == NULL) return;
	for (uint32_t i = 0; i < (*t)->pool_count; i++) pool_fini(&(*t)->pools[i]);
	free((*t)->pools);
	json_decref((*t)->routes);
	settings_fini(&topology_settings, *t);
	free(*t);
	*t = NULL;
}

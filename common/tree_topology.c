#include "common/tree_topology.h"

#include <stdio.h>

static enum err tree_invalid(struct err_at *where_out, const char *pool, const char *why)
{
	if (where_out == NULL) return ERR_INVALID;
	snprintf(where_out->where, sizeof(where_out->where), "$%s%.150s",
		 pool != NULL ? ".pools." : "", pool != NULL ? pool : "");
	snprintf(where_out->why, sizeof(where_out->why), "%s", why);
	return ERR_INVALID;
}

static enum err tree_check_parts(const struct tree_pool *pools, uint32_t count,
				 struct err_at *where_out)
{
	if (count == 0) return tree_invalid(where_out, NULL, "there is no pool");
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(pools[i].state->lineage, pools[0].state->lineage) != 0)
			return tree_invalid(where_out, pools[i].name,
					    "the pools' states are of different lineages");
		if ((pools[i].state->transition != NULL) != (pools[i].next != NULL))
			return tree_invalid(where_out, pools[i].name,
					    "a transition needs both rings");
		for (uint32_t k = 0; k < i; k++)
			if (strcmp(pools[i].name, pools[k].name) == 0)
				return tree_invalid(where_out, pools[i].name, "the pool is twice");
	}
	return ERR_NONE;
}

const struct ejection *tree_server_ejection(const struct pool_state *state,
					    const struct pool_spec *ring,
					    const struct server_spec *s, bool in_next)
{
	const struct ejection *e = pool_state_ejection(state, s->ring_name);
	if (e != NULL && e->returning && in_next) return NULL;
	for (uint32_t i = 0; e != NULL && i < ring->server_count; i++)
		if (strcmp(ring->servers[i].ring_name, s->ring_name) == 0)
			return server_spec_same(&ring->servers[i], s) ? e : NULL;
	return e;
}

/* NULL: no memory. */
static json_t *tree_pool_json(const struct tree_pool *p, bool in_next)
{
	const struct pool_spec *pool = in_next ? p->next : p->pool;
	json_t *out = pool_spec_to_json(pool), *servers = json_object_get(out, "servers");
	int failed = json_array_size(servers) == pool->server_count ? 0 : -1;
	for (uint32_t i = 0; failed == 0 && i < pool->server_count; i++) {
		const struct ejection *e =
		    tree_server_ejection(p->state, p->pool, &pool->servers[i], in_next);
		json_t *server = json_array_get(servers, i);
		failed = json_object_set_new(server, "ejected", json_boolean(e != NULL));
		failed |= json_object_set_new(server, "held", json_boolean(e && e->held));
	}
	if (failed == 0) return out;
	json_decref(out);
	return NULL;
}

/* NULL: no memory. */
static json_t *tree_transition_json(const struct tree_pool *p)
{
	const struct transition_rules *rules = &p->state->transition->rules;
	json_t *out = settings_to_json(&transition_rules_settings, rules);
	int failed = json_object_set_new(out, "lease_ms", json_integer(p->state->lease_ms));
	failed |= json_object_set_new(out, "next", tree_pool_json(p, true));
	if (failed == 0) return out;
	json_decref(out);
	return NULL;
}

/* NULL: no memory. */
static json_t *tree_json(const struct tree_pool *pools, uint32_t count, const json_t *routes,
			 uint64_t version)
{
	json_t *by_name = json_object(), *transitions = json_object();
	int failed = 0;
	for (uint32_t i = 0; i < count; i++) {
		failed |=
		    json_object_set_new(by_name, pools[i].name, tree_pool_json(&pools[i], false));
		if (pools[i].next != NULL)
			failed |= json_object_set_new(transitions, pools[i].name,
						      tree_transition_json(&pools[i]));
	}
	json_t *out =
	    json_pack("{s:s, s:i, s:i, s:I, s:o}", "lineage", pools[0].state->lineage, "epoch", 0,
		      "step", 0, "version", (json_int_t)version, "pools", by_name);
	if (json_object_size(transitions) > 0)
		failed |= json_object_set(out, "transitions", transitions);
	json_decref(transitions);
	if (routes != NULL && !json_is_null(routes))
		failed |= json_object_set_new(out, "routes", json_deep_copy(routes));
	if (out != NULL && failed == 0) return out;
	json_decref(out);
	return NULL;
}

enum err tree_topology(const struct tree_pool *pools, uint32_t count, const json_t *routes,
		       uint64_t version, json_t **doc_out, struct topology **topology_out,
		       struct err_at *where_out)
{
	struct topology *t = NULL;
	json_t *doc = NULL;
	if (doc_out != NULL) *doc_out = NULL;
	if (topology_out != NULL) *topology_out = NULL;
	enum err e = tree_check_parts(pools, count, where_out);
	if (e == ERR_NONE) {
		doc = tree_json(pools, count, routes, version);
		e = doc != NULL ? topology_from_json(doc, &t, where_out) : ERR_NOMEM;
	}
	if (e == ERR_NONE && doc_out != NULL) *doc_out = json_incref(doc);
	if (e == ERR_NONE && topology_out != NULL) *topology_out = t;
	else topology_free(&t);
	json_decref(doc);
	return e;
}

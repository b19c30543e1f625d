#include "agent/cache.h"

#include <stdlib.h>

#include "common/log.h"
#include "common/ring_body.h"
#include "common/saved.h"

static void cache_put_body(json_t *one, const char *key, const struct topology *body,
			   struct scratch *text)
{
	char hex[RING_HEX_CHARS + 1];
	if (body && ring_body_print(&body->pools[0], text, hex) == ERR_NONE)
		json_object_set_new(one, key, json_stringn(text->p, text->n));
}

static enum err cache_get_body(const json_t *one, const char *key, const char *hex,
			       const char *pool, struct topology **out, struct err_at *at)
{
	const json_t *text = json_object_get(one, key);
	struct slice body = { json_string_value(text), json_string_length(text) };
	return body.p ? ring_body_parse(body, hex, pool, out, at) : ERR_INVALID;
}

/* {"version": V, "routes": ..., "pools": {P: {"state": TEXT, "ring": TEXT, "next": TEXT}}}: states
 * and ring bodies as they stand in the tree, so that they are checked by the same code. */
enum err cache_save(const char *path, const json_t *topology, const struct reader_pool *pools,
		    uint32_t count, struct err_at *where_out)
{
	struct scratch text = { 0 };
	json_t *all = json_object();
	for (uint32_t i = 0; i < count; i++) {
		json_t *one = json_object();
		if (pool_state_print(&pools[i].state, &text) == ERR_NONE)
			json_object_set_new(one, "state", json_stringn(text.p, text.n));
		cache_put_body(one, "ring", pools[i].body, &text);
		cache_put_body(one, "next", pools[i].next, &text);
		json_object_set_new(all, pools[i].name, one);
	}
	json_t *doc = json_object();
	json_object_set(doc, "version", json_object_get(topology, "version"));
	json_t *routes = json_object_get(topology, "routes");
	if (routes) json_object_set(doc, "routes", routes);
	json_object_set_new(doc, "pools", all);
	char *body = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
	enum err e = body ? saved_write(path, slice_of(body), where_out) : ERR_NOMEM;
	free(body);
	json_decref(doc);
	scratch_fini(&text);
	return e;
}

void cache_touch(const char *path)
{
	saved_touch(path);
}

static bool cache_load_pool(const char *name, const json_t *one, struct cached_pool *out)
{
	const json_t *state = json_object_get(one, "state");
	struct err_at at = { 0 };
	struct slice text = { json_string_value(state), json_string_length(state) };
	*out = (struct cached_pool){ 0 };
	if (!text.p) return false;
	enum err e = pool_state_parse(text, &out->state, &at);
	if (e == ERR_NONE) e = cache_get_body(one, "ring", out->state.ring, name, &out->body, &at);
	if (e == ERR_NONE && out->state.transition)
		e = cache_get_body(one, "next", out->state.transition->next, name, &out->next, &at);
	if (e == ERR_NONE && (out->name = strdup(name)) != NULL) return true;
	log_warn("cache: pool %s: %s: %s", name, at.where, at.why);
	pool_state_fini(&out->state);
	topology_free(&out->body);
	topology_free(&out->next);
	return false;
}

static void cached_tree_fini(struct cached_tree *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		free(t->pools[i].name);
		pool_state_fini(&t->pools[i].state);
		topology_free(&t->pools[i].body);
		topology_free(&t->pools[i].next);
	}
	free(t->pools);
	json_decref(t->routes);
	*t = (struct cached_tree){ 0 };
}

/* All pools of a file or none: a part of a tree is another tree. */
static bool cache_parse(const json_t *doc, struct cached_tree *out)
{
	json_t *pools = json_object_get(doc, "pools"), *one;
	const char *name;
	out->pools = calloc(json_object_size(pools) + 1, sizeof(*out->pools));
	if (!out->pools) abort();
	json_object_foreach (pools, name, one) {
		if (!cache_load_pool(name, one, &out->pools[out->count])) return false;
		out->count++;
	}
	out->version = (uint64_t)json_integer_value(json_object_get(doc, "version"));
	out->routes = json_incref(json_object_get(doc, "routes"));
	return out->count > 0;
}

static bool cache_read(const char *path, enum saved_generation g, struct cached_tree *out)
{
	struct scratch body = { 0 };
	struct err_at at = { 0 };
	json_error_t ignored;
	*out = (struct cached_tree){ 0 };
	enum err e = saved_read(path, g, &body, &out->age_s, &at);
	if (e != ERR_NONE && e != ERR_UNKNOWN_NAME) log_warn("cache: %s: %s", at.where, at.why);
	json_t *doc = e == ERR_NONE ? json_loadb(body.p, body.n, 0, &ignored) : NULL;
	bool good = doc && cache_parse(doc, out);
	if (!good) cached_tree_fini(out);
	json_decref(doc);
	scratch_fini(&body);
	return good;
}

bool cache_load(const char *path, struct cached_tree *out)
{
	struct cached_tree old;
	bool good = cache_read(path, SAVED_NEWEST, out);
	bool older = cache_read(path, SAVED_BEFORE, &old);
	bool back = good && older && old.version > out->version &&
		    strcmp(old.pools[0].state.lineage, out->pools[0].state.lineage) == 0;
	if (back) log_warn("cache: %s: older than the one before", path);
	if (older && (!good || back)) {
		cached_tree_fini(out);
		*out = old;
	} else {
		cached_tree_fini(&old);
	}
	return good || older;
}

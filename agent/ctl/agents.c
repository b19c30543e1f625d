#include "agent/ctl/agents.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/out.h"

/* All children of `dir` with what they hold; none when it is not there. */
struct children {
	struct client_names names;
	struct client_node *nodes;
};

static enum ctl_exit children_read(struct ctl *c, const char *dir, struct children *out)
{
	enum store_rc rc = client_list(c->client, dir, CLIENT_ONCE, &out->names);
	uint32_t n = out->names.count;
	char **paths = calloc(n + 1, sizeof(*paths));
	out->nodes = calloc(n + 1, sizeof(*out->nodes));
	if (paths == NULL || out->nodes == NULL) abort();
	for (uint32_t i = 0; i < n; i++)
		if (asprintf(&paths[i], "%s/%s", dir, out->names.names[i]) < 0) abort();
	client_get_many(c->client, paths, n, CLIENT_ONCE, out->nodes);
	for (uint32_t i = 0; i < n; i++) {
		if (out->nodes[i].rc == STORE_AWAY) rc = STORE_AWAY;
		free(paths[i]);
	}
	free(paths);
	return rc == STORE_NO_NODE ? CTL_OK : ctl_exit_of(rc, dir);
}

static void children_fini(struct children *ch)
{
	for (uint32_t i = 0; i < ch->names.count; i++) client_node_fini(&ch->nodes[i]);
	free(ch->nodes);
	client_names_fini(&ch->names);
}

static json_t *child_json(const struct children *ch, uint32_t i)
{
	const struct client_node *n = &ch->nodes[i];
	json_t *doc = n->rc == STORE_OK ? json_loadb(n->data, n->n, 0, NULL) : NULL;
	if (json_is_object(doc)) return doc;
	json_decref(doc);
	return json_object();
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool names_have(const struct client_names *n, const char *name)
{
	char *key = (char *)(uintptr_t)name;
	return n->count > 0 &&
	       bsearch(&key, n->names, n->count, sizeof(*n->names), name_cmp) != NULL;
}

/* --- agents ----------------------------------------------------------------------------------- */

/* NULL counts as null. */
static void take(json_t *to, const json_t *from, const char *key)
{
	json_t *value = json_object_get(from, key);
	json_object_set(to, key, value != NULL ? value : json_null());
}

static json_t *proxy_of(const json_t *from, int64_t wanted)
{
	static const char *const keys[] = { "name", "pid", "version", "state", "error" };
	json_t *out = json_object();
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) take(out, from, keys[i]);
	const json_t *version = json_object_get(from, "version");
	int64_t lag = wanted - json_integer_value(version);
	json_object_set_new(
	    out, "lag", json_is_integer(version) ? json_integer(lag > 0 ? lag : 0) : json_null());
	return out;
}

static json_t *agent_of(const char *id, const json_t *from, bool live, int64_t wanted)
{
	json_t *out = json_pack("{s:s, s:b}", "agent", id, "live", live), *proxies = json_array();
	size_t i;
	json_t *p;
	take(out, from, "host");
	take(out, from, "rack");
	take(out, from, "version");
	take(out, from, "lineage");
	take(out, from, "epoch");
	take(out, from, "problem");
	json_array_foreach (json_object_get(from, "proxies"), i, p)
		json_array_append_new(proxies, proxy_of(p, wanted));
	json_object_set_new(out, "proxies", proxies);
	return out;
}

enum ctl_exit agents_read(struct ctl *c, int64_t wanted, json_t **out)
{
	struct children ch;
	struct client_names live;
	enum ctl_exit e = children_read(c, "agents", &ch);
	enum store_rc rc = client_list(c->client, "live", CLIENT_ONCE, &live);
	if (e == CTL_OK && rc != STORE_NO_NODE) e = ctl_exit_of(rc, "live");
	*out = json_array();
	for (uint32_t i = 0; i < ch.names.count; i++) {
		json_t *from = child_json(&ch, i);
		json_array_append_new(*out, agent_of(ch.names.names[i], from,
						     names_have(&live, ch.names.names[i]), wanted));
		json_decref(from);
	}
	children_fini(&ch);
	client_names_fini(&live);
	return e;
}

static void agents_row(struct table *t, const json_t *a, const json_t *p)
{
	table_json(t, json_object_get(a, "agent"));
	table_json(t, json_object_get(a, "host"));
	table_text(t, json_is_true(json_object_get(a, "live")) ? "live" : "dead");
	table_json(t, json_object_get(p, "name"));
	table_json(t, json_object_get(p, "pid"));
	table_json(t, json_object_get(p, "version"));
	table_json(t, json_object_get(p, "lag"));
	table_json(t, json_object_get(p, "state"));
	const char *error = out_string(p, "error");
	table_text(t, *error != '\0' ? error : out_string(a, "problem"));
}

void agents_print(const json_t *agents)
{
	static const char *const headings[] = { "AGENT",   "HOST", "LIVE",  "PROXY", "PID",
						"VERSION", "LAG",  "STATE", "ERROR" };
	struct table t;
	size_t i, k;
	json_t *a, *p;
	table_begin(&t, headings, 9);
	json_array_foreach (agents, i, a) {
		json_t *proxies = json_object_get(a, "proxies");
		json_array_foreach (proxies, k, p) agents_row(&t, a, p);
		if (json_array_size(proxies) == 0) agents_row(&t, a, NULL);
	}
	table_print(&t, "no agents");
}

/* --- nannies and coordinator ------------------------------------------------------------------ */

enum ctl_exit nannies_read(struct ctl *c, json_t **out)
{
	struct children ch;
	enum ctl_exit e = children_read(c, "lock/nanny", &ch);
	*out = json_array();
	for (uint32_t i = 0; i < ch.names.count; i++) {
		json_t *from = child_json(&ch, i);
		json_t *one = json_pack("{s:s}", "agent", ch.names.names[i]);
		take(one, from, "abstains");
		json_array_append_new(*out, one);
		json_decref(from);
	}
	children_fini(&ch);
	return e;
}

enum ctl_exit coordinator_read(struct ctl *c, json_t **out)
{
	struct children ch;
	enum ctl_exit e = children_read(c, "lock/coordinator", &ch);
	*out = json_null();
	if (ch.names.count > 0) {
		/* names are sorted: the first has the lowest number */
		json_t *from = child_json(&ch, 0);
		*out = json_string(out_string(from, "id"));
		json_decref(from);
	}
	children_fini(&ch);
	return e;
}

#include "agent/ctl/view.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/ring_body.h"
#include "common/topology_ring.h"

enum { POOL_NAME_MAX = 255 };

bool view_name_ok(const char *pool)
{
	size_t n = strlen(pool);
	const char *why = NULL;
	if (n == 0 || n > POOL_NAME_MAX) why = "has 1 to 255 bytes";
	else if (strchr(pool, '/') != NULL) why = "holds no '/'";
	else if (pool[0] == '.' || pool[0] == '#') why = "begins with neither '.' nor '#'";
	else if (pool[n - 1] == '~') why = "does not end in '~'";
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)pool[i] < 0x20 || pool[i] == 0x7f)
			why = "holds no control characters";
	if (why != NULL) ctl_say("'%s': a pool's name %s", pool, why);
	return why == NULL;
}

void view_path(const char *pool, const char *part, char path_out[STORE_PATH_MAX])
{
	snprintf(path_out, STORE_PATH_MAX, "pools/%s%s%s", pool, part != NULL ? "/" : "",
		 part != NULL ? part : "");
}

/* --- reading ---------------------------------------------------------------------------------- */

static void view_parse_spec(struct view *v)
{
	char label[STORE_PATH_MAX];
	if (v->spec_node.rc != STORE_OK) return;
	view_path(v->name, "spec", label);
	spec_parse(v->spec_node.data, v->spec_node.n, v->name, label, &v->spec, &v->issues);
}

static void view_read_ring(struct client *c, struct view *v)
{
	char path[STORE_PATH_MAX];
	snprintf(path, sizeof(path), "pools/%s/rings/%s", v->name, v->state.ring);
	struct client_node body = client_get(c, path, CLIENT_ONCE);
	struct err_at at;
	snprintf(v->problem.where, sizeof(v->problem.where), "rings/%.70s", v->state.ring);
	if (body.rc != STORE_OK)
		snprintf(v->problem.why, sizeof(v->problem.why), "%s", store_rc_text(body.rc));
	else if (ring_body_parse((struct slice){ body.data, body.n }, v->state.ring, v->name,
				 &v->ring, &at) != ERR_NONE)
		snprintf(v->problem.why, sizeof(v->problem.why), "%s", at.why);
	else v->problem = (struct err_at){ 0 };
	client_node_fini(&body);
}

static void view_parse_state(struct client *c, struct view *v)
{
	struct slice text = { v->state_node.data, v->state_node.n };
	snprintf(v->problem.where, sizeof(v->problem.where), "state");
	if (v->state_node.rc != STORE_OK) {
		snprintf(v->problem.why, sizeof(v->problem.why), "%s",
			 v->state_node.rc == STORE_NO_NODE ? "there is none yet"
							   : store_rc_text(v->state_node.rc));
		return;
	}
	struct err_at at;
	v->has_state = pool_state_parse(text, &v->state, &at) == ERR_NONE;
	if (v->has_state) view_read_ring(c, v);
	else snprintf(v->problem.why, sizeof(v->problem.why), "%.120s: %.110s", at.where, at.why);
}

enum store_rc view_read(struct client *c, const char *pool, unsigned parts, struct view *out)
{
	char paths[3][STORE_PATH_MAX];
	char *wanted[] = { paths[0], paths[1], paths[2] };
	struct client_node nodes[3];
	*out = (struct view){ .name = strdup(pool) };
	if (out->name == NULL) abort();
	view_path(pool, "spec", paths[0]);
	view_path(pool, "state", paths[1]);
	view_path(pool, "status", paths[2]);
	client_get_many(c, wanted, 3, parts & VIEW_WATCH ? CLIENT_WATCH : CLIENT_ONCE, nodes);
	out->spec_node = nodes[0];
	out->state_node = nodes[1];
	out->status_node = nodes[2];
	bool found = false;
	for (int i = 0; i < 3; i++) {
		if (nodes[i].rc == STORE_AWAY || nodes[i].rc == STORE_REFUSED) return nodes[i].rc;
		found |= nodes[i].rc != STORE_NO_NODE && nodes[i].rc != STORE_INVALID;
	}
	if (!found) return STORE_NO_NODE;
	if (parts & VIEW_SPEC) view_parse_spec(out);
	if (parts & VIEW_STATE) view_parse_state(c, out);
	if ((parts & VIEW_STATUS) && nodes[2].rc == STORE_OK)
		out->status = json_loadb(nodes[2].data, nodes[2].n, JSON_REJECT_DUPLICATES, NULL);
	return STORE_OK;
}

void view_fini(struct view *v)
{
	free(v->name);
	client_node_fini(&v->spec_node);
	client_node_fini(&v->state_node);
	client_node_fini(&v->status_node);
	spec_free(&v->spec);
	config_issues_fini(&v->issues);
	pool_state_fini(&v->state);
	topology_free(&v->ring);
	json_decref(v->status);
	*v = (struct view){ 0 };
}

/* --- all of them ------------------------------------------------------------------------------ */

static enum ctl_exit views_add(struct ctl *c, struct views *v, const char *pool, unsigned parts)
{
	struct view *one = &v->items[v->count];
	enum store_rc rc = view_read(c->client, pool, parts, one);
	v->count++;
	return rc == STORE_NO_NODE ? CTL_OK : ctl_exit_of(rc, pool);
}

static enum ctl_exit views_read_one(struct ctl *c, const char *pool, unsigned parts,
				    struct views *out)
{
	out->items = calloc(1, sizeof(*out->items));
	if (out->items == NULL) abort();
	if (!view_name_ok(pool)) return CTL_REFUSED;
	enum store_rc rc = view_read(c->client, pool, parts, &out->items[0]);
	out->count = 1;
	if (rc != STORE_NO_NODE) return ctl_exit_of(rc, pool);
	ctl_say("there is no pool '%s'", pool);
	return CTL_REFUSED;
}

enum ctl_exit views_read(struct ctl *c, const char *pool, unsigned parts, struct views *out)
{
	*out = (struct views){ 0 };
	enum ctl_exit e = ctl_open(c);
	if (e != CTL_OK) return e;
	if (pool != NULL) return views_read_one(c, pool, parts, out);
	struct client_names names;
	enum store_rc rc = client_list(c->client, "pools",
				       parts & VIEW_WATCH ? CLIENT_WATCH : CLIENT_ONCE, &names);
	e = rc == STORE_NO_NODE ? CTL_OK : ctl_exit_of(rc, "pools");
	out->items = calloc(names.count + 1, sizeof(*out->items));
	if (out->items == NULL) abort();
	for (uint32_t i = 0; i < names.count && e == CTL_OK; i++)
		e = views_add(c, out, names.names[i], parts);
	client_names_fini(&names);
	return e;
}

void views_fini(struct views *v)
{
	for (uint32_t i = 0; i < v->count; i++) view_fini(&v->items[i]);
	free(v->items);
	*v = (struct views){ 0 };
}

/* --- the ring --------------------------------------------------------------------------------- */

const struct pool_spec *view_pool(const struct view *v)
{
	return v->ring != NULL ? &v->ring->pools[0] : NULL;
}

enum err view_ring(const struct view *v, enum view_ejected how, struct ring **ring_out)
{
	const struct pool_spec *pool = view_pool(v);
	*ring_out = NULL;
	if (pool == NULL) return ERR_UNKNOWN_NAME;
	struct pool_spec now = *pool;
	now.servers = calloc(pool->server_count + 1, sizeof(*now.servers));
	if (now.servers == NULL) return ERR_NOMEM;
	for (uint32_t i = 0; i < pool->server_count; i++) {
		struct server_spec *s = &now.servers[i];
		*s = pool->servers[i]; /* its texts are borrowed */
		s->ejected =
		    how == VIEW_EJECTED && pool_state_ejection(&v->state, s->ring_name) != NULL;
	}
	enum err e = pool_ring_build(&now, ring_out);
	free(now.servers);
	return e;
}

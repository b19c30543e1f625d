/* cmd_status.c - how it goes: pools, agents with their proxies, nannies, the coordinator. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/agents.h"
#include "agent/ctl/out.h"
#include "agent/ctl/view.h"
#include "agent/ctl/walk.h"

/* --- one pool as JSON ------------------------------------------------------------------------- */

/* As the coordinator names a spec: by the change that made it. */
static int64_t spec_id(const struct view *v)
{
	return v->spec_node.stat.mzxid;
}

/* What to call it, worst first. */
static const char *pool_condition(const struct view *v)
{
	const char *told = out_string(v->status, "state");
	int64_t seen = json_integer_value(json_object_get(v->status, "spec_version"));
	bool current =
	    json_is_integer(json_object_get(v->status, "spec_version")) && seen == spec_id(v);
	if (v->spec_node.rc != STORE_OK) return "no spec";
	if (strcmp(told, "broken") == 0) return told;
	if (v->spec == NULL) return "rejected";
	if (!v->has_state || v->ring == NULL)
		return v->state_node.rc == STORE_OK ? "broken" : "new";
	if (!current && v->state.spec_version != (uint64_t)spec_id(v)) return "pending";
	return *told != '\0' ? told : "ok";
}

static json_t *pool_ejected(const struct view *v)
{
	json_t *out = json_array();
	for (uint32_t i = 0; v->has_state && i < v->state.ejected_count; i++) {
		const struct ejection *e = &v->state.ejected[i];
		json_array_append_new(out,
				      json_pack("{s:s, s:I, s:s?}", "server", e->server, "since",
						(json_int_t)e->since_ms, "why", e->why));
	}
	return out;
}

/* The coordinator's word, or our own when it has not come to it. */
static json_t *pool_rejected(const struct view *v)
{
	json_t *told = json_object_get(v->status, "rejected");
	if (json_is_object(told) &&
	    json_integer_value(json_object_get(v->status, "spec_version")) == spec_id(v))
		return json_incref(told);
	for (uint32_t i = 0; v->spec == NULL && i < v->issues.count; i++)
		if (!v->issues.items[i].warning)
			return json_pack("{s:s, s:s}", "where", v->issues.items[i].at.where, "why",
					 v->issues.items[i].at.why);
	return json_null();
}

static json_t *blocked_on(const struct view *v)
{
	json_t *told = json_object_get(v->status, "blocked_on");
	return json_is_array(told) ? json_incref(told) : json_array();
}

static json_t *integer_or_null(bool known, uint64_t n)
{
	return known ? json_integer((json_int_t)n) : json_null();
}

static json_t *pool_json(const struct view *v)
{
	const struct pool_spec *now = view_pool(v);
	bool there = v->spec_node.rc == STORE_OK;
	json_t *out = json_pack(
	    "{s:s, s:s, s:o, s:o, s:o, s:o, s:s?, s:o, s:o, s:o, s:o}", "pool", v->name, "state",
	    pool_condition(v), "spec_version", integer_or_null(there, (uint64_t)spec_id(v)),
	    "applied_version", integer_or_null(v->has_state, v->state.spec_version), "epoch",
	    integer_or_null(v->has_state, v->state.epoch), "step",
	    integer_or_null(v->has_state, v->state.step), "ring",
	    v->has_state ? v->state.ring : NULL, "servers",
	    integer_or_null(now != NULL, now != NULL ? now->server_count : 0), "ejected",
	    pool_ejected(v), "rejected", pool_rejected(v), "blocked_on", blocked_on(v));
	json_t *told = json_object_get(v->status, "problem");
	if (json_is_object(told)) json_object_set(out, "problem", told);
	else if (v->state_node.rc == STORE_OK && v->problem.why[0] != '\0')
		json_object_set_new(
		    out, "problem",
		    json_pack("{s:s, s:s}", "where", v->problem.where, "why", v->problem.why));
	else json_object_set_new(out, "problem", json_null());
	json_object_set_new(out, "transition",
			    v->has_state && v->state.transition ? walk_json(v) : json_null());
	return out;
}

/* --- votes ------------------------------------------------------------------------------------ */

static void votes_read_server(struct ctl *c, const char *pool, const char *kind, const char *server,
			      json_t *out)
{
	char path[STORE_PATH_MAX];
	struct client_names names;
	snprintf(path, sizeof(path), "pools/%s/%s/%s", pool, kind, server);
	client_list(c->client, path, CLIENT_ONCE, &names);
	for (uint32_t i = 0; i < names.count; i++) {
		char voter[STORE_PATH_MAX];
		if (snprintf(voter, sizeof(voter), "%s/%s", path, names.names[i]) >=
		    (int)sizeof(voter))
			continue;
		struct client_node n = client_get(c->client, voter, CLIENT_ONCE);
		json_t *body = n.rc == STORE_OK ? json_loadb(n.data, n.n, 0, NULL) : NULL;
		if (!json_is_object(body)) {
			json_decref(body);
			body = json_object();
		}
		json_object_set_new(body, "server", json_string(server));
		json_object_set_new(body, "agent", json_string(names.names[i]));
		json_array_append_new(out, body);
		client_node_fini(&n);
	}
	client_names_fini(&names);
}

/* `kind`: "votes" or "suspects". */
static json_t *votes_json(struct ctl *c, const char *pool, const char *kind)
{
	char path[STORE_PATH_MAX];
	struct client_names servers;
	json_t *out = json_array();
	view_path(pool, kind, path);
	client_list(c->client, path, CLIENT_ONCE, &servers);
	for (uint32_t i = 0; i < servers.count; i++)
		votes_read_server(c, pool, kind, servers.names[i], out);
	client_names_fini(&servers);
	return out;
}

/* --- for people ------------------------------------------------------------------------------- */

static void print_notes(const json_t *pool)
{
	const char *name = out_string(pool, "pool");
	const json_t *rejected = json_object_get(pool, "rejected");
	const json_t *problem = json_object_get(pool, "problem");
	size_t i;
	json_t *e;
	if (json_is_object(rejected))
		out_line("%s: spec rejected: %s: %s", name, out_string(rejected, "where"),
			 out_string(rejected, "why"));
	if (json_is_object(problem))
		out_line("%s: %s: %s", name, out_string(problem, "where"),
			 out_string(problem, "why"));
	json_array_foreach (json_object_get(pool, "ejected"), i, e) {
		char since[32];
		const char *why = out_string(e, "why");
		out_time((uint64_t)json_integer_value(json_object_get(e, "since")), since);
		out_line("%s: %s ejected since %s%s%s", name, out_string(e, "server"), since,
			 *why != '\0' ? ": " : "", why);
	}
	json_array_foreach (json_object_get(pool, "blocked_on"), i, e)
		out_line("%s: waits for agent %s", name,
			 json_is_string(e) ? json_string_value(e) : "?");
	json_array_foreach (json_object_get(pool, "votes"), i, e)
		out_line("%s: nanny %s votes against %s: %s", name, out_string(e, "agent"),
			 out_string(e, "server"), out_string(e, "why"));
	json_array_foreach (json_object_get(pool, "suspects"), i, e)
		out_line("%s: proxies of agent %s have %s marked down", name,
			 out_string(e, "agent"), out_string(e, "server"));
}

static void print_pools(const json_t *pools)
{
	static const char *const headings[] = { "POOL",	 "STATE",   "SPEC",    "APPLIED",
						"EPOCH", "SERVERS", "EJECTED", "RING" };
	struct table t;
	size_t i;
	json_t *p;
	table_begin(&t, headings, 8);
	json_array_foreach (pools, i, p) {
		char epoch[48] = "";
		if (json_is_integer(json_object_get(p, "epoch")))
			snprintf(epoch, sizeof(epoch), "%lld.%lld",
				 (long long)json_integer_value(json_object_get(p, "epoch")),
				 (long long)json_integer_value(json_object_get(p, "step")));
		table_text(&t, out_string(p, "pool"));
		table_text(&t, out_string(p, "state"));
		table_json(&t, json_object_get(p, "spec_version"));
		table_json(&t, json_object_get(p, "applied_version"));
		table_text(&t, epoch);
		table_json(&t, json_object_get(p, "servers"));
		table_printf(&t, "%zu", json_array_size(json_object_get(p, "ejected")));
		table_printf(&t, "%.12s", out_string(p, "ring"));
	}
	table_print(&t, "no pools");
	json_array_foreach (pools, i, p) print_notes(p);
	json_t *moving = json_array();
	json_array_foreach (pools, i, p)
		if (json_is_object(json_object_get(p, "transition")))
			json_array_append(moving, json_object_get(p, "transition"));
	if (json_array_size(moving) > 0) walk_print(moving);
	json_decref(moving);
}

static void print_people(const json_t *doc)
{
	const char *coordinator = out_string(doc, "coordinator");
	size_t i;
	json_t *n;
	out_line("\ncoordinator: %s", *coordinator != '\0' ? coordinator : "none");
	json_array_foreach (json_object_get(doc, "nannies"), i, n) {
		const char *abstains = out_string(n, "abstains");
		out_line("nanny: %s%s%s", out_string(n, "agent"),
			 *abstains != '\0' ? ", abstains: " : "", abstains);
	}
	out_line("version: %lld\n", (long long)json_integer_value(json_object_get(doc, "version")));
	agents_print(json_object_get(doc, "agents"));
}

/* --- the command ------------------------------------------------------------------------------ */

/* Nothing that an operator should look at? */
static bool status_is_good(const json_t *doc)
{
	size_t i, k;
	json_t *one, *p;
	json_array_foreach (json_object_get(doc, "pools"), i, one)
		if (strcmp(out_string(one, "state"), "ok") != 0 ||
		    json_array_size(json_object_get(one, "ejected")) > 0)
			return false;
	json_array_foreach (json_object_get(doc, "agents"), i, one) {
		if (!json_is_true(json_object_get(one, "live")) ||
		    *out_string(one, "problem") != '\0')
			return false;
		json_array_foreach (json_object_get(one, "proxies"), k, p)
			if (json_integer_value(json_object_get(p, "lag")) > 0 ||
			    *out_string(p, "error") != '\0')
				return false;
	}
	return true;
}

static json_t *status_pools(struct ctl *c, const struct views *views, int64_t *version)
{
	json_t *out = json_array();
	for (uint32_t i = 0; i < views->count; i++) {
		const struct view *v = &views->items[i];
		json_t *one = pool_json(v);
		json_object_set_new(one, "votes", votes_json(c, v->name, "votes"));
		json_object_set_new(one, "suspects", votes_json(c, v->name, "suspects"));
		json_array_append_new(out, one);
		if (v->has_state && v->state_node.stat.mzxid > *version)
			*version = v->state_node.stat.mzxid;
	}
	return out;
}

static enum ctl_exit status_read(struct ctl *c, const char *pool, json_t *doc)
{
	struct views views;
	int64_t version = 0;
	json_t *part = NULL;
	enum ctl_exit e = views_read(c, pool, VIEW_SPEC | VIEW_STATE | VIEW_STATUS, &views);
	if (e == CTL_OK) json_object_set_new(doc, "pools", status_pools(c, &views, &version));
	views_fini(&views);
	if (e != CTL_OK) return e;
	json_object_set_new(doc, "version", json_integer(version));
	e = coordinator_read(c, &part);
	json_object_set_new(doc, "coordinator", part);
	if (e == CTL_OK) {
		e = nannies_read(c, &part);
		json_object_set_new(doc, "nannies", part);
	}
	if (e == CTL_OK) {
		e = agents_read(c, version, &part);
		json_object_set_new(doc, "agents", part);
	}
	return e;
}

static enum ctl_exit status_run(struct ctl *c, const struct args *a)
{
	json_t *doc = json_object();
	enum ctl_exit e = status_read(c, a->count > 0 ? a->operands[0] : NULL, doc);
	if (e == CTL_OK && c->json) out_json(json_incref(doc));
	else if (e == CTL_OK) {
		print_pools(json_object_get(doc, "pools"));
		print_people(doc);
	}
	if (e == CTL_OK && args_option(a, "check") != NULL && !status_is_good(doc)) e = CTL_FAILED;
	json_decref(doc);
	return e;
}

static const struct ctl_option status_options[] = {
	{ "check", 'c', NULL,
	  "exit with 1 when a pool, an agent or a proxy is not as it should be" },
	{ NULL, 0, NULL, NULL },
};

const struct command cmd_status = {
	.name = "status",
	.operands = "[POOL]",
	.help = "how it goes: pools, agents, proxies, nannies",
	.more =
	    "STATE of a pool: ok; waiting for agents; moving: keys are on their way to another\n"
	    "ring; undone: that was aborted, and the spec still says it: write it again, or as it\n"
	    "was; pending: the coordinator has not come to\n"
	    "this spec yet; rejected: the spec is invalid, what was good before stays in force;\n"
	    "broken: the state itself cannot be used, agents keep the last good one; new: nothing\n"
	    "is in force yet; no spec.\n"
	    "LAG is how far a proxy's version is below the tree's: 0 is up to date.\n",
	.most = 1,
	.first = OPERAND_POOL,
	.options = status_options,
	.run = status_run,
};

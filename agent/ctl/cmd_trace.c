/* cmd_trace.c - who has a key: by the ring in force, by the ring that is wanted, by each proxy. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/ctl/out.h"
#include "agent/ctl/proxy_call.h"
#include "agent/ctl/view.h"
#include "common/pool_text.h"
#include "common/topology_ring.h"

/* --- one ring --------------------------------------------------------------------------------- */

static void trace_set_server(json_t *out, const char *key, const struct pool_spec *p, uint32_t i)
{
	json_object_set_new(out, key,
			    i != RING_NONE ? json_string(p->servers[i].ring_name) : json_null());
}

static void trace_set_address(json_t *out, const struct pool_spec *p, uint32_t i)
{
	const struct server_spec *s = &p->servers[i];
	if (s->port == 0) json_object_set_new(out, "address", json_string(s->host));
	else
		json_object_set_new(
		    out, "address",
		    json_sprintf(strchr(s->host, ':') ? "[%s]:%u" : "%s:%u", s->host, s->port));
}

/* By a ring without verdicts. */
static json_t *trace_plain(const struct pool_spec *p, struct slice key)
{
	struct ring *ring;
	json_t *out =
	    json_pack("{s:s, s:s, s:n, s:s}", "distribution", ring_kind_name(p->distribution),
		      "hash", hash_kind_name(p->hash), "server", "rule", "ring");
	if (p->distribution == RING_RANDOM)
		json_object_set_new(out, "rule", json_string("random: any server"));
	else if (pool_ring_build(p, &ring) == ERR_NONE) {
		uint32_t i = ring_lookup(ring, key, NULL);
		trace_set_server(out, "server", p, i);
		if (i != RING_NONE) trace_set_address(out, p, i);
		ring_free(&ring);
	}
	return out;
}

static json_t *trace_now(const struct view *v, struct slice key, const struct views *all,
			 unsigned depth);

/* The key's server is ejected and keeps its keys: where do requests go? */
static void trace_failover(const struct pool_spec *p, struct slice key, const struct views *all,
			   unsigned depth, json_t *out)
{
	json_object_set_new(out, "server", json_null());
	json_object_del(out, "address");
	if (p->failover != FAILOVER_POOL) {
		json_object_set_new(out, "rule", json_string("ejected, failover: error"));
		return;
	}
	json_object_set_new(out, "rule",
			    json_sprintf("ejected, failover: pool:%s", p->failover_pool));
	for (uint32_t i = 0; i < all->count && depth > 0; i++) {
		if (strcmp(all->items[i].name, p->failover_pool) != 0) continue;
		json_t *there = trace_now(&all->items[i], key, all, depth - 1);
		json_object_set(out, "server", json_object_get(there, "server"));
		json_object_set(out, "address", json_object_get(there, "address"));
		json_object_set_new(out, "by", there);
	}
}

/* By the ring in force with its verdicts; null when there is none. */
static json_t *trace_now(const struct view *v, struct slice key, const struct views *all,
			 unsigned depth)
{
	const struct pool_spec *p = view_pool(v);
	struct ring *ring = NULL;
	if (p == NULL) return json_null();
	json_t *out = trace_plain(p, key);
	json_object_set_new(out, "pool", json_string(v->name));
	json_object_set_new(out, "epoch", json_integer((json_int_t)v->state.epoch));
	json_object_set_new(out, "ring", json_string(v->state.ring));
	json_object_set(out, "home", json_object_get(out, "server"));
	if (p->distribution == RING_RANDOM || view_ring(v, VIEW_EJECTED, &ring) != ERR_NONE)
		return out;
	uint32_t i = ring_lookup(ring, key, NULL);
	ring_free(&ring);
	const char *home = out_string(out, "home");
	if (i == RING_NONE) {
		json_object_set_new(out, "rule", json_string("every server is ejected"));
		trace_set_server(out, "server", p, i);
		json_object_del(out, "address");
	} else if (pool_state_ejection(&v->state, p->servers[i].ring_name) != NULL) {
		trace_failover(p, key, all, depth, out);
	} else if (strcmp(home, p->servers[i].ring_name) != 0) {
		bool out_of_ring = pool_state_ejection(&v->state, home) != NULL;
		json_object_set_new(out, "rule",
				    json_string(out_of_ring ? "ejected, failover: ring"
							    : "ring, moved by an ejection"));
		trace_set_server(out, "server", p, i);
		trace_set_address(out, p, i);
	}
	return out;
}

/* By the ring of the spec, when that is another one. */
static json_t *trace_wanted(const struct view *v, struct slice key)
{
	const struct pool_spec *now = view_pool(v);
	if (v->spec == NULL) return json_null();
	json_t *wanted = pool_spec_to_json(v->spec->pool);
	json_t *current = now != NULL ? pool_spec_to_json(now) : NULL;
	bool same = current != NULL && json_equal(wanted, current);
	json_decref(wanted);
	json_decref(current);
	return same ? json_null() : trace_plain(v->spec->pool, key);
}

/* --- proxies ---------------------------------------------------------------------------------- */

static json_t *trace_proxy(struct ctl *c, const char *name, const char *pool, const char *key)
{
	char path[512];
	struct err_at why;
	snprintf(path, sizeof(path), "%s/%s", c->run_dir, name);
	json_t *got =
	    proxy_call(path, "route.trace", json_pack("{s:s, s:s}", "pool", pool, "key", key),
		       c->timeout_ms, &why);
	json_t *out = json_pack("{s:s#, s:n, s:n}", "proxy", name, (int)(strlen(name) - 5),
				"server", "error");
	if (got == NULL) json_object_set_new(out, "error", json_string(why.why));
	else {
		json_object_set(out, "server", json_object_get(got, "server"));
		json_object_set(out, "route", json_object_get(got, "route"));
	}
	json_decref(got);
	return out;
}

static json_t *trace_proxies(struct ctl *c, const char *pool, const char *key)
{
	struct client_names names;
	json_t *out = json_array();
	proxy_sockets(c->run_dir, &names);
	for (uint32_t i = 0; i < names.count; i++)
		json_array_append_new(out, trace_proxy(c, names.names[i], pool, key));
	client_names_fini(&names);
	return out;
}

/* --- the command ------------------------------------------------------------------------------ */

static void trace_row(struct table *t, const char *who, const json_t *trace)
{
	const char *by = out_string(json_object_get(trace, "by"), "rule");
	table_text(t, who);
	table_text(t, out_string(trace, "server"));
	table_text(t, out_string(trace, "address"));
	table_printf(t, "%s%s%s", out_string(trace, "rule"), *by != '\0' ? "; there: " : "", by);
}

static void trace_print(const struct view *v, const json_t *doc)
{
	static const char *const headings[] = { "BY", "SERVER", "ADDRESS", "RULE" };
	const json_t *now = json_object_get(doc, "current"), *spec = json_object_get(doc, "spec");
	struct table t;
	size_t i;
	json_t *p;
	table_begin(&t, headings, 4);
	if (json_is_object(now)) trace_row(&t, "current ring", now);
	if (json_is_object(spec)) trace_row(&t, "the spec's ring", spec);
	json_array_foreach (json_object_get(doc, "proxies"), i, p) {
		const char *to = out_string(json_object_get(p, "route"), "failover");
		const char *error = out_string(p, "error");
		table_printf(&t, "proxy %s", out_string(p, "proxy"));
		table_text(&t, out_string(p, "server"));
		table_text(&t, NULL);
		table_printf(&t, "%s%s",
			     *error != '\0' ? error
			     : *to != '\0'  ? "pool:"
					    : "route",
			     *error != '\0' ? "" : to);
	}
	if (json_is_object(now) && strcmp(out_string(now, "home"), out_string(now, "server")) != 0)
		out_line("home: %s", out_string(now, "home"));
	table_print(&t, "nobody has it");
	if (!json_is_object(now))
		out_note("note: nothing is in force (%s: %s)", v->problem.where, v->problem.why);
}

/* Pools that others fail over to matter too: read all of them. */
static enum ctl_exit trace_run(struct ctl *c, const struct args *a)
{
	struct views all;
	const struct view *v = NULL;
	enum ctl_exit e = views_read(c, NULL, VIEW_SPEC | VIEW_STATE, &all);
	for (uint32_t i = 0; i < all.count; i++)
		if (strcmp(all.items[i].name, a->operands[0]) == 0) v = &all.items[i];
	if (e == CTL_OK && v == NULL) {
		ctl_say("there is no pool '%s'", a->operands[0]);
		e = CTL_REFUSED;
	}
	if (e == CTL_OK) {
		struct slice key = slice_of(a->operands[1]);
		json_t *doc = json_pack(
		    "{s:s, s:s?, s:o, s:o, s:o}", "pool", v->name, "key", a->operands[1], "current",
		    trace_now(v, key, &all, all.count), "spec", trace_wanted(v, key), "proxies",
		    trace_proxies(c, v->name, a->operands[1]));
		if (doc == NULL) {
			ctl_say("the key is no UTF-8");
			e = CTL_USAGE;
		} else if (c->json) out_json(json_incref(doc));
		else trace_print(v, doc);
		json_decref(doc);
	}
	views_fini(&all);
	return e;
}

const struct command cmd_trace = {
	.name = "trace",
	.operands = "POOL KEY",
	.help = "which server has a key, and by which rule",
	.more = "By the ring in force with its ejections, by the spec's ring when that is another\n"
		"one, and by each proxy of this host (--run-dir).\n",
	.least = 2,
	.most = 2,
	.first = OPERAND_POOL,
	.run = trace_run,
};

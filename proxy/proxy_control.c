#include "proxy/proxy_control.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "proxy/control.h"

enum { ADOPT_WAIT_MS = 2000, ADOPT_POLL_US = 50, LEASE_MAX_MS = 86400000 };

static enum err control_refuse(struct err_at *where_out, const char *where, const char *why)
{
	snprintf(where_out->where, sizeof(where_out->where), "%s", where);
	snprintf(where_out->why, sizeof(where_out->why), "%s", why);
	return ERR_INVALID;
}

/* Servers that may still execute what timed out: older snapshots wait for them. */
static json_t *control_blocked_on(const struct proxy *p)
{
	json_t *names = json_object(); /* a pool and what it becomes share most */
	for (uint32_t i = 0; p->undrained && i < p->snapshot->pool_count; i++) {
		const struct server_pool *pool = &p->snapshot->pools[i];
		for (uint32_t k = 0; k < pool->spec->server_count; k++)
			if (stats_server_sum(pool->servers[k].stats, SERVER_unresolved) > 0)
				json_object_set_new(names, pool->servers[k].spec->ring_name,
						    json_true());
	}
	json_t *list = json_array(), *ignored;
	const char *name;
	json_object_foreach (names, name, ignored) {
		json_array_append_new(list, json_string(name));
	}
	json_decref(names);
	return list;
}

static json_t *topology_state(const struct proxy *p)
{
	const struct topology *t = p->topology;
	json_t *out = json_pack("{s:s, s:I, s:I, s:I, s:s, s:b, s:I, s:b, s:s?}", "lineage",
				t->lineage ? t->lineage : "", "epoch", (json_int_t)t->epoch, "step",
				(json_int_t)t->step, "version", (json_int_t)t->version, "source",
				p->pushed ? "control" : "file", "drained", !p->undrained,
				"lease_ms", (json_int_t)proxy_lease_left_ms(p), "fenced", p->fenced,
				"unsaved", p->unsaved[0] ? p->unsaved : NULL);
	json_t *blocked = control_blocked_on(p);
	if (json_array_size(blocked) > 0) json_object_set(out, "blocked_on", blocked);
	json_decref(blocked);
	return out;
}

static enum err control_hello(void *ctx, const json_t *params, json_t **result_out,
			      struct err_at *where_out)
{
	struct proxy *p = ctx;
	char why[200];
	if (!ctlmsg_agree(json_object_get(params, "protocol"), why, sizeof(why)))
		return control_refuse(where_out, "$.protocol", why);
	*result_out =
	    json_pack("{s:s, s:s, s:o, s:i, s:s, s:s, s:I, s:i, s:o}", "service", "twinring-proxy",
		      "version", TWINRING_VERSION, "protocol", ctlmsg_protocol(), "pid",
		      (int)getpid(), "boot_id", p->boot_id, "client_name", p->client_name,
		      "started_us", (json_int_t)p->process.started_us, "threads",
		      (int)p->worker_count, "topology", topology_state(p));
	return ERR_NONE;
}

/* --- topology --------------------------------------------------------------------------------- */

/* (lineage, epoch, step, version) only grows. ERR_INVALID: refused; *again_out: applied already.
 * What was saved and never confirmed gives way to another lineage: the agent has the tree. */
static enum err control_check_order(const struct proxy *p, const struct topology *t, bool stale,
				    bool *again_out, struct err_at *where_out)
{
	const struct topology *have = p->topology;
	*again_out = false;
	if (!p->pushed) return ERR_NONE;
	if (have->lineage && have->lineage[0] && t->lineage &&
	    strcmp(have->lineage, t->lineage) != 0) {
		if (!p->confirmed && !stale) {
			log_warn("the saved topology is of another lineage: it gives way");
			return ERR_NONE;
		}
		return control_refuse(where_out, "$.lineage",
				      "another lineage is in force: this topology belongs to "
				      "another cluster, or the tree was restored");
	}
	uint64_t old[3] = { have->epoch, have->step, have->version };
	uint64_t new[3] = { t->epoch, t->step, t->version };
	static const char *const names[3] = { "$.epoch", "$.step", "$.version" };
	for (int i = 0; i < 3; i++) {
		if (new[i] > old[i]) return ERR_NONE;
		if (new[i] < old[i])
			return control_refuse(where_out, names[i],
					      "lower than that of the topology in force");
	}
	*again_out = true;
	return ERR_NONE;
}

/* Until every worker routes by it; they take it between two turns of their loops, so within
 * microseconds. */
static bool control_await_adoption(const struct proxy *p)
{
	struct timespec pause = { .tv_nsec = ADOPT_POLL_US * 1000 };
	for (int polls = ADOPT_WAIT_MS * 1000 / ADOPT_POLL_US; polls > 0; polls--) {
		if (proxy_all_adopted(p)) return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

/* From now on. A message may have waited in our socket, while we were stopped: "lease_until_us", by
 * the clock that all processes of a host share (clock_boot_us), is when it ends at the latest. */
static bool control_lease_ms(const json_t *params, uint32_t *ms_out, struct err_at *where_out)
{
	const json_t *ms = json_object_get(params, "lease_ms");
	const json_t *until = json_object_get(params, "lease_until_us");
	json_int_t n = json_integer_value(ms), now = (json_int_t)clock_boot_us();
	if (!json_is_integer(ms) || n < 0 || n > LEASE_MAX_MS) {
		control_refuse(where_out, "$.lease_ms", "milliseconds, up to a day");
		return false;
	}
	if (json_is_integer(until)) {
		json_int_t left_us = json_integer_value(until) - now;
		if (left_us < n * 1000) n = left_us > 0 ? left_us / 1000 : 0;
	}
	*ms_out = (uint32_t)n;
	return true;
}

/* A process that serves goes on serving, whatever the age of what it is told: it may be out of
 * date, but what it has is older still. */
static enum err control_take(struct proxy *p, struct topology *t, bool stale,
			     struct err_at *where_out)
{
	bool was_pushed = p->pushed, was_fenced = p->fenced;
	p->pushed = true;
	p->fenced = stale && (was_fenced || !was_pushed);
	enum err e = proxy_apply(p, t, where_out);
	if (e == ERR_NONE) {
		proxy_save(p);
		p->confirmed |= !stale;
	} else {
		p->pushed = was_pushed;
		p->fenced = was_fenced;
	}
	return e;
}

/* "stale": true says that the agent itself has not been able to confirm it for too long. */
static enum err control_apply(void *ctx, const json_t *params, json_t **result_out,
			      struct err_at *where_out)
{
	struct proxy *p = ctx;
	struct topology *t;
	bool again, leased = json_object_get(params, "lease_ms") != NULL;
	bool stale = json_is_true(json_object_get(params, "stale"));
	uint32_t lease_ms = 0;
	if (leased && !control_lease_ms(params, &lease_ms, where_out)) return ERR_INVALID;
	json_t *doc = json_copy((json_t *)(uintptr_t)params);
	json_object_del(doc, "stale");
	enum err e = topology_from_json(doc, &t, where_out);
	json_decref(doc);
	if (e != ERR_NONE) return e;
	e = control_check_order(p, t, stale, &again, where_out);
	if (e != ERR_NONE || again) {
		topology_free(&t);
	} else {
		if (leased && !proxy_lease_has_lapsed(p)) proxy_lease(p, lease_ms);
		e = control_take(p, t, stale, where_out);
	}
	if (e == ERR_NONE && !stale) e = proxy_confirm(p, where_out);
	if (e != ERR_NONE) {
		log_warn("refused a topology: %s: %s", where_out->where, where_out->why);
		return e;
	}
	if (leased) proxy_lease(p, lease_ms);
	if (!control_await_adoption(p)) {
		control_refuse(where_out, "", "a worker has not taken it over yet");
		return ERR_TIMEOUT;
	}
	*result_out = topology_state(p);
	json_object_set_new(*result_out, "state", json_string("applied"));
	log_notice("topology %lld %s", (long long)p->topology->version,
		   again ? "was in force already" : "applied");
	return ERR_NONE;
}

void proxy_control_drained(struct proxy *p)
{
	json_t *event = topology_state(p);
	json_object_set_new(event, "event", json_string("drained"));
	control_broadcast(p->control, CONTROL_TOPOLOGY, event);
	json_decref(event);
}

/* The agent says for how long this proxy may go on as it is, from now. It renews in time; a
 * topology in transition stops serving the keys that move when it does not. Once it has run out,
 * only what is in force and drained can be leased again: `version` says what the agent means. */
static enum err control_lease_renew(void *ctx, const json_t *params, json_t **result_out,
				    struct err_at *where_out)
{
	struct proxy *p = ctx;
	uint32_t ms;
	const json_t *version = json_object_get(params, "version");
	if (!control_lease_ms(params, &ms, where_out)) return ERR_INVALID;
	if (json_is_integer(version) && proxy_lease_has_lapsed(p) &&
	    (uint64_t)json_integer_value(version) != p->topology->version) {
		control_refuse(where_out, "$.version",
			       "the lease has run out, and another "
			       "topology is in force");
		return ERR_INVALID;
	}
	proxy_lease(p, ms);
	enum err e = ms > 0 ? proxy_confirm(p, where_out) : ERR_NONE;
	if (e == ERR_NONE) *result_out = topology_state(p);
	return e;
}

static enum err control_topology_show(void *ctx, const json_t *params, json_t **result_out,
				      struct err_at *where_out)
{
	(void)params;
	(void)where_out;
	struct proxy *p = ctx;
	/* As it is routed by: with the ejections of this proxy. */
	*result_out = topology_to_json(p->snapshot->topology);
	return *result_out ? ERR_NONE : ERR_NOMEM;
}

/* --- pools and servers ------------------------------------------------------------------------ */

static const struct server_pool *control_pool(const struct proxy *p, const json_t *params,
					      struct err_at *where_out)
{
	const char *name = json_string_value(json_object_get(params, "pool"));
	for (uint32_t i = 0; name && i < p->snapshot->topology->pool_count; i++)
		if (strcmp(p->snapshot->topology->pools[i].name, name) == 0)
			return &p->snapshot->pools[i];
	control_refuse(where_out, "$.pool", name ? "no such pool" : "a pool's name is needed");
	return NULL;
}

static json_t *control_describe_server(const struct server_pool *pool, uint32_t i)
{
	const struct pool_server *s = &pool->servers[i];
	json_t *d = json_object();
	char address[NET_NAME_MAX] = "unresolved";
	if (s->addr.len) net_addr_name(&s->addr, address);
	json_object_set_new(d, "server", json_string(s->spec->ring_name));
	json_object_set_new(d, "address", json_string(address));
	json_object_set_new(d, "weight", json_integer(s->spec->weight));
	json_object_set_new(d, "ejected", json_boolean(s->spec->ejected));
	json_object_set_new(
	    d, "tko_workers",
	    json_integer((json_int_t)stats_server_sum(s->stats, SERVER_tko_workers)));
	json_object_set_new(
	    d, "connections",
	    json_integer((json_int_t)stats_server_sum(s->stats, SERVER_server_connections)));
	return d;
}

static enum err control_pool_show(void *ctx, const json_t *params, json_t **result_out,
				  struct err_at *where_out)
{
	const struct server_pool *pool = control_pool(ctx, params, where_out);
	if (!pool) return ERR_INVALID;
	const struct route *root =
	    snapshot_pool_route(((struct proxy *)ctx)->snapshot, pool->spec->name);
	*result_out = root->type->describe(root, NULL);
	json_t *servers = json_array();
	for (uint32_t i = 0; i < pool->spec->server_count; i++)
		json_array_append_new(servers, control_describe_server(pool, i));
	json_object_set_new(*result_out, "members", servers);
	return ERR_NONE;
}

static enum err control_server_show(void *ctx, const json_t *params, json_t **result_out,
				    struct err_at *where_out)
{
	const struct server_pool *pool = control_pool(ctx, params, where_out);
	if (!pool) return ERR_INVALID;
	const char *name = json_string_value(json_object_get(params, "server"));
	for (uint32_t i = 0; name && i < pool->spec->server_count; i++) {
		if (strcmp(pool->servers[i].spec->ring_name, name) != 0) continue;
		*result_out = control_describe_server(pool, i);
		return ERR_NONE;
	}
	return control_refuse(where_out, "$.server", "no such server in this pool");
}

/* Where would this key go? The leaf's description, with the way to it under "route". */
static enum err control_route_trace(void *ctx, const json_t *params, json_t **result_out,
				    struct err_at *where_out)
{
	struct proxy *p = ctx;
	const struct server_pool *pool = control_pool(p, params, where_out);
	if (!pool) return ERR_INVALID;
	const json_t *text = json_object_get(params, "key");
	if (!json_is_string(text)) return control_refuse(where_out, "$.key", "a key is needed");
	struct slice key = { json_string_value(text), json_string_length(text) };
	const struct route *root = snapshot_pool_route(p->snapshot, pool->spec->name);
	json_t *way = root->type->describe(root, &key);
	json_t *leaf = json_object_get(way, "child");
	*result_out = json_is_object(leaf) ? json_copy(leaf) : json_pack("{s:n}", "server");
	json_object_set_new(*result_out, "route", way);
	return ERR_NONE;
}

/* --- health ----------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum server_metric metric;
} health_figures[] = {
	{ "tko_workers", SERVER_tko_workers },
	{ "requests", SERVER_requests },
	{ "responses", SERVER_responses },
	{ "timeouts", SERVER_server_timedout },
	{ "connect_errors", SERVER_connect_err },
	{ "errors", SERVER_server_err },
	{ "desync", SERVER_desync },
};

static json_t *health_of(const struct stats_server *s)
{
	json_t *d = json_object();
	for (size_t k = 0; k < sizeof(health_figures) / sizeof(health_figures[0]); k++)
		json_object_set_new(
		    d, health_figures[k].name,
		    json_integer((json_int_t)stats_server_sum(s, health_figures[k].metric)));
	return d;
}

/* {POOL: [moving_hits, moving_misses]} of pools in transition. */
static json_t *health_hits(const struct proxy *p)
{
	json_t *out = json_object();
	for (uint32_t i = 0; i < p->snapshot->topology->pool_count; i++) {
		const struct server_pool *pool = &p->snapshot->pools[i];
		if (!pool->spec->transition) continue;
		json_object_set_new(
		    out, pool->spec->name,
		    json_pack("[I, I]", (json_int_t)stats_pool_sum(pool->stats, POOL_moving_hits),
			      (json_int_t)stats_pool_sum(pool->stats, POOL_moving_misses)));
	}
	return out;
}

void proxy_control_health(struct proxy *p)
{
	p->health_told_us = clock_now_us();
	if (!p->snapshot || !control_has_subscribers(p->control, CONTROL_HEALTH)) return;
	json_t *pools = json_object();
	for (uint32_t i = 0; i < p->snapshot->topology->pool_count; i++) {
		const struct server_pool *pool = &p->snapshot->pools[i];
		json_t *servers = json_object();
		for (uint32_t k = 0; k < pool->spec->server_count; k++)
			json_object_set_new(servers, pool->spec->servers[k].ring_name,
					    health_of(pool->servers[k].stats));
		json_object_set_new(pools, pool->spec->name, servers);
	}
	json_t *event =
	    json_pack("{s:s, s:i, s:o, s:o, s:b, s:s?}", "event", "health", "threads",
		      (int)p->worker_count, "pools", pools, "hits", health_hits(p), "fenced",
		      p->fenced, "unsaved", p->unsaved[0] ? p->unsaved : NULL);
	control_broadcast(p->control, CONTROL_HEALTH, event);
	json_decref(event);
}

/* --- the rest --------------------------------------------------------------------------------- */

static enum err control_stats_show(void *ctx, const json_t *params, json_t **result_out,
				   struct err_at *where_out)
{
	(void)params;
	(void)where_out;
	struct proxy *p = ctx;
	struct scratch text = { 0 };
	stats_render_json(p->stats, &p->process, &text);
	*result_out = json_loadb(text.p, text.n, 0, NULL);
	scratch_fini(&text);
	return *result_out ? ERR_NONE : ERR_NOMEM;
}

static enum err control_log_set(void *ctx, const json_t *params, json_t **result_out,
				struct err_at *where_out)
{
	(void)ctx;
	const json_t *level = json_object_get(params, "level");
	json_int_t n = json_integer_value(level);
	if (!json_is_integer(level) || n < 0 || n > LOG_LEVEL_MAX)
		return control_refuse(where_out, "$.level", "a number from 0 to 11 is needed");
	log_level_set((int)n);
	*result_out = json_pack("{s:I}", "level", n);
	return ERR_NONE;
}

static enum err control_drain(void *ctx, const json_t *params, json_t **result_out,
			      struct err_at *where_out)
{
	(void)params;
	(void)result_out;
	(void)where_out;
	proxy_drain(ctx);
	return ERR_NONE;
}

static enum err control_shutdown(void *ctx, const json_t *params, json_t **result_out,
				 struct err_at *where_out)
{
	(void)params;
	(void)result_out;
	(void)where_out;
	((struct proxy *)ctx)->stopped = true;
	return ERR_NONE;
}

static const struct control_ops ops = {
	.hello = control_hello,
	.topology_apply = control_apply,
	.topology_show = control_topology_show,
	.lease_renew = control_lease_renew,
	.pool_show = control_pool_show,
	.server_show = control_server_show,
	.route_trace = control_route_trace,
	.stats_show = control_stats_show,
	.log_set = control_log_set,
	.drain = control_drain,
	.shutdown = control_shutdown,
};

enum err proxy_control_start(struct proxy *p, const char *path, struct err_at *where_out)
{
	return control_new(io_loop_base(&p->loop), path, &ops, p, &p->control, where_out);
}

void proxy_control_stop(struct proxy *p)
{
	control_free(&p->control);
}

/* twemproxy's stats object: every scraper of it takes each object at the top for a pool and each
 * object in a pool for a server, so whatever we add is a scalar. */
#include <limits.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/giveway.h"
#include "common/prom.h"
#include "proxy/stats_priv.h"

static void put_key(struct scratch *out, const char *prefix, const char *name)
{
	if (out->n > 0 && out->p[out->n - 1] != '{') scratch_puts(out, SLICE(","));
	scratch_puts(out, SLICE("\""));
	scratch_puts(out, slice_of(prefix));
	prom_put_escaped(out, name);
	scratch_puts(out, SLICE("\":"));
}

static void put_u64(struct scratch *out, const char *name, uint64_t v)
{
	put_key(out, "", name);
	scratch_put_u64(out, v);
}

static void put_string(struct scratch *out, const char *name, const char *value)
{
	put_key(out, "", name);
	scratch_puts(out, SLICE("\""));
	prom_put_escaped(out, value);
	scratch_puts(out, SLICE("\""));
}

static void put_bool(struct scratch *out, const char *name, bool value)
{
	put_key(out, "", name);
	scratch_puts(out, value ? SLICE("true") : SLICE("false"));
}

static void put_latency(struct scratch *out, const struct hist *h)
{
	put_u64(out, "latency_p50_us", hist_quantile(h, 0.5));
	put_u64(out, "latency_p99_us", hist_quantile(h, 0.99));
	put_u64(out, "latency_p999_us", hist_quantile(h, 0.999));
}

static void put_server(struct scratch *out, const struct stats_server *s)
{
	struct hist h;
	put_key(out, "", s->name);
	scratch_puts(out, SLICE("{"));
	for (uint32_t m = 0; m < SERVER_METRIC_MAX; m++)
		put_u64(out, stats_server_metrics[m].name, stats_server_sum(s, m));
	stats_server_latency(s, &h);
	put_latency(out, &h);
	scratch_puts(out, SLICE("}"));
}

static void put_pool(struct scratch *out, const struct stats_pool *p)
{
	struct hist h;
	put_key(out, "", p->name);
	scratch_puts(out, SLICE("{"));
	for (uint32_t m = 0; m < POOL_METRIC_MAX; m++)
		put_u64(out, stats_pool_metrics[m].name, stats_pool_sum(p, m));
	stats_pool_latency(p, &h);
	put_latency(out, &h);
	for (uint32_t id = 0; id < p->codec->op_count; id++) {
		uint64_t n = stats_pool_commands(p, id);
		if (n == 0) continue;
		put_key(out, "cmd_", p->codec->op(id)->name);
		scratch_put_u64(out, n);
	}
	uint64_t servers = 0;
	for (const struct stats_server *s = p->servers; s; s = s->hh.next) {
		put_server(out, s);
		give_way_each(16, servers++);
	}
	scratch_puts(out, SLICE("}"));
}

static void put_process(struct scratch *out, const struct stats *s, const struct stats_process *p)
{
	char host[HOST_NAME_MAX + 1] = "";
	uint64_t now_us = clock_wall_us();
	struct stats_connections c = stats_connections(s);
	gethostname(host, sizeof(host) - 1);
	put_string(out, "service", "nutcracker");
	put_string(out, "source", host);
	put_string(out, "version", TWINRING_VERSION);
	put_u64(out, "uptime", now_us > p->started_us ? (now_us - p->started_us) / 1000000 : 0);
	put_u64(out, "timestamp", now_us / 1000000);
	put_u64(out, "total_connections", c.total);
	put_u64(out, "curr_connections", c.current);
	put_string(out, "implementation", "twinring");
	put_u64(out, "pid", (uint64_t)getpid());
	put_u64(out, "threads", s->workers);
	put_string(out, "config_file", p->config_file ? p->config_file : "");
	put_bool(out, "config_ok", p->config_ok);
	put_u64(out, "config_timestamp", p->config_at_us / 1000000);
	put_u64(out, "config_reloads", p->config_reloads);
	put_u64(out, "config_failures", p->config_failures);
	put_u64(out, "topology_version", p->topology_version);
	put_bool(out, "ready", p->ready);
	put_bool(out, "draining", p->draining);
	put_bool(out, "topology_fenced", p->fenced);
	put_bool(out, "topology_unsaved", p->unsaved);
	for (uint32_t m = 0; m < WORKER_METRIC_MAX; m++) {
		put_key(out, "worker_", stats_worker_metrics[m].name);
		scratch_put_u64(out, stats_worker_sum(s, m));
	}
}

void stats_render_json(const struct stats *s, const struct stats_process *p, struct scratch *out)
{
	scratch_puts(out, SLICE("{"));
	put_process(out, s, p);
	for (const struct stats_pool *pool = s->pools; pool; pool = pool->next) put_pool(out, pool);
	scratch_puts(out, SLICE("}\n"));
}

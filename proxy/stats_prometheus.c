/* Prometheus text format 0.0.4. A family's samples must stand together under one HELP and TYPE,
 * hence family by family, and pools inside. */
#include "common/giveway.h"
#include "common/prom.h"
#include "common/usage.h"
#include "proxy/stats_priv.h"

struct prom_writer {
	const struct stats *stats;
	const struct stats_process *process;
	struct usage usage;
	struct scratch *out;
	uint64_t servers; /* written so far */
};

/* Upper edges in microseconds: what dashboards ask for, from below a LAN round trip to where
 * clients have given up. A bucket of the histogram counts under the edge nearest to it, so that a
 * figure is off by half a bucket (3 %) of latency at most. */
static const uint32_t request_edges_us[] = {
	50,    100,    250,    500,    1000,	2500,	 5000,	  10000,    25000,
	50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
};
/* Fewer: there are many servers. */
static const uint32_t server_edges_us[] = {
	100, 250, 500, 1000, 2500, 5000, 10000, 50000, 100000, 1000000,
};
enum { REQUEST_EDGES = sizeof(request_edges_us) / sizeof(request_edges_us[0]) };
enum { SERVER_EDGES = sizeof(server_edges_us) / sizeof(server_edges_us[0]) };

/* --- histograms --------------------------------------------------------------------------------
 */

static void prom_hist(struct scratch *out, const char *name, const struct hist *h,
		      const uint32_t *edges_us, uint32_t edge_count, const char *pool,
		      const char *server)
{
	uint64_t seen = 0;
	uint32_t b = 0;
	const char *server_label = server ? "server" : NULL;
	for (uint32_t i = 0; i <= edge_count; i++) {
		char le[24] = "+Inf";
		uint64_t limit = i < edge_count ? edges_us[i] : UINT64_MAX;
		/* A bucket belongs below the edge when its middle does. */
		for (; b < HIST_BUCKETS; b++) {
			uint64_t low = b ? hist_edge(b - 1) : 0;
			if ((low + hist_edge(b)) / 2 > limit) break;
			seen += h->bucket[b];
		}
		if (i < edge_count) snprintf(le, sizeof(le), "%g", (double)edges_us[i] / 1e6);
		prom_series(out, name, "_bucket", "pool", pool, "le", le, server_label, server,
			    NULL);
		prom_value(out, seen);
	}
	prom_series(out, name, "_sum", "pool", pool, server_label, server, NULL);
	prom_seconds(out, h->sum_us);
	prom_series(out, name, "_count", "pool", pool, server_label, server, NULL);
	prom_value(out, seen);
}

/* --- the process ------------------------------------------------------------------------------ */

static void prom_scalar(struct prom_writer *w, const struct prom_family *f, uint64_t v)
{
	prom_series(w->out, f->name, "", NULL);
	prom_value(w->out, v);
}

static void prom_scalar_us(struct prom_writer *w, const struct prom_family *f, uint64_t us)
{
	prom_series(w->out, f->name, "", NULL);
	prom_seconds(w->out, us);
}

static void emit_up(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, 1);
}

static void emit_build_info(struct prom_writer *w, const struct prom_family *f)
{
	prom_series(w->out, f->name, "", "version", TWINRING_VERSION, NULL);
	prom_value(w->out, 1);
}

static void emit_ready(struct prom_writer *w, const struct prom_family *f)
{
	const struct stats_process *p = w->process;
	prom_scalar(w, f, p->ready && !p->draining && !p->fenced);
}

static void emit_fenced(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->process->fenced);
}

static void emit_unsaved(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->process->unsaved);
}

static void emit_draining(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->process->draining);
}

static void emit_config_ok(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->process->config_ok);
}

static void emit_config_at(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar_us(w, f, w->process->config_at_us);
}

static void emit_config_reloads(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->process->config_reloads);
}

static void emit_config_failures(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->process->config_failures);
}

static void emit_topology_version(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->process->topology_version);
}

static void emit_start_time(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar_us(w, f, w->process->started_us);
}

static void emit_rss(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->usage.resident_bytes);
}

static void emit_virtual(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->usage.virtual_bytes);
}

static void emit_heap(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->usage.heap_bytes);
}

static void emit_open_fds(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->usage.open_fds);
}

static void emit_max_fds(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar(w, f, w->usage.max_fds);
}

static void emit_cpu(struct prom_writer *w, const struct prom_family *f)
{
	prom_scalar_us(w, f, w->usage.cpu_us);
}

/* --- pools ------------------------------------------------------------------------------------ */

static void emit_requests(struct prom_writer *w, const struct prom_family *f)
{
	for (const struct stats_pool *p = w->stats->pools; p; p = p->next) {
		for (uint32_t id = 0; id < p->codec->op_count; id++) {
			uint64_t n = stats_pool_commands(p, id);
			if (n == 0) continue; /* Redis has hundreds of commands */
			prom_series(w->out, f->name, "", "pool", p->name, "command",
				    p->codec->op(id)->name, NULL);
			prom_value(w->out, n);
		}
	}
}

static void emit_duration(struct prom_writer *w, const struct prom_family *f)
{
	struct hist h;
	for (const struct stats_pool *p = w->stats->pools; p; p = p->next) {
		stats_pool_latency(p, &h);
		prom_hist(w->out, f->name, &h, request_edges_us, REQUEST_EDGES, p->name, NULL);
	}
}

static void emit_client_connections(struct prom_writer *w, const struct prom_family *f)
{
	for (const struct stats_pool *p = w->stats->pools; p; p = p->next) {
		prom_series(w->out, f->name, "", "pool", p->name, NULL);
		prom_value(w->out, stats_pool_sum(p, POOL_client_connections));
	}
}

static const struct {
	const char *kind;
	enum pool_metric metric;
} client_errors[] = {
	{ "connection", POOL_client_err },
	{ "protocol", POOL_client_protocol_err },
	{ "refused", POOL_client_refused },
	{ "forward", POOL_forward_error },
};

static void emit_client_errors(struct prom_writer *w, const struct prom_family *f)
{
	for (const struct stats_pool *p = w->stats->pools; p; p = p->next) {
		for (size_t k = 0; k < sizeof(client_errors) / sizeof(client_errors[0]); k++) {
			prom_series(w->out, f->name, "", "pool", p->name, "kind",
				    client_errors[k].kind, NULL);
			prom_value(w->out, stats_pool_sum(p, client_errors[k].metric));
		}
	}
}

/* --- servers ---------------------------------------------------------------------------------- */

/* There may be thousands, while workers serve. */
static void prom_server_done(struct prom_writer *w)
{
	give_way_each(16, w->servers++);
}

static void emit_server_up(struct prom_writer *w, const struct prom_family *f)
{
	for (const struct stats_pool *p = w->stats->pools; p; p = p->next) {
		for (const struct stats_server *s = p->servers; s; s = s->hh.next) {
			prom_series(w->out, f->name, "", "pool", p->name, "server", s->name, NULL);
			prom_value(w->out, stats_server_sum(s, SERVER_tko_workers) == 0);
		}
	}
}

static const struct {
	const char *kind;
	enum server_metric metric;
} server_errors[] = {
	{ "eof", SERVER_server_eof },	       { "connection", SERVER_server_err },
	{ "timeout", SERVER_server_timedout }, { "connect", SERVER_connect_err },
	{ "reply", SERVER_error_replies },     { "desync", SERVER_desync },
	{ "marked_down", SERVER_fast_fails },
};

static void emit_server_errors(struct prom_writer *w, const struct prom_family *f)
{
	for (const struct stats_pool *p = w->stats->pools; p; p = p->next) {
		for (const struct stats_server *s = p->servers; s; s = s->hh.next) {
			for (size_t k = 0; k < sizeof(server_errors) / sizeof(server_errors[0]);
			     k++) {
				prom_series(w->out, f->name, "", "pool", p->name, "server", s->name,
					    "kind", server_errors[k].kind, NULL);
				prom_value(w->out, stats_server_sum(s, server_errors[k].metric));
			}
			prom_server_done(w);
		}
	}
}

static void emit_server_latency(struct prom_writer *w, const struct prom_family *f)
{
	struct hist h;
	for (const struct stats_pool *p = w->stats->pools; p; p = p->next) {
		for (const struct stats_server *s = p->servers; s; s = s->hh.next) {
			stats_server_latency(s, &h);
			prom_hist(w->out, f->name, &h, server_edges_us, SERVER_EDGES, p->name,
				  s->name);
			prom_server_done(w);
		}
	}
}

/* --- tables ----------------------------------------------------------------------------------- */

const struct prom_family prom_families[] = {
	{ "twinring_up", "gauge", "", "1: the proxy answers", emit_up },
	{ "twinring_build_info", "gauge", "version", "always 1", emit_build_info },
	{ "twinring_ready", "gauge", "", "1 when it serves by a topology and does not drain",
	  emit_ready },
	{ "twinring_draining", "gauge", "", "1 while it shuts down", emit_draining },
	{ "twinring_config_last_reload_successful", "gauge", "",
	  "1 when the last configuration read was accepted", emit_config_ok },
	{ "twinring_config_last_reload_success_timestamp_seconds", "gauge", "",
	  "when a configuration was last accepted, unix time", emit_config_at },
	{ "twinring_config_reloads_total", "counter", "", "configurations accepted",
	  emit_config_reloads },
	{ "twinring_config_failures_total", "counter", "", "configurations refused",
	  emit_config_failures },
	{ "twinring_topology_version", "gauge", "", "version of the topology in force",
	  emit_topology_version },
	{ "twinring_topology_fenced", "gauge", "",
	  "1 while nothing is served because the saved topology is too old", emit_fenced },
	{ "twinring_topology_unsaved", "gauge", "",
	  "1 while the topology could not be kept for the next start", emit_unsaved },
	{ "twinring_requests_total", "counter", "pool, command",
	  "requests from clients; commands that were never used are left out", emit_requests },
	{ "twinring_request_duration_seconds", "histogram", "pool, le",
	  "from a request read to its reply ready", emit_duration },
	{ "twinring_client_connections", "gauge", "pool", "open client connections",
	  emit_client_connections },
	{ "twinring_client_errors_total", "counter", "pool, kind",
	  "connection: ended in an error; protocol: malformed or not supported; refused: over the "
	  "limit; forward: requests that failed in the proxy",
	  emit_client_errors },
	{ "twinring_server_up", "gauge", "pool, server", "0 while any worker has it marked down",
	  emit_server_up },
	{ "twinring_server_errors_total", "counter", "pool, server, kind",
	  "eof, connection, timeout, connect, reply (an error from the server), desync, "
	  "marked_down (refused at once)",
	  emit_server_errors },
	{ "twinring_server_latency_seconds", "histogram", "pool, server, le",
	  "from a request queued for the server to its reply read", emit_server_latency },
	{ "twinring_heap_bytes", "gauge", "", "memory in use in malloc's heaps", emit_heap },
	{ "process_start_time_seconds", "gauge", "", "unix time", emit_start_time },
	{ "process_cpu_seconds_total", "counter", "", "user and system time", emit_cpu },
	{ "process_resident_memory_bytes", "gauge", "", "memory in RAM", emit_rss },
	{ "process_virtual_memory_bytes", "gauge", "", "address space", emit_virtual },
	{ "process_open_fds", "gauge", "", "open file descriptors", emit_open_fds },
	{ "process_max_fds", "gauge", "", "limit of file descriptors", emit_max_fds },
};
const uint32_t prom_family_count = sizeof(prom_families) / sizeof(prom_families[0]);

void prom_row_name(struct scratch *out, const char *scope, const struct metric_info *row)
{
	/* server_eof of a server is twinring_server_eof_total: not twice the scope */
	size_t n = strlen(scope);
	bool has = strncmp(row->name, scope, n) == 0 && row->name[n] == '_';
	scratch_printf(out, "twinring_%s_%s%s", scope, has ? row->name + n + 1 : row->name,
		       row->type == METRIC_COUNTER ? "_total" : "");
}

static void prom_row_head(struct prom_writer *w, const char *scope, const struct metric_info *row,
			  struct scratch *name)
{
	scratch_clear(name);
	prom_row_name(name, scope, row);
	scratch_put(name, "", 1);
	prom_head(w->out, name->p, row->type == METRIC_COUNTER ? "counter" : "gauge", row->help);
}

static void prom_pool_row(struct prom_writer *w, enum pool_metric m, struct scratch *name)
{
	prom_row_head(w, "pool", &stats_pool_metrics[m], name);
	for (const struct stats_pool *p = w->stats->pools; p; p = p->next) {
		prom_series(w->out, name->p, "", "pool", p->name, NULL);
		prom_value(w->out, stats_pool_sum(p, m));
	}
}

static void prom_server_row(struct prom_writer *w, enum server_metric m, struct scratch *name)
{
	prom_row_head(w, "server", &stats_server_metrics[m], name);
	for (const struct stats_pool *p = w->stats->pools; p; p = p->next) {
		for (const struct stats_server *s = p->servers; s; s = s->hh.next) {
			prom_series(w->out, name->p, "", "pool", p->name, "server", s->name, NULL);
			prom_value(w->out, stats_server_sum(s, m));
			prom_server_done(w);
		}
	}
}

static void prom_worker_row(struct prom_writer *w, enum worker_metric m, struct scratch *name)
{
	char id[12];
	prom_row_head(w, "worker", &stats_worker_metrics[m], name);
	for (uint32_t i = 0; i < w->stats->workers; i++) {
		snprintf(id, sizeof(id), "%u", i);
		prom_series(w->out, name->p, "", "worker", id, NULL);
		prom_value(w->out, metric_get(&w->stats->slots[i].m[m]));
	}
}

void stats_render_prometheus(const struct stats *s, const struct stats_process *p,
			     struct scratch *out)
{
	struct prom_writer w = { .stats = s, .process = p, .out = out };
	struct scratch name = { 0 };
	usage_read(&w.usage);
	for (uint32_t i = 0; i < prom_family_count; i++) {
		const struct prom_family *f = &prom_families[i];
		prom_head(out, f->name, f->type, f->help);
		f->emit(&w, f);
	}
	for (uint32_t m = 0; m < POOL_METRIC_MAX; m++) prom_pool_row(&w, m, &name);
	for (uint32_t m = 0; m < SERVER_METRIC_MAX; m++) prom_server_row(&w, m, &name);
	for (uint32_t m = 0; m < WORKER_METRIC_MAX; m++) prom_worker_row(&w, m, &name);
	scratch_fini(&name);
}

/* deploy/metrics.md: the documentation of every metric, from the tables that make them. */
#include "proxy/stats_priv.h"

static void doc_rows(struct scratch *out, const char *title, const char *scope,
		     const struct metric_info *rows, uint32_t count)
{
	scratch_printf(out,
		       "\n## %s\n\n"
		       "| JSON | Prometheus | type | meaning |\n|---|---|---|---|\n",
		       title);
	for (uint32_t i = 0; i < count; i++) {
		const char *prefix = strcmp(scope, "worker") == 0 ? "worker_" : "";
		scratch_printf(out, "| `%s%s` | `", prefix, rows[i].name);
		prom_row_name(out, scope, &rows[i]);
		scratch_printf(out, "` | %s | %s |\n",
			       rows[i].type == METRIC_COUNTER ? "counter" : "gauge", rows[i].help);
	}
}

void stats_render_doc(struct scratch *out)
{
	scratch_puts(
	    out, SLICE("# Metrics\n\n"
		       "Made from the proxy's own tables; do not edit. The JSON of the stats port "
		       "has twemproxy's keys and\nours: one object per pool, in it one per server. "
		       "`/metrics` serves the same to Prometheus.\n"));
	scratch_puts(out,
		     SLICE("\nBeyond the rows below the JSON has `latency_p50_us`, "
			   "`latency_p99_us` and `latency_p999_us` per pool and\nserver (since "
			   "start), `cmd_NAME` per command that was used, and the state of the "
			   "process at the top.\n"));
	doc_rows(out, "Per pool (label `pool`)", "pool", stats_pool_metrics, POOL_METRIC_MAX);
	doc_rows(out, "Per server (labels `pool`, `server`)", "server", stats_server_metrics,
		 SERVER_METRIC_MAX);
	doc_rows(out, "Per worker (label `worker`; summed at the top of the JSON)", "worker",
		 stats_worker_metrics, WORKER_METRIC_MAX);
	scratch_puts(out, SLICE("\n## Prometheus only\n\n"
				"| name | type | labels | meaning |\n|---|---|---|---|\n"));
	for (uint32_t i = 0; i < prom_family_count; i++) {
		const struct prom_family *f = &prom_families[i];
		scratch_printf(out, "| `%s` | %s | %s | %s |\n", f->name, f->type,
			       *f->labels ? f->labels : "-", f->help);
	}
}

static void describe_rows(struct scratch *out, const char *title, const struct metric_info *rows,
			  uint32_t count)
{
	scratch_printf(out, "%s stats:\n", title);
	for (uint32_t i = 0; i < count; i++)
		scratch_printf(out, "  %-21s \"%s\"\n", rows[i].name, rows[i].help);
	scratch_puts(out, SLICE("\n"));
}

void stats_render_description(struct scratch *out)
{
	describe_rows(out, "pool", stats_pool_metrics, POOL_METRIC_MAX);
	describe_rows(out, "server", stats_server_metrics, SERVER_METRIC_MAX);
	describe_rows(out, "worker", stats_worker_metrics, WORKER_METRIC_MAX);
}

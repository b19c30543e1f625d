#include "agent/agent_metrics.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/prom.h"
#include "common/usage.h"

/* clang-format off */
#define COUNTER METRIC_COUNTER
#define GAUGE METRIC_GAUGE
static const struct metric_info agent_rows[AGENT_METRIC_MAX] = {
#define AGENT(row) row
#define POOL(row)
#define ROW(name, type, help) { name, type, help },
#define METRIC(scope, name, type, help) scope(ROW(#name, type, help))
#include "agent/agent_metrics.def"
#undef AGENT
#undef POOL
};
static const struct metric_info pool_rows[AGENT_POOL_METRIC_MAX] = {
#define AGENT(row)
#define POOL(row) row
#include "agent/agent_metrics.def"
#undef AGENT
#undef POOL
#undef METRIC
#undef ROW
};
/* clang-format on */

/* --- pools ------------------------------------------------------------------------------------ */

void agent_metrics_begin(struct agent_metrics *m)
{
	for (uint32_t i = 0; i < m->pool_count; i++) free(m->pools[i].name);
	m->pool_count = 0;
}

struct agent_pool_metrics *agent_metrics_pool(struct agent_metrics *m, const char *name)
{
	if (m->pool_count == m->pool_capacity) {
		m->pool_capacity = m->pool_capacity ? 2 * m->pool_capacity : 16;
		m->pools = realloc(m->pools, m->pool_capacity * sizeof(*m->pools));
		if (!m->pools) abort();
	}
	struct agent_pool_metrics *p = &m->pools[m->pool_count++];
	*p = (struct agent_pool_metrics){ .name = strdup(name) };
	if (!p->name) abort();
	return p;
}

void agent_metrics_init(struct agent_metrics *m)
{
	*m = (struct agent_metrics){ .started_us = clock_wall_us() };
}

void agent_metrics_fini(struct agent_metrics *m)
{
	agent_metrics_begin(m);
	free(m->pools);
	m->pools = NULL;
	m->pool_capacity = 0;
}

/* --- Prometheus ------------------------------------------------------------------------------- */

static const char *row_type(const struct metric_info *row)
{
	return row->type == METRIC_COUNTER ? "counter" : "gauge";
}

/* "twinring_agent_reads_total", "twinring_agent_pool_ejected"; ends in NUL. */
static void row_name(struct scratch *out, const char *prefix, const struct metric_info *row)
{
	scratch_clear(out);
	scratch_printf(out, "%s%s%s", prefix, row->name,
		       row->type == METRIC_COUNTER ? "_total" : "");
	scratch_put(out, "", 1);
}

#define AGENT_PREFIX "twinring_agent_"
#define POOL_PREFIX  "twinring_agent_pool_"

static void render_rows(const struct agent_metrics *m, struct scratch *name, struct scratch *out)
{
	for (uint32_t i = 0; i < AGENT_METRIC_MAX; i++) {
		row_name(name, AGENT_PREFIX, &agent_rows[i]);
		prom_head(out, name->p, row_type(&agent_rows[i]), agent_rows[i].help);
		prom_series(out, name->p, "", NULL);
		prom_value(out, metric_get(&m->m[i]));
	}
	for (uint32_t i = 0; i < AGENT_POOL_METRIC_MAX && m->pool_count > 0; i++) {
		row_name(name, POOL_PREFIX, &pool_rows[i]);
		prom_head(out, name->p, row_type(&pool_rows[i]), pool_rows[i].help);
		for (uint32_t p = 0; p < m->pool_count; p++) {
			prom_series(out, name->p, "", "pool", m->pools[p].name, NULL);
			prom_value(out, m->pools[p].m[i]);
		}
	}
}

/* What Prometheus calls the same in every program. */
static const struct {
	const char *name, *type, *help;
	size_t field; /* of struct usage */
	bool seconds; /* it is microseconds */
} process_rows[] = {
	{ "process_cpu_seconds_total", "counter", "user and system time",
	  offsetof(struct usage, cpu_us), true },
	{ "process_resident_memory_bytes", "gauge", "memory in RAM",
	  offsetof(struct usage, resident_bytes), false },
	{ "process_virtual_memory_bytes", "gauge", "address space",
	  offsetof(struct usage, virtual_bytes), false },
	{ "process_open_fds", "gauge", "open file descriptors", offsetof(struct usage, open_fds),
	  false },
	{ "process_max_fds", "gauge", "limit of file descriptors", offsetof(struct usage, max_fds),
	  false },
};
enum { PROCESS_ROWS = sizeof(process_rows) / sizeof(process_rows[0]) };

static void render_process(const struct agent_metrics *m, struct scratch *out)
{
	struct usage u;
	usage_read(&u);
	prom_head(out, AGENT_PREFIX "build_info", "gauge", "always 1");
	prom_series(out, AGENT_PREFIX "build_info", "", "version", TWINRING_VERSION, NULL);
	prom_value(out, 1);
	prom_head(out, "process_start_time_seconds", "gauge", "unix time");
	prom_series(out, "process_start_time_seconds", "", NULL);
	prom_seconds(out, m->started_us);
	for (int i = 0; i < PROCESS_ROWS; i++) {
		uint64_t v =
		    *(const uint64_t *)(const void *)((const char *)&u + process_rows[i].field);
		prom_head(out, process_rows[i].name, process_rows[i].type, process_rows[i].help);
		prom_series(out, process_rows[i].name, "", NULL);
		if (process_rows[i].seconds) prom_seconds(out, v);
		else prom_value(out, v);
	}
}

static void metrics_fill(struct agent_metrics *m)
{
	if (m->fill) m->fill(m->ctx, m);
}

void agent_metrics_render(struct agent_metrics *m, struct scratch *out)
{
	struct scratch name = { 0 };
	metrics_fill(m);
	render_rows(m, &name, out);
	render_process(m, out);
	scratch_fini(&name);
}

/* --- the manual ------------------------------------------------------------------------------- */

static void document_rows(struct scratch *out, const char *title, const char *prefix,
			  const struct metric_info *rows, uint32_t count)
{
	struct scratch name = { 0 };
	scratch_printf(out, "\n## %s\n\n| name | type | meaning |\n|---|---|---|\n", title);
	for (uint32_t i = 0; i < count; i++) {
		row_name(&name, prefix, &rows[i]);
		scratch_printf(out, "| `%s` | %s | %s |\n", name.p, row_type(&rows[i]),
			       rows[i].help);
	}
	scratch_fini(&name);
}

void agent_metrics_document(struct scratch *out)
{
	scratch_puts(out,
		     SLICE("# Metrics of the agent\n\nMade from the agent's own tables; do not "
			   "edit. `/metrics` serves them to Prometheus.\n"));
	document_rows(out, "The agent", AGENT_PREFIX, agent_rows, AGENT_METRIC_MAX);
	document_rows(out, "Per pool (label `pool`)", POOL_PREFIX, pool_rows,
		      AGENT_POOL_METRIC_MAX);
	scratch_puts(out,
		     SLICE("\n## The process\n\n| name | type | meaning |\n|---|---|---|\n"
			   "| `" AGENT_PREFIX "build_info` | gauge | always 1; label `version` "
			   "|\n| `process_start_time_seconds` | gauge | unix time |\n"));
	for (int i = 0; i < PROCESS_ROWS; i++)
		scratch_printf(out, "| `%s` | %s | %s |\n", process_rows[i].name,
			       process_rows[i].type, process_rows[i].help);
}

/* --- pages ------------------------------------------------------------------------------------ */

static void page_metrics(void *ctx, struct http_page *page)
{
	page->type = HTTP_PROMETHEUS;
	agent_metrics_render(ctx, &page->body);
}

/* Alive: the loop answers. */
static void page_healthz(void *ctx, struct http_page *page)
{
	(void)ctx;
	scratch_puts(&page->body, SLICE("ok\n"));
}

/* Ready: proxies of this host get a topology. The store may be away all the same. */
static void page_readyz(void *ctx, struct http_page *page)
{
	struct agent_metrics *m = ctx;
	metrics_fill(m);
	if (!m->m[AGENT_METRIC_ready]) http_page_unavailable(page, SLICE("no topology yet\n"));
	else if (!m->m[AGENT_METRIC_store_connected])
		scratch_puts(&page->body, SLICE("ready, without the store\n"));
	else scratch_puts(&page->body, SLICE("ready\n"));
}

const struct http_page_row agent_pages[] = {
	{ "/metrics", page_metrics },
	{ "/healthz", page_healthz },
	{ "/readyz", page_readyz },
	{ NULL, NULL },
};

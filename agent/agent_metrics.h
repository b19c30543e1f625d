/* agent_metrics.h - the agent's counters, and the pages that show them.
 *
 * Counters are added to where things happen; gauges are asked for by `fill` when somebody looks.
 *
 * Threads:   the loop's.
 * Ownership: embedded in its owner; a pool's entry lives until the next agent_metrics_begin().
 */
#ifndef TWINRING_AGENT_AGENT_METRICS_H
#define TWINRING_AGENT_AGENT_METRICS_H

#include "common/http_pages.h"
#include "common/metric.h"

/* clang-format off */
enum agent_metric {
#define AGENT(name) AGENT_METRIC_##name,
#define POOL(name)
#define METRIC(scope, name, type, help) scope(name)
#include "agent/agent_metrics.def"
#undef AGENT
#undef POOL
	AGENT_METRIC_MAX
};
enum agent_pool_metric {
#define AGENT(name)
#define POOL(name) AGENT_POOL_##name,
#include "agent/agent_metrics.def"
#undef AGENT
#undef POOL
#undef METRIC
	AGENT_POOL_METRIC_MAX
};
/* clang-format on */

struct agent_pool_metrics {
	char *name;
	uint64_t m[AGENT_POOL_METRIC_MAX];
};

struct agent_metrics {
	uint64_t m[AGENT_METRIC_MAX];
	struct agent_pool_metrics *pools;
	uint32_t pool_count, pool_capacity;
	uint64_t started_us; /* wall clock */
	/* Set the gauges; may be NULL. */
	void (*fill)(void *ctx, struct agent_metrics *m);
	void *ctx;
};

void agent_metrics_init(struct agent_metrics *m);
void agent_metrics_fini(struct agent_metrics *m);

static inline void agent_count(struct agent_metrics *m, enum agent_metric which)
{
	metric_add(&m->m[which], 1);
}

static inline void agent_gauge(struct agent_metrics *m, enum agent_metric which, uint64_t value)
{
	metric_set(&m->m[which], value);
}

/* For `fill`: forget all pools; then add each. Zeros; borrowed until the next call. */
void agent_metrics_begin(struct agent_metrics *m);
struct agent_pool_metrics *agent_metrics_pool(struct agent_metrics *m, const char *name);

/* Prometheus text format 0.0.4. Calls `fill`. */
void agent_metrics_render(struct agent_metrics *m, struct scratch *out);
/* Markdown of all of them. */
void agent_metrics_document(struct scratch *out);

/* /metrics, /healthz, /readyz: their ctx is a struct agent_metrics. */
extern const struct http_page_row agent_pages[];

#endif

/* agent_observe.c - the agent seen from outside: gauges when somebody looks, and the pages. */
#include <stdlib.h>

#include "agent/agent_priv.h"
#include "agent/events.h"
#include "common/clock.h"
#include "common/net.h"

/* --- counters --------------------------------------------------------------------------------- */

static const struct {
	enum agent_event event;
	enum agent_metric metric;
} decisions[] = {
	{ AGENT_EVENT_APPLIED, AGENT_METRIC_specs_applied },
	{ AGENT_EVENT_REFUSED, AGENT_METRIC_specs_refused },
	{ AGENT_EVENT_EJECTED, AGENT_METRIC_ejections },
	{ AGENT_EVENT_RETURNED, AGENT_METRIC_returns },
	{ AGENT_EVENT_QUARANTINED, AGENT_METRIC_quarantines },
	{ AGENT_EVENT_PANIC_BEGUN, AGENT_METRIC_panics },
	{ AGENT_EVENT_BLIND_BEGUN, AGENT_METRIC_blind },
};

void agent_count_decision(struct agent *a, const char *what)
{
	for (size_t i = 0; i < sizeof(decisions) / sizeof(decisions[0]); i++)
		if (strcmp(what, agent_event_name(decisions[i].event)) == 0)
			agent_count(&a->metrics, decisions[i].metric);
}

void agent_count_session(struct agent *a, enum store_session session)
{
	if (session == STORE_NEW_SESSION) agent_count(&a->metrics, AGENT_METRIC_store_sessions);
	if (session == STORE_LOST) agent_count(&a->metrics, AGENT_METRIC_store_losses);
}

/* --- gauges ----------------------------------------------------------------------------------- */

static void observe_proxies(const struct agent *a, struct agent_metrics *m)
{
	static const enum agent_metric states[] = {
		[PUSH_SILENT] = AGENT_METRIC_proxies_silent,
		[PUSH_BEHIND] = AGENT_METRIC_proxies_behind,
		[PUSH_REFUSED] = AGENT_METRIC_proxies_refused,
		[PUSH_APPLIED] = AGENT_METRIC_proxies_applied,
		[PUSH_DRAINED] = AGENT_METRIC_proxies_drained,
	};
	struct push_proxy proxies[PUSH_PROXIES_MAX];
	uint32_t count = push_list(a->push, proxies, PUSH_PROXIES_MAX);
	uint64_t counts[PUSH_DRAINED + 1] = { 0 }, lag_ms = 0;
	for (uint32_t i = 0; i < count && i < PUSH_PROXIES_MAX; i++) {
		counts[proxies[i].state]++;
		if (proxies[i].lag_ms > lag_ms) lag_ms = proxies[i].lag_ms;
	}
	for (int i = 0; i <= PUSH_DRAINED; i++) agent_gauge(m, states[i], counts[i]);
	agent_gauge(m, AGENT_METRIC_proxies, count);
	agent_gauge(m, AGENT_METRIC_proxies_lag_ms, lag_ms);
}

static void observe_pools(const struct agent *a, struct agent_metrics *m)
{
	agent_metrics_begin(m);
	for (uint32_t i = 0; i < reader_pool_count(a->reader); i++) {
		const struct reader_pool *r = reader_pool(a->reader, i);
		struct agent_pool_metrics *p = agent_metrics_pool(m, r->name);
		if (r->body && r->body->pool_count > 0)
			p->m[AGENT_POOL_servers] = r->body->pools[0].server_count;
		p->m[AGENT_POOL_ejected] = r->state.ejected_count;
		p->m[AGENT_POOL_epoch] = r->state.epoch;
		p->m[AGENT_POOL_step] = r->state.step;
		p->m[AGENT_POOL_problem] = r->problem != NULL;
	}
}

static void observe_outside(const struct agent *a, struct agent_metrics *m)
{
	struct webhook_counts w;
	struct outputs_counts o;
	webhooks_counts(a->webhooks, &w);
	outputs_counts(a->outputs, &o);
	agent_gauge(m, AGENT_METRIC_webhooks_sent, w.sent);
	agent_gauge(m, AGENT_METRIC_webhooks_failed, w.failed);
	agent_gauge(m, AGENT_METRIC_webhooks_dropped, w.dropped);
	agent_gauge(m, AGENT_METRIC_webhooks_waiting, w.waiting);
	agent_gauge(m, AGENT_METRIC_outputs_written, o.written);
	agent_gauge(m, AGENT_METRIC_outputs_failed, o.failed);
	agent_gauge(m, AGENT_METRIC_commands, o.commands);
	agent_gauge(m, AGENT_METRIC_commands_failed, o.commands_failed);
}

static void observe(void *ctx, struct agent_metrics *m)
{
	const struct agent *a = ctx;
	uint64_t since_us = reader_confirmed_us(a->reader);
	if (!since_us) since_us = a->started_us;
	agent_gauge(m, AGENT_METRIC_ready, a->topology != NULL);
	agent_gauge(m, AGENT_METRIC_topology_version, reader_version(a->reader));
	agent_gauge(m, AGENT_METRIC_unconfirmed_seconds, (clock_now_us() - since_us) / 1000000);
	agent_gauge(m, AGENT_METRIC_problem, reader_problem(a->reader) != NULL);
	agent_gauge(m, AGENT_METRIC_cache_failed, reader_cache_problem(a->reader) != NULL);
	agent_gauge(m, AGENT_METRIC_stale, a->stale);
	agent_gauge(m, AGENT_METRIC_store_connected, a->connected);
	agent_gauge(m, AGENT_METRIC_nanny, a->nanny != NULL);
	agent_gauge(m, AGENT_METRIC_nanny_abstains, a->nanny && nanny_abstains(a->nanny));
	observe_proxies(a, m);
	observe_pools(a, m);
	observe_outside(a, m);
}

/* --- pages ------------------------------------------------------------------------------------ */

void agent_start_metrics(struct agent *a)
{
	agent_metrics_init(&a->metrics);
	a->started_us = clock_now_us();
	a->pages = http_pages_new(io_loop_base(a->loop), agent_pages, &a->metrics);
}

enum err agent_open_pages(struct agent *a, struct err_at *where_out)
{
	a->metrics.fill = observe;
	a->metrics.ctx = a;
	return http_pages_listen(a->pages, &a->config->metrics, where_out);
}

void agent_close_metrics(struct agent *a)
{
	http_pages_free(&a->pages);
	agent_metrics_fini(&a->metrics);
}

bool agent_metrics_name(const struct agent *a, char name[NET_NAME_MAX])
{
	if (http_pages_fd(a->pages) < 0) return false;
	net_local_name(http_pages_fd(a->pages), name);
	return true;
}

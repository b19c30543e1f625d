#include "proxy/exporter_pages.h"

static void exporter_ask(const struct exporter_env *env, struct stats_process *out)
{
	*out = (struct stats_process){ 0 };
	env->process(env->ctx, out);
}

void exporter_json(const struct exporter_env *env, struct scratch *out)
{
	struct stats_process p;
	exporter_ask(env, &p);
	stats_render_json(env->stats, &p, out);
}

static void page_metrics(void *env, struct http_page *page)
{
	struct stats_process p;
	exporter_ask(env, &p);
	page->type = HTTP_PROMETHEUS;
	stats_render_prometheus(((const struct exporter_env *)env)->stats, &p, &page->body);
}

static void page_stats(void *env, struct http_page *page)
{
	page->type = HTTP_JSON;
	exporter_json(env, &page->body);
}

/* Alive: the main thread answers. */
static void page_healthz(void *env, struct http_page *page)
{
	(void)env;
	scratch_puts(&page->body, SLICE("ok\n"));
}

/* Ready: worth sending clients to. */
static void page_readyz(void *env, struct http_page *page)
{
	struct stats_process p;
	exporter_ask(env, &p);
	if (p.draining) http_page_unavailable(page, SLICE("draining\n"));
	else if (!p.ready) http_page_unavailable(page, SLICE("no topology yet\n"));
	else if (p.fenced) http_page_unavailable(page, SLICE("the topology is too old\n"));
	else scratch_puts(&page->body, SLICE("ready\n"));
}

const struct http_page_row exporter_pages[] = {
	{ "/metrics", page_metrics },
	{ "/healthz", page_healthz },
	{ "/readyz", page_readyz },
	{ "/stats", page_stats },
	{ NULL, NULL },
};

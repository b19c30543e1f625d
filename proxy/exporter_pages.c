#include "proxy/exporter_pages.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>

struct page {
	int code;
	const char *reason;
	const char *type;
	struct scratch body;
};

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

static void page_metrics(const struct exporter_env *env, struct page *page)
{
	struct stats_process p;
	exporter_ask(env, &p);
	page->type = "text/plain; version=0.0.4; charset=utf-8";
	stats_render_prometheus(env->stats, &p, &page->body);
}

static void page_stats(const struct exporter_env *env, struct page *page)
{
	page->type = "application/json";
	exporter_json(env, &page->body);
}

/* Alive: the main thread answers. */
static void page_healthz(const struct exporter_env *env, struct page *page)
{
	(void)env;
	scratch_puts(&page->body, SLICE("ok\n"));
}

/* Ready: worth sending clients to. */
static void page_readyz(const struct exporter_env *env, struct page *page)
{
	struct stats_process p;
	exporter_ask(env, &p);
	if (p.ready && !p.draining) {
		scratch_puts(&page->body, SLICE("ready\n"));
		return;
	}
	page->code = 503;
	page->reason = "Service Unavailable";
	scratch_puts(&page->body, p.draining ? SLICE("draining\n") : SLICE("no topology yet\n"));
}

static void page_missing(const struct exporter_env *env, struct page *page)
{
	(void)env;
	page->code = HTTP_NOTFOUND;
	page->reason = "Not Found";
	scratch_puts(&page->body, SLICE("try /metrics /healthz /readyz /stats\n"));
}

static const struct {
	const char *path;
	void (*make)(const struct exporter_env *env, struct page *page);
} pages[] = {
	{ "/metrics", page_metrics },
	{ "/healthz", page_healthz },
	{ "/readyz", page_readyz },
	{ "/stats", page_stats },
};

static void exporter_on_request(struct evhttp_request *req, void *arg)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	struct page page = { .code = HTTP_OK, .reason = "OK", .type = "text/plain" };
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	char length[24];
	size_t i = 0;
	while (i < sizeof(pages) / sizeof(pages[0]) && (!path || strcmp(path, pages[i].path) != 0))
		i++;
	(i < sizeof(pages) / sizeof(pages[0]) ? pages[i].make : page_missing)(arg, &page);
	snprintf(length, sizeof(length), "%zu", page.body.n);
	evhttp_add_header(headers, "Content-Type", page.type);
	evhttp_add_header(headers, "Content-Length", length);
	evhttp_add_header(headers, "Cache-Control", "no-store");
	/* libevent would send the body of a HEAD as well */
	if (evhttp_request_get_command(req) != EVHTTP_REQ_HEAD)
		evbuffer_add(evhttp_request_get_output_buffer(req), page.body.p, page.body.n);
	evhttp_send_reply(req, page.code, page.reason, NULL);
	scratch_fini(&page.body);
}

void exporter_pages_setup(struct evhttp *http, struct exporter_env *env)
{
	evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(http, 8192);
	evhttp_set_max_body_size(http, 4096);
	evhttp_set_timeout(http, EXPORTER_HTTP_TIMEOUT_S);
	evhttp_set_gencb(http, exporter_on_request, env);
}

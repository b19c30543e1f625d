#include "common/http_pages.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/net.h"

struct http_pages {
	const struct http_page_row *rows;
	void *ctx;
	struct evhttp *http;
	struct listen_spec spec; /* own copy; text NULL: off */
	int fd;
	struct evhttp_bound_socket *bound;
	struct event *again; /* accept again after an error */
};

/* --- answering -------------------------------------------------------------------------------- */

void http_page_unavailable(struct http_page *page, struct slice text)
{
	page->code = HTTP_SERVUNAVAIL;
	page->reason = "Service Unavailable";
	scratch_clear(&page->body);
	scratch_puts(&page->body, text);
}

static void pages_missing(const struct http_pages *h, struct http_page *page)
{
	page->code = HTTP_NOTFOUND;
	page->reason = "Not Found";
	scratch_puts(&page->body, SLICE("try"));
	for (const struct http_page_row *row = h->rows; row->path; row++)
		scratch_printf(&page->body, " %s", row->path);
	scratch_puts(&page->body, SLICE("\n"));
}

static void pages_make(const struct http_pages *h, const char *path, struct http_page *page)
{
	const struct http_page_row *row = h->rows;
	while (row->path && (!path || strcmp(path, row->path) != 0)) row++;
	if (row->path) row->make(h->ctx, page);
	else pages_missing(h, page);
}

static void pages_on_request(struct evhttp_request *req, void *arg)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	struct http_page page = { .code = HTTP_OK, .reason = "OK", .type = HTTP_TEXT };
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	char length[24];
	pages_make(arg, uri ? evhttp_uri_get_path(uri) : NULL, &page);
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

/* --- listening -------------------------------------------------------------------------------- */

/* Out of descriptors, most likely: the listener stays readable, so do not ask again at once. */
static void pages_on_error(struct evconnlistener *l, void *arg)
{
	(void)arg;
	log_warn("accept: %s", strerror(errno));
	evconnlistener_disable(l);
}

static void pages_on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct http_pages *h = arg;
	if (h->bound) evconnlistener_enable(evhttp_bound_socket_get_listener(h->bound));
}

static void pages_close(struct http_pages *h)
{
	if (!h->spec.text) return;
	net_unlisten(h->fd, &h->spec);
	evhttp_del_accept_socket(h->http, h->bound);
	listen_spec_fini(&h->spec);
	h->bound = NULL;
	h->fd = -1;
}

enum err http_pages_listen(struct http_pages *h, const struct listen_spec *spec,
			   struct err_at *where_out)
{
	struct listen_spec copy;
	const char *why;
	int fd;
	if (!spec || !spec->text) {
		pages_close(h);
		return ERR_NONE;
	}
	if (h->spec.text && strcmp(h->spec.text, spec->text) == 0) return ERR_NONE;
	enum err e = net_listen(spec, 128, false, &fd, where_out);
	if (e != ERR_NONE) return e;
	if (!listen_spec_parse(spec->text, &copy, &why)) abort(); /* it was parsed before */
	pages_close(h);
	h->fd = fd;
	h->spec = copy;
	h->bound = evhttp_accept_socket_with_handle(h->http, fd);
	if (!h->bound) abort();
	evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(h->bound), pages_on_error);
	return ERR_NONE;
}

int http_pages_fd(const struct http_pages *h)
{
	return h->fd;
}

/* --- life ------------------------------------------------------------------------------------- */

struct http_pages *http_pages_new(struct event_base *base, const struct http_page_row *rows,
				  void *ctx)
{
	static const struct timeval second = { .tv_sec = 1 };
	struct http_pages *h = calloc(1, sizeof(*h));
	if (!h) abort();
	*h = (struct http_pages){ .rows = rows, .ctx = ctx, .fd = -1 };
	h->http = evhttp_new(base);
	h->again = event_new(base, -1, EV_PERSIST, pages_on_again, h);
	if (!h->http || !h->again) abort();
	evhttp_set_allowed_methods(h->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(h->http, 8192);
	evhttp_set_max_body_size(h->http, 4096);
	evhttp_set_timeout(h->http, HTTP_PAGES_TIMEOUT_S);
	evhttp_set_gencb(h->http, pages_on_request, h);
	event_add(h->again, &second);
	return h;
}

void http_pages_free(struct http_pages **h)
{
	if (!*h) return;
	pages_close(*h);
	evhttp_free((*h)->http);
	event_free((*h)->again);
	free(*h);
	*h = NULL;
}

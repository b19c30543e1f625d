#include <stdlib.h>
#include <string.h>

#include "agent/curl_loop.h"
#include "agent/probe_impl.h"

enum { HTTP_BODY_MAX = 65536 }; /* the status has long been said by then */

struct http {
	struct probe *probe;
	struct curl_loop curl;
	CURL *easy;
	struct curl_slist *connect_to;
	size_t got;
	bool added;
	char error[CURL_ERROR_SIZE];
};

/* --- the outcome ------------------------------------------------------------------------------ */

static void http_on_done(void *ctx, CURL *easy, CURLcode code)
{
	struct http *h = ctx;
	long status = 0;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	bool enough = code == CURLE_WRITE_ERROR && h->got > HTTP_BODY_MAX;
	if (code == CURLE_OK || enough)
		probe_finish(h->probe, status >= 200 && status < 400 ? PROBE_GOOD : PROBE_ILL,
			     "HTTP status %ld", status);
	else if (code == CURLE_OUT_OF_MEMORY || code == CURLE_URL_MALFORMAT)
		probe_finish(h->probe, PROBE_UNKNOWN, "%s", curl_easy_strerror(code));
	else
		probe_finish(h->probe, PROBE_ILL, "%s",
			     h->error[0] ? h->error : curl_easy_strerror(code));
}

static size_t http_on_body(char *data, size_t size, size_t n, void *ctx)
{
	(void)data;
	struct http *h = ctx;
	h->got += size * n;
	return h->got > HTTP_BODY_MAX ? 0 : size * n;
}

/* --- setting up ------------------------------------------------------------------------------- */

/* Whatever the URL says, the connection goes to the server's address: curl looks nothing up. */
static void http_set_target(struct http *h)
{
	const struct probe *p = h->probe;
	const struct probe_target *t = &p->target;
	char url[1024], name[NET_NAME_MAX], to[NET_NAME_MAX + 8];
	struct net_addr numeric;
	net_addr_name(&p->addr, name);
	if (p->addr.ss.ss_family == AF_UNIX) {
		bool abstract = t->host[0] == '@';
		curl_easy_setopt(h->easy,
				 abstract ? CURLOPT_ABSTRACT_UNIX_SOCKET : CURLOPT_UNIX_SOCKET_PATH,
				 t->host + abstract);
		snprintf(url, sizeof(url), "http://localhost%s", t->http_path);
	} else {
		bool is_name = !net_addr_numeric(t->host, t->port, &numeric);
		if (is_name)
			snprintf(url, sizeof(url), "http://%s:%u%s", t->host, t->port,
				 t->http_path);
		else snprintf(url, sizeof(url), "http://%s%s", name, t->http_path);
		snprintf(to, sizeof(to), "::%s", name);
		h->connect_to = curl_slist_append(NULL, to);
		curl_easy_setopt(h->easy, CURLOPT_CONNECT_TO, h->connect_to);
	}
	curl_easy_setopt(h->easy, CURLOPT_URL, url);
}

static void http_start(struct probe *p)
{
	struct http *h = calloc(1, sizeof(*h));
	if (!h) abort();
	p->own = h;
	p->doing = "HTTP";
	h->probe = p;
	h->easy = curl_loop_easy();
	bool good = curl_loop_init(&h->curl, p->loop, http_on_done, h) && h->easy;
	if (!good) {
		probe_finish(p, PROBE_UNKNOWN, "no more memory or descriptors");
		return;
	}
	if (p->target.http_path[0] != '/') {
		probe_finish(p, PROBE_UNKNOWN, "http_path does not begin with '/'");
		return;
	}
	curl_easy_setopt(h->easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, h->error);
	curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, http_on_body);
	curl_easy_setopt(h->easy, CURLOPT_WRITEDATA, h);
	http_set_target(h);
	h->added = curl_loop_add(&h->curl, h->easy);
	if (!h->added) probe_finish(p, PROBE_UNKNOWN, "no more memory");
}

static void http_stop(struct probe *p)
{
	struct http *h = p->own;
	if (h->added) curl_loop_remove(&h->curl, h->easy);
	if (h->easy) curl_easy_cleanup(h->easy);
	curl_loop_fini(&h->curl);
	curl_slist_free_all(h->connect_to);
	free(h);
}

const struct probe_ops probe_http_ops = { true, http_start, http_stop };

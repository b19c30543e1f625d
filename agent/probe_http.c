#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "agent/probe_impl.h"

/* One transfer on the loop: curl says which descriptors and how long to wait, and is told. */

enum {
	HTTP_BODY_MAX = 65536, /* the status has long been said by then */
	HTTP_SOCKETS_MAX = 4,
};

struct http_socket {
	struct http *http;
	struct io_watch watch;
	curl_socket_t fd;
	bool used;
};

struct http {
	struct probe *probe;
	CURLM *multi;
	CURL *easy;
	struct curl_slist *connect_to;
	struct io_timer timer;
	struct http_socket sockets[HTTP_SOCKETS_MAX];
	size_t got;
	char error[CURL_ERROR_SIZE];
};

/* --- the outcome ------------------------------------------------------------------------------ */

static void http_judge(struct http *h, CURLcode code)
{
	long status = 0;
	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
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

static void http_act(struct http *h, curl_socket_t fd, int events)
{
	int running, left;
	CURLMsg *m;
	curl_multi_socket_action(h->multi, fd, events, &running);
	while ((m = curl_multi_info_read(h->multi, &left)))
		if (m->msg == CURLMSG_DONE) http_judge(h, m->data.result);
}

/* --- from curl and from the loop -------------------------------------------------------------- */

static void http_on_event(int fd, short what, void *owner)
{
	struct http_socket *s = owner;
	int events =
	    ((what & IO_READ) ? CURL_CSELECT_IN : 0) | ((what & IO_WRITE) ? CURL_CSELECT_OUT : 0);
	if (!s->http->probe->over) http_act(s->http, fd, events);
}

static void http_on_timer(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct http *h = owner;
	if (!h->probe->over) http_act(h, CURL_SOCKET_TIMEOUT, 0);
}

static struct http_socket *http_socket_of(struct http *h, curl_socket_t fd)
{
	struct http_socket *unused = NULL;
	for (int i = 0; i < HTTP_SOCKETS_MAX; i++) {
		struct http_socket *s = &h->sockets[i];
		if (s->used && s->fd == fd) return s;
		if (!s->used && !unused) unused = s;
	}
	return unused;
}

static int http_want_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
	(void)easy, (void)unused;
	struct http *h = ctx;
	struct http_socket *s = http_socket_of(h, fd);
	if (!s) return -1;
	if (what == CURL_POLL_REMOVE) {
		if (s->used) io_watch_stop(&s->watch);
		s->used = false;
		return 0;
	}
	if (!s->used) io_watch_init(&s->watch, h->probe->loop, fd, http_on_event, s);
	s->used = true;
	s->http = h;
	s->fd = fd;
	io_watch_set(&s->watch, (short)(((what & CURL_POLL_IN) ? IO_READ : 0) |
					((what & CURL_POLL_OUT) ? IO_WRITE : 0)));
	return 0;
}

static int http_want_timer(CURLM *multi, long ms, void *ctx)
{
	(void)multi;
	struct http *h = ctx;
	if (ms < 0) io_timer_stop(&h->timer);
	else io_timer_set(&h->timer, (uint64_t)ms * 1000);
	return 0;
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

static void http_set_options(struct http *h)
{
	CURL *e = h->easy;
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "twinring-agent");
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, h->error);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, http_on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, http_want_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, http_want_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
}

static void http_start(struct probe *p)
{
	struct http *h = calloc(1, sizeof(*h));
	if (!h) abort();
	p->own = h;
	p->doing = "HTTP";
	h->probe = p;
	io_timer_init(&h->timer, p->loop, http_on_timer, h);
	h->easy = curl_easy_init();
	h->multi = curl_multi_init();
	if (!h->easy || !h->multi) {
		probe_finish(p, PROBE_UNKNOWN, "no more memory or descriptors");
		return;
	}
	if (p->target.http_path[0] != '/') {
		probe_finish(p, PROBE_UNKNOWN, "http_path does not begin with '/'");
		return;
	}
	http_set_options(h);
	http_set_target(h);
	curl_multi_add_handle(h->multi, h->easy);
}

static void http_stop(struct probe *p)
{
	struct http *h = p->own;
	if (h->easy && h->multi) curl_multi_remove_handle(h->multi, h->easy);
	if (h->easy) curl_easy_cleanup(h->easy);
	if (h->multi) curl_multi_cleanup(h->multi);
	for (int i = 0; i < HTTP_SOCKETS_MAX; i++)
		if (h->sockets[i].used) io_watch_stop(&h->sockets[i].watch);
	io_timer_stop(&h->timer);
	curl_slist_free_all(h->connect_to);
	free(h);
}

const struct probe_ops probe_http_ops = { true, http_start, http_stop };

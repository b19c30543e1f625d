#include "proxy/exporter.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/net.h"
#include "proxy/exporter_pages.h"

/* One reader of the JSON port. Freed when its deadline event fires: at the latest then. */
struct json_conn {
	struct bufferevent *bev;
	struct event *deadline;
	struct exporter *server;
	bool sent; /* all of it, and the end of the stream behind it */
	TAILQ_ENTRY(json_conn) link;
};

struct exporter {
	struct event_base *base;
	struct exporter_env env;
	struct http_pages *http;
	struct event *again;	 /* accept again after an error                          */
	struct listen_spec spec; /* of the JSON port, own copy; text NULL: off           */
	int fd;			 /* the same's                                           */
	struct evconnlistener *listener;
	TAILQ_HEAD(, json_conn) conns; /* oldest first */
	unsigned conn_count;
};

/* --- readers of the JSON port ----------------------------------------------------------------- */

static void json_conn_free(struct json_conn *c)
{
	TAILQ_REMOVE(&c->server->conns, c, link);
	c->server->conn_count--;
	event_free(c->deadline);
	bufferevent_free(c->bev);
	free(c);
}

static void json_conn_on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	json_conn_free(arg);
}

/* What they say is of no interest: but unread, it would turn our close into a reset that may take
 * the object with it. */
static void json_conn_on_read(struct bufferevent *bev, void *arg)
{
	(void)arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	evbuffer_drain(in, evbuffer_get_length(in));
}

static void json_conn_on_write(struct bufferevent *bev, void *arg)
{
	struct json_conn *c = arg;
	static const struct timeval linger = { .tv_sec = 1 };
	if (c->sent) return;
	c->sent = true;
	if (!(bufferevent_get_enabled(bev) & EV_READ)) { /* their end is closed already */
		json_conn_free(c);
		return;
	}
	shutdown(bufferevent_getfd(bev), SHUT_WR);
	event_add(c->deadline, &linger);
}

static void json_conn_on_event(struct bufferevent *bev, short what, void *arg)
{
	struct json_conn *c = arg;
	bool half_closed = (what & BEV_EVENT_EOF) && !c->sent;
	/* `nc </dev/null` closes its end first and still wants to read. */
	if (half_closed) bufferevent_disable(bev, EV_READ);
	else json_conn_free(c);
}

static void exporter_on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from,
			       int n, void *arg)
{
	(void)l, (void)from, (void)n;
	static const struct timeval limit = { .tv_sec = EXPORTER_JSON_DEADLINE_MS / 1000 };
	struct exporter *s = arg;
	struct scratch text = { 0 };
	struct json_conn *c = calloc(1, sizeof(*c));
	if (!c) abort();
	if (s->conn_count >= EXPORTER_JSON_CONNECTIONS) json_conn_free(TAILQ_FIRST(&s->conns));
	c->server = s;
	c->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
	c->deadline = evtimer_new(s->base, json_conn_on_deadline, c);
	if (!c->bev || !c->deadline) abort();
	TAILQ_INSERT_TAIL(&s->conns, c, link);
	s->conn_count++;
	exporter_json(&s->env, &text);
	bufferevent_setcb(c->bev, json_conn_on_read, json_conn_on_write, json_conn_on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	bufferevent_write(c->bev, text.p, text.n);
	event_add(c->deadline, &limit);
	scratch_fini(&text);
}

/* --- listeners -------------------------------------------------------------------------------- */

/* Out of descriptors, most likely: the listener stays readable, so do not ask again at once. */
static void exporter_on_error(struct evconnlistener *l, void *arg)
{
	(void)arg;
	log_warn("accept: %s", strerror(errno));
	evconnlistener_disable(l);
}

static void exporter_on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct exporter *s = arg;
	if (s->listener) evconnlistener_enable(s->listener);
}

static void exporter_json_close(struct exporter *s)
{
	if (!s->spec.text) return;
	net_unlisten(s->fd, &s->spec);
	evconnlistener_free(s->listener);
	listen_spec_fini(&s->spec);
	s->listener = NULL;
	s->fd = -1;
}

static enum err exporter_json_listen(struct exporter *s, const struct listen_spec *spec,
				     struct err_at *where_out)
{
	struct listen_spec copy;
	const char *why;
	int fd;
	if (!spec || !spec->text) {
		exporter_json_close(s);
		return ERR_NONE;
	}
	if (s->spec.text && strcmp(s->spec.text, spec->text) == 0) return ERR_NONE;
	enum err e = net_listen(spec, 128, false, &fd, where_out);
	if (e != ERR_NONE) return e;
	if (!listen_spec_parse(spec->text, &copy, &why)) abort(); /* it was parsed before */
	exporter_json_close(s);
	s->fd = fd;
	s->spec = copy;
	s->listener = evconnlistener_new(s->base, exporter_on_accept, s,
					 LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!s->listener) abort();
	evconnlistener_set_error_cb(s->listener, exporter_on_error);
	return ERR_NONE;
}

enum err exporter_listen(struct exporter *s, enum exporter_port which,
			 const struct listen_spec *spec, struct err_at *where_out)
{
	if (which == EXPORTER_HTTP) return http_pages_listen(s->http, spec, where_out);
	return exporter_json_listen(s, spec, where_out);
}

int exporter_fd(const struct exporter *s, enum exporter_port which)
{
	return which == EXPORTER_HTTP ? http_pages_fd(s->http) : s->fd;
}

/* --- life ------------------------------------------------------------------------------------- */

struct exporter *exporter_new(struct event_base *base, const struct stats *stats,
			      exporter_process_fn process, void *ctx)
{
	static const struct timeval second = { .tv_sec = 1 };
	struct exporter *s = calloc(1, sizeof(*s));
	if (!s) abort();
	s->base = base;
	s->env = (struct exporter_env){ .stats = stats, .process = process, .ctx = ctx };
	TAILQ_INIT(&s->conns);
	s->fd = -1;
	s->http = http_pages_new(base, exporter_pages, &s->env);
	s->again = event_new(base, -1, EV_PERSIST, exporter_on_again, s);
	if (!s->again) abort();
	event_add(s->again, &second);
	return s;
}

void exporter_free(struct exporter **s)
{
	if (!*s) return;
	exporter_json_close(*s);
	while (!TAILQ_EMPTY(&(*s)->conns)) json_conn_free(TAILQ_FIRST(&(*s)->conns));
	http_pages_free(&(*s)->http);
	event_free((*s)->again);
	free(*s);
	*s = NULL;
}

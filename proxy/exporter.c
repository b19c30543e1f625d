#include "proxy/exporter.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
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

struct exporter_port_state {
	struct listen_spec spec; /* own copy; text NULL: off */
	int fd;
	struct evconnlistener *listener; /* borrowed from `bound` if that is set */
	struct evhttp_bound_socket *bound;
};

struct exporter {
	struct event_base *base;
	struct exporter_env env;
	struct evhttp *http;
	struct event *again; /* accept again after an error */
	struct exporter_port_state ports[EXPORTER_MAX];
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
	for (int i = 0; i < EXPORTER_MAX; i++)
		if (s->ports[i].listener) evconnlistener_enable(s->ports[i].listener);
}

static void exporter_port_close(struct exporter *s, enum exporter_port which)
{
	struct exporter_port_state *p = &s->ports[which];
	if (!p->spec.text) return;
	net_unlisten(p->fd, &p->spec);
	if (p->bound) evhttp_del_accept_socket(s->http, p->bound);
	else evconnlistener_free(p->listener);
	listen_spec_fini(&p->spec);
	*p = (struct exporter_port_state){ .fd = -1 };
}

/* Takes fd over. */
static void exporter_port_open(struct exporter *s, enum exporter_port which, int fd)
{
	struct exporter_port_state *p = &s->ports[which];
	p->fd = fd;
	if (which == EXPORTER_HTTP) {
		p->bound = evhttp_accept_socket_with_handle(s->http, fd);
		if (!p->bound) abort();
		p->listener = evhttp_bound_socket_get_listener(p->bound);
	} else {
		p->listener =
		    evconnlistener_new(s->base, exporter_on_accept, s,
				       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
		if (!p->listener) abort();
	}
	evconnlistener_set_error_cb(p->listener, exporter_on_error);
}

enum err exporter_listen(struct exporter *s, enum exporter_port which,
			 const struct listen_spec *spec, struct err_at *where_out)
{
	struct exporter_port_state *p = &s->ports[which];
	struct listen_spec copy;
	const char *why;
	int fd;
	if (!spec || !spec->text) {
		exporter_port_close(s, which);
		return ERR_NONE;
	}
	if (p->spec.text && strcmp(p->spec.text, spec->text) == 0) return ERR_NONE;
	enum err e = net_listen(spec, 128, false, &fd, where_out);
	if (e != ERR_NONE) return e;
	if (!listen_spec_parse(spec->text, &copy, &why)) abort(); /* it was parsed before */
	exporter_port_close(s, which);
	exporter_port_open(s, which, fd);
	p->spec = copy;
	return ERR_NONE;
}

int exporter_fd(const struct exporter *s, enum exporter_port which)
{
	return s->ports[which].fd;
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
	for (int i = 0; i < EXPORTER_MAX; i++) s->ports[i].fd = -1;
	s->http = evhttp_new(base);
	s->again = event_new(base, -1, EV_PERSIST, exporter_on_again, s);
	if (!s->http || !s->again) abort();
	exporter_pages_setup(s->http, &s->env);
	event_add(s->again, &second);
	return s;
}

void exporter_free(struct exporter **s)
{
	if (!*s) return;
	for (int i = 0; i < EXPORTER_MAX; i++) exporter_port_close(*s, i);
	while (!TAILQ_EMPTY(&(*s)->conns)) json_conn_free(TAILQ_FIRST(&(*s)->conns));
	evhttp_free((*s)->http);
	event_free((*s)->again);
	free(*s);
	*s = NULL;
}

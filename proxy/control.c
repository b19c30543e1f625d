#include "proxy/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/config.h"
#include "common/daemon.h"
#include "common/log.h"
#include "common/net.h"

enum control_conn_state {
	CONN_OPEN,
	CONN_FLUSH,  /* not read any more; closed when its output is written */
	CONN_DOOMED, /* its memory goes when `timer` fires, at once          */
};

struct control_conn {
	struct control *control;
	struct bufferevent *bev;
	struct event *timer; /* a line must end by then, or the output be written  */
	size_t scanned;	     /* so many bytes of the input hold no newline         */
	enum control_conn_state state;
	bool line_begun; /* `timer` runs for it */
	bool spoke;	 /* has sent a whole line: not to give way to others */
	unsigned topics; /* enum control_topic, subscribed to */
	TAILQ_ENTRY(control_conn) link;
};

struct control {
	struct event_base *base;
	const struct control_ops *ops;
	void *ctx;
	struct listen_spec listen; /* owns host; text is the same pointer */
	struct lock_file lock;
	struct evconnlistener *listener;
	struct event *again; /* accept again after an error */
	TAILQ_HEAD(, control_conn) conns;
	unsigned conn_count;
	struct timeval line_timeout;
	struct scratch out; /* one message */
};

/* --- methods ---------------------------------------------------------------------------------- */

#define OP(field) offsetof(struct control_ops, field)
enum { NO_OP = -1 };

static const struct control_method {
	const char *name;
	int op;		 /* offset of the control_fn, or NO_OP */
	unsigned topics; /* that a successful call subscribes to */
} methods[] = {
	{ "hello", OP(hello), 0 },
	{ "topology.apply", OP(topology_apply), CONTROL_TOPOLOGY },
	{ "topology.show", OP(topology_show), 0 },
	{ "lease.renew", OP(lease_renew), 0 },
	{ "health.subscribe", NO_OP, CONTROL_HEALTH },
	{ "pool.show", OP(pool_show), 0 },
	{ "server.show", OP(server_show), 0 },
	{ "route.trace", OP(route_trace), 0 },
	{ "stats.show", OP(stats_show), 0 },
	{ "log.set", OP(log_set), 0 },
	{ "drain", OP(drain), 0 },
	{ "shutdown", OP(shutdown), 0 },
	{ "subscribe", NO_OP, CONTROL_TOPOLOGY },
};

static const struct control_method *control_method(const char *name)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(methods[i].name, name) == 0) return &methods[i];
	return NULL;
}

/* The answer to one request; *topics_out: what it subscribes the caller to. */
static json_t *control_answer(struct control *c, const struct ctlmsg *m, unsigned *topics_out)
{
	const struct control_method *method = control_method(m->method);
	struct err_at at = { "", "" };
	json_t *result = NULL;
	control_fn fn = NULL;
	if (method && method->op != NO_OP)
		fn = *(const control_fn *)(const void *)((const char *)c->ops + method->op);
	if (!method || (method->op != NO_OP && !fn)) {
		snprintf(at.where, sizeof(at.where), "$.method");
		snprintf(at.why, sizeof(at.why), "no such method");
		return ctlmsg_error(m->id, "NO_METHOD", &at);
	}
	enum err e = fn ? fn(c->ctx, m->params, &result, &at) : ERR_NONE;
	if (e != ERR_NONE) {
		json_decref(result);
		if (!at.why[0]) snprintf(at.why, sizeof(at.why), "%s", err_text(e));
		return ctlmsg_error(m->id, ctlmsg_code(e), &at);
	}
	*topics_out = method->topics;
	return ctlmsg_result(m->id, result);
}

/* --- connections ------------------------------------------------------------------------------ */

static void control_conn_free(struct control_conn *c)
{
	TAILQ_REMOVE(&c->control->conns, c, link);
	c->control->conn_count--;
	event_free(c->timer);
	bufferevent_free(c->bev);
	free(c);
}

/* Any time, also while the connection's own callbacks run: it is freed from the loop. */
static void control_conn_doom(struct control_conn *c)
{
	if (c->state == CONN_DOOMED) return;
	c->state = CONN_DOOMED;
	bufferevent_disable(c->bev, EV_READ | EV_WRITE);
	event_active(c->timer, EV_TIMEOUT, 0);
}

static void control_conn_timer(struct control_conn *c)
{
	event_add(c->timer, &c->control->line_timeout);
}

/* Close once what was said so far is written. */
static void control_conn_finish(struct control_conn *c)
{
	if (c->state != CONN_OPEN) return;
	c->state = CONN_FLUSH;
	bufferevent_disable(c->bev, EV_READ);
	control_conn_timer(c);
	if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0) control_conn_doom(c);
}

static void control_conn_send(struct control_conn *c, const json_t *message)
{
	struct scratch *out = &c->control->out;
	scratch_clear(out);
	ctlmsg_put(message, out);
	bufferevent_write(c->bev, out->p, out->n);
	scratch_trim(out, CTLMSG_LINE_MAX / 4);
}

/* For what is wrong before there is a request to answer. */
static void control_conn_refuse(struct control_conn *c, const char *code, const char *why)
{
	struct err_at at = { "", "" };
	snprintf(at.why, sizeof(at.why), "%s", why);
	json_t *message = ctlmsg_error(NULL, code, &at);
	control_conn_send(c, message);
	json_decref(message);
	control_conn_finish(c);
}

static void control_conn_line(struct control_conn *c, struct slice line)
{
	struct ctlmsg m;
	struct err_at at = { "", "" };
	json_t *answer;
	unsigned topics = 0;
	if (ctlmsg_parse(line, &m, &at) == ERR_NONE)
		answer = control_answer(c->control, &m, &topics);
	else answer = ctlmsg_error(m.id, "PARSE", &at);
	control_conn_send(c, answer);
	c->topics |= topics;
	json_decref(answer);
	ctlmsg_fini(&m);
}

/* The length of the first line in the input, newline included; 0: not there yet. */
static size_t control_conn_line_length(struct control_conn *c, struct evbuffer *in)
{
	struct evbuffer_ptr from;
	evbuffer_ptr_set(in, &from, c->scanned, EVBUFFER_PTR_SET);
	struct evbuffer_ptr at = evbuffer_search(in, "\n", 1, &from);
	c->scanned = at.pos < 0 ? evbuffer_get_length(in) : 0;
	return at.pos < 0 ? 0 : (size_t)at.pos + 1;
}

static bool control_conn_may_read(const struct control_conn *c)
{
	size_t waiting = evbuffer_get_length(bufferevent_get_output(c->bev));
	return c->state == CONN_OPEN && waiting <= CONTROL_OUTPUT_PAUSE_BYTES;
}

static void control_conn_watch_line(struct control_conn *c, size_t left)
{
	if (left && !c->line_begun) {
		control_conn_timer(c);
	} else if (!left && c->line_begun) {
		event_del(c->timer);
	}
	c->line_begun = left > 0;
}

static void control_conn_on_read(struct bufferevent *bev, void *arg)
{
	struct control_conn *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t n;
	while (control_conn_may_read(c) && (n = control_conn_line_length(c, in)) > 0 &&
	       n <= CTLMSG_LINE_MAX) {
		struct slice line = { (const char *)evbuffer_pullup(in, (ev_ssize_t)n), n };
		bool blank = strspn(line.p, " \t\r\n") >= n;
		if (c->line_begun) control_conn_watch_line(c, 0);
		c->spoke = true;
		if (!blank) control_conn_line(c, line);
		evbuffer_drain(in, n);
	}
	if (c->state != CONN_OPEN) return;
	if (!control_conn_may_read(c)) {
		bufferevent_disable(bev, EV_READ); /* on_write goes on */
		control_conn_watch_line(c, 0);
		return;
	}
	if (evbuffer_get_length(in) >= CTLMSG_LINE_MAX) {
		control_conn_refuse(c, "TOO_LONG", "the line is too long");
		return;
	}
	control_conn_watch_line(c, evbuffer_get_length(in));
}

/* All output is written. */
static void control_conn_on_write(struct bufferevent *bev, void *arg)
{
	struct control_conn *c = arg;
	if (c->state == CONN_FLUSH) control_conn_doom(c);
	if (c->state != CONN_OPEN || (bufferevent_get_enabled(bev) & EV_READ)) return;
	bufferevent_enable(bev, EV_READ);
	control_conn_on_read(bev, c);
}

static void control_conn_on_event(struct bufferevent *bev, short what, void *arg)
{
	struct control_conn *c = arg;
	(void)bev;
	/* `echo ... | socat` closes its end first and still wants its answers. */
	if (what & BEV_EVENT_EOF) control_conn_finish(c);
	else control_conn_doom(c);
}

static void control_conn_on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct control_conn *c = arg;
	if (c->state == CONN_OPEN)
		control_conn_refuse(c, "TIMEOUT", "the line did not end in time");
	else control_conn_free(c);
}

/* --- accepting -------------------------------------------------------------------------------- */

/* Refuse before anything is allocated for it; the message is a courtesy. */
static void control_turn_away(int fd, const char *code, const char *why)
{
	char text[160];
	int n =
	    snprintf(text, sizeof(text),
		     "{\"id\":null,\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}\n", code, why);
	ssize_t sent = send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)sent;
	close(fd);
}

static bool control_peer_may(int fd)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0) return false;
	if (peer.uid == 0 || peer.uid == geteuid()) return true;
	log_warn("refused process %d of user %u", (int)peer.pid, (unsigned)peer.uid);
	return false;
}

/* The oldest connection that never said anything gives way to a new one: whoever fills the table
 * and is silent must not keep the agent out. false: there is none. */
static bool control_make_room(struct control *control)
{
	struct control_conn *c;
	if (control->conn_count < CONTROL_CONNECTIONS) return true;
	TAILQ_FOREACH (c, &control->conns, link) {
		if (c->spoke || c->state != CONN_OPEN) continue;
		control_conn_free(c);
		return true;
	}
	return false;
}

static void control_on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from,
			      int n, void *arg)
{
	(void)l, (void)from, (void)n;
	struct control *control = arg;
	if (!control_peer_may(fd)) {
		control_turn_away(fd, "FORBIDDEN", "not your proxy");
		return;
	}
	if (!control_make_room(control)) {
		control_turn_away(fd, "BUSY", "too many connections");
		return;
	}
	struct control_conn *c = calloc(1, sizeof(*c));
	if (!c) abort();
	c->control = control;
	c->bev = bufferevent_socket_new(control->base, fd, BEV_OPT_CLOSE_ON_FREE);
	c->timer = evtimer_new(control->base, control_conn_on_timer, c);
	if (!c->bev || !c->timer) abort();
	TAILQ_INSERT_TAIL(&control->conns, c, link);
	control->conn_count++;
	bufferevent_setcb(c->bev, control_conn_on_read, control_conn_on_write,
			  control_conn_on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, CTLMSG_LINE_MAX);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* Out of descriptors, most likely: the listener stays readable, so do not ask again at once. */
static void control_on_accept_error(struct evconnlistener *l, void *arg)
{
	static const struct timeval second = { .tv_sec = 1 };
	struct control *c = arg;
	log_warn("accept: %s", strerror(errno));
	evconnlistener_disable(l);
	event_add(c->again, &second);
}

static void control_on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct control *c = arg;
	evconnlistener_enable(c->listener);
}

void control_broadcast(struct control *control, enum control_topic topic, const json_t *event)
{
	struct control_conn *c;
	struct scratch text = { 0 };
	ctlmsg_put(event, &text);
	TAILQ_FOREACH (c, &control->conns, link) {
		if (!(c->topics & topic) || c->state != CONN_OPEN) continue;
		size_t waiting = evbuffer_get_length(bufferevent_get_output(c->bev));
		if (waiting + text.n > CONTROL_OUTPUT_MAX_BYTES) {
			log_warn("closed a subscriber that does not read");
			control_conn_doom(c);
			continue;
		}
		bufferevent_write(c->bev, text.p, text.n);
	}
	scratch_fini(&text);
}

bool control_has_subscribers(const struct control *control, enum control_topic topic)
{
	const struct control_conn *c;
	TAILQ_FOREACH (c, &control->conns, link)
		if (c->topics & topic) return true;
	return false;
}

/* --- life ------------------------------------------------------------------------------------- */

void control_line_timeout(struct control *c, uint32_t ms)
{
	c->line_timeout = (struct timeval){ ms / 1000, ms % 1000 * 1000 };
}

/* "/run/twinring/a.sock" is locked by "/run/twinring/a.lock". */
static enum err control_lock(struct control *c, const char *path, struct err_at *where_out)
{
	size_t n = strlen(path);
	struct scratch name = { 0 };
	if (n > 5 && strcmp(path + n - 5, ".sock") == 0) n -= 5;
	scratch_put(&name, path, n);
	scratch_put(&name, ".lock", sizeof(".lock"));
	enum err e = lock_file_take(name.p, &c->lock, where_out);
	if (e == ERR_NONE) e = lock_file_write_pid(&c->lock, where_out);
	scratch_fini(&name);
	return e;
}

static enum err control_listen(struct control *c, const char *path, struct err_at *where_out)
{
	int fd;
	c->listen = (struct listen_spec){ .host = strdup(path), .mode = 0600 };
	if (!c->listen.host) abort();
	c->listen.text = c->listen.host;
	enum err e = net_listen(&c->listen, CONTROL_CONNECTIONS, false, &fd, where_out);
	if (e != ERR_NONE) return e;
	c->listener = evconnlistener_new(c->base, control_on_accept, c,
					 LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!c->listener) abort();
	evconnlistener_set_error_cb(c->listener, control_on_accept_error);
	return ERR_NONE;
}

enum err control_new(struct event_base *base, const char *path, const struct control_ops *ops,
		     void *ctx, struct control **control_out, struct err_at *where_out)
{
	struct control *c = calloc(1, sizeof(*c));
	if (!c) abort();
	c->base = base;
	c->ops = ops;
	c->ctx = ctx;
	c->lock = LOCK_FILE_NONE;
	control_line_timeout(c, CTLMSG_LINE_TIMEOUT_MS);
	TAILQ_INIT(&c->conns);
	c->again = evtimer_new(base, control_on_again, c);
	if (!c->again) abort();
	enum err e = control_lock(c, path, where_out);
	if (e == ERR_NONE) e = control_listen(c, path, where_out);
	if (e != ERR_NONE) control_free(&c);
	else *control_out = c;
	return e;
}

void control_free(struct control **c)
{
	struct control_conn *conn;
	if (!*c) return;
	while ((conn = TAILQ_FIRST(&(*c)->conns))) {
		/* The answer to "shutdown" should still arrive. */
		struct evbuffer *out = bufferevent_get_output(conn->bev);
		evbuffer_unfreeze(out, 1);
		evbuffer_write(out, bufferevent_getfd(conn->bev));
		control_conn_free(conn);
	}
	if ((*c)->listener) {
		net_unlisten(evconnlistener_get_fd((*c)->listener), &(*c)->listen);
		evconnlistener_free((*c)->listener);
	}
	event_free((*c)->again);
	lock_file_release(&(*c)->lock);
	free((*c)->listen.host);
	scratch_fini(&(*c)->out);
	free(*c);
	*c = NULL;
}

#include "agent/proxy_link.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/ctlmsg.h"
#include "common/net.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, WHY_MAX = 256 };
/* The frame of a request but for method and params, with the largest id. */
#define FRAME "{\"id\":18446744073709551615,\"method\":\"\",\"params\":}\n"

enum link_state {
	LINK_WAITING, /* no connection; `retry` is armed unless retired */
	LINK_HELLO,   /* connected, not yet known                       */
	LINK_UP,
};

struct link_call {
	uint64_t id;
	uint64_t due_us;
	char method[32];
	proxy_link_fn fn; /* or NULL */
};

struct proxy_link {
	struct io_loop *loop;
	char *path;
	uint64_t answer_us;
	struct proxy_link_events events;
	enum link_state state;
	bool retired;
	struct bufferevent *bev; /* NULL exactly when LINK_WAITING */
	struct io_timer retry, watchdog;
	uint32_t backoff_ms;
	dev_t dev; /* with ino: the file that was dialled last; 0: none */
	ino_t ino;
	uint64_t connected_us, heard_us;
	uint64_t line_us; /* since when a line is incomplete; 0: none is */
	size_t scanned;	  /* so many bytes of the input hold no newline  */
	uint64_t next_id;
	/* In flight; answered in order, so the oldest is also the soonest due. */
	struct link_call calls[PROXY_LINK_CALLS_MAX];
	unsigned oldest, call_count;
};

/* --- going down ------------------------------------------------------------------------------- */

static void link_hang_up(struct proxy_link *l)
{
	if (l->bev) bufferevent_free(l->bev);
	l->bev = NULL;
	l->state = LINK_WAITING;
	l->line_us = 0;
	l->scanned = 0;
	io_timer_stop(&l->watchdog);
	l->call_count = 0;
}

/* A connection that lasted is worth an early new one; one that fails over and over is not, wherever
 * in its life it fails. */
static void link_fail(struct proxy_link *l, const char *why)
{
	uint64_t lasted_us = l->state == LINK_UP ? clock_now_us() - l->connected_us : 0;
	link_hang_up(l);
	if (lasted_us >= BACKOFF_MAX_MS * 1000ULL || !l->backoff_ms) l->backoff_ms = BACKOFF_MIN_MS;
	else if ((l->backoff_ms *= 2) > BACKOFF_MAX_MS) l->backoff_ms = BACKOFF_MAX_MS;
	if (!l->retired) io_timer_set(&l->retry, l->backoff_ms * 1000ULL);
	l->events.on_down(l->events.ctx, why);
}

/* --- time ------------------------------------------------------------------------------------- */

/* NULL: nothing is in flight. */
static const struct link_call *link_oldest(const struct proxy_link *l)
{
	return l->call_count ? &l->calls[l->oldest] : NULL;
}

static void link_arm(struct proxy_link *l)
{
	const struct link_call *oldest = link_oldest(l);
	uint64_t now = clock_now_us();
	uint64_t due = oldest ? oldest->due_us : l->heard_us + l->answer_us;
	if (l->line_us && l->line_us + l->answer_us < due) due = l->line_us + l->answer_us;
	io_timer_set(&l->watchdog, due > now ? due - now : 0);
}

static void link_greet(struct proxy_link *l);

static void link_on_watchdog(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct proxy_link *l = owner;
	const struct link_call *oldest = link_oldest(l);
	uint64_t now = clock_now_us();
	char why[WHY_MAX];
	if (oldest && oldest->due_us <= now) {
		snprintf(why, sizeof(why), "no answer to \"%s\" within %llu ms", oldest->method,
			 (unsigned long long)l->answer_us / 1000);
		link_fail(l, why);
	} else if (l->line_us && l->line_us + l->answer_us <= now) {
		link_fail(l, "a line did not end in time");
	} else if (!oldest && l->heard_us + l->answer_us <= now) {
		link_greet(l);
	} else {
		link_arm(l);
	}
}

/* --- asking ----------------------------------------------------------------------------------- */

size_t proxy_link_params_max(const char *method)
{
	return CTLMSG_LINE_MAX - (sizeof(FRAME) - 1) - strlen(method);
}

static bool link_send(struct proxy_link *l, const char *method, struct slice params,
		      proxy_link_fn fn)
{
	if (l->call_count >= PROXY_LINK_CALLS_MAX || params.n > proxy_link_params_max(method))
		return false;
	struct link_call *c = &l->calls[(l->oldest + l->call_count++) % PROXY_LINK_CALLS_MAX];
	c->id = ++l->next_id;
	c->due_us = clock_now_us() + l->answer_us;
	c->fn = fn;
	snprintf(c->method, sizeof(c->method), "%s", method);
	struct evbuffer *out = bufferevent_get_output(l->bev);
	evbuffer_add_printf(
	    out, "{\"id\":%llu,\"method\":\"%s\",\"params\":", (unsigned long long)c->id, method);
	evbuffer_add(out, params.p, params.n);
	evbuffer_add(out, "}\n", 2);
	link_arm(l);
	return true;
}

/* Also when there is nothing to ask, to hear that it lives. */
static void link_greet(struct proxy_link *l)
{
	struct scratch params = { 0 };
	json_t *doc = json_pack("{s:o}", "protocol", ctlmsg_protocol());
	if (!doc) abort();
	ctlmsg_put(doc, &params);
	params.n--; /* the newline */
	link_send(l, "hello", scratch_slice(&params), NULL);
	json_decref(doc);
	scratch_fini(&params);
}

bool proxy_link_call(struct proxy_link *l, const char *method, struct slice params,
		     proxy_link_fn fn)
{
	return l->state == LINK_UP && link_send(l, method, params, fn);
}

/* --- hearing ---------------------------------------------------------------------------------- */

static const char *link_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

/* For what concerns the connection and not one call. */
static void link_fail_with(struct proxy_link *l, const char *what, const json_t *error)
{
	char why[WHY_MAX];
	snprintf(why, sizeof(why), "%s%s: %s", what, link_text(error, "code"),
		 link_text(error, "message"));
	link_fail(l, why);
}

static void link_on_hello(struct proxy_link *l, const json_t *result, const json_t *error)
{
	if (error) {
		link_fail_with(l, "hello: ", error);
	} else {
		l->state = LINK_UP;
		l->events.on_up(l->events.ctx, result);
	}
}

/* The call that this answers must be the oldest. */
static bool link_take_call(struct proxy_link *l, const json_t *id, proxy_link_fn *fn_out)
{
	const struct link_call *oldest = link_oldest(l);
	if (!oldest || !json_is_integer(id) || oldest->id != (uint64_t)json_integer_value(id))
		return false;
	*fn_out = oldest->fn;
	l->oldest = (l->oldest + 1) % PROXY_LINK_CALLS_MAX;
	l->call_count--;
	return true;
}

static void link_on_answer(struct proxy_link *l, const json_t *message)
{
	const json_t *id = json_object_get(message, "id");
	const json_t *result = json_object_get(message, "result");
	const json_t *error = json_object_get(message, "error");
	if (!json_is_object(result ? result : error) || (result && error)) {
		link_fail(l, "garbage: neither an event nor an answer");
		return;
	}
	if (error && (!id || json_is_null(id))) {
		link_fail_with(l, "", error);
		return;
	}
	proxy_link_fn fn;
	if (!link_take_call(l, id, &fn)) {
		link_fail(l, "garbage: an answer to nothing that was asked");
		return;
	}
	if (l->state == LINK_HELLO) {
		link_on_hello(l, result, error);
	} else if (fn) {
		struct proxy_link_fault fault = { link_text(error, "code"),
						  link_text(error, "message"),
						  link_text(error, "where") };
		fn(l->events.ctx, result, error ? &fault : NULL);
	}
}

static void link_on_line(struct proxy_link *l, struct evbuffer *in, size_t n)
{
	json_error_t e;
	char why[WHY_MAX];
	json_t *message = json_loadb((const char *)evbuffer_pullup(in, (ev_ssize_t)n), n,
				     JSON_REJECT_DUPLICATES, &e);
	evbuffer_drain(in, n);
	if (!json_is_object(message)) {
		snprintf(why, sizeof(why), "garbage: %s", message ? "not an object" : e.text);
		link_fail(l, why);
	} else if (json_is_string(json_object_get(message, "event"))) {
		/* Before hello we subscribed to nothing. */
		if (l->state == LINK_UP)
			l->events.on_event(l->events.ctx, link_text(message, "event"), message);
	} else {
		link_on_answer(l, message);
	}
	json_decref(message);
}

/* The length of the first line, newline included; 0: not there yet. */
static size_t link_line_length(struct proxy_link *l, struct evbuffer *in)
{
	struct evbuffer_ptr from;
	evbuffer_ptr_set(in, &from, l->scanned, EVBUFFER_PTR_SET);
	struct evbuffer_ptr at = evbuffer_search(in, "\n", 1, &from);
	l->scanned = at.pos < 0 ? evbuffer_get_length(in) : 0;
	return at.pos < 0 ? 0 : (size_t)at.pos + 1;
}

static void link_on_read(struct bufferevent *bev, void *owner)
{
	struct proxy_link *l = owner;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t n;
	l->heard_us = clock_now_us();
	while (l->bev && (n = link_line_length(l, in)) > 0) {
		l->line_us = 0;
		link_on_line(l, in, n);
	}
	if (!l->bev) return;
	size_t left = evbuffer_get_length(in);
	if (left >= CTLMSG_LINE_MAX) {
		link_fail(l, "garbage: a line is too long");
		return;
	}
	if (left && !l->line_us) l->line_us = l->heard_us;
	link_arm(l);
}

static void link_on_event(struct bufferevent *bev, short what, void *owner)
{
	(void)bev;
	struct proxy_link *l = owner;
	if (what & BEV_EVENT_EOF) link_fail(l, "closed by the proxy");
	else link_fail(l, strerror(EVUTIL_SOCKET_ERROR()));
}

/* --- dialling --------------------------------------------------------------------------------- */

/* false: no socket is there; errno says why. */
static bool link_stat(const struct proxy_link *l, struct stat *st)
{
	if (lstat(l->path, st) != 0) return false;
	if (S_ISSOCK(st->st_mode)) return true;
	errno = ENOTSOCK;
	return false;
}

/* Is the process behind it one that may command us? */
static bool link_peer_may(int fd, char *why, size_t size)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0) {
		snprintf(why, size, "SO_PEERCRED: %s", strerror(errno));
		return false;
	}
	if (peer.uid == 0 || peer.uid == geteuid()) return true;
	snprintf(why, size, "the socket belongs to user %u", (unsigned)peer.uid);
	return false;
}

/* A connected descriptor, or -1 and why. */
static int link_dial(struct proxy_link *l, char *why, size_t size)
{
	struct net_addr to;
	struct stat before, after;
	int fd;
	l->dev = 0, l->ino = 0;
	if (!net_addr_unix(l->path, &to)) {
		snprintf(why, size, "the path is too long for a unix socket");
		return -1;
	}
	if (!link_stat(l, &before) || net_connect_nonblocking(&to, &fd) != ERR_NONE) {
		snprintf(why, size, "connect: %s", strerror(errno));
		return -1;
	}
	l->dev = before.st_dev, l->ino = before.st_ino;
	/* The connection must be known to be to this file, or a replacement goes unseen. */
	if (!link_stat(l, &after) || after.st_ino != before.st_ino || after.st_dev != before.st_dev)
		snprintf(why, size, "the socket was replaced");
	else if (link_peer_may(fd, why, size)) return fd;
	close(fd);
	return -1;
}

static void link_on_retry(int unused, short what, void *owner)
{
	(void)unused, (void)what;
	struct proxy_link *l = owner;
	char why[WHY_MAX];
	int fd = link_dial(l, why, sizeof(why));
	if (fd < 0) {
		link_fail(l, why);
		return;
	}
	l->bev = bufferevent_socket_new(io_loop_base(l->loop), fd, BEV_OPT_CLOSE_ON_FREE);
	if (!l->bev) abort();
	bufferevent_setcb(l->bev, link_on_read, NULL, link_on_event, l);
	bufferevent_setwatermark(l->bev, EV_READ, 0, CTLMSG_LINE_MAX);
	bufferevent_enable(l->bev, EV_READ | EV_WRITE);
	l->state = LINK_HELLO;
	l->connected_us = l->heard_us = clock_now_us();
	link_greet(l);
}

void proxy_link_kick(struct proxy_link *l)
{
	struct stat st;
	if (l->state != LINK_WAITING || l->retired || !link_stat(l, &st)) return;
	if (st.st_dev == l->dev && st.st_ino == l->ino) return;
	l->backoff_ms = 0;
	io_timer_set(&l->retry, 0);
}

bool proxy_link_replaced(const struct proxy_link *l)
{
	struct stat st;
	return l->state != LINK_WAITING && link_stat(l, &st) &&
	       (st.st_dev != l->dev || st.st_ino != l->ino);
}

void proxy_link_retire(struct proxy_link *l)
{
	l->retired = true;
	if (l->state == LINK_WAITING) io_timer_stop(&l->retry);
}

/* --- life ------------------------------------------------------------------------------------- */

struct proxy_link *proxy_link_new(struct io_loop *loop, const char *path, uint32_t answer_ms,
				  const struct proxy_link_events *events)
{
	struct proxy_link *l = calloc(1, sizeof(*l));
	if (!l || !(l->path = strdup(path))) abort();
	l->loop = loop;
	l->answer_us = answer_ms * 1000ULL;
	l->events = *events;
	io_timer_init(&l->retry, loop, link_on_retry, l);
	io_timer_init(&l->watchdog, loop, link_on_watchdog, l);
	io_timer_set(&l->retry, 0);
	return l;
}

bool proxy_link_up(const struct proxy_link *l)
{
	return l->state == LINK_UP;
}

void proxy_link_free(struct proxy_link **l)
{
	if (!*l) return;
	link_hang_up(*l);
	io_timer_stop(&(*l)->retry);
	free((*l)->path);
	free(*l);
	*l = NULL;
}

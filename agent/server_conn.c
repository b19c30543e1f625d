#include "agent/server_conn.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/codec.h"
#include "common/resolver.h"
#include "common/resp_commands.h"

enum { READ_BYTES = 65536, LINE_MAX_BYTES = 4096, CONN_WHY_MAX = 160, KEEP_BYTES = 1 << 20 };

enum server_state { SERVER_DOWN, SERVER_CONNECTING, SERVER_GREETING, SERVER_UP };

struct question {
	server_answer_fn fn;
	void *ctx;
	enum server_answer_kind kind;
};

struct server_conn {
	struct io_loop *loop;
	enum server_state state;
	struct io_watch watch; /* while fd >= 0 */
	int fd;
	struct io_timer timer; /* down: next attempt; else: when it is too late */
	struct net_addr addr;
	struct resolver *resolver;
	uint32_t name;
	const struct codec *codec;
	struct pool_spec pool; /* what the greeting wants to know */
	uint32_t greeted;      /* its requests answered so far    */
	uint32_t timeout_ms;
	size_t answer_max;
	uint32_t retry_ms;
	uint64_t heard_us; /* when the server last said something, or was asked while idle */
	bool held;
	const struct server_conn_events *events;
	void *ctx;
	struct question *asked; /* a ring of asked_cap, a power of two */
	uint32_t asked_cap, asked_first, asked_count;
	struct scratch out, in;
	size_t sent, parsed; /* of out; of in, the answers that were passed on */
	struct reply_resume resume;
};

static void conn_on_event(int fd, short what, void *owner);
static void conn_on_timer(int fd, short what, void *owner);
static void conn_greet(struct server_conn *c);

/* --- questions -------------------------------------------------------------------------------- */

static void asked_push(struct server_conn *c, struct question q)
{
	if (c->asked_count == c->asked_cap) {
		uint32_t cap = c->asked_cap ? c->asked_cap * 2 : 64;
		struct question *larger = calloc(cap, sizeof(*larger));
		if (!larger) abort();
		for (uint32_t i = 0; i < c->asked_count; i++)
			larger[i] = c->asked[(c->asked_first + i) & (c->asked_cap - 1)];
		free(c->asked);
		c->asked = larger;
		c->asked_cap = cap;
		c->asked_first = 0;
	}
	c->asked[(c->asked_first + c->asked_count++) & (c->asked_cap - 1)] = q;
}

static struct question *asked_first(struct server_conn *c)
{
	return &c->asked[c->asked_first];
}

static struct question asked_pop(struct server_conn *c)
{
	struct question q = *asked_first(c);
	c->asked_first = (c->asked_first + 1) & (c->asked_cap - 1);
	c->asked_count--;
	return q;
}

/* --- down ------------------------------------------------------------------------------------- */

/* The last thing that a function does: callbacks have run. */
static void conn_fail(struct server_conn *c, const char *doing, const char *why)
{
	char text[CONN_WHY_MAX];
	snprintf(text, sizeof(text), "%s: %s", doing, why);
	for (char *p = text; *p; p++)
		if (*p < ' ' || *p > '~') *p = '?'; /* a server may have written it */
	if (c->fd >= 0) {
		io_watch_stop(&c->watch);
		io_close(c->fd);
		c->fd = -1;
	}
	c->state = SERVER_DOWN;
	scratch_clear(&c->out);
	scratch_clear(&c->in);
	scratch_trim(&c->in, KEEP_BYTES);
	scratch_trim(&c->out, KEEP_BYTES);
	c->sent = c->parsed = 0;
	reply_resume_reset(&c->resume);
	io_timer_set(&c->timer, c->retry_ms * 1000ull);
	c->retry_ms = c->retry_ms * 2 < SERVER_RETRY_MAX_MS ? c->retry_ms * 2 : SERVER_RETRY_MAX_MS;
	struct server_answer none = { .why = text };
	for (uint32_t n = c->asked_count; n > 0; n--) {
		struct question q = asked_pop(c);
		if (q.fn) q.fn(q.ctx, &none);
	}
	if (c->events->on_down) c->events->on_down(c->ctx, text);
}

static void conn_connect(struct server_conn *c)
{
	bool pending;
	const struct net_addr *addr = resolver_addr(c->resolver, c->name);
	if (!addr) {
		conn_fail(c, "name lookup", "no address yet");
		return;
	}
	c->addr = *addr;
	c->fd = io_connect((struct sockaddr *)&c->addr.ss, c->addr.len, true, &pending);
	if (c->fd < 0) {
		conn_fail(c, "connect", strerror(errno));
		return;
	}
	c->state = SERVER_CONNECTING;
	c->greeted = 0;
	c->heard_us = clock_now_us();
	io_timer_set(&c->timer, c->timeout_ms * 1000ull);
	io_watch_init(&c->watch, c->loop, c->fd, conn_on_event, c);
	io_watch_set(&c->watch, IO_WRITE); /* connected or not: that is said by the loop */
}

/* The first address comes later than the first attempt: do not let it wait for the next. */
static void conn_on_address(void *ctx, uint32_t id, const struct net_addr *addr)
{
	(void)id, (void)addr;
	struct server_conn *c = ctx;
	if (c->state == SERVER_DOWN && c->addr.len == 0) io_timer_set(&c->timer, 0);
}

/* --- time ------------------------------------------------------------------------------------- */

static const char *conn_doing(const struct server_conn *c)
{
	static const char *const doing[] = { "connect", "connect", "greeting", "answer" };
	return doing[c->state];
}

static void conn_on_timer(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct server_conn *c = owner;
	if (c->state == SERVER_DOWN) {
		conn_connect(c);
		return;
	}
	uint64_t now = clock_now_us(), limit = c->timeout_ms * 1000ull;
	bool idle = c->state == SERVER_UP && (c->asked_count == 0 || c->held);
	if (idle) return; /* whoever asks or goes on sets it again */
	if (now - c->heard_us >= limit) {
		char why[64];
		snprintf(why, sizeof(why), "nothing within %u ms", c->timeout_ms);
		conn_fail(c, conn_doing(c), why);
		return;
	}
	io_timer_set(&c->timer, c->heard_us + limit - now);
}

/* The server is expected to say something from now on. */
static void conn_expect(struct server_conn *c)
{
	c->heard_us = clock_now_us();
	if (!io_timer_armed(&c->timer)) io_timer_set(&c->timer, c->timeout_ms * 1000ull);
}

static void conn_watch(struct server_conn *c)
{
	short want = c->held ? IO_NONE : IO_READ;
	if (c->sent < c->out.n) want |= IO_WRITE;
	io_watch_set(&c->watch, want);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void conn_put(struct server_conn *c, enum server_answer_kind kind, struct slice bytes,
		     server_answer_fn fn, void *ctx)
{
	if (c->asked_count == 0) conn_expect(c);
	scratch_puts(&c->out, bytes);
	asked_push(c, (struct question){ fn, ctx, kind });
	conn_watch(c); /* sent in the next turn, with what else is asked in this one */
}

void server_conn_ask(struct server_conn *c, enum server_answer_kind kind, struct slice bytes,
		     server_answer_fn fn, void *ctx)
{
	assert(c->state == SERVER_UP);
	conn_put(c, kind, bytes, fn, ctx);
}

void server_conn_hold(struct server_conn *c, bool hold)
{
	if (c->held == hold) return;
	c->held = hold;
	if (c->fd < 0) return;
	if (!hold && c->asked_count > 0) conn_expect(c);
	if (c->state == SERVER_UP) conn_watch(c);
}

static bool conn_send(struct server_conn *c)
{
	while (c->sent < c->out.n) {
		struct iovec iov = { c->out.p + c->sent, c->out.n - c->sent };
		ssize_t n = io_writev(c->fd, &iov, 1);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0 && errno == EAGAIN) break;
		if (n < 0) {
			conn_fail(c, "send", strerror(errno));
			return false;
		}
		c->sent += (size_t)n;
	}
	if (c->sent == c->out.n) {
		c->sent = 0;
		scratch_clear(&c->out);
		scratch_trim(&c->out, KEEP_BYTES);
	} else if (c->sent >= KEEP_BYTES) {
		memmove(c->out.p, c->out.p + c->sent, c->out.n - c->sent);
		c->out.n -= c->sent;
		c->sent = 0;
	}
	conn_watch(c);
	return true;
}

/* --- greeting --------------------------------------------------------------------------------- */

static void conn_on_greeted(void *ctx, const struct server_answer *a)
{
	struct server_conn *c = ctx;
	if (a->why) return;
	c->greeted++;
	conn_greet(c);
}

static void conn_greet(struct server_conn *c)
{
	struct scratch request = { 0 };
	const struct op_info *info = c->codec->handshake(&c->pool, NULL, 2, c->greeted, &request);
	if (info) conn_put(c, SERVER_RESP, scratch_slice(&request), conn_on_greeted, c);
	scratch_fini(&request);
	if (info) return;
	c->state = SERVER_UP;
	c->retry_ms = SERVER_RETRY_MIN_MS;
	conn_watch(c);
	if (c->events->on_up) c->events->on_up(c->ctx);
}

/* --- answers ---------------------------------------------------------------------------------- */

static bool begins_with(struct slice s, const char *with)
{
	size_t n = strlen(with);
	return s.n >= n && !memcmp(s.p, with, n);
}

static enum parse_result line_parse(struct slice in, size_t *n_out)
{
	size_t window = in.n < LINE_MAX_BYTES ? in.n : LINE_MAX_BYTES;
	const char *newline = window ? memchr(in.p, '\n', window) : NULL;
	if (!newline) return window == LINE_MAX_BYTES ? PARSE_FATAL : PARSE_NEED;
	*n_out = (size_t)(newline + 1 - in.p);
	return PARSE_OK;
}

static enum parse_result meta_parse(struct server_conn *c, struct slice in, size_t *n_out)
{
	if (in.n < c->resume.base.need) return PARSE_NEED;
	enum parse_result r = line_parse(in, n_out);
	if (r != PARSE_OK || !begins_with(in, "VA ")) return r;
	char *end;
	unsigned long long bytes = strtoull(in.p + 3, &end, 10); /* ends at the newline at last */
	if (end == in.p + 3 || bytes > c->answer_max) return PARSE_FATAL;
	*n_out += bytes + 2;
	c->resume.base.need = *n_out;
	if (in.n < *n_out) return PARSE_NEED;
	return in.p[*n_out - 2] == '\r' && in.p[*n_out - 1] == '\n' ? PARSE_OK : PARSE_FATAL;
}

static enum parse_result resp_parse(struct server_conn *c, struct slice in, size_t *n_out)
{
	/* A script may answer anything, so that row's rules fit every reply. */
	const struct op_info *any = codec_resp.op(RESP_EVAL);
	struct reply reply = { 0 };
	enum parse_result r =
	    codec_resp.parse_reply(any, (struct slice){ 0 }, in.p, in.n, &c->resume, &reply);
	*n_out = reply.n;
	return r;
}

/* One answer at the front of what was read, or one line of it. */
static enum parse_result conn_parse(struct server_conn *c, struct server_answer *out)
{
	struct slice in = { c->in.p + c->parsed, c->in.n - c->parsed };
	enum parse_result r = PARSE_NEED;
	if (in.n == 0) return r;
	switch (asked_first(c)->kind) {
	case SERVER_RESP: r = resp_parse(c, in, &out->bytes.n); break;
	case SERVER_META: r = meta_parse(c, in, &out->bytes.n); break;
	case SERVER_LINES:
		r = line_parse(in, &out->bytes.n);
		out->more = begins_with(in, "key=") || begins_with(in, "STAT ");
		break;
	}
	out->bytes.p = in.p;
	if (r == PARSE_NEED && (in.n > c->answer_max || c->resume.base.need > c->answer_max))
		return PARSE_FATAL;
	return r;
}

/* A greeting that is refused ends the connection. */
static bool conn_refused(struct server_conn *c, const struct server_answer *a)
{
	if (c->state != SERVER_GREETING || a->bytes.p[0] != '-') return false;
	char why[CONN_WHY_MAX];
	size_t n = a->bytes.n;
	while (n > 0 && (a->bytes.p[n - 1] == '\n' || a->bytes.p[n - 1] == '\r')) n--;
	snprintf(why, sizeof(why), "%.*s", (int)n, a->bytes.p);
	conn_fail(c, "greeting", why);
	return true;
}

/* False: the connection broke. */
static bool conn_pass_on(struct server_conn *c)
{
	while (c->asked_count > 0 && !c->held) {
		struct server_answer a = { 0 };
		enum parse_result r = conn_parse(c, &a);
		if (r == PARSE_NEED) return true;
		if (r != PARSE_OK) {
			conn_fail(c, conn_doing(c), "it makes no sense, or is too long");
			return false;
		}
		if (conn_refused(c, &a)) return false;
		struct question q = a.more ? *asked_first(c) : asked_pop(c);
		c->parsed += a.bytes.n;
		reply_resume_reset(&c->resume);
		if (q.fn) q.fn(q.ctx, &a);
	}
	if (c->asked_count > 0 || c->parsed == c->in.n) return true;
	conn_fail(c, conn_doing(c), "more than was asked for");
	return false;
}

/* What was passed on goes; a large rest is moved seldom. */
static void conn_compact(struct server_conn *c)
{
	size_t rest = c->in.n - c->parsed;
	if (rest > c->parsed) return;
	memmove(c->in.p, c->in.p + c->parsed, rest);
	c->in.n = rest;
	c->parsed = 0;
	if (rest == 0) scratch_trim(&c->in, KEEP_BYTES);
}

static void conn_read(struct server_conn *c)
{
	if (c->parsed > 0) conn_compact(c);
	ssize_t n = io_read(c->fd, scratch_reserve(&c->in, READ_BYTES), READ_BYTES);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (n <= 0) {
		conn_fail(c, conn_doing(c), n < 0 ? strerror(errno) : "it hung up");
		return;
	}
	c->in.n += (size_t)n;
	c->heard_us = clock_now_us();
	conn_pass_on(c);
}

static void conn_on_event(int fd, short what, void *owner)
{
	struct server_conn *c = owner;
	if (fd != c->fd) return;
	if (c->state == SERVER_CONNECTING) {
		int e = io_connect_result(fd);
		if (e) {
			conn_fail(c, "connect", strerror(e));
			return;
		}
		c->state = SERVER_GREETING;
		conn_greet(c);
		return;
	}
	if ((what & IO_WRITE) && !conn_send(c)) return;
	if (c->held) return;
	if (what & IO_READ) conn_read(c);
}

/* --- life ------------------------------------------------------------------------------------- */

static char *copy_text(const char *s)
{
	char *copy = s ? strdup(s) : NULL;
	if (s && !copy) abort();
	return copy;
}

struct server_conn *server_conn_new(struct io_loop *l, const struct server_peer *peer,
				    const struct server_conn_events *events, void *ctx)
{
	struct server_conn *c = calloc(1, sizeof(*c));
	if (!c) abort();
	c->loop = l;
	c->fd = -1;
	c->codec = peer->protocol == PROTOCOL_REDIS ? &codec_resp : &codec_mc_text;
	c->timeout_ms = peer->timeout_ms;
	c->answer_max = peer->answer_max;
	c->retry_ms = SERVER_RETRY_MIN_MS;
	c->events = events;
	c->ctx = ctx;
	if (peer->protocol == PROTOCOL_REDIS) {
		c->pool.auth_user = copy_text(peer->auth_user);
		c->pool.auth_password = copy_text(peer->auth_password);
		c->pool.redis_db = peer->db;
	}
	struct resolver_config config = { .on_change = conn_on_address, .ctx = c };
	c->resolver = resolver_new(io_loop_base(l), &config);
	c->name = resolver_watch(c->resolver, peer->host, peer->port);
	io_timer_init(&c->timer, l, conn_on_timer, c);
	io_timer_set(&c->timer, 0);
	return c;
}

bool server_conn_up(const struct server_conn *c)
{
	return c->state == SERVER_UP;
}

size_t server_conn_unsent(const struct server_conn *c)
{
	return c->out.n - c->sent;
}

uint32_t server_conn_asked(const struct server_conn *c)
{
	return c->asked_count;
}

const struct net_addr *server_conn_addr(const struct server_conn *c)
{
	return c->addr.len ? &c->addr : NULL;
}

void server_conn_free(struct server_conn **conn)
{
	struct server_conn *c = *conn;
	if (!c) return;
	io_timer_stop(&c->timer);
	if (c->fd >= 0) {
		io_watch_stop(&c->watch);
		io_close(c->fd);
	}
	resolver_free(&c->resolver);
	free(c->pool.auth_user);
	free(c->pool.auth_password);
	free(c->asked);
	scratch_fini(&c->out);
	scratch_fini(&c->in);
	free(c);
	*conn = NULL;
}

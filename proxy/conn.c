#include "proxy/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/mutation.h"
#include "common/net.h"
#include "proxy/inbuf.h"

enum {
	CONN_CHUNK = 4096 - 64, /* bytes of requests gathered in one piece, once there are many */
	CONN_BIG_CHUNK = 16384 - 64,
	CONN_IOV = 64,
	CONNECT_TIMEOUT_MS = 1000, /* when the pool names none */
};

static void conn_count(struct conn *c, enum server_metric m, uint64_t n)
{
	metric_add(&c->dest->stats->m[m], n);
}

static void conn_set_active(struct conn *c, bool active)
{
	if (c->is_active == active) return;
	c->is_active = active;
	if (!active) {
		LIST_REMOVE(c, active);
		return;
	}
	LIST_INSERT_HEAD(&c->core->active_conns, c, active);
	if (!io_timer_armed(&c->core->sweep)) io_timer_set(&c->core->sweep, 10000);
}

static void conn_set_state(struct conn *c, enum conn_state state)
{
	assert(c->state != CONN_CLOSED);
	c->state = (uint8_t)state;
	conn_set_active(c, state != CONN_CLOSED && (state != CONN_READY || c->count > 0));
}

static void conn_mark_dirty(struct conn *c)
{
	if (c->dirty) return;
	c->dirty = true;
	c->dirty_next = c->core->dirty_conns;
	c->core->dirty_conns = c;
}

static uint32_t conn_connect_timeout_ms(const struct conn *c)
{
	const struct pool_spec *spec = c->dest->pool->spec;
	if (spec->connect_timeout_ms) return spec->connect_timeout_ms;
	return spec->timeout_ms ? spec->timeout_ms : CONNECT_TIMEOUT_MS;
}

/* --- opening ---------------------------------------------------------------------------------- */

static void conn_on_event(int fd, short what, void *owner);

/* Tokens in what waits here, exchanged for the process behind the connection; again: back. */
static void conn_tag_queue(struct conn *c)
{
	for (struct request *req = c->head; req; req = req->dest_next)
		if (req->info->tags & OP_TAGS_SENT)
			c->dest->pool->codec->tag_sent((char *)req->sent.p, req->sent.n, c->tag);
}

/* Who is behind the connection, from the last reply of its handshake. */
static void conn_learn_tag(struct conn *c, struct slice reply)
{
	const struct server_pool *pool = c->dest->pool;
	const struct server_spec *server = c->dest->server->spec;
	if (!pool->spec->cas_tags || !pool->codec->tag || MUTATED(CASTAG)) return;
	struct scratch name = { 0 };
	scratch_printf(&name, "%s %s:%u", server->ring_name, server->host, server->port);
	c->tag = pool->codec->tag(reply, scratch_slice(&name));
	scratch_fini(&name);
}

/* Send the next handshake request, or begin to carry requests when there is none left. */
static void conn_greet(struct conn *c)
{
	struct core *core = c->core;
	scratch_clear(&core->aside);
	const struct server_pool *pool = c->dest->pool;
	c->greeting_info = pool->codec->handshake(pool->spec, core->client_name, c->resp,
						  c->greeting, &core->aside);
	if (c->greeting_info) {
		conn_set_state(c, CONN_GREETING);
		outq_copy(&core->bufs, &c->hello, core->aside.p, core->aside.n, BUF_SMALL);
	} else {
		conn_set_state(c, CONN_READY);
		c->deadline_us = 0;
		if (c->tag) conn_tag_queue(c);
	}
	conn_mark_dirty(c);
}

static void conn_on_connected(struct conn *c)
{
	io_watch_set(&c->watch, IO_READ);
	c->greeting = 0;
	conn_greet(c);
}

struct conn *conn_open(struct dest *d, uint32_t lane, enum err *err_out)
{
	const struct pool_server *server = d->server;
	if (server->addr.len == 0) {
		*err_out = ERR_UNRESOLVED;
		return NULL;
	}
	metric_add(&d->stats->m[SERVER_connects], 1);
	bool pending;
	int fd = io_connect((const struct sockaddr *)&server->addr.ss, server->addr.len,
			    d->pool->spec->keepalive, &pending);
	if (fd < 0) {
		*err_out = net_err(errno);
		metric_add(&d->stats->m[SERVER_connect_err], 1);
		return NULL;
	}
	struct conn *c = calloc(1, sizeof(*c));
	if (!c) abort();
	c->dest = d;
	c->core = d->core;
	c->fd = fd;
	c->lane = lane;
	c->resp = lane >= d->pool->spec->server_connections ? 3 : 2;
	c->tail = &c->head;
	io_watch_init(&c->watch, &c->core->loop, fd, conn_on_event, c);
	metric_add(&d->stats->m[SERVER_server_connections], 1);
	c->deadline_us = core_now(c->core) + conn_connect_timeout_ms(c) * 1000ull;
	if (pending) {
		conn_set_state(c, CONN_CONNECTING);
		io_watch_set(&c->watch, IO_WRITE);
	} else {
		conn_on_connected(c);
	}
	return c;
}

/* --- closing ---------------------------------------------------------------------------------- */

static void conn_free(struct garbage *g)
{
	free((char *)g - offsetof(struct conn, garbage));
}

/* Is the end of this connection a failure of the server's? */
static bool conn_is_to_blame(const struct conn *c, enum err e)
{
	const struct dest *d = c->dest;
	if (e == ERR_NONE || e == ERR_SHUTDOWN) return false;
	/* A client's wish: a reply too large for us, a dialect too new for the server. */
	if (e == ERR_REPLY_TOO_LARGE) return false;
	if (e == ERR_CONNECT && c->state == CONN_GREETING && c->resp == 3) return false;
	/* Once a server is marked down, only its probe can add to its failures. */
	return d->state == DEST_READY || d->probe == c;
}

/* The queue, taken off the connection, each request told why. */
static void conn_fail_queue(struct conn *c, struct request *req, enum err e)
{
	while (req) {
		struct request *next = req->dest_next;
		if (req->flags & REQ_EXPIRED) metric_sub(&c->dest->stats->m[SERVER_unresolved], 1);
		else c->core->in_flight--;
		if ((req->flags & REQ_AWAITED) && !(req->flags & REQ_EXPIRED)) {
			req->flags &= (uint8_t)~REQ_QUEUED;
			request_fail(req, e, c->dest->server->spec->ring_name);
		} else {
			request_unqueue(c->core, req);
		}
		req = next;
	}
}

void conn_close(struct conn *c, enum err e)
{
	if (c->state == CONN_CLOSED) return;
	struct dest *d = c->dest;
	struct core *core = c->core;
	bool quarantined = c->state == CONN_QUARANTINE;
	bool blame = !quarantined && conn_is_to_blame(c, e);
	if (e == ERR_DESYNC || e == ERR_REPLY_TOO_LARGE) conn_count(c, SERVER_desync, 1);
	conn_set_state(c, CONN_CLOSED);
	if (quarantined) LIST_REMOVE(c, quarantine);
	io_watch_stop(&c->watch);
	io_close(c->fd);
	metric_sub(&d->stats->m[SERVER_server_connections], 1);
	metric_sub(&d->stats->m[SERVER_in_queue], c->unsent);
	metric_sub(&d->stats->m[SERVER_out_queue], c->count - c->unsent);
	struct request *orphans = c->head;
	c->head = c->cursor = NULL;
	c->count = c->unsent = 0;
	outq_clear(&core->bufs, &c->out);
	outq_clear(&core->bufs, &c->hello);
	if (c->in) buf_unref(c->in);
	c->in = NULL;
	dest_ref(d); /* the last request may be what keeps it */
	dest_on_conn_gone(d, c);
	if (blame) dest_on_failure(d, e);
	conn_fail_queue(c, orphans, e == ERR_NONE ? ERR_CLOSED : e);
	core_discard(core, &c->garbage, conn_free);
	dest_unref(d);
}

void conn_retire(struct conn *c, uint64_t grace_us)
{
	if (c->state != CONN_READY || c->count == 0) {
		conn_close(c, c->count ? ERR_TIMEOUT : ERR_NONE);
		return;
	}
	conn_set_state(c, CONN_QUARANTINE);
	c->deadline_us = core_now(c->core) + grace_us;
	LIST_INSERT_HEAD(&c->dest->quarantine, c, quarantine);
	dest_on_conn_gone(c->dest, c);
}

/* A server may close an idle connection in the very moment in which it is needed again. If not a
 * byte of what waits has left, another connection can carry it. */
static bool conn_move_queue(struct conn *c)
{
	struct dest *d = c->dest;
	enum err e;
	if (c->state != CONN_READY || !c->carried || !c->head ||
	    c->head->queued_at != c->sent_bytes || d->lanes[c->lane] != c)
		return false;
	struct conn *fresh = conn_open(d, c->lane, &e);
	if (!fresh) return false;
	if (c->tag) conn_tag_queue(c);
	d->lanes[c->lane] = fresh;
	fresh->head = c->head;
	fresh->tail = c->tail;
	fresh->cursor = c->cursor;
	fresh->count = c->count;
	fresh->unsent = c->unsent;
	fresh->out = c->out;
	fresh->queued_bytes = c->queued_bytes;
	fresh->sent_bytes = c->sent_bytes;
	c->out = (struct outq){ 0 };
	c->head = c->cursor = NULL;
	c->tail = &c->head;
	c->count = c->unsent = 0;
	conn_set_active(fresh, true);
	conn_mark_dirty(fresh);
	return true;
}

/* The connection is broken, by them or on the way. */
static void conn_break(struct conn *c, bool eof)
{
	conn_count(c, eof ? SERVER_server_eof : SERVER_server_err, 1);
	bool idle = c->count == 0 && c->state != CONN_GREETING;
	conn_close(c, idle || conn_move_queue(c) ? ERR_NONE : ERR_CLOSED);
}

/* --- sending ---------------------------------------------------------------------------------- */

static bool buf_contains(const struct buf *b, struct slice s)
{
	return b && s.p >= b->data && s.p < b->data + b->cap;
}

/* A request that is kept for its reply keeps its whole chunk: one alone is to keep little. */
static size_t conn_chunk(const struct outq *q)
{
	return q->bytes == 0 ? BUF_SMALL : q->bytes < CONN_CHUNK ? CONN_CHUNK : CONN_BIG_CHUNK;
}

/* kept: until the reply, which may take long. */
static inline void conn_put(struct conn *c, struct request *req, struct slice bytes, bool kept)
{
	bool refer = bytes.n >= BUF_REF_MIN && buf_contains(req->in, bytes);
	struct buf *in = refer ? req->in : NULL;
	if (kept && in && !buf_is_fair(in, bytes.n)) in = NULL;
	outq_put(&c->core->bufs, &c->out, in, bytes, conn_chunk(&c->out));
}

/* Its token is exchanged now, or when it is known who is behind the connection. */
static void conn_tag(struct conn *c, struct request *req)
{
	bool known = c->state == CONN_READY && c->tag;
	if (req->info->tags & (OP_TAGS_REPLY | OP_TAGS_TELL)) req->flags |= REQ_TAGGED;
	if (known && (req->info->tags & OP_TAGS_SENT))
		c->dest->pool->codec->tag_sent((char *)req->sent.p, req->sent.n, c->tag);
}

void conn_queue(struct conn *c, struct request *req)
{
	struct core *core = c->core;
	req->queued_at = c->queued_bytes;
	c->queued_bytes += req->head.n + req->body.n;
	conn_put(c, req, req->head, req->info->keep_sent);
	if (req->info->keep_sent) {
		const struct seg *s = c->out.tail;
		req->sent =
		    (struct slice){ s->buf->data + s->off + s->len - req->head.n, req->head.n };
		req->sent_buf = buf_ref(s->buf);
		if (req->info->tags) conn_tag(c, req);
	}
	if (req->body.n > 0) conn_put(c, req, req->body, false);
	uint32_t timeout_ms = c->dest->pool->spec->timeout_ms;
	if (!req->deadline_us && timeout_ms)
		req->deadline_us = core_now(core) + timeout_ms * 1000ull;
	req->flags |= REQ_QUEUED;
	req->dest_next = NULL;
	*c->tail = req;
	c->tail = &req->dest_next;
	if (!c->cursor) c->cursor = req;
	c->count++;
	c->unsent++;
	core->in_flight++;
	conn_count(c, SERVER_requests, 1);
	conn_count(c, SERVER_in_queue, 1);
	conn_set_active(c, true);
	conn_mark_dirty(c);
}

/* What is queued has to wait. */
static void conn_settle(struct conn *c)
{
	outq_settle(&c->core->bufs, &c->out, conn_chunk(&c->out));
}

/* Everything queued has left. */
static void conn_all_sent(struct conn *c)
{
	metric_sub(&c->dest->stats->m[SERVER_in_queue], c->unsent);
	conn_count(c, SERVER_out_queue, c->unsent);
	c->unsent = 0;
}

void conn_flush(struct conn *c)
{
	if (c->state == CONN_CLOSED) return;
	if (c->state != CONN_READY && c->state != CONN_QUARANTINE) conn_settle(c);
	if (c->state == CONN_CONNECTING) return;
	struct outq *q = c->state == CONN_GREETING ? &c->hello : &c->out;
	while (q->bytes > 0) {
		struct iovec iov[CONN_IOV];
		int n = outq_iov(q, iov, CONN_IOV);
		ssize_t sent = io_writev(c->fd, iov, n);
		if (sent < 0) {
			if (errno == EINTR) continue;
			if (errno == EAGAIN) {
				conn_settle(c);
				io_watch_set(&c->watch, IO_READ | IO_WRITE);
				return;
			}
			conn_break(c, false);
			return;
		}
		if (q == &c->out) { /* a greeting is nobody's request */
			conn_count(c, SERVER_request_bytes, (uint64_t)sent);
			c->sent_bytes += (uint64_t)sent;
		}
		outq_consume(&c->core->bufs, q, (size_t)sent);
	}
	io_watch_set(&c->watch, IO_READ);
	if (c->state != CONN_GREETING) conn_all_sent(c);
}

/* --- receiving -------------------------------------------------------------------------------- */

static void conn_pop(struct conn *c, struct request *req)
{
	c->head = req->dest_next;
	if (!c->head) c->tail = &c->head;
	if (c->cursor == req) c->cursor = req->dest_next;
	c->count--;
	/* A server may answer before the last byte of what it refuses has left. */
	if (c->count < c->unsent) {
		c->unsent--;
		metric_sub(&c->dest->stats->m[SERVER_in_queue], 1);
	} else {
		metric_sub(&c->dest->stats->m[SERVER_out_queue], 1);
	}
	if (c->count == 0 && c->state == CONN_READY) conn_set_active(c, false);
}

static void conn_tag_answer(struct conn *c, const struct request *req, struct answer *a)
{
	struct scratch *out = &c->core->aside;
	a->tag = c->tag;
	if (!c->tag || a->kind != REPLY_HIT || !(req->info->tags & OP_TAGS_REPLY)) return;
	scratch_clear(out);
	c->dest->pool->codec->tag_reply(req->info, a->bytes, c->tag, out);
	a->bytes = scratch_slice(out);
	a->buf = NULL;
	a->ends_known = false;
}

static void conn_deliver(struct conn *c, struct slice bytes, struct buf *buf,
			 const struct reply *reply)
{
	struct request *req = c->head;
	struct core *core = c->core;
	conn_pop(c, req);
	conn_count(c, SERVER_responses, 1);
	if (reply->kind == REPLY_ERROR) conn_count(c, SERVER_error_replies, 1);
	if (req->flags & REQ_EXPIRED) {
		conn_count(c, SERVER_late_replies, 1);
		metric_sub(&c->dest->stats->m[SERVER_unresolved], 1);
		request_unqueue(core, req);
		return;
	}
	dest_on_success(c->dest);
	c->carried = true;
	core->in_flight--;
	core->turn_replies++;
	hist_record(&c->dest->stats->latency, core_now(core) - req->start_us);
	if (!(req->flags & REQ_AWAITED)) {
		request_unqueue(core, req);
		return;
	}
	req->flags &= (uint8_t)~REQ_QUEUED;
	struct answer a = { .bytes = bytes,
			    .buf = buf,
			    .kind = reply->kind,
			    .hits = reply->hits,
			    .ends_known = req->ends != NULL,
			    .server = c->dest->server->spec->ring_name };
	if (req->flags & REQ_TAGGED) conn_tag_answer(c, req, &a);
	request_reply(req, &a);
}

/* One handshake reply. false: the connection is of no use. */
static bool conn_on_greeting(struct conn *c, struct slice bytes, const struct reply *reply)
{
	if (reply->kind == REPLY_ERROR) {
		int n = bytes.n > 120 ? 120 : (int)bytes.n;
		log_warn("server %s refused our %s: %.*s", c->dest->server->spec->ring_name,
			 c->greeting_info->name, n, bytes.p);
		return false;
	}
	conn_learn_tag(c, bytes);
	c->greeting++;
	conn_greet(c);
	return true;
}

/* Cut one reply off data[0..n). Returns its length, or 0 when it is incomplete or when the
 * connection was closed because it cannot be trusted. */
static size_t conn_parse_one(struct conn *c, struct buf *b, const char *data, size_t n)
{
	bool greeting = c->state == CONN_GREETING;
	struct request *req = c->head;
	const struct op_info *info = greeting ? c->greeting_info : req ? req->info : NULL;
	/* Nor is it an answer when not a byte of the question has left. */
	if (!info || (!greeting && req->queued_at >= c->sent_bytes)) {
		log_warn("server %s sent %zu bytes that nobody asked for",
			 c->dest->server->spec->ring_name, n);
		conn_close(c, ERR_DESYNC);
		return 0;
	}
	struct reply reply = { 0 };
	struct slice sent = { 0 };
	if (!greeting) sent = req->sent;
	c->resume.ends = greeting ? NULL : req->ends;
	c->resume.ends_room = greeting ? 0 : req->key_count;
	enum parse_result r =
	    c->dest->pool->codec->parse_reply(info, sent, data, n, &c->resume, &reply);
	if (!greeting) req->ends = c->resume.ends;
	if (r == PARSE_NEED) {
		size_t least = c->resume.base.need > n ? c->resume.base.need : n + 1;
		if (least <= c->core->reply_max) return 0;
		log_warn("server %s: a reply of %zu bytes or more is over the limit",
			 c->dest->server->spec->ring_name, least);
		conn_close(c, ERR_REPLY_TOO_LARGE);
		return 0;
	}
	if (r != PARSE_OK) {
		log_warn("server %s sent no legal reply to %s", c->dest->server->spec->ring_name,
			 info->name);
		conn_close(c, ERR_DESYNC);
		return 0;
	}
	reply_resume_reset(&c->resume);
	struct slice bytes = { data, reply.n };
	if (!greeting) {
		conn_deliver(c, bytes, b, &reply);
		if (reply.close) conn_close(c, c->count > 0 ? ERR_CLOSED : ERR_NONE);
	} else if (!conn_on_greeting(c, bytes, &reply)) {
		conn_close(c, ERR_CONNECT);
		return 0;
	}
	return reply.n;
}

static void conn_on_end(struct conn *c, ssize_t got)
{
	if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
	conn_break(c, got == 0);
}

static bool conn_read_rest(struct conn *c, struct buf *b, size_t at)
{
	if (c->state == CONN_CLOSED) return false;
	size_t got = inbuf_read_rest(c->core, c->fd, b, at, c->resume.base.need);
	if (got > 0) conn_count(c, SERVER_response_bytes, got);
	return got > 0;
}

static void conn_on_read(struct conn *c)
{
	ssize_t got;
	bool full; /* the loop tells of what is left */
	struct buf *b = inbuf_read(c->core, c->fd, &c->in, c->resume.base.need, &got, &full);
	if (!b) {
		conn_on_end(c, got);
		return;
	}
	if (c->state != CONN_GREETING) conn_count(c, SERVER_response_bytes, (uint64_t)got);
	size_t at = inbuf_at(c->core, b);
	while (at < b->len && c->state != CONN_CLOSED) {
		size_t n = conn_parse_one(c, b, b->data + at, b->len - at);
		if (n == 0 && !conn_read_rest(c, b, at)) break;
		at += n;
	}
	if (c->state == CONN_CLOSED) {
		if (b != c->core->rbuf) buf_unref(b);
		return;
	}
	inbuf_keep(c->core, b, at, c->resume.base.need, &c->in);
	if (c->state == CONN_QUARANTINE && c->count == 0) {
		struct dest *d = c->dest;
		conn_close(c, ERR_NONE);
		dest_on_drained(d);
	}
}

static void conn_on_event(int fd, short what, void *owner)
{
	struct conn *c = owner;
	if (c->state == CONN_CLOSED) return;
	if (c->state == CONN_CONNECTING) {
		int why = io_connect_result(fd);
		if (why != 0) {
			conn_count(c, SERVER_connect_err, 1);
			conn_close(c, net_err(why));
			return;
		}
		conn_on_connected(c);
		return;
	}
	if (what & IO_WRITE) conn_flush(c);
	if ((what & IO_READ) && c->state != CONN_CLOSED) conn_on_read(c);
}

/* --- timing out ------------------------------------------------------------------------------- */

void conn_shorten(struct conn *c, uint64_t deadline_us)
{
	c->cursor = NULL;
	for (struct request *req = c->head; req; req = req->dest_next) {
		if (req->flags & REQ_EXPIRED) continue;
		if (!c->cursor) c->cursor = req;
		if (!req->deadline_us || req->deadline_us > deadline_us)
			req->deadline_us = deadline_us;
	}
}

/* While a ring changes, what was sent must be known to be done, or never to be, before the next
 * step: a connection waits for its replies as long as it takes. */
static bool conn_must_wait(const struct conn *c)
{
	return c->dest->pool->in_transition;
}

void conn_expire(struct conn *c, uint64_t now_us)
{
	if (c->state == CONN_CLOSED) return;
	if (c->deadline_us && c->deadline_us <= now_us) {
		if (c->state == CONN_QUARANTINE && conn_must_wait(c)) return;
		if (c->state != CONN_QUARANTINE) conn_count(c, SERVER_connect_err, 1);
		conn_close(c, c->state == CONN_QUARANTINE ? ERR_NONE : ERR_TIMEOUT);
		return;
	}
	uint32_t expired = 0;
	while (c->cursor && c->cursor->deadline_us <= now_us) {
		struct request *req = c->cursor;
		c->cursor = req->dest_next;
		if (req->deadline_us == 0 || (req->flags & REQ_EXPIRED)) continue;
		req->flags |= REQ_EXPIRED;
		c->core->in_flight--;
		expired++;
		/* The request keeps its place: the reply may still come, and is dropped then. */
		if (req->flags & REQ_AWAITED)
			request_fail(req, ERR_TIMEOUT, c->dest->server->spec->ring_name);
	}
	if (expired > 0) {
		conn_count(c, SERVER_server_timedout, expired);
		conn_count(c, SERVER_unresolved, expired);
		if (c->state == CONN_READY) dest_on_failure(c->dest, ERR_TIMEOUT);
	}
	/* Too few failed to mark the server down, and nobody asks it any more. */
	struct request *oldest = c->head;
	if (c->state == CONN_READY && oldest && (oldest->flags & REQ_EXPIRED) &&
	    oldest->deadline_us + CONN_OWED_US <= now_us) {
		if (conn_must_wait(c)) conn_retire(c, CONN_OWED_US);
		else conn_close(c, ERR_TIMEOUT);
	}
}

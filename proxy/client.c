#include "proxy/client.h"

#include <assert.h>
#include <errno.h>

#include "common/log.h"
#include "common/net.h"
#include "common/usage.h"
#include "proxy/inbuf.h"
#include "proxy/routes/flow.h"

enum {
	REPLY_BITS_FIRST = 16,	  /* of a client that has not been seen to get any */
	CLIENT_CHUNK = 4096 - 64, /* bytes of replies gathered in one piece, once there are many */
	CLIENT_BIG_CHUNK = 16384 - 64,
	CLIENT_IOV = 64,
	CORK_BYTES = 16384, /* a batch of replies that is worth sending by itself */
	CORK_US = 1000,
	READS_PER_TURN = 4, /* of one client, before it is the turn of the others */
	LINGER_S = 2,
	SPARED_REPLY = 8192,	   /* bytes; smaller ones are let pass when memory is short */
	SLOWEST_BYTES_PER_MS = 16, /* a client that sends faster than this is not stuck */
};

static uint32_t client_now_s(struct client *c)
{
	return (uint32_t)(core_now(c->core) / 1000000);
}

static struct worker *client_worker(const struct client *c)
{
	return c->core->worker;
}

static struct pool_slot *pool_slot(const struct client *c, const struct server_pool *pool)
{
	return &pool->stats->slots[c->core->index];
}

static void client_count(const struct client *c, enum pool_metric m, uint64_t n)
{
	const struct route *entry = worker_entry(client_worker(c), c->listener);
	if (entry) metric_add(&pool_slot(c, entry->pool)->m[m], n);
}

/* What a client is listened to for, as its flags say. */
static void client_watch(struct client *c)
{
	bool read = !(c->flags & (CLIENT_PAUSED | CLIENT_CLOSING)) || (c->flags & CLIENT_LINGER);
	short want = c->flags & CLIENT_BLOCKED ? IO_WRITE : IO_NONE;
	io_watch_set(&c->watch, read ? want | IO_READ | IO_EDGE : want);
}

static void client_mark_dirty(struct client *c)
{
	if (c->flags & (CLIENT_DIRTY | CLIENT_CORKED | CLIENT_DEAD)) return;
	c->flags |= CLIENT_DIRTY;
	c->dirty_next = c->core->dirty_clients;
	c->core->dirty_clients = c;
}

/* --- the order of requests -------------------------------------------------------------------- */

static struct request *client_oldest(const struct client *c)
{
	return c->last ? c->last->client_next : NULL;
}

static void client_push(struct client *c, struct request *req)
{
	if (c->last) {
		req->client_next = c->last->client_next;
		c->last->client_next = req;
	} else {
		req->client_next = req;
	}
	c->last = req;
}

static void client_pop(struct client *c)
{
	struct request *oldest = c->last->client_next;
	if (oldest == c->last) c->last = NULL;
	else c->last->client_next = oldest->client_next;
}

/* --- replies ---------------------------------------------------------------------------------- */

static size_t client_chunk(const struct outq *q)
{
	return q->bytes == 0		 ? BUF_SMALL
	       : q->bytes < CLIENT_CHUNK ? CLIENT_CHUNK
					 : CLIENT_BIG_CHUNK;
}

static bool client_memory_is_short(const struct client *c)
{
	struct core *core = c->core;
	if (!core->buffer_max || core->bufs.bytes <= core->buffer_max) return false;
	/* What lies in free lists is no reason to make clients wait. */
	buf_pool_squeeze(&core->bufs);
	return core->bufs.bytes > core->buffer_max;
}

/* memcached's q: misses of reads and successes of writes are not told. */
static bool client_is_quiet(const struct request *req, const struct answer *a)
{
	if (req->flags & REQ_NOREPLY) return true;
	bool reads = req->info->access == OP_READ;
	if (a->err) return reads && req->pool->spec->on_error == ON_ERROR_MISS;
	return a->kind == (reads ? REPLY_MISS : REPLY_HIT);
}

/* Write the answer into `q`: the client's output when it is this request's turn, else its own. */
static void client_write_answer(struct client *c, struct request *req, const struct answer *a,
				struct outq *q)
{
	struct core *core = c->core;
	if ((req->flags & (REQ_NOREPLY | REQ_QUIET)) && client_is_quiet(req, a)) return;
	size_t n = a->chain ? a->chain->bytes : a->bytes.n;
	/* Not reading has not been enough: then an error rather than the memory of others. */
	enum err e = n >= SPARED_REPLY && client_memory_is_short(c) ? ERR_NOMEM : a->err;
	/* To be written in this turn; or it waits, for the replies before it or for the client. */
	bool leaves = q == &c->out && !(c->flags & CLIENT_BLOCKED);
	if (e) {
		scratch_clear(&core->text);
		req->pool->codec->encode_failure(req->info, e, a->server, req->pool->spec->on_error,
						 req->key_count, &core->text);
		outq_copy(&core->bufs, q, core->text.p, core->text.n, client_chunk(q));
	} else if (a->chain) {
		outq_move(&core->bufs, q, a->chain, client_chunk(q));
		if (!leaves) outq_settle(&core->bufs, q, client_chunk(q));
	} else {
		bool refer = n >= BUF_REF_MIN && a->buf && (leaves || buf_is_fair(a->buf, n));
		outq_put(&core->bufs, q, refer ? a->buf : NULL, a->bytes,
			 q == &c->out ? client_chunk(q) : n);
	}
}

/* The answer has to wait for those before it. */
static void client_hold_answer(struct client *c, struct request *req, const struct answer *a)
{
	bool whole = !a->err && !a->chain && !(req->flags & (REQ_NOREPLY | REQ_QUIET));
	if (whole && a->bytes.n > 0 && a->bytes.n <= sizeof(req->brief)) {
		copy_short(req->brief, a->bytes.p, a->bytes.n);
		req->brief_n = (uint8_t)a->bytes.n;
	} else {
		client_write_answer(c, req, a, &req->out);
	}
}

static void client_count_answer(const struct client *c, const struct request *req,
				const struct answer *a)
{
	struct pool_slot *slot = pool_slot(c, req->pool);
	hist_record(&slot->latency, core_now(c->core) - req->start_us);
	if (a->err) metric_add(&slot->m[POOL_forward_error], 1);
	if (req->info->access != OP_READ || a->kind == REPLY_ERROR) return;
	if (a->kind == REPLY_MISS) metric_add(&slot->m[POOL_misses], 1);
	else metric_add(&slot->m[POOL_hits], a->hits ? a->hits : 1);
}

/* Replies whose turn has come, because the one before was just written. */
static void client_write_ready(struct client *c)
{
	struct request *req;
	while ((req = client_oldest(c)) && (req->flags & REQ_DONE)) {
		client_pop(c);
		c->held -= req->out.bytes + sizeof(*req);
		if (req->brief_n > 0)
			outq_copy(&c->core->bufs, &c->out, req->brief, req->brief_n,
				  client_chunk(&c->out));
		else outq_move(&c->core->bufs, &c->out, &req->out, client_chunk(&c->out));
		request_drop(c->core, req);
	}
}

/* Grows at once, shrinks slowly: a client that once asked for much may do so again. */
static void client_learn_size(struct client *c, const struct answer *a)
{
	size_t n = a->chain ? a->chain->bytes : a->bytes.n;
	uint8_t bits = (uint8_t)(64 - __builtin_clzll(n | 1));
	if (bits >= c->reply_bits) c->reply_bits = bits;
	else if ((core_random(c->core) & 7) == 0) c->reply_bits--;
}

/* The bottom frame of every request of a client. */
static void client_on_answer(struct frame *f, struct request *req, const struct answer *a)
{
	struct client *c = f->owner;
	c->in_flight--;
	client_count_answer(c, req, a);
	client_learn_size(c, a);
	if (client_oldest(c) == req) {
		client_write_answer(c, req, a, &c->out);
		client_pop(c);
		request_drop(c->core, req);
		client_write_ready(c);
	} else {
		client_hold_answer(c, req, a);
		req->flags |= REQ_DONE;
		/* Waiting for its turn, perhaps for long, it must not hold back the next topology.
		 */
		if (!(req->flags & REQ_QUEUED)) request_leave_view(req);
		c->held += req->out.bytes + sizeof(*req);
	}
	client_mark_dirty(c);
}

/* A reply that the proxy makes itself, in its place among the others. */
static void client_say(struct client *c, const struct op_info *info, struct slice text)
{
	struct core *core = c->core;
	if (text.n == 0) return;
	if (!c->last) {
		outq_copy(&core->bufs, &c->out, text.p, text.n, client_chunk(&c->out));
	} else {
		struct request *req = request_new(core, info);
		req->flags |= REQ_DONE;
		outq_copy(&core->bufs, &req->out, text.p, text.n, text.n);
		c->held += text.n + sizeof(*req);
		client_push(c, req);
	}
	client_mark_dirty(c);
}

/* --- closing ---------------------------------------------------------------------------------- */

static void client_free(struct garbage *g)
{
	struct client *c = (struct client *)((char *)g - offsetof(struct client, garbage));
	struct worker *w = client_worker(c);
	freelist_put(&w->client_pool, c);
}

static void client_forget_requests(struct client *c)
{
	while (c->last) {
		struct request *req = client_oldest(c);
		client_pop(c);
		request_drop(c->core, req);
	}
}

void client_close(struct client *c)
{
	if (c->flags & CLIENT_DEAD) return;
	struct worker *w = client_worker(c);
	c->flags |= CLIENT_DEAD;
	LIST_REMOVE(c, all);
	io_watch_stop(&c->watch);
	io_close(io_watch_fd(&c->watch));
	client_forget_requests(c);
	outq_clear(&c->core->bufs, &c->out);
	if (c->in) buf_unref(c->in);
	c->in = NULL;
	session_fini(&c->session);
	const struct route *entry = worker_entry(w, c->listener);
	if (entry) metric_sub(&pool_slot(c, entry->pool)->m[POOL_client_connections], 1);
	w->entry_clients[c->listener]--;
	__atomic_sub_fetch(&w->shared->listener_clients[c->listener], 1, __ATOMIC_RELAXED);
	uint32_t left = __atomic_sub_fetch(&w->client_count, 1, __ATOMIC_RELAXED);
	/* It may stand in a list of this turn; clients_flush() passes it over. */
	core_discard(c->core, &c->garbage, client_free);
	if (w->draining && left == 0)
		mailbox_post(w->shared->main,
			     &(struct mail){ .kind = MAIN_DRAINED, .id = w->core.index });
}

/* All is said. Closing outright could destroy the last reply on its way, if the client has sent
 * more than we read; so we only stop sending, and wait a moment for the client to close. */
static void client_linger(struct client *c)
{
	if (c->flags & CLIENT_LINGER) return;
	c->flags |= CLIENT_LINGER;
	c->active_s = client_now_s(c);
	io_shutdown_write(io_watch_fd(&c->watch));
	client_watch(c);
}

static void client_stop_reading(struct client *c)
{
	c->flags |= CLIENT_CLOSING;
	if (c->in) buf_unref(c->in);
	c->in = NULL;
	c->skip = 0;
	client_watch(c);
	client_mark_dirty(c);
}

/* --- requests --------------------------------------------------------------------------------- */

static void client_figures(void *ctx, struct local_figures *out);

static void client_answer_local(struct client *c, const struct route *entry,
				const struct command *cmd)
{
	struct core *core = c->core;
	struct local_env env = { .session = &c->session,
				 .pool = entry->pool->spec,
				 .limits = &entry->pool->limits,
				 .client_id = (uint64_t)c->id << 8 | core->index,
				 .now_us = clock_wall_us(),
				 .figures = client_figures,
				 .ctx = c };
	char name[NET_NAME_MAX];
	int fd = io_watch_fd(&c->watch);
	net_peer_name(fd, name);
	snprintf(env.peer, sizeof(env.peer), "%.63s", name);
	net_local_name(fd, name);
	snprintf(env.here, sizeof(env.here), "%.63s", name);
	env.port = net_local_port(fd);
	scratch_clear(&core->text);
	metric_add(&pool_slot(c, entry->pool)->m[POOL_local_requests], 1);
	enum local_result r = entry->pool->codec->protocol == PROTOCOL_REDIS
				  ? local_redis(&env, cmd, &core->text)
				  : local_mc(&env, cmd, &core->text);
	if (!(cmd->flags & CMD_NOREPLY)) client_say(c, cmd->info, scratch_slice(&core->text));
	if (r == LOCAL_CLOSE) client_stop_reading(c);
}

static struct request *client_request(struct client *c, const struct route *entry,
				      const struct command *cmd, struct buf *in)
{
	struct request *req = request_new(c->core, cmd->info);
	req->bottom = (struct frame){ .reply = client_on_answer, .owner = c };
	req->pool = entry->pool;
	req->view = client_worker(c)->view;
	req->view->refs++;
	req->start_us = core_now(c->core);
	req->key = cmd->key;
	req->head = cmd->head;
	req->body = cmd->body;
	req->cmd = cmd;
	req->in = in;
	req->key_count = cmd->key_count;
	req->lane = c->id;
	req->resp = c->session.resp;
	if (cmd->flags & CMD_NOREPLY) req->flags |= REQ_NOREPLY;
	if (cmd->flags & CMD_QUIET) req->flags |= REQ_QUIET;
	client_push(c, req);
	c->in_flight++;
	return req;
}

/* One good request, found in `in`. */
static void request_start(struct client *c, const struct route *entry, const struct command *cmd,
			  struct buf *in)
{
	const struct op_info *info = cmd->info;
	struct pool_slot *slot = pool_slot(c, entry->pool);
	metric_add(&slot->m[POOL_client_requests], 1);
	metric_add(&slot->commands[info->id], 1);
	if (info->access == OP_READ) metric_add(&slot->m[POOL_reads], 1);
	if (info->access == OP_WRITE) metric_add(&slot->m[POOL_writes], 1);
	struct core *core = c->core;
	if (entry->pool->spec->auth_password && !c->session.authenticated) {
		scratch_clear(&core->text);
		if (!local_redis_may(&c->session, entry->pool->spec, cmd, &core->text)) {
			client_say(c, info, scratch_slice(&core->text));
			return;
		}
	}
	switch ((enum op_route)info->route) {
	case OP_LOCAL: client_answer_local(c, entry, cmd); break;
	case OP_REFUSED:
		metric_add(&slot->m[POOL_client_protocol_err], 1);
		client_say(c, info, cmd->error);
		break;
	case OP_KEY: route_send(entry, client_request(c, entry, cmd, in)); break;
	case OP_SAME:
	case OP_SPLIT:
	case OP_ALL:
		multi_send(core, &client_worker(c)->multi, entry, client_request(c, entry, cmd, in),
			   cmd);
		break;
	}
	if (cmd->flags & CMD_CLOSE) client_stop_reading(c);
}

static bool client_is_full(const struct client *c)
{
	const struct proxy_spec *limits = worker_limits(client_worker(c));
	uint64_t coming = (uint64_t)c->in_flight << c->reply_bits;
	return c->in_flight >= limits->pipeline_max ||
	       c->out.bytes + c->held + coming > limits->client_output_max_bytes;
}

/* The ring was changed, and what it asked for before has not ended: what it asks for now could
 * overtake that. */
static bool client_may_overtake(const struct client *c)
{
	return c->core->older_flows > 0 && flow_is_of_older(c->core, c->id);
}

static bool client_must_wait(const struct client *c)
{
	return client_is_full(c) || client_memory_is_short(c) || client_may_overtake(c);
}

static void client_pause(struct client *c)
{
	c->flags |= CLIENT_PAUSED;
	client_count(c, POOL_paused, 1);
	client_watch(c);
	client_mark_dirty(c);
}

/* A request that the codec refused: say why. */
static void client_refuse(struct client *c, const struct route *entry, enum parse_result r,
			  const struct command *cmd, size_t skip)
{
	if (entry) {
		metric_add(&pool_slot(c, entry->pool)->m[POOL_client_protocol_err], 1);
		metric_add(&pool_slot(c, entry->pool)->m[POOL_client_err], 1);
	}
	log_debug("client %u: %.*s", c->id, cmd->error.n > 2 ? (int)cmd->error.n - 2 : 0,
		  cmd->error.p);
	if (!(cmd->flags & CMD_NOREPLY)) client_say(c, cmd->info, cmd->error);
	if (r == PARSE_SKIP) c->skip = (uint32_t)skip;
	if (r == PARSE_FATAL) client_stop_reading(c);
}

/* The listener leads nowhere any more: an error for each request, until it does again. */
static void client_answer_nowhere(struct client *c, const struct codec *codec,
				  const struct command *cmd)
{
	struct core *core = c->core;
	scratch_clear(&core->text);
	codec->encode_failure(cmd->info, ERR_NO_POOL, NULL, ON_ERROR_ERROR, cmd->key_count,
			      &core->text);
	if (!(cmd->flags & (CMD_NOREPLY | CMD_CLOSE)))
		client_say(c, cmd->info, scratch_slice(&core->text));
	if (cmd->flags & CMD_CLOSE) client_stop_reading(c);
}

/* Where this client's requests go, and how they are read. */
struct client_way {
	const struct route *entry; /* NULL: nowhere */
	const struct codec *codec;
	const struct codec_limits *limits;
};

static struct client_way client_way(const struct client *c)
{
	const struct worker *w = client_worker(c);
	struct client_way way = { .entry = worker_entry(w, c->listener) };
	if (way.entry) {
		way.codec = way.entry->pool->codec;
		way.limits = &way.entry->pool->limits;
	} else {
		way.codec = w->codecs[c->listener];
		way.limits = &w->limits[c->listener];
	}
	return way;
}

/* One request at the start of data[0..n). Returns its length; 0: there is none, or no more of them
 * are wanted. */
static size_t client_parse_one(struct client *c, const struct client_way *way, struct buf *b,
			       const char *data, size_t n, struct parse_resume *resume)
{
	struct command cmd;
	size_t skip = 0;
	if (!way->codec) {
		client_stop_reading(c);
		return 0;
	}
	enum parse_result r =
	    way->codec->parse_request(&c->core->parser, way->limits, data, n, resume, &cmd, &skip);
	if (r == PARSE_NEED) return 0;
	*resume = (struct parse_resume){ 0 };
	if (r != PARSE_OK) client_refuse(c, way->entry, r, &cmd, skip);
	else if (way->entry) request_start(c, way->entry, &cmd, b);
	else client_answer_nowhere(c, way->codec, &cmd);
	return cmd.consumed;
}

static bool client_read_rest(struct client *c, struct buf *b, size_t at,
			     const struct parse_resume *resume)
{
	if (c->flags & (CLIENT_CLOSING | CLIENT_DEAD)) return false;
	size_t got = inbuf_read_rest(c->core, io_watch_fd(&c->watch), b, at, resume->need);
	if (got > 0) client_count(c, POOL_client_request_bytes, got);
	return got > 0;
}

/* Find and start every whole request in `b`, and keep the rest. */
static void client_parse(struct client *c, struct buf *b, struct parse_resume resume)
{
	struct core *core = c->core;
	const size_t start = inbuf_at(core, b);
	/* Snapshots are taken over between events: it stays the same here. */
	const struct client_way way = client_way(c);
	size_t at = start;
	while (at < b->len && !(c->flags & CLIENT_CLOSING)) {
		if (c->skip > 0) {
			size_t n = b->len - at < c->skip ? b->len - at : c->skip;
			c->skip -= (uint32_t)n;
			at += n;
			continue;
		}
		if (client_must_wait(c)) {
			client_pause(c);
			break;
		}
		size_t n = client_parse_one(c, &way, b, b->data + at, b->len - at, &resume);
		if (n == 0 && c->skip == 0 && !client_read_rest(c, b, at, &resume)) break;
		at += n;
	}
	if (c->flags & (CLIENT_CLOSING | CLIENT_DEAD)) {
		if (b != core->rbuf) buf_unref(b);
		return;
	}
	uint32_t since_s = at == start && b->since_s ? b->since_s : client_now_s(c);
	inbuf_keep(core, b, at, resume.need, &c->in);
	if (!c->in) return;
	memcpy(c->in->note, &resume, sizeof(resume));
	c->in->since_s = since_s;
}

static struct parse_resume client_resume(const struct client *c)
{
	struct parse_resume resume = { 0 };
	_Static_assert(sizeof(resume) <= sizeof(c->in->note), "a buf's note holds it");
	if (c->in) memcpy(&resume, c->in->note, sizeof(resume));
	return resume;
}

static void client_unpause(struct client *c)
{
	c->flags &= (uint8_t)~CLIENT_PAUSED;
	client_watch(c);
	if (!c->in) return;
	struct buf *b = c->in;
	struct parse_resume resume = client_resume(c);
	c->in = NULL;
	client_parse(c, b, resume);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void client_on_end(struct client *c, ssize_t got)
{
	if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
	client_count(c, got == 0 ? POOL_client_eof : POOL_client_err, 1);
	/* A client that only shut down its side still gets its answers. */
	if (got < 0 || (!c->last && c->out.bytes == 0)) client_close(c);
	else client_stop_reading(c);
}

/* Read once and parse. false: nothing was there; *full_out: perhaps there is more. */
static bool client_read(struct client *c, bool *full_out)
{
	struct parse_resume resume = client_resume(c);
	ssize_t got;
	struct buf *b =
	    inbuf_read(c->core, io_watch_fd(&c->watch), &c->in, resume.need, &got, full_out);
	if (!b) {
		client_on_end(c, got);
		return false;
	}
	c->active_s = client_now_s(c);
	client_count(c, POOL_client_request_bytes, (uint64_t)got);
	client_parse(c, b, resume);
	return true;
}

/* What a client sends after its last answer is read and thrown away. */
static bool client_drain(struct client *c, bool *full_out)
{
	struct buf *b = core_read_buffer(c->core);
	size_t room = buf_room(b);
	ssize_t got = io_read(io_watch_fd(&c->watch), b->data + b->len, room);
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) client_close(c);
	*full_out = got == (ssize_t)room;
	return got > 0;
}

/* All there is, but no more in one turn than is fair to the others. `over`: an end follows it. */
static void client_on_read(struct client *c, bool over)
{
	const bool lingers = c->flags & CLIENT_LINGER;
	const int deaf = lingers ? CLIENT_DEAD : CLIENT_DEAD | CLIENT_PAUSED | CLIENT_CLOSING;
	for (int i = 0; !(c->flags & deaf); i++) {
		if (i == READS_PER_TURN) {
			io_watch_again(&c->watch);
			return;
		}
		bool full;
		bool any = lingers ? client_drain(c, &full) : client_read(c, &full);
		if (!any || (!full && !over)) return;
	}
}

/* --- writing ---------------------------------------------------------------------------------- */

/* false: the socket is full, or the client is gone. */
static bool client_send(struct client *c)
{
	while (c->out.bytes > 0) {
		struct iovec iov[CLIENT_IOV];
		int n = outq_iov(&c->out, iov, CLIENT_IOV);
		ssize_t sent = io_writev(io_watch_fd(&c->watch), iov, n);
		if (sent < 0 && errno == EINTR) continue;
		if (sent < 0 && errno == EAGAIN) {
			c->flags |= CLIENT_BLOCKED;
			outq_settle(&c->core->bufs, &c->out, client_chunk(&c->out));
			client_watch(c);
			return false;
		}
		if (sent < 0) {
			client_count(c, POOL_client_err, 1);
			client_close(c);
			return false;
		}
		client_count(c, POOL_client_response_bytes, (uint64_t)sent);
		outq_consume(&c->core->bufs, &c->out, (size_t)sent);
		c->active_s = client_now_s(c);
	}
	return true;
}

static void client_flush(struct client *c)
{
	if (!(c->flags & CLIENT_BLOCKED) && !client_send(c)) return;
	if ((c->flags & CLIENT_CLOSING) && !c->last && c->out.bytes == 0) client_linger(c);
	else if ((c->flags & CLIENT_PAUSED) && !(c->flags & CLIENT_CLOSING) && !client_must_wait(c))
		client_unpause(c);
}

static void client_on_writable(struct client *c)
{
	c->flags &= (uint8_t)~CLIENT_BLOCKED;
	client_watch(c);
	client_mark_dirty(c);
}

/* Hold the replies of a client that waits for more: they leave together. */
static bool client_may_cork(struct client *c)
{
	if (!c->last || c->out.bytes >= CORK_BYTES || (c->flags & (CLIENT_CLOSING | CLIENT_PAUSED)))
		return false;
	uint32_t now_us = (uint32_t)core_now(c->core);
	if (!(c->flags & CLIENT_CORKED)) {
		c->cork_us = now_us + CORK_US;
		return true;
	}
	return (int32_t)(c->cork_us - now_us) > 0;
}

/* Flush the list, but keep those that may wait. */
static void clients_flush_list(struct worker *w, struct client *list)
{
	while (list) {
		struct client *c = list;
		list = c->dirty_next;
		bool cork = !(c->flags & CLIENT_DEAD) && c->out.bytes > 0 && client_may_cork(c);
		c->flags &= (uint8_t) ~(CLIENT_DIRTY | CLIENT_CORKED);
		if (cork) {
			c->flags |= CLIENT_CORKED;
			c->dirty_next = w->corked;
			w->corked = c;
		} else if (!(c->flags & CLIENT_DEAD)) {
			client_flush(c);
		}
	}
}

void clients_flush(struct core *core)
{
	struct worker *w = core->worker;
	struct client *corked = w->corked, *dirty = core->dirty_clients;
	w->corked = NULL;
	core->dirty_clients = NULL;
	clients_flush_list(w, corked);
	clients_flush_list(w, dirty);
	if (w->corked && !io_timer_armed(&w->cork_timer)) io_timer_set(&w->cork_timer, CORK_US);
}

/* --- life ------------------------------------------------------------------------------------- */

static void client_on_event(int fd, short what, void *owner)
{
	(void)fd;
	struct client *c = owner;
	if (c->flags & CLIENT_DEAD) return;
	if (what & IO_WRITE) client_on_writable(c);
	if (what & IO_READ) client_on_read(c, what & IO_END);
}

void client_new(struct worker *w, int fd, uint16_t listener)
{
	struct client *c = freelist_get(&w->client_pool);
	memset(c, 0, sizeof(*c));
	c->core = &w->core;
	c->listener = listener;
	c->id = w->next_client_id++;
	c->active_s = client_now_s(c);
	c->session.resp = 2;
	c->reply_bits = REPLY_BITS_FIRST;
	const struct route *entry = worker_entry(w, listener);
	c->session.authenticated = !entry || !entry->pool->spec->auth_password;
	LIST_INSERT_HEAD(&w->clients, c, all);
	w->entry_clients[listener]++;
	if (entry) {
		metric_add(&pool_slot(c, entry->pool)->m[POOL_client_connections], 1);
		metric_add(&pool_slot(c, entry->pool)->m[POOL_client_accepted], 1);
	}
	io_watch_init(&c->watch, &w->core.loop, fd, client_on_event, c);
	client_watch(c);
}

void client_finish(struct client *c)
{
	if (c->flags & (CLIENT_DEAD | CLIENT_CLOSING)) return;
	/* What it sent before we stopped listening still counts. */
	client_on_read(c, false);
	if (!(c->flags & CLIENT_DEAD)) client_stop_reading(c);
}

/* Half a request, and the rest does not come: a byte now and then is no excuse, but what is large
 * may take its time. */
static bool client_dawdles(const struct client *c, uint32_t now_s, uint32_t partial_ms)
{
	if (!c->in || (c->flags & CLIENT_PAUSED) || now_s <= c->in->since_s) return false;
	uint64_t allowed_ms = partial_ms + (uint64_t)c->in->len / SLOWEST_BYTES_PER_MS;
	return (now_s - c->in->since_s) * 1000ull >= allowed_ms;
}

void client_check(struct client *c, uint32_t now_s)
{
	if (!client_worker(c)->view) return;
	const struct proxy_spec *limits = worker_limits(client_worker(c));
	uint64_t quiet_ms = now_s > c->active_s ? (now_s - c->active_s) * 1000ull : 0;
	uint32_t partial = limits->client_partial_timeout_ms, idle = limits->client_idle_timeout_ms;
	bool quiet = !c->last && c->out.bytes == 0;
	/* Paused with nothing to wait for: for memory, of which it holds a good part itself. */
	bool hoards = c->in && quiet && c->in->len > INBUF_LARGE;
	bool stuck = hoards || c->skip > 0 || (c->flags & CLIENT_BLOCKED);
	if (((c->flags & CLIENT_LINGER) && quiet_ms >= LINGER_S * 1000) ||
	    (partial && stuck && quiet_ms >= partial) ||
	    (partial && client_dawdles(c, now_s, partial)) || (quiet && idle && quiet_ms >= idle)) {
		log_info("client %u closed after %llu ms of silence", c->id,
			 (unsigned long long)quiet_ms);
		client_close(c);
	} else if ((c->flags & CLIENT_PAUSED) && !client_is_full(c)) {
		client_mark_dirty(c); /* memory may have become free */
	}
}

/* --- what `stats` and INFO show --------------------------------------------------------------- */

static void client_figures(void *ctx, struct local_figures *out)
{
	struct client *c = ctx;
	struct worker *w = client_worker(c);
	const struct route *entry = worker_entry(w, c->listener);
	const struct server_pool *pool = entry->pool;
	const struct stats_pool *s = pool->stats;
	*out = (struct local_figures){
		.time_s = clock_wall_us() / 1000000,
		.uptime_s = (clock_wall_us() - w->shared->started_us) / 1000000,
		.clients = stats_pool_sum(s, POOL_client_connections),
		.clients_total = stats_pool_sum(s, POOL_client_accepted),
		.requests = stats_pool_sum(s, POOL_client_requests),
		.reads = stats_pool_sum(s, POOL_reads),
		.writes = stats_pool_sum(s, POOL_writes),
		.hits = stats_pool_sum(s, POOL_hits),
		.misses = stats_pool_sum(s, POOL_misses),
		.client_bytes_in = stats_pool_sum(s, POOL_client_request_bytes),
		.client_bytes_out = stats_pool_sum(s, POOL_client_response_bytes),
		.threads = w->shared->threads,
		.server_count = pool->spec->server_count,
	};
	struct usage usage;
	usage_read(&usage);
	out->rusage_user_us = usage.user_us;
	out->rusage_system_us = usage.system_us;
	out->rss_bytes = usage.resident_bytes;
	for (uint32_t i = 0; i < pool->spec->server_count; i++) {
		const struct stats_server *server = pool->servers[i].stats;
		out->server_connections += stats_server_sum(server, SERVER_server_connections);
		if (stats_server_sum(server, SERVER_tko_workers) > 0) out->servers_down++;
	}
}

#include "proxy/routes/flow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { FLOW_BUCKETS = 1024, LANE_BITS = 4096 };

LIST_HEAD(flow_bucket, flow);

/* All flows of one worker: made with its first. */
struct flows {
	struct core *core;
	uint32_t live;
	bool closing;
	struct flow **ready_tail;
	TAILQ_HEAD(flow_parking, flow) parked;
	TAILQ_HEAD(, flow) wides;	    /* that have not been passed, in order */
	struct io_timer timer;		    /* the next parked flow's */
	uint8_t older_lanes[LANE_BITS / 8]; /* by lane: it may have flows of earlier snapshots */
	struct flow_bucket buckets[FLOW_BUCKETS]; /* heads of chains: the others wait behind them */
};

static void flows_on_timer(int fd, short what, void *owner);

static struct flows *flows_get(struct core *core)
{
	if (core->flows) return core->flows;
	struct flows *all = calloc(1, sizeof(*all));
	if (!all) abort();
	all->core = core;
	all->ready_tail = &core->ready;
	TAILQ_INIT(&all->parked);
	TAILQ_INIT(&all->wides);
	io_timer_init(&all->timer, &core->loop, flows_on_timer, all);
	return core->flows = all;
}

uint32_t flows_live(const struct core *core)
{
	return core->flows ? core->flows->live : 0;
}

/* --- order ------------------------------------------------------------------------------------ */

static uint64_t flow_hash(uint32_t lane, struct slice key)
{
	return XXH3_64bits_withSeed(key.p, key.n, lane);
}

static struct flow_bucket *flow_bucket(struct flows *all, uint64_t hash)
{
	return &all->buckets[hash % FLOW_BUCKETS];
}

static struct flow *flow_find(struct flows *all, uint32_t lane, struct slice key, uint64_t hash)
{
	struct flow *f;
	LIST_FOREACH (f, flow_bucket(all, hash), bucket) {
		if (f->hash == hash && f->parent->lane == lane && slice_eq(f->key, key)) return f;
	}
	return NULL;
}

static bool flow_is_wide(const struct request *req)
{
	return req->info->route == OP_SAME && req->key_count > 1;
}

/* The wide flow of a lane, or NULL: of several, all but the first are gated. */
static struct flow *flow_wide(struct flows *all, uint32_t lane)
{
	struct flow *f;
	TAILQ_FOREACH (f, &all->wides, wide_next) {
		if (f->parent->lane == lane) return f;
	}
	return NULL;
}

static uint32_t flow_count(struct flows *all, uint32_t lane)
{
	struct flow *head, *f;
	uint32_t n = 0;
	for (uint32_t i = 0; i < FLOW_BUCKETS; i++) {
		LIST_FOREACH (head, &all->buckets[i], bucket) {
			if (head->parent->lane != lane) continue;
			for (f = head; f; f = f->behind) n++;
		}
	}
	return n;
}

bool flow_is_ahead(struct core *core, const struct request *req)
{
	struct flows *all = core->flows;
	if (!all || all->live == 0) return false;
	if (flow_wide(all, req->lane)) return true;
	if (flow_is_wide(req)) return flow_count(all, req->lane) > 0;
	return flow_find(all, req->lane, req->key, flow_hash(req->lane, req->key)) != NULL;
}

static bool is_older(const struct flow *f)
{
	return f->generation != f->core->flow_generation;
}

static void flow_mark_lane(struct flows *all, uint32_t lane)
{
	all->older_lanes[lane % LANE_BITS / 8] |= (uint8_t)(1 << lane % 8);
}

/* What is gated came after a wide one of the same lane, and ends after it. */
static void flows_mark_lanes(struct flows *all)
{
	const struct flow *f;
	memset(all->older_lanes, 0, sizeof(all->older_lanes));
	TAILQ_FOREACH (f, &all->wides, wide_next) flow_mark_lane(all, f->parent->lane);
	for (uint32_t i = 0; i < FLOW_BUCKETS; i++) {
		LIST_FOREACH (f, &all->buckets[i], bucket) flow_mark_lane(all, f->parent->lane);
	}
}

bool flow_is_of_older(const struct core *core, uint32_t lane)
{
	struct flows *all = core->flows;
	const struct flow *head, *f, *wide;
	if (!(all->older_lanes[lane % LANE_BITS / 8] >> lane % 8 & 1)) return false;
	wide = flow_wide(all, lane);
	if (wide && is_older(wide)) return true;
	for (uint32_t i = 0; i < FLOW_BUCKETS; i++) {
		LIST_FOREACH (head, &all->buckets[i], bucket) {
			if (head->parent->lane != lane) continue;
			for (f = head; f; f = f->behind)
				if (is_older(f)) return true;
		}
	}
	return false;
}

static void flow_ready(struct flows *all, struct flow *f)
{
	f->ready_next = NULL;
	*all->ready_tail = f;
	all->ready_tail = &f->ready_next;
}

static void flow_enter_wide(struct flows *all, struct flow *f)
{
	f->ahead = flow_count(all, f->parent->lane);
	STAILQ_INIT(&f->gated);
	TAILQ_INSERT_TAIL(&all->wides, f, wide_next);
	f->core->wide_flows++;
	f->in_table = true;
	if (f->ahead == 0) flow_ready(all, f);
}

/* Behind the last of its client and key, or at the head of a new chain. */
static void flow_enter(struct flows *all, struct flow *f)
{
	struct flow *wide = flow_wide(all, f->parent->lane);
	if (wide) {
		STAILQ_INSERT_TAIL(&wide->gated, f, gate_next);
		return;
	}
	if (f->wide) {
		flow_enter_wide(all, f);
		return;
	}
	f->hash = flow_hash(f->parent->lane, f->key);
	struct flow *head = flow_find(all, f->parent->lane, f->key, f->hash);
	if (head) {
		head->last->behind = f;
		head->last = f;
		return;
	}
	f->last = f;
	f->in_table = true;
	LIST_INSERT_HEAD(flow_bucket(all, f->hash), f, bucket);
	flow_ready(all, f);
}

static void flow_take_wide(struct flows *all, struct flow *f)
{
	TAILQ_REMOVE(&all->wides, f, wide_next);
	f->core->wide_flows--;
	f->in_table = false;
}

static void flow_leave_wide(struct flows *all, struct flow *f)
{
	struct flow *next;
	flow_take_wide(all, f);
	while ((next = STAILQ_FIRST(&f->gated))) {
		STAILQ_REMOVE_HEAD(&f->gated, gate_next);
		flow_enter(all, next);
	}
}

/* The head of a chain goes; the next one becomes its head. */
static void flow_leave(struct flows *all, struct flow *f)
{
	struct flow *next = f->behind, *wide;
	assert(f->in_table);
	if (f->wide) {
		flow_leave_wide(all, f);
		return;
	}
	wide = flow_wide(all, f->parent->lane);
	if (wide && --wide->ahead == 0) flow_ready(all, wide);
	LIST_REMOVE(f, bucket);
	f->in_table = false;
	if (f->is_parked) TAILQ_REMOVE(&all->parked, f, parked);
	f->is_parked = false;
	f->behind = NULL;
	if (!next) return;
	next->last = f->last;
	next->in_table = true;
	LIST_INSERT_HEAD(flow_bucket(all, next->hash), next, bucket);
	flow_ready(all, next);
}

/* --- life ------------------------------------------------------------------------------------- */

static struct slice flow_copy(char **to, struct slice s)
{
	struct slice copy = { *to, s.n };
	if (s.n) *to = mempcpy(*to, s.p, s.n);
	return copy;
}

struct flow *flow_new(const struct flow_type *type, const struct server_pool *pool, struct dest *a,
		      struct dest *b, struct request *req)
{
	struct core *core = req->view->core;
	struct flows *all = flows_get(core);
	bool together = req->body.n < BUF_REF_MIN;
	size_t copied = req->key.n + req->head.n + (together ? req->body.n : 0);
	struct buf *memory = buf_get(&core->bufs, type->size + copied);
	struct flow *f = (struct flow *)memory->data;
	memset(f, 0, type->size);
	f->type = type;
	f->core = core;
	f->parent = req;
	f->pool = pool;
	f->a = a;
	f->b = b;
	f->memory = memory;
	f->wide = flow_is_wide(req);
	char *p = memory->data + type->size;
	f->key = flow_copy(&p, req->key);
	f->head = flow_copy(&p, req->head);
	if (together) f->body = flow_copy(&p, req->body);
	else f->in = buf_hold(&core->bufs, req->in, req->body, &f->body);
	req->flags |= REQ_QUEUED; /* as if it were in a connection's queue, until it is answered */
	all->live++;
	f->generation = core->flow_generation;
	flow_enter(all, f);
	return f;
}

static void flow_free(struct flow *f)
{
	f->core->flows->live--;
	if (is_older(f)) f->core->older_flows--;
	if (f->type->fini) f->type->fini(f);
	if (f->in) buf_unref(f->in);
	buf_unref(f->memory);
}

void flow_answer(struct flow *f, const struct answer *a)
{
	struct request *parent = f->parent;
	struct core *core = f->core;
	if (f->in_table) flow_leave(core->flows, f);
	/* The answer may lie in what the flow keeps, and the parent's view keeps its servers. */
	if (parent->flags & REQ_AWAITED) {
		struct view *view = parent->view;
		view->refs++;
		parent->flags &= (uint8_t)~REQ_QUEUED;
		if (parent->info->keep_sent && !parent->sent_buf) {
			parent->sent = f->head;
			parent->sent_buf = buf_ref(f->memory);
		}
		request_reply(parent, a);
		flow_free(f);
		view_unref(view);
	} else {
		flow_free(f);
		request_unqueue(core, parent);
	}
}

void flow_say(struct flow *f, enum reply_kind kind, struct slice text)
{
	struct answer a = { .bytes = text, .kind = kind, .hits = kind == REPLY_HIT };
	flow_answer(f, &a);
}

void flow_fail(struct flow *f, enum err e, const char *server)
{
	struct answer a = { .kind = REPLY_ERROR, .err = e, .server = server };
	flow_answer(f, &a);
}

/* --- calling ---------------------------------------------------------------------------------- */

static void flow_on_answer(struct frame *frame, struct request *req, const struct answer *a)
{
	struct flow *f = frame->owner;
	struct core *core = f->core;
	flow_answer_fn fn = f->on_answer;
	f->on_answer = NULL;
	/* The answer may lie in what the request keeps. */
	fn(f, a);
	request_drop(core, req);
}

void flow_call(struct flow *f, struct dest *d, const struct op_info *info, struct slice head,
	       struct slice body, struct buf *in, flow_answer_fn fn)
{
	struct request *parent = f->parent;
	struct request *req = request_new(f->core, info);
	assert(!f->on_answer && f->in_table);
	f->on_answer = fn;
	req->bottom = (struct frame){ .reply = flow_on_answer, .owner = f };
	req->pool = f->pool;
	req->view = parent->view;
	req->view->refs++;
	req->start_us = core_now(f->core);
	req->key = f->key;
	req->head = head;
	req->body = body;
	req->in = in;
	req->key_count = 1;
	req->lane = parent->lane;
	req->resp = parent->resp;
	if (f->core->flows->closing) request_fail_later(f->core, req, ERR_SHUTDOWN, NULL);
	else if (req->start_us - f->started_us > FLOW_MAX_US)
		request_fail_later(f->core, req, ERR_TIMEOUT, d->server->spec->ring_name);
	else dest_send(d, req);
}

void flow_pass(struct flow *f)
{
	flow_leave(f->core->flows, f);
}

/* --- parking, and the next snapshot ----------------------------------------------------------- */

static void flows_set_timer(struct flows *all)
{
	struct flow *f, *first = TAILQ_FIRST(&all->parked);
	if (!first) return;
	uint64_t now = core_now(all->core);
	/* Pools differ in how long they park: the list is short, and this is rare. */
	TAILQ_FOREACH (f, &all->parked, parked) {
		if (f->until_us < first->until_us) first = f;
	}
	io_timer_set(&all->timer, first->until_us > now ? first->until_us - now : 0);
}

void flow_park(struct flow *f, uint32_t ms)
{
	struct flows *all = f->core->flows;
	assert(f->in_table && !f->is_parked && !f->on_answer);
	f->started_us = 0;
	f->is_parked = true;
	metric_add(&f->pool->stats->slots[f->core->index].m[POOL_parked], 1);
	f->until_us = core_now(f->core) + ms * 1000ull;
	TAILQ_INSERT_TAIL(&all->parked, f, parked);
	if (!io_timer_armed(&all->timer)) flows_set_timer(all);
}

static void flows_on_timer(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct flows *all = owner;
	struct flow *f, *next;
	uint64_t now = core_now(all->core);
	TAILQ_FOREACH_SAFE (f, &all->parked, parked, next) {
		if (f->until_us > now) continue;
		TAILQ_REMOVE(&all->parked, f, parked);
		f->is_parked = false;
		f->started_us = now;
		f->type->on_unpark(f);
	}
	flows_set_timer(all);
}

/* Where its keys live now has to be found out again; they are in what the client sent. */
static void flow_resend_wide(struct flow *f, const struct route *way)
{
	struct core *core = f->core;
	struct parse_resume resume = { 0 };
	struct command cmd = { 0 };
	size_t skip = 0;
	enum parse_result r = way->pool->codec->parse_request(
	    &core->parser, &way->pool->limits, f->head.p, f->head.n, &resume, &cmd, &skip);
	if (r == PARSE_OK && cmd.info == f->parent->info)
		core->send_keys(core, way, f->parent, &cmd);
	else request_fail_later(core, f->parent, ERR_INVALID, NULL);
}

/* Hand the request to the newest snapshot's route, as if it came now, and end the flow. It must
 * not be in the table. */
static void flow_reroute(struct flow *f)
{
	struct core *core = f->core;
	struct request *req = f->parent;
	struct view *view, *old = req->view;
	const struct route *entry = core->find_pool(core, req->pool->spec->name, &view);
	const struct route *way = core->find_pool(core, f->pool->spec->name, &view);
	if (!entry || !way || entry->pool->codec != req->pool->codec) {
		request_fail_later(core, req, ERR_NO_POOL, NULL);
		flow_free(f);
		return;
	}
	req->flags &= (uint8_t)~REQ_QUEUED;
	req->view = view;
	view->refs++;
	req->pool = entry->pool;
	req->key = f->key;
	req->head = f->head;
	req->body = f->body;
	req->in = f->in;
	req->top = &req->bottom;
	if (f->wide) flow_resend_wide(f, way);
	else route_send(way, req);
	flow_free(f);
	view_unref(old);
}

/* A chain of flows of which none has started, and the wide one that waits for it with all that
 * came later. In their order, as they may meet again. */
static void flows_reroute_chain(struct flows *all, struct flow *head)
{
	struct flow *f, *wide = head->wide ? head : flow_wide(all, head->parent->lane);
	if (!head->wide) LIST_REMOVE(head, bucket);
	if (head->is_parked) TAILQ_REMOVE(&all->parked, head, parked);
	if (wide) flow_take_wide(all, wide);
	for (f = head->wide ? NULL : head; f; f = head) {
		head = f->behind;
		flow_reroute(f);
	}
	if (!wide) return;
	STAILQ_HEAD(, flow) gated = STAILQ_HEAD_INITIALIZER(gated);
	STAILQ_CONCAT(&gated, &wide->gated);
	flow_reroute(wide);
	while ((f = STAILQ_FIRST(&gated))) {
		STAILQ_REMOVE_HEAD(&gated, gate_next);
		flow_reroute(f);
	}
}

void flows_adopt(struct core *core)
{
	struct flows *all = core->flows;
	if (!all) return;
	struct flow_parking parked;
	struct flow *f;
	core->flow_generation++;
	core->older_flows = all->live;
	TAILQ_INIT(&parked);
	/* A parked flow's request may be parked again by the snapshot it is sent to now. */
	TAILQ_CONCAT(&parked, &all->parked, parked);
	TAILQ_FOREACH (f, &parked, parked) {
		f->is_parked = false;
	}
	while ((f = TAILQ_FIRST(&parked))) {
		TAILQ_REMOVE(&parked, f, parked);
		flows_reroute_chain(all, f);
	}
	flows_mark_lanes(all);
}

void flows_run(struct core *core)
{
	struct flows *all = core->flows;
	while (core->ready) {
		struct view *newest;
		struct flow *f = core->ready;
		core->ready = f->ready_next;
		if (!core->ready) all->ready_tail = &core->ready;
		core->find_pool(core, f->pool->spec->name, &newest);
		if (all->closing) {
			flow_fail(f, ERR_SHUTDOWN, NULL);
		} else if (newest && newest != f->parent->view) {
			flows_reroute_chain(all, f);
		} else {
			f->started_us = core_now(core);
			f->type->start(f);
		}
	}
}

void flows_close(struct core *core)
{
	struct flows *all = core->flows;
	if (!all) return;
	all->closing = true;
	struct flow *f;
	while ((f = TAILQ_FIRST(&all->parked))) flow_fail(f, ERR_SHUTDOWN, NULL);
	flows_run(core);
}

void flows_free(struct core *core)
{
	if (!core->flows) return;
	assert(core->flows->live == 0);
	io_timer_stop(&core->flows->timer);
	free(core->flows);
	core->flows = NULL;
}

/* dual_redis.c - what a Redis command on a key that moves does, in which phase, at which server.
 *
 * Tests hold the table below against tests/model/table.txt, line by line.
 */
#include "proxy/routes/dual_redis.h"

#include "common/codec_resp.h"
#include "common/mutation.h"
#include "common/redis_import.h"

/* --- the rules -------------------------------------------------------------------------------- */

static const uint8_t rules[PHASE_MAX][2] = {
	/*		      a read,	    any other      */
	[PHASE_STABLE] = { REDIS_AT_A, REDIS_AT_A },
	[PHASE_PREPARE] = { REDIS_AT_A, REDIS_AT_A },
	[PHASE_HOLD] = { REDIS_HELD, REDIS_PARK },
	[PHASE_DUAL] = { REDIS_IMPORT, REDIS_IMPORT },
	[PHASE_DRAIN] = { REDIS_AT_A, REDIS_AT_A },
	[PHASE_HOLD_R] = { REDIS_HELD, REDIS_PARK },
	[PHASE_DUAL_R] = { REDIS_IMPORT, REDIS_IMPORT },
	[PHASE_DRAIN_R] = { REDIS_AT_A, REDIS_AT_A },
};

enum redis_rule dual_redis_rule(enum phase phase, bool fenced, const struct op_info *info)
{
	if (fenced && !MUTATED(NOFENCE)) return REDIS_REFUSE;
	if (MUTATED(NOHOLD) && (phase == PHASE_HOLD || phase == PHASE_HOLD_R)) return REDIS_IMPORT;
	return rules[phase][info->access == OP_READ ? 0 : 1];
}

/* --- at a ------------------------------------------------------------------------------------- */

/* Which server a read needed that found something: that says how warm the new one is. */
static void redis_count_read(const struct redis_flow *f, const struct answer *a, enum pool_metric m)
{
	if (f->rule != REDIS_IMPORT || f->info->access != OP_READ) return;
	if (!a->err && a->kind == REPLY_HIT) dual_count(f->base.pool, f->base.core, m);
}

static void redis_on_reply(struct flow *flow, const struct answer *a)
{
	const struct redis_flow *f = (const struct redis_flow *)flow;
	redis_count_read(f, a, f->brought ? POOL_moving_misses : POOL_moving_hits);
	flow_answer(flow, a);
}

static const struct flow_type redis_flow_type;

/* What b has let go of does not come back there: the client's next command on the key need not ask
 * again. (A newer snapshot's must: roles may have changed.) */
static void redis_spare_next(const struct redis_flow *f)
{
	struct flow *behind = f->base.behind;
	struct redis_flow *next = (struct redis_flow *)behind;
	if (!behind || behind->type != &redis_flow_type || f->base.wide) return;
	if (behind->parent->view != f->base.parent->view) return;
	if (f->rule == REDIS_IMPORT && next->rule == REDIS_IMPORT) next->imported = 1;
}

/* A client's commands for one server go one way, so the next can be sent at once. */
static void redis_at_a(struct redis_flow *f)
{
	struct flow *flow = &f->base;
	flow_call(flow, flow->a, f->info, flow->head, flow->body, flow->in, redis_on_reply);
	redis_spare_next(f);
	flow_pass(flow);
}

static void redis_try_again(struct redis_flow *f, const char *why)
{
	char text[160];
	int n = snprintf(text, sizeof(text), "-TRYAGAIN %s\r\n", why);
	flow_say(&f->base, REPLY_ERROR, (struct slice){ text, (size_t)n });
}

/* --- reads at b ------------------------------------------------------------------------------- */

/* The reply as the client's command would have had it outside MULTI. */
static void redis_answer_held(struct redis_flow *f, struct slice value, const struct answer *a)
{
	struct reply_resume resume = { 0 };
	struct reply reply;
	if (codec_resp.parse_reply(f->info, (struct slice){ 0 }, value.p, value.n, &resume,
				   &reply) != PARSE_OK ||
	    reply.n != value.n) {
		flow_fail(&f->base, ERR_DESYNC, a->server);
		return;
	}
	struct answer held = { .bytes = value,
			       .buf = a->buf,
			       .kind = reply.kind,
			       .hits = reply.hits,
			       .server = a->server };
	redis_count_read(f, &held, POOL_moving_misses);
	flow_answer(&f->base, &held);
}

static void redis_on_held(struct flow *flow, const struct answer *a)
{
	struct redis_flow *f = (struct redis_flow *)flow;
	if (a->err) {
		flow_answer(flow, a);
		return;
	}
	struct resp_held held = resp_read_held(a->bytes);
	if (held.present < 0) {
		flow_answer(flow, &(struct answer){ .bytes = held.value,
						    .buf = a->buf,
						    .kind = REPLY_ERROR,
						    .server = a->server });
	} else if (held.present == f->key_count) {
		redis_answer_held(f, held.value, a);
	} else if (held.present == 0 && f->whole) {
		redis_at_a(f);
	} else {
		redis_try_again(f, "some keys have moved to another server, others not yet");
	}
}

/* At b, and whether b has the key, at one moment. At b first: what b has not may have moved in the
 * meantime, but nothing moves back. */
static void redis_held(struct redis_flow *f)
{
	struct flow *flow = &f->base;
	struct dest *b = f->keys[0].b;
	struct scratch *out = &flow->core->text;
	struct scratch names = { 0 };
	for (uint32_t i = 1; i < f->key_count; i++) {
		if (f->keys[i].b == b) continue;
		redis_try_again(f, "the keys are on their way from several servers to one");
		return;
	}
	if (!b) { /* lost */
		if (f->whole) redis_at_a(f);
		else redis_try_again(f, "the server that had the keys is lost");
		return;
	}
	char *room = scratch_reserve(&names, f->key_count * sizeof(struct slice));
	struct slice *keys = (struct slice *)room;
	for (uint32_t i = 0; i < f->key_count; i++) keys[i] = f->keys[i].name;
	scratch_clear(out);
	resp_put_held(out, keys, f->key_count, flow->head);
	scratch_fini(&names);
	flow_call(flow, MUTATED(READORDER) ? flow->a : b, &resp_command_at(RESP_HELD_READ)->op,
		  scratch_slice(out), (struct slice){ 0 }, NULL, redis_on_held);
}

/* --- imports ---------------------------------------------------------------------------------- */

static void redis_import_next(struct redis_flow *f);

static void redis_on_import(struct redis_flow *f, const struct import_end *end)
{
	switch (end->how) {
	case IMPORT_MOVED:
		f->imported++;
		f->brought |= end->brought;
		redis_import_next(f);
		break;
	case IMPORT_TOO_BIG:
		if (import_may_drop(f)) redis_import_next(f); /* the leader was a read */
		else if (f->info->access == OP_READ && f->imported == 0 && f->whole) redis_held(f);
		else
			redis_try_again(f, "the key is over the pool's move_max_bytes: it cannot "
					   "be written to before it was moved");
		break;
	case IMPORT_UNSURE:
		if (end->err) flow_fail(&f->base, end->err, end->server);
		else flow_say(&f->base, REPLY_ERROR, end->text);
		break;
	}
}

static bool redis_needs_none(const struct redis_flow *f, const struct redis_key *key)
{
	if (!key->b) return true; /* lost */
	return import_is_done(f->base.core, f->transition, key->name, f->base.a, key->b);
}

static void redis_import_next(struct redis_flow *f)
{
	while (f->imported < f->key_count && redis_needs_none(f, &f->keys[f->imported]))
		f->imported++;
	if (f->imported == f->key_count) redis_at_a(f);
	else import_start(f, &f->keys[f->imported], redis_on_import);
}

static void redis_on_target_first(struct flow *flow, const struct answer *a)
{
	struct redis_flow *f = (struct redis_flow *)flow;
	if (a->kind == REPLY_HIT) redis_at_a(f);
	else redis_import_next(f);
}

static void redis_import(struct redis_flow *f)
{
	struct flow *flow = &f->base;
	struct scratch *out = &flow->core->text;
	if (!MUTATED(TARGETFIRST)) {
		redis_import_next(f);
		return;
	}
	scratch_clear(out);
	resp_put_head(out, '*', 2);
	resp_put_bulk(out, SLICE("EXISTS"));
	resp_put_bulk(out, f->keys[0].name);
	flow_call(flow, flow->a, &resp_command_at(RESP_EXISTS)->op, scratch_slice(out),
		  (struct slice){ 0 }, NULL, redis_on_target_first);
}

/* --- the flow --------------------------------------------------------------------------------- */

static void redis_start(struct flow *flow)
{
	struct redis_flow *f = (struct redis_flow *)flow;
	switch ((enum redis_rule)f->rule) {
	case REDIS_AT_A: redis_at_a(f); break;
	case REDIS_HELD: redis_held(f); break;
	case REDIS_PARK: flow_park(flow, f->transition->rules.hold_park_ms); break;
	case REDIS_IMPORT: redis_import(f); break;
	case REDIS_REFUSE:
	case REDIS_RULES: flow_fail(flow, ERR_FENCED, NULL); break;
	}
}

static void redis_on_unpark(struct flow *flow)
{
	flow_fail(flow, ERR_MOVING, NULL);
}

static void redis_fini(struct flow *flow)
{
	struct redis_flow *f = (struct redis_flow *)flow;
	if (f->memory) buf_unref(f->memory);
}

static const struct flow_type redis_flow_type = {
	.size = sizeof(struct redis_flow),
	.start = redis_start,
	.on_unpark = redis_on_unpark,
	.fini = redis_fini,
};

/* Keys that outlive the request's way down, with their names. */
static struct redis_key *redis_keep_keys(struct redis_flow *f, const struct redis_key *keys,
					 uint32_t count)
{
	size_t size = count * sizeof(*keys);
	for (uint32_t i = 0; i < count; i++) size += keys[i].name.n;
	f->memory = buf_get(&f->base.core->bufs, size);
	struct redis_key *kept = (struct redis_key *)f->memory->data;
	char *name = (char *)(kept + count);
	for (uint32_t i = 0; i < count; i++) {
		kept[i] = keys[i];
		kept[i].name.p = name;
		if (keys[i].name.n) memcpy(name, keys[i].name.p, keys[i].name.n);
		name += keys[i].name.n;
	}
	return kept;
}

void dual_redis_wait(const struct transition *t, const struct server_pool *pool, struct dest *a,
		     struct request *req)
{
	struct redis_key key = { req->key, NULL };
	dual_redis_start(t, pool, REDIS_AT_A, a, &key, 1, true, req);
}

void dual_redis_start(const struct transition *t, const struct server_pool *pool,
		      enum redis_rule rule, struct dest *a, const struct redis_key *keys,
		      uint32_t count, bool whole, struct request *req)
{
	struct redis_flow *f =
	    (struct redis_flow *)flow_new(&redis_flow_type, pool, a, keys[0].b, req);
	f->transition = t;
	f->info = req->info;
	f->rule = (uint8_t)rule;
	f->key_count = count;
	f->whole = whole;
	f->keys = &f->one;
	f->one = keys[0];
	f->one.name = f->base.key;
	if (count > 1) f->keys = redis_keep_keys(f, keys, count);
}

const struct dest *dual_redis_out(const struct dual_way *way, enum redis_rule rule)
{
	bool asks_b = rule == REDIS_HELD || rule == REDIS_IMPORT;
	if (way->a_out) return way->a;
	return asks_b && way->b_out && !way->b_lost ? way->b : NULL;
}

void dual_redis_send(const struct dual_way *way, struct request *req)
{
	struct core *core = req->view->core;
	enum redis_rule rule = dual_redis_rule(way->phase, way->fenced, req->info);
	struct redis_key key = { req->key, way->b_lost ? NULL : way->b };
	bool done = rule == REDIS_IMPORT && !way->b_lost &&
		    import_is_done(core, way->transition, req->key, way->a, way->b);
	if (done) rule = REDIS_AT_A;
	const struct dest *out = dual_redis_out(way, rule);
	if (rule == REDIS_REFUSE) {
		request_fail_later(core, req, ERR_FENCED, NULL);
	} else if (redis_import_is_ours(req->key)) {
		request_fail_later(core, req, ERR_MOVING, NULL);
	} else if (out) {
		request_fail_later(core, req, ERR_TKO, out->server->spec->ring_name);
	} else if (rule == REDIS_AT_A && !flow_is_ahead(core, req)) {
		/* Whether it finds something is not looked at: what counts is that b, which has
		 * nothing, was not needed. */
		if (done && req->info->access == OP_READ)
			dual_count(way->pool, core, POOL_moving_hits);
		dest_send(way->a, req);
	} else {
		dual_redis_start(way->transition, way->pool, rule, way->a, &key, 1, true, req);
	}
}

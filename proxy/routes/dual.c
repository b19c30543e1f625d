#include "proxy/routes/dual.h"

#include <stdlib.h>

#include "proxy/routes/flow.h"
#include "proxy/routes/hash.h"

struct dual_route {
	struct route base;
	struct route *plain; /* by the ring as it is; owned */
	struct route *next;  /* by the ring to come; owned  */
	struct route moving; /* stands for keys that move; asks the one above */
	bool one_point;	     /* both rings hash a key alike                   */
	uint32_t
	    stays_at[]; /* [servers]: the place in pool->next of the same server, or RING_NONE */
};

/* Both owners of a key. */
struct owners {
	uint32_t old, new; /* places in pool->servers and pool->next->servers, or RING_NONE */
	bool moves;
};

static struct owners dual_owners(const struct route *r, struct slice key, uint64_t *rng)
{
	const struct dual_route *d = (const struct dual_route *)r;
	const struct ring *old = r->pool->ring, *new = r->pool->next->ring;
	struct owners o;
	if (d->one_point) {
		uint32_t point = ring_point(old, key);
		o.old = ring_owner(old, point);
		o.new = ring_owner(new, point);
	} else {
		o.old = ring_lookup(old, key, rng);
		o.new = ring_lookup(new, key, rng);
	}
	o.moves = o.old != RING_NONE && o.new != RING_NONE && d->stays_at[o.old] != o.new;
	return o;
}

/* By a clock that goes on while the machine sleeps: what wakes up late is fenced. A proxy that was
 * never given a lease runs by what it found on its disk, or by an agent that has lost touch. */
static bool dual_is_fenced(const struct core *core, const struct transition *t)
{
	if (t->lease_ms == 0) return false;
	return clock_boot_us() >= __atomic_load_n(core->lease_until_us, __ATOMIC_RELAXED);
}

static void dual_fill(struct dual_way *way, const struct view *view, const struct server_pool *pool,
		      const struct owners *o)
{
	const struct server_pool *next = pool->next;
	struct dest *old = view->dests[pool->dest_base + o->old];
	struct dest *new = view->dests[next->dest_base + o->new];
	bool old_out = pool->servers[o->old].spec->ejected;
	bool new_out = next->servers[o->new].spec->ejected;
	bool forward = phase_is_forward(way->phase);
	way->pool = pool;
	way->a = forward ? new : old;
	way->b = forward ? old : new;
	way->a_out = forward ? new_out : old_out;
	way->b_out = forward ? old_out : new_out;
	/* Only what keys leave can be lost: who takes them over may have the same name. */
	const struct pool_server *b = forward ? &pool->servers[o->old] : &next->servers[o->new];
	way->b_lost = transition_is_lost(&way->transition->rules, b->spec->ring_name);
	way->b_out |= way->b_lost;
}

static enum phase dual_phase(const struct route *r, struct slice key)
{
	const struct pool_spec *spec = r->pool->spec;
	return transition_phase(&spec->transition->rules, hash_tag_apply(key, spec->hash_tag));
}

static bool phase_is_plain(enum phase p)
{
	return p == PHASE_STABLE || p == PHASE_PREPARE;
}

/* The phase of a key that moves, in *way. true: the rules of a transition apply. */
static bool dual_is_moving(const struct route *r, const struct core *core, struct slice key,
			   struct dual_way *way)
{
	way->transition = r->pool->spec->transition;
	way->phase = dual_phase(r, key);
	way->fenced = dual_is_fenced(core, way->transition);
	return !phase_is_plain(way->phase) || way->fenced;
}

bool dual_way_of(const struct route *r, struct view *view, struct slice key,
		 struct dual_way *way_out)
{
	struct owners o = dual_owners(r, key, &view->core->rng);
	*way_out = (struct dual_way){ 0 };
	if (o.moves && dual_is_moving(r, view->core, key, way_out)) {
		dual_fill(way_out, view, r->pool, &o);
		return true;
	}
	if (o.old != RING_NONE) way_out->a = way_out->b = view->dests[r->pool->dest_base + o.old];
	return false;
}

void dual_count(const struct server_pool *pool, const struct core *core, enum pool_metric m)
{
	metric_add(&pool->stats->slots[core->index].m[m], 1);
}

/* A request of several keys, this one among them, may still be on its way to the server. */
static void dual_send_plain(const struct dual_route *d, struct request *req, uint32_t server)
{
	const struct server_pool *pool = d->base.pool;
	struct core *core = req->view->core;
	if (core->wide_flows > 0 && server != RING_NONE && !pool->servers[server].spec->ejected &&
	    flow_is_ahead(core, req))
		dual_redis_wait(pool->spec->transition, pool,
				req->view->dests[pool->dest_base + server], req);
	else route_hash_send_to(d->plain, req, server);
}

static void dual_send(const struct route *r, struct request *req)
{
	const struct dual_route *d = (const struct dual_route *)r;
	struct core *core = req->view->core;
	struct owners o = dual_owners(r, req->key, &core->rng);
	struct dual_way way = { 0 };
	/* without a key any server will do */
	if (!o.moves || req->key.n == 0 || !dual_is_moving(r, core, req->key, &way)) {
		dual_send_plain(d, req, o.old);
		return;
	}
	dual_fill(&way, req->view, r->pool, &o);
	if (r->pool->codec->protocol == PROTOCOL_REDIS) dual_redis_send(&way, req);
	else dual_mc_send(&way, req);
}

static const struct route *dual_locate(const struct route *r, struct slice key, uint64_t *rng)
{
	const struct dual_route *d = (const struct dual_route *)r;
	struct owners o = dual_owners(r, key, rng);
	if (o.old == RING_NONE) return d->plain;
	if (!o.moves || phase_is_plain(dual_phase(r, key))) return route_locate(d->plain, key, rng);
	return &d->moving;
}

static bool pool_has(const struct server_pool *pool, uint64_t id)
{
	for (uint32_t i = 0; i < pool->spec->server_count; i++)
		if (pool->servers[i].id == id) return true;
	return false;
}

/* The servers of both rings. */
static void dual_each(const struct route *r, void (*fn)(const struct route *, void *), void *ctx)
{
	const struct dual_route *d = (const struct dual_route *)r;
	const struct server_pool *pool = r->pool, *next = pool->next;
	d->plain->type->each(d->plain, fn, ctx);
	for (uint32_t i = 0; i < next->spec->server_count; i++) {
		const struct route *leaf = route_hash_leaf(d->next, i);
		if (!next->servers[i].spec->ejected && !pool_has(pool, next->servers[i].id))
			leaf->type->each(leaf, fn, ctx);
	}
}

static bool dual_send_keys(const struct route *r, struct request *req, const struct command *cmd)
{
	if (r->pool->codec->protocol == PROTOCOL_REDIS) return dual_redis_send_keys(r, req, cmd);
	if (cmd->info->route != OP_ALL) return false;
	request_fail_later(req->view->core, req, ERR_MOVING, NULL);
	return true;
}

static json_t *dual_describe(const struct route *r, const struct slice *key)
{
	const struct dual_route *d = (const struct dual_route *)r;
	const struct transition *t = r->pool->spec->transition;
	json_t *out =
	    json_pack("{s:s, s:s, s:o}", "type", r->type->name, "pool", r->pool->spec->name,
		      "current", d->plain->type->describe(d->plain, key));
	if (!key) {
		json_object_set_new(out, "phase", json_string(phase_name(t->rules.phases[0])));
		return out;
	}
	uint64_t rng = 1;
	struct owners o = dual_owners(r, *key, &rng);
	enum phase phase = dual_phase(r, *key);
	bool forward = phase_is_forward(phase);
	const struct server_pool *pool = o.moves && forward ? r->pool->next : r->pool;
	uint32_t i = o.moves && forward ? o.new : o.old;
	json_object_set_new(out, "phase", json_string(phase_name(phase)));
	json_object_set_new(out, "moves", json_boolean(o.moves));
	if (o.new != RING_NONE)
		json_object_set_new(out, "next",
				    json_string(r->pool->next->servers[o.new].spec->ring_name));
	if (i == RING_NONE) {
		json_object_set_new(out, "child", json_null());
		return out;
	}
	const struct server_spec *s = pool->servers[i].spec;
	json_object_set_new(out, "child",
			    json_pack("{s:s, s:s, s:s, s:i, s:b}", "type", "ServerRoute", "server",
				      s->ring_name, "host", s->host, "port", (int)s->port,
				      "ejected", s->ejected));
	return out;
}

static void dual_free(struct route *r)
{
	struct dual_route *d = (struct dual_route *)r;
	route_free(d->plain);
	route_free(d->next);
	free(d);
}

static const struct route_type dual_route = {
	.name = "DualRoute",
	.send = dual_send,
	.locate = dual_locate,
	.send_keys = dual_send_keys,
	.each = dual_each,
	.describe = dual_describe,
	.free = dual_free,
};

/* --- keys that move, of a request with several -------------------------------------------------
 */

static const struct route *moving_parent(const struct route *r)
{
	return &((const struct dual_route *)((const char *)r - offsetof(struct dual_route, moving)))
		    ->base;
}

static void moving_send(const struct route *r, struct request *req)
{
	dual_send(moving_parent(r), req);
}

static const struct route *moving_locate(const struct route *r, struct slice key, uint64_t *rng)
{
	return dual_locate(moving_parent(r), key, rng);
}

static void moving_each(const struct route *r, void (*fn)(const struct route *, void *), void *ctx)
{
	dual_each(moving_parent(r), fn, ctx);
}

static json_t *moving_describe(const struct route *r, const struct slice *key)
{
	return dual_describe(moving_parent(r), key);
}

static const struct route_type moving_route = {
	.name = "MovingRoute",
	.send = moving_send,
	.locate = moving_locate,
	.each = moving_each,
	.describe = moving_describe,
};

/* A server is the same only by name and address. `from` is where to begin to look: lists of servers
 * mostly keep their order. */
static uint32_t dual_find_same(const struct server_pool *pool, const struct pool_server *s,
			       uint32_t from)
{
	uint32_t count = pool->spec->server_count;
	for (uint32_t k = 0; k < count; k++) {
		uint32_t i = (from + k) % count;
		const struct pool_server *other = &pool->servers[i];
		if (other->id == s->id && server_spec_same(other->spec, s->spec)) return i;
	}
	return RING_NONE;
}

struct route *route_dual_new(struct route *plain)
{
	const struct server_pool *pool = plain->pool;
	uint32_t servers = pool->spec->server_count;
	struct dual_route *d = calloc(1, sizeof(*d) + servers * sizeof(d->stays_at[0]));
	struct route *next = route_hash_new(plain->pool->next);
	if (!d || !next) {
		route_free(plain);
		route_free(next);
		free(d);
		return NULL;
	}
	d->base = (struct route){ .type = &dual_route, .pool = plain->pool };
	d->moving = (struct route){ .type = &moving_route, .pool = plain->pool, .per_key = true };
	d->plain = plain;
	d->next = next;
	d->one_point = ring_shares_points(pool->ring, pool->next->ring);
	for (uint32_t i = 0, from = 0; i < servers; i++) {
		d->stays_at[i] = dual_find_same(pool->next, &pool->servers[i], from);
		if (d->stays_at[i] != RING_NONE) from = d->stays_at[i] + 1;
	}
	return &d->base;
}

#include "proxy/routes/hash.h"

#include <stdlib.h>

#include "proxy/destination.h"

struct hash_route {
	struct route base;
	bool some_ejected;     /* of the servers: else nobody has to look which    */
	struct route leaves[]; /* [server_count]: one handle per server */
};

/* --- one server ------------------------------------------------------------------------------- */

/* Ejected, and its keys do not move along the ring: an answer without asking it. */
static bool server_is_out(const struct route *r)
{
	const struct server_pool *pool = r->pool;
	return pool->servers[r->leaf - pool->dest_base].spec->ejected;
}

static void server_send(const struct route *r, struct request *req)
{
	if (server_is_out(r)) {
		const struct server_spec *spec =
		    r->pool->servers[r->leaf - r->pool->dest_base].spec;
		request_fail_later(req->view->core, req, ERR_TKO, spec->ring_name);
		return;
	}
	dest_send(req->view->dests[r->leaf], req);
}

static const struct route *server_locate(const struct route *r, struct slice key, uint64_t *rng)
{
	(void)key;
	(void)rng;
	return r;
}

static void server_each(const struct route *r, void (*fn)(const struct route *, void *), void *ctx)
{
	fn(r, ctx);
}

static json_t *server_describe(const struct route *r, const struct slice *key)
{
	(void)key;
	const struct server_spec *spec = r->pool->servers[r->leaf - r->pool->dest_base].spec;
	return json_pack("{s:s, s:s, s:s, s:i, s:b}", "type", r->type->name, "server",
			 spec->ring_name, "host", spec->host, "port", (int)spec->port, "ejected",
			 spec->ejected);
}

static const struct route_type server_route = {
	.name = "ServerRoute",
	.send = server_send,
	.locate = server_locate,
	.each = server_each,
	.describe = server_describe,
};

/* --- a pool ----------------------------------------------------------------------------------- */

/* Keys of an ejected server are in the ring only when they do not move along it. */
static void hash_send_ejected(const struct route *r, struct request *req, uint32_t i)
{
	const struct hash_route *h = (const struct hash_route *)r;
	if (r->pool->failover && !r->pool->servers[i].spec->held)
		route_send(r->pool->failover, req);
	else server_send(&h->leaves[i], req);
}

static inline void hash_send_to(const struct route *r, struct request *req, uint32_t i)
{
	const struct hash_route *h = (const struct hash_route *)r;
	if (i == RING_NONE) request_fail_later(req->view->core, req, ERR_NO_SERVER, NULL);
	else if (h->some_ejected && r->pool->servers[i].spec->ejected) hash_send_ejected(r, req, i);
	else dest_send(req->view->dests[r->pool->dest_base + i], req);
}

void route_hash_send_to(const struct route *r, struct request *req, uint32_t i)
{
	hash_send_to(r, req, i);
}

const struct route *route_hash_leaf(const struct route *r, uint32_t i)
{
	return &((const struct hash_route *)r)->leaves[i];
}

static void hash_send(const struct route *r, struct request *req)
{
	hash_send_to(r, req, ring_lookup(r->pool->ring, req->key, &req->view->core->rng));
}

/* The handle for a key that the ring gives to server `i`. */
static inline const struct route *hash_handle(const struct route *r, uint32_t i, struct slice key,
					      uint64_t *rng)
{
	const struct hash_route *h = (const struct hash_route *)r;
	if (i == RING_NONE) return r;
	const struct server_spec *spec = r->pool->servers[i].spec;
	if (spec->ejected && !spec->held && r->pool->failover)
		return route_locate(r->pool->failover, key, rng);
	return &h->leaves[i];
}

static const struct route *hash_locate(const struct route *r, struct slice key, uint64_t *rng)
{
	return hash_handle(r, ring_lookup(r->pool->ring, key, rng), key, rng);
}

/* In batches, as the ring's answers have to lie somewhere. */
static void hash_locate_keys(const struct route *r, const struct command *cmd, uint64_t *rng,
			     const struct route **out)
{
	uint32_t owners[64], n;
	for (uint32_t first = 0; first < cmd->key_count; first += n) {
		const struct slice *key = &cmd->argv[cmd->first_key + first * cmd->key_step];
		n = cmd->key_count - first < 64 ? cmd->key_count - first : 64;
		ring_lookup_keys(r->pool->ring, key, cmd->key_step, n, rng, owners);
		for (uint32_t i = 0; i < n; i++, key += cmd->key_step)
			*out++ = hash_handle(r, owners[i], *key, rng);
	}
}

static void hash_each(const struct route *r, void (*fn)(const struct route *, void *), void *ctx)
{
	const struct hash_route *h = (const struct hash_route *)r;
	for (uint32_t i = 0; i < r->pool->spec->server_count; i++)
		if (!r->pool->servers[i].spec->ejected) fn(&h->leaves[i], ctx);
}

static json_t *hash_describe(const struct route *r, const struct slice *key)
{
	const struct pool_spec *spec = r->pool->spec;
	json_t *d =
	    json_pack("{s:s, s:s, s:s, s:s, s:i}", "type", r->type->name, "pool", spec->name,
		      "distribution", ring_kind_name(spec->distribution), "hash",
		      hash_kind_name(spec->hash), "servers", (int)spec->server_count);
	if (!key) return d;
	uint64_t rng = 1;
	const struct route *leaf = hash_locate(r, *key, &rng);
	if (leaf != r && leaf->pool != r->pool)
		json_object_set_new(d, "failover", json_string(leaf->pool->spec->name));
	json_object_set_new(d, "child", leaf == r ? json_null() : server_describe(leaf, key));
	return d;
}

static void hash_free(struct route *r)
{
	free(r);
}

static const struct route_type hash_route = {
	.name = "PoolRoute",
	.send = hash_send,
	.locate = hash_locate,
	.locate_keys = hash_locate_keys,
	.each = hash_each,
	.describe = hash_describe,
	.free = hash_free,
};

struct route *route_hash_new(const struct server_pool *pool)
{
	uint32_t n = pool->spec->server_count;
	struct hash_route *h = calloc(1, sizeof(*h) + n * sizeof(h->leaves[0]));
	if (!h) return NULL;
	h->base = (struct route){ .type = &hash_route, .pool = pool };
	for (uint32_t i = 0; i < n; i++) {
		h->leaves[i] = (struct route){ .type = &server_route,
					       .pool = pool,
					       .leaf = pool->dest_base + i };
		h->some_ejected |= pool->servers[i].spec->ejected;
	}
	return &h->base;
}

#include "proxy/snapshot.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/giveway.h"
#include "common/topology_ring.h"
#include "proxy/routes/dual.h"
#include "proxy/routes/fence.h"
#include "proxy/routes/hash.h"

#include "common/memory.h"

/* --- identities ------------------------------------------------------------------------------- */

struct identity {
	char *key;
	uint64_t id, last_serial;
	UT_hash_handle hh;
};

struct identities {
	struct identity *by_key;
	uint64_t next_id, serial;
};

struct identities *identities_new(void)
{
	struct identities *ids = calloc(1, sizeof(*ids));
	if (ids) ids->next_id = 1;
	return ids;
}

static void identity_drop(struct identities *ids, struct identity *i)
{
	HASH_DEL(ids->by_key, i);
	free(i->key);
	free(i);
}

void identities_free(struct identities **ids)
{
	struct identity *i, *next;
	if (!*ids) return;
	HASH_ITER (hh, (*ids)->by_key, i, next) {
		identity_drop(*ids, i);
	}
	free(*ids);
	*ids = NULL;
}

/* All that makes a connection to this server different from one to another. */
static uint64_t identity_of(struct identities *ids, const struct pool_spec *pool,
			    const struct pool_server *server, uint32_t lanes)
{
	struct scratch key = { 0 };
	scratch_printf(&key, "%s\n%s\n%d\n%u\n%s\n%s\n%u\n%d\n%d\n", pool->name,
		       server->spec->ring_name, (int)pool->protocol, lanes,
		       pool->auth_user ? pool->auth_user : "",
		       pool->auth_password ? pool->auth_password : "", pool->redis_db,
		       (int)pool->keepalive, (int)pool->cas_tags);
	scratch_put(&key, &server->addr.ss, server->addr.len);
	struct identity *i;
	HASH_FIND(hh, ids->by_key, key.p, key.n, i);
	if (!i) {
		i = calloc(1, sizeof(*i));
		if (!i) abort();
		i->id = ids->next_id++;
		i->key = key.p;
		HASH_ADD_KEYPTR(hh, ids->by_key, i->key, key.n, i);
	} else {
		scratch_fini(&key);
	}
	i->last_serial = ids->serial;
	return i->id;
}

/* Forget what the newest snapshot does not name. Numbers are never used again. */
static void identities_prune(struct identities *ids)
{
	struct identity *i, *next;
	HASH_ITER (hh, ids->by_key, i, next) {
		if (i->last_serial != ids->serial) identity_drop(ids, i);
	}
}

/* --- building --------------------------------------------------------------------------------- */

static const struct codec *codec_of(enum protocol p)
{
	switch (p) {
	case PROTOCOL_MEMCACHED: return &codec_mc_text;
	case PROTOCOL_REDIS:
	case PROTOCOL_MAX: break;
	}
	return &codec_resp;
}

enum { ARGS_MAX = 1024 * 1024 }; /* arguments or keys of one request: Redis' own limit */

static enum err pool_build_ring(struct server_pool *p, struct err_at *where_out)
{
	enum err e = pool_ring_build(p->spec, &p->ring);
	if (e == ERR_NONE) return e;
	snprintf(where_out->where, sizeof(where_out->where), "$.pools.%.100s", p->spec->name);
	snprintf(where_out->why, sizeof(where_out->why), "its ring cannot be built: %s",
		 err_text(e));
	return e;
}

void server_pool_hold(const struct server_pool *p)
{
	snapshot_ref(p->snapshot);
}

void server_pool_release(const struct server_pool *p)
{
	snapshot_unref(p->snapshot);
}

static enum err pool_build(struct snapshot *s, struct server_pool *p, const struct pool_spec *spec,
			   const struct snapshot_input *in, struct err_at *where_out)
{
	p->snapshot = s;
	p->spec = spec;
	p->codec = codec_of(spec->protocol);
	p->dest_base = s->dest_count;
	s->dest_count += spec->server_count;
	p->lanes = spec->server_connections * (spec->protocol == PROTOCOL_REDIS ? 2 : 1);
	p->limits = (struct codec_limits){ .value_max_bytes = spec->value_max_bytes,
					   .request_max_bytes = in->proxy->request_max_bytes,
					   .args_max = ARGS_MAX,
					   .allow_flush = spec->allow_flush,
					   .cas_tags = spec->cas_tags,
					   .meta_commands = spec->meta_commands };
	p->servers = calloc(spec->server_count, sizeof(*p->servers));
	if (!p->servers) return ERR_NOMEM;
	p->stats = stats_pool_get(in->stats, spec->name, p->codec);
	for (uint32_t i = 0; i < spec->server_count; i++) {
		struct pool_server *server = &p->servers[i];
		server->spec = &spec->servers[i];
		in->resolve(in->ctx, server->spec, &server->addr);
		server->id = identity_of(in->identities, spec, server, p->lanes);
		server->stats = stats_server_get(p->stats, server->spec->ring_name);
		give_way_each(32, i);
	}
	return pool_build_ring(p, where_out);
}

/* "PoolRoute|NAME", {"type": "PoolRoute", "pool": NAME}: validated with the topology. */
static const char *route_pool_name(const json_t *tree)
{
	const char *text = json_string_value(tree);
	if (!text) return json_string_value(json_object_get(tree, "pool"));
	const char *bar = strchr(text, '|');
	return bar ? bar + 1 : NULL;
}

const struct route *snapshot_pool_route(const struct snapshot *s, const char *name)
{
	for (uint32_t i = 0; name && i < s->topology->pool_count; i++)
		if (strcmp(s->topology->pools[i].name, name) == 0) return s->roots[i];
	return NULL;
}

static void snapshot_build_entries(struct snapshot *s, const struct snapshot_input *in)
{
	for (uint32_t i = 0; i < in->listener_count; i++) {
		const struct listener_spec *l = in->listeners[i];
		if (!l) continue;
		const char *pool = l->pool;
		if (l->route)
			pool = route_pool_name(json_object_get(s->topology->routes, l->route));
		s->entries[i] = snapshot_pool_route(s, pool);
	}
}

/* The pools that others are on their way to; behind those of the topology. */
static enum err snapshot_build_next(struct snapshot *s, const struct snapshot_input *in,
				    struct err_at *where_out)
{
	for (uint32_t i = 0; i < s->topology->pool_count; i++) {
		const struct transition *t = s->topology->pools[i].transition;
		if (!t) continue;
		struct server_pool *next = &s->pools[s->pool_count++];
		enum err e = pool_build(s, next, t->next, in, where_out);
		if (e != ERR_NONE) return e;
		s->pools[i].next = next;
		s->pools[i].in_transition = next->in_transition = true;
	}
	return ERR_NONE;
}

static enum err snapshot_build_pools(struct snapshot *s, const struct snapshot_input *in,
				     struct err_at *where_out)
{
	const struct topology *t = s->topology;
	for (; s->pool_count < t->pool_count; s->pool_count++) {
		enum err e = pool_build(s, &s->pools[s->pool_count], &t->pools[s->pool_count], in,
					where_out);
		if (e != ERR_NONE) return e;
	}
	enum err e = snapshot_build_next(s, in, where_out);
	for (uint32_t i = 0; e == ERR_NONE && i < t->pool_count; i++) {
		const struct server_pool *p = &s->pools[i];
		s->roots[i] = route_hash_new(p);
		if (s->roots[i] && p->next) s->roots[i] = route_dual_new(s->roots[i]);
		if (s->roots[i] && in->stale) s->roots[i] = route_fence_new(s->roots[i]);
		if (!s->roots[i]) e = ERR_NOMEM;
	}
	return e;
}

enum err snapshot_build(struct topology *t, const struct snapshot_input *in,
			struct snapshot **snapshot_out, struct err_at *where_out)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	if (!s) abort();
	s->refs = 1;
	s->topology = t;
	s->serial = ++in->identities->serial;
	s->pools = calloc(t->pool_count * 2 + 1, sizeof(*s->pools));
	s->roots = calloc(t->pool_count + 1, sizeof(*s->roots));
	s->limits = *in->proxy;
	s->limits.control = s->limits.log_file = NULL;
	s->limits.stats = s->limits.metrics = (struct listen_spec){ 0 };
	s->entry_count = in->listener_count;
	s->entries = calloc(in->listener_count + 1, sizeof(*s->entries));
	if (!s->pools || !s->roots || !s->entries) abort();
	enum err e = snapshot_build_pools(s, in, where_out);
	if (e != ERR_NONE) {
		snapshot_free(s);
		return e;
	}
	for (uint32_t i = 0; i < t->pool_count; i++)
		if (t->pools[i].failover == FAILOVER_POOL)
			s->pools[i].failover = snapshot_pool_route(s, t->pools[i].failover_pool);
	snapshot_build_entries(s, in);
	identities_prune(in->identities);
	*snapshot_out = s;
	return ERR_NONE;
}

static void server_pool_fini(struct server_pool *p)
{
	for (uint32_t k = 0; p->servers && k < p->spec->server_count; k++)
		if (p->servers[k].stats) stats_server_unref(p->servers[k].stats);
	if (p->stats) stats_pool_unref(p->stats);
	free(p->servers);
	ring_free(&p->ring);
}

void snapshot_free(struct snapshot *s)
{
	for (uint32_t i = 0; i < s->topology->pool_count; i++) route_free(s->roots[i]);
	for (uint32_t i = 0; i < s->topology->pool_count * 2; i++) server_pool_fini(&s->pools[i]);
	free(s->pools);
	free(s->roots);
	free(s->entries);
	topology_free(&s->topology);
	free(s);
}

void snapshot_ref(struct snapshot *s)
{
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
}

void snapshot_unref(struct snapshot *s)
{
	if (__atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0) s->on_unused(s->ctx, s);
}

#include "common/topology_check.h"

#include <limits.h>
#include <stdlib.h>

#include "common/giveway.h"
#include "common/topology_routes.h"

/* What people use each distribution with; the key hash of the program that it reproduces. */
static const enum hash_kind default_hash[RING_KIND_MAX] = {
	[RING_KETAMA] = HASH_FNV1A_64,
	[RING_KETAMA_LIBMEMCACHED] = HASH_ONE_AT_A_TIME,
	[RING_KETAMA_LIBMEMCACHED_WEIGHTED] = HASH_MD5,
	[RING_KETAMA_RJ] = HASH_MD5,
	[RING_KETAMA_WAYFAIR] = HASH_FNV1A_32,
	[RING_KETAMA_WAYFAIR_LIB] = HASH_FNV1A_32,
	[RING_MODULA] = HASH_FNV1A_64,
	[RING_MODULA_LIBMEMCACHED] = HASH_ONE_AT_A_TIME,
	[RING_RANDOM] = HASH_FNV1A_64,
};

static const uint32_t default_value_max_bytes[PROTOCOL_MAX] = {
	[PROTOCOL_MEMCACHED] = 64u << 20, /* far above memcached's usual 1 MiB item limit */
	[PROTOCOL_REDIS] = 512u << 20,	  /* proto-max-bulk-len's default                 */
};

bool topology_check_name(const struct node *n, enum report_at at, const char *name,
			 const char *what, struct report *r)
{
	size_t bytes = strlen(name);
	if (bytes == 0 || bytes > NAME_BYTES_MAX) {
		report_error(r, n, at, "the %s's name must have 1 to %d bytes, not %zu", what,
			     NAME_BYTES_MAX, bytes);
		return false;
	}
	for (const unsigned char *p = (const unsigned char *)name; *p != '\0'; p++) {
		if (*p >= 0x20 && *p != 0x7f) continue;
		report_error(r, n, at, "the %s's name holds a control character", what);
		return false;
	}
	return true;
}

/* --- servers ---------------------------------------------------------------------------------- */

/* A server and where it was written, for sorting by label. */
struct server_place {
	const char *ring_name;
	uint32_t index;
};

static int server_place_cmp(const void *a, const void *b)
{
	const struct server_place *x = a, *y = b;
	int c = strcmp(x->ring_name, y->ring_name);
	return c != 0 ? c : (x->index > y->index) - (x->index < y->index);
}

/* Two servers of one label would share their points: keys would follow neither. */
static void pool_check_ring_names(const struct pool_spec *p, const struct node *const *nodes,
				  struct report *r)
{
	struct server_place *places = malloc(p->server_count * sizeof(*places));
	if (places == NULL) {
		r->nomem = true;
		return;
	}
	uint32_t n = 0;
	for (uint32_t i = 0; i < p->server_count; i++)
		if (p->servers[i].ring_name != NULL)
			places[n++] = (struct server_place){ p->servers[i].ring_name, i };
	qsort(places, n, sizeof(*places), server_place_cmp);
	for (uint32_t i = 1; i < n; i++) {
		if (strcmp(places[i].ring_name, places[i - 1].ring_name) != 0) continue;
		report_error(r, nodes[places[i].index], AT_VALUE,
			     "pool '%.60s' has two servers called '%.80s' in its ring", p->name,
			     places[i].ring_name);
	}
	free(places);
}

static void pool_check_weights(const struct pool_spec *p, const struct node *at, struct report *r)
{
	uint64_t total = 0;
	for (uint32_t i = 0; i < p->server_count; i++) total += p->servers[i].weight;
	if (total > UINT32_MAX)
		report_error(r, at, AT_KEY, "the weights of pool '%.60s' add up to more than %u",
			     p->name, UINT32_MAX);
}

void pool_read_servers(struct pool_spec *p, const struct node *at, const struct node *const *nodes,
		       uint32_t count, server_read_fn *read, struct report *r)
{
	if (count == 0 || count > SERVERS_MAX) {
		report_error(r, at, AT_KEY, "pool '%.60s' must have 1 to %d servers, not %u",
			     p->name, SERVERS_MAX, count);
		return;
	}
	p->servers = calloc(count, sizeof(*p->servers));
	if (p->servers == NULL) {
		r->nomem = true;
		return;
	}
	p->server_count = count;
	for (uint32_t i = 0; i < count; i++) {
		read(nodes[i], &p->servers[i], r);
		give_way_each(64, i);
	}
	pool_check_ring_names(p, nodes, r);
	pool_check_weights(p, at, r);
}

static void pool_read_server_list(struct pool_spec *p, const struct node *pool, struct report *r)
{
	const struct node *list = node_get(pool, "servers");
	if (list == NULL) {
		report_error(r, pool, AT_KEY, "pool '%.60s' has no 'servers'", p->name);
		return;
	}
	if (!settings_expect(list, NODE_LIST, "servers", r)) return;
	const struct node **nodes = malloc((list->count + 1) * sizeof(*nodes));
	if (nodes == NULL) {
		r->nomem = true;
		return;
	}
	NODE_FOREACH (child, list) nodes[child->index] = child;
	pool_read_servers(p, list, nodes, list->count, server_read_native, r);
	free(nodes);
}

/* --- pools ------------------------------------------------------------------------------------ */

struct topology *topology_new(void)
{
	struct topology *t = calloc(1, sizeof(*t));
	if (t == NULL) return NULL;
	t->lineage = strdup("");
	if (t->lineage == NULL) topology_free(&t);
	return t;
}

bool topology_reserve(struct topology *t, uint32_t count, const struct node *at, struct report *r)
{
	if (count == 0 || count > POOLS_MAX) {
		report_error(r, at, AT_VALUE, "there must be 1 to %d pools, not %u", POOLS_MAX,
			     count);
		return false;
	}
	t->pools = calloc(count, sizeof(*t->pools));
	if (t->pools == NULL) r->nomem = true;
	else t->pool_count = count;
	return t->pools != NULL;
}

bool pool_init(struct pool_spec *p, const char *name, const struct node *n, enum setting_dialect d,
	       struct report *r)
{
	p->hash = HASH_KIND_MAX; /* not given */
	p->name = strdup(name);
	if (p->name == NULL || !settings_defaults(&pool_settings, p, d)) {
		r->nomem = true;
		return false;
	}
	topology_check_name(n, AT_KEY, name, "pool", r);
	return true;
}

void pool_finish(struct pool_spec *p, const struct node *at, struct report *r)
{
	if (p->hash == HASH_KIND_MAX) p->hash = default_hash[p->distribution];
	if (p->value_max_bytes == 0) p->value_max_bytes = default_value_max_bytes[p->protocol];

	if (p->hash == HASH_CRC32 && p->distribution == RING_KETAMA && p->server_count > 1)
		report_warning(r, at, AT_KEY,
			       "hash crc32 has 15 bits only: with ketama nearly all "
			       "keys go to one server; crc32a does not");
	if (p->auth_user != NULL && p->auth_password == NULL)
		report_error(r, at, AT_KEY, "pool '%.60s' has an 'auth' user but no password",
			     p->name);
	if (p->protocol == PROTOCOL_REDIS) return;
	if (p->auth_user != NULL || p->auth_password != NULL)
		report_error(r, at, AT_KEY,
			     "pool '%.60s' is a memcached pool: credentials are for "
			     "Redis only",
			     p->name);
	if (p->redis_db != 0)
		report_error(r, at, AT_KEY,
			     "pool '%.60s' is a memcached pool: databases are for "
			     "Redis only",
			     p->name);
}

void pool_read_native(struct pool_spec *p, const char *name, const struct node *n,
		      const struct settings *beside, struct report *r)
{
	if (!pool_init(p, name, n, SETTING_NATIVE, r)) return;
	if (!settings_expect(n, NODE_MAP, name, r)) return;
	settings_read_beside(&pool_settings, p, n, beside, r);
	pool_read_server_list(p, n, r);
	pool_finish(p, n, r);
}

void topology_read_pools(struct topology *t, const struct node *doc, const struct node *pools,
			 struct report *r)
{
	if (pools == NULL) {
		report_error(r, doc, AT_VALUE, "'pools' is missing");
		return;
	}
	if (!settings_expect(pools, NODE_MAP, "pools", r)) return;
	if (!topology_reserve(t, pools->count, pools, r)) return;
	NODE_FOREACH (child, pools)
		pool_read_native(&t->pools[child->index], child->key, child, NULL, r);
	topology_check_failover(t, pools, r);
}

#define NO_POOL_HINTS_MAX 100 /* each compares the name with those of all pools */

void topology_report_no_pool(const struct topology *t, const char *name, const struct node *at,
			     struct report *r)
{
	const char *best = NULL;
	unsigned best_distance = UINT_MAX;
	bool hint = r->error_count < NO_POOL_HINTS_MAX;
	for (uint32_t i = 0; i < t->pool_count && hint; i++) {
		const char *candidate = t->pools[i].name;
		unsigned d = candidate != NULL ? settings_distance(name, candidate) : UINT_MAX;
		if (d >= best_distance) continue;
		best_distance = d;
		best = candidate;
	}
	report_error(r, at, AT_VALUE, "pool '%.80s' is not defined%s%s%s", name,
		     best != NULL ? " (did you mean '" : "", best != NULL ? best : "",
		     best != NULL ? "'?)" : "");
}

/* --- failover --------------------------------------------------------------------------------- */

const struct pool_spec *topology_failover(const struct topology *t, const struct pool_spec *p)
{
	return p->failover == FAILOVER_POOL ? topology_pool(t, slice_of(p->failover_pool)) : NULL;
}

/* The target's place in t->pools, or UINT32_MAX; what is wrong with it is reported. */
static uint32_t failover_target(const struct topology *t, const struct pool_spec *p,
				const struct node *pool, struct report *r)
{
	const struct node *at = node_get(pool, "failover");
	const struct pool_spec *target = topology_failover(t, p);
	if (p->failover != FAILOVER_POOL) return UINT32_MAX;
	if (target == NULL) {
		topology_report_no_pool(t, p->failover_pool, at, r);
		return UINT32_MAX;
	}
	if (target == p) {
		report_error(r, at, AT_VALUE, "pool '%.80s' cannot take over from itself", p->name);
		return UINT32_MAX;
	}
	if (target->protocol != p->protocol)
		report_error(r, at, AT_VALUE, "pool '%.60s' speaks %s, not %s", target->name,
			     protocol_name(target->protocol), protocol_name(p->protocol));
	return (uint32_t)(target - t->pools);
}

/* Each walk follows the targets until their end, or to a pool that was seen: in an earlier walk
 * that is good, in this one a circle. */
void topology_check_failover(const struct topology *t, const struct node *nodes, struct report *r)
{
	uint32_t *targets = malloc((size_t)t->pool_count * 2 * sizeof(*targets));
	if (targets == NULL) {
		r->nomem = true;
		return;
	}
	uint32_t *walk = targets + t->pool_count;
	NODE_FOREACH (n, nodes) {
		targets[n->index] = failover_target(t, &t->pools[n->index], n, r);
		walk[n->index] = UINT32_MAX;
	}
	NODE_FOREACH (n, nodes) {
		uint32_t i = n->index;
		while (i != UINT32_MAX && walk[i] == UINT32_MAX) {
			walk[i] = n->index;
			i = targets[i];
		}
		if (i == UINT32_MAX || walk[i] != n->index) continue;
		report_error(r, node_get(n, "failover"), AT_VALUE,
			     "the failover of pool '%.80s' leads in a circle through pool '%.80s'",
			     t->pools[n->index].name, t->pools[i].name);
	}
	free(targets);
}

/* --- transitions ------------------------------------------------------------------------------ */

#define FIELD(name) .offset = offsetof(struct transition, name)

static const struct setting transition_items[] = {
	{ .key = "lease_ms", .type = SETTING_U32, FIELD(lease_ms), .max = NUMBER_MAX },
	{ .key = "next", .type = SETTING_READER },
};
#undef FIELD

static const struct settings transition_settings = {
	.title = "transition",
	.items = transition_items,
	.count = sizeof(transition_items) / sizeof(transition_items[0]),
};

static void transition_check_next(const struct pool_spec *p, const struct node *at,
				  struct report *r)
{
	const struct pool_spec *next = p->transition->next;
	if (next->protocol != p->protocol)
		report_error(r, at, AT_VALUE, "pool '%.60s' cannot change its protocol", p->name);
	if (next->server_connections != p->server_connections || next->redis_db != p->redis_db)
		report_error(r, at, AT_VALUE,
			     "pool '%.60s': only servers and ring may change in a transition",
			     p->name);
	if (p->transition->rules.storage && p->protocol != PROTOCOL_REDIS)
		report_error(r, at, AT_VALUE, "pool '%.60s': mode storage is for Redis pools only",
			     p->name);
}

static void transition_read(struct pool_spec *p, const struct node *n, struct report *r)
{
	if (!settings_expect(n, NODE_MAP, "transition", r)) return;
	struct transition *t = p->transition = calloc(1, sizeof(*t));
	if (t == NULL || (t->next = calloc(1, sizeof(*t->next))) == NULL ||
	    !settings_defaults(&transition_rules_settings, &t->rules, SETTING_NATIVE)) {
		r->nomem = true;
		return;
	}
	settings_read_beside(&transition_rules_settings, &t->rules, n, &transition_settings, r);
	settings_read_beside(&transition_settings, t, n, &transition_rules_settings, r);
	const struct node *next = node_get(n, "next");
	if (next == NULL) {
		report_error(r, n, AT_VALUE, "'next' is missing");
		return;
	}
	pool_read_native(t->next, p->name, next, NULL, r);
	transition_check_next(p, next, r);
}

static void topology_read_transitions(struct topology *t, const struct node *map, struct report *r)
{
	if (!settings_expect(map, NODE_MAP, "transitions", r)) return;
	NODE_FOREACH (child, map) {
		/* ours, so that it may be written to */
		struct pool_spec *p = NULL;
		for (uint32_t i = 0; i < t->pool_count; i++)
			if (t->pools[i].name && strcmp(t->pools[i].name, child->key) == 0)
				p = &t->pools[i];
		if (p == NULL) topology_report_no_pool(t, child->key, child, r);
		else if (p->transition == NULL) transition_read(p, child, r);
	}
}

/* --- a whole message -------------------------------------------------------------------------- */

static void topology_read(struct topology *t, const struct node *doc, struct report *r)
{
	if (!settings_expect(doc, NODE_MAP, "topology", r)) return;
	settings_read(&topology_settings, t, doc, r);
	topology_read_pools(t, doc, node_get(doc, "pools"), r);
	const struct node *transitions = node_get(doc, "transitions");
	if (transitions != NULL) topology_read_transitions(t, transitions, r);
	const struct node *routes = node_get(doc, "routes");
	if (routes != NULL) topology_read_routes(t, routes, r);
}

enum err topology_read_json(const json_t *doc, struct topology **topology_out, struct report *r)
{
	*topology_out = NULL;
	struct node *root = node_from_json(doc, r);
	struct topology *t = topology_new();
	if (t == NULL) r->nomem = true;
	if (root != NULL && t != NULL) topology_read(t, root, r);
	node_free(&root);

	enum err e = report_outcome(r, NULL);
	if (e != ERR_NONE) topology_free(&t);
	*topology_out = t;
	return e;
}

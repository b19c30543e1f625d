#include <assert.h>
#include <stdlib.h>

#include "agent/mover_impl.h"
#include "common/clock.h"
#include "common/topology_ring.h"

/* --- servers ---------------------------------------------------------------------------------- */

/* Where the data is: the same for both rings, whatever the server is called there. */
static bool same_place(const struct mover_node *n, const struct server_spec *s, uint32_t db)
{
	assert(n->host && s->host);
	return n->port == s->port && n->db == db && !strcmp(n->host, s->host);
}

static struct mover_node *node_of(struct mover *m, const struct pool_spec *pool,
				  const struct server_spec *s)
{
	uint32_t db = pool->protocol == PROTOCOL_REDIS ? pool->redis_db : 0;
	for (uint32_t i = 0; i < m->node_count; i++) {
		if (!same_place(&m->nodes[i], s, db)) continue;
		/* For proxies its keys would move from itself to itself, and be deleted there. */
		if (strcmp(m->nodes[i].name, s->ring_name) != 0)
			mover_fail(m, &m->nodes[i], "it is the same server as %s", s->ring_name);
		return &m->nodes[i];
	}
	struct mover_node *n = &m->nodes[m->node_count++];
	*n = (struct mover_node){ .m = m,
				  .name = s->ring_name,
				  .host = s->host,
				  .port = s->port,
				  .db = db,
				  .auth_user = pool->auth_user,
				  .auth_password = pool->auth_password };
	LIST_INIT(&n->busy);
	return n;
}

static bool is_lost(const struct mover_plan *plan, const char *server)
{
	for (uint32_t i = 0; i < plan->lost_count; i++)
		if (!strcmp(plan->lost[i], server)) return true;
	return false;
}

static bool add_pool(struct mover *m, int which, const struct mover_plan *plan)
{
	const struct pool_spec *pool = &m->pools->pools[which];
	m->node_of[which] = calloc(pool->server_count + 1, sizeof(*m->node_of[which]));
	if (!m->node_of[which]) return false;
	for (uint32_t i = 0; i < pool->server_count; i++) {
		const struct server_spec *s = &pool->servers[i];
		struct mover_node *n = node_of(m, pool, s);
		m->node_of[which][i] = (uint32_t)(n - m->nodes);
		n->in[which] |= !(s->ejected && pool->failover == FAILOVER_RING);
		/* Only a source may be dead: nothing can be moved to a target that is. */
		if (which == (m->back ? 1 : 0)) n->lost |= is_lost(plan, s->ring_name);
	}
	m->hash_random[which] = pool->distribution == RING_RANDOM;
	return pool_ring_build(pool, &m->rings[which]) == ERR_NONE;
}

/* One topology of both pools, for its deep copy. */
static struct topology *copy_pools(const struct mover_plan *plan)
{
	struct pool_spec pools[2] = { *plan->from, *plan->to };
	char names[2][8] = { "from", "to" };
	for (int i = 0; i < 2; i++) {
		pools[i].name = names[i];
		pools[i].transition = NULL;
		pools[i].failover_pool = NULL; /* names a pool that the copy has not */
		if (pools[i].failover == FAILOVER_POOL) pools[i].failover = FAILOVER_ERROR;
	}
	struct topology both = { .lineage = (char *)"", .pools = pools, .pool_count = 2 };
	return topology_copy(&both);
}

bool mover_nodes_build(struct mover *m, const struct mover_plan *plan)
{
	m->pools = copy_pools(plan);
	if (!m->pools) return false;
	uint32_t most = m->pools->pools[0].server_count + m->pools->pools[1].server_count;
	m->nodes = calloc(most + 1, sizeof(*m->nodes));
	return m->nodes && add_pool(m, 0, plan) && add_pool(m, 1, plan);
}

void mover_nodes_free(struct mover *m)
{
	for (uint32_t i = 0; i < m->node_count; i++) {
		struct mover_node *n = &m->nodes[i];
		server_conn_free(&n->conn);
		server_conn_free(&n->sink);
		server_conn_free(&n->list);
		server_conn_free(&n->pulse);
		struct mover_key *k;
		while ((k = LIST_FIRST(&n->busy))) {
			LIST_REMOVE(k, link);
			free(k);
		}
		spool_fini(&n->spool);
	}
	m->node_count = 0;
	free(m->nodes);
	m->nodes = NULL;
	for (int i = 0; i < 2; i++) {
		free(m->node_of[i]);
		m->node_of[i] = NULL;
		ring_free(&m->rings[i]);
	}
	topology_free(&m->pools);
}

/* --- keys ------------------------------------------------------------------------------------- */

static struct mover_node *owner(const struct mover *m, int which, struct slice key)
{
	if (m->hash_random[which]) return NULL;
	uint32_t server = ring_lookup(m->rings[which], key, NULL);
	return server == RING_NONE ? NULL : &m->nodes[m->node_of[which][server]];
}

bool mover_key_moves(const struct mover *m, struct slice key, struct mover_node **src_out,
		     struct mover_node **dst_out)
{
	*src_out = owner(m, m->back, key);
	*dst_out = owner(m, !m->back, key);
	return *src_out && *dst_out && *src_out != *dst_out;
}

/* --- connections ------------------------------------------------------------------------------ */

bool mover_node_is_listed(const struct mover_node *n)
{
	const struct mover *m = n->m;
	bool target = m->kind == MOVER_SCRUB_TARGETS;
	int role = target ? !m->back : m->back; /* which of the two pools it has to be in */
	return n->in[role] && !n->lost;
}

static void node_on_up(void *ctx)
{
	struct mover_node *n = ctx;
	if (n->m->ops->identify) n->m->ops->identify(n);
	else mover_node_check(n);
}

static void node_on_down(void *ctx, const char *why)
{
	struct mover_node *n = ctx;
	n->identity[0] = '\0'; /* it may have been started anew */
	mover_error(n, "%s", why);
	if (n->scan == SCAN_ASKED || n->scan == SCAN_LISTED) mover_node_restart(n);
}

static void sink_on_down(void *ctx, const char *why)
{
	mover_error(ctx, "%s", why);
}

static void list_on_down(void *ctx, const char *why)
{
	struct mover_node *n = ctx;
	mover_error(n, "listing its keys: %s", why);
	if (n->scan == SCAN_ASKED) mover_node_restart(n);
}

static void pulse_on_down(void *ctx, const char *why)
{
	struct mover_node *n = ctx;
	(void)why; /* the other connections tell */
	n->pulsed_us = 0;
}

void mover_node_connect(struct mover_node *n)
{
	static const struct server_conn_events node = { node_on_up, node_on_down },
					       sink = { NULL, sink_on_down },
					       list = { NULL, list_on_down },
					       pulse = { NULL, pulse_on_down };
	struct mover *m = n->m;
	struct server_peer peer = { .host = n->host,
				    .port = n->port,
				    .protocol = m->protocol,
				    .auth_user = n->auth_user,
				    .auth_password = n->auth_password,
				    .db = n->db,
				    .timeout_ms = MOVER_TIMEOUT_MS,
				    .answer_max = MOVER_ANSWER_MAX };
	/* DUMP's form may be larger than the value in memory, but not by much. */
	if (m->move_max_bytes && m->move_max_bytes < MOVER_ANSWER_MAX / 4)
		peer.answer_max = (size_t)m->move_max_bytes * 2 + (1 << 20);
	n->conn = server_conn_new(m->loop, &peer, &node, n);
	if (m->kind == MOVER_MOVE) n->sink = server_conn_new(m->loop, &peer, &sink, n);
	bool listed = mover_node_is_listed(n);
	if (listed && m->protocol == PROTOCOL_MEMCACHED)
		n->list = server_conn_new(m->loop, &peer, &list, n);
	if (listed || m->kind == MOVER_MOVE) n->pulse = server_conn_new(m->loop, &peer, &pulse, n);
	rate_init(&n->rate, clock_now_us());
}

/* --- doubles ---------------------------------------------------------------------------------- */

/* Two names for one server would make it the source and the target of the same key: deleting the
 * copy at the one would delete the only one. */
static bool same_server(const struct mover_node *a, const struct mover_node *b)
{
	if (a->db != b->db) return false;
	if (a->identity[0] && !strcmp(a->identity, b->identity)) return true;
	const struct net_addr *x = server_conn_addr(a->conn), *y = server_conn_addr(b->conn);
	return x && y && net_addr_equal(x, y);
}

void mover_node_check(struct mover_node *n)
{
	struct mover *m = n->m;
	for (uint32_t i = 0; i < m->node_count; i++) {
		struct mover_node *other = &m->nodes[i];
		if (other == n || !other->conn || !same_server(n, other)) continue;
		mover_fail(m, n, "it is the same server as %s", other->name);
		return;
	}
}

bool mover_nodes_ready(const struct mover *m)
{
	for (uint32_t i = 0; i < m->node_count; i++) {
		const struct mover_node *n = &m->nodes[i];
		if (!n->conn) continue;
		if (m->ops->identify ? !n->identity[0] : !server_conn_addr(n->conn)) return false;
	}
	return true;
}

/* --- pulse ------------------------------------------------------------------------------------ */

static void pulse_on_answer(void *ctx, const struct server_answer *a)
{
	struct mover_node *n = ctx;
	if (!a->why && n->pulsed_us)
		rate_sample(&n->rate, clock_now_us() - n->pulsed_us,
			    n->m->limits.latency_max_ms * 1000ull);
	n->pulsed_us = 0;
}

void mover_node_pulse(struct mover_node *n, uint64_t now_us)
{
	if (!n->pulse || !server_conn_up(n->pulse) || now_us < n->pulse_at_us) return;
	n->pulse_at_us = now_us + MOVER_PULSE_US;
	if (n->pulsed_us) {
		/* No answer to the last one yet: that is news, too. */
		rate_sample(&n->rate, now_us - n->pulsed_us, n->m->limits.latency_max_ms * 1000ull);
		return;
	}
	n->pulsed_us = now_us;
	bool redis = n->m->protocol == PROTOCOL_REDIS;
	server_conn_ask(n->pulse, redis ? SERVER_RESP : SERVER_META,
			redis ? SLICE("*1\r\n$4\r\nPING\r\n") : SLICE("version\r\n"),
			pulse_on_answer, n);
}

/* dual.h - DualRoute: a pool on its way from one ring to another.
 *
 * Takes the place of the pool's PoolRoute while the pool is in transition. A key whose two owners
 * are the same server takes the plain path. For a key that moves the phase decides what is asked
 * of which owner, in which order: proxy/routes/dual_mc.c and dual_redis.c have a table each.
 */
#ifndef TWINRING_PROXY_ROUTES_DUAL_H
#define TWINRING_PROXY_ROUTES_DUAL_H

#include "proxy/route.h"

/* `plain`, the PoolRoute of a pool that has a `next`; taken, also on failure. NULL: no memory. */
struct route *route_dual_new(struct route *plain);

/* Where a key that moves stands. */
struct dual_way {
	const struct server_pool *pool; /* as it is; pool->next as it is to become          */
	const struct transition *transition;
	enum phase phase;
	bool fenced;	    /* this proxy has lost touch: it may act on moving keys no more */
	struct dest *a, *b; /* authority, and the other owner; see common/transition.h   */
	bool a_out;	    /* ejected: not to be asked                                  */
	bool b_out;	    /* ejected, or lost for good: not to be asked                */
	bool b_lost;	    /* dead for good: what it had counts as absent               */
};

/* The way of any key of `r`, a DualRoute. true: it moves, and is not in STABLE or an unfenced
 * PREPARE. false: it is served by `a`, which is also `b`; NULL: there is no server for it. */
bool dual_way_of(const struct route *r, struct view *view, struct slice key,
		 struct dual_way *way_out);

/* Of the pool, on this worker. */
void dual_count(const struct server_pool *pool, const struct core *core, enum pool_metric m);

/* A request for a key that moves, in any phase but STABLE and an unfenced PREPARE. Exactly one
 * answer comes, later. */
void dual_mc_send(const struct dual_way *way, struct request *req);
void dual_redis_send(const struct dual_way *way, struct request *req);

/* A request for a key that stays, at `a`, behind all that its client has asked for before. */
void dual_redis_wait(const struct transition *t, const struct server_pool *pool, struct dest *a,
		     struct request *req);
/* What the worker's imports keep, at its end. */
void imports_free(struct core *core);

/* A request with several keys, or for all servers: see route_type.send_keys. */
bool dual_redis_send_keys(const struct route *r, struct request *req, const struct command *cmd);

#endif

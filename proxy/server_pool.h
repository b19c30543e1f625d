/* server_pool.h - one pool as a snapshot holds it: its servers, its ring, its codec, its counters.
 *
 * Ownership: part of a snapshot, built by main, immutable, read by every worker until the snapshot
 * dies. `spec` points into the snapshot's topology.
 */
#ifndef TWINRING_PROXY_SERVER_POOL_H
#define TWINRING_PROXY_SERVER_POOL_H

#include "common/net.h"
#include "common/topology.h"
#include "proxy/stats.h"

struct route;

struct pool_server {
	const struct server_spec *spec;
	struct net_addr addr; /* len 0: the name does not resolve (yet)                       */
	uint64_t id;	      /* same id: same server, address and credentials; never reused  */
	struct stats_server *stats;
};

struct server_pool {
	struct snapshot *snapshot; /* that it is part of */
	const struct pool_spec *spec;
	const struct codec *codec;
	struct codec_limits limits;
	struct ring *ring;
	struct pool_server *servers; /* [spec->server_count]                         */
	uint32_t dest_base;	     /* server i is destination dest_base + i        */
	uint32_t lanes;		     /* connections a worker may hold to each server */
	struct stats_pool *stats;
	const struct server_pool *next; /* as it is to become; NULL: stable                      */
	bool in_transition;		/* it, or the pool that it is the next of, is          */
	const struct route *failover;	/* takes the keys of ejected servers; NULL: none does */
};

/* Keep the pool's snapshot alive without a view: a destination may outlive the newest view that
 * names it, when an older one still has a request with it. Any thread. */
void server_pool_hold(const struct server_pool *p);
void server_pool_release(const struct server_pool *p);

#endif

/* topology_ring.h - the ring of a pool, as every program of ours builds it. */
#ifndef TWINRING_COMMON_TOPOLOGY_RING_H
#define TWINRING_COMMON_TOPOLOGY_RING_H

#include "common/ring.h"
#include "common/topology.h"

/* Server numbers in the ring are places in pool->servers; ejected ones own nothing,
 * unless the pool's failover leaves their keys with them. Pure. The
 * caller frees the ring. */
enum err pool_ring_build(const struct pool_spec *pool, struct ring **ring_out);

/* Its keys are others' now: it is ejected, and the pool lets keys move along the ring. */
bool pool_server_is_off_ring(const struct pool_spec *pool, const struct server_spec *s);

#endif

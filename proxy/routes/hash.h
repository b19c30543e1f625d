/* hash.h - PoolRoute: the ring of one pool decides which of its servers gets a key. */
#ifndef TWINRING_PROXY_ROUTES_HASH_H
#define TWINRING_PROXY_ROUTES_HASH_H

#include "proxy/route.h"

/* `pool` belongs to the snapshot that the route will be part of. NULL: out of memory. */
struct route *route_hash_new(const struct server_pool *pool);

/* The pieces, for handles above that choose the server themselves. `i` is one of the pool's
 * servers, or RING_NONE. */
void route_hash_send_to(const struct route *r, struct request *req, uint32_t i);
const struct route *route_hash_leaf(const struct route *r, uint32_t i);

#endif

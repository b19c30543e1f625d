#include "common/topology_ring.h"

#include <stdlib.h>

bool pool_server_is_off_ring(const struct pool_spec *pool, const struct server_spec *s)
{
	return s->ejected && !s->held && pool->failover == FAILOVER_RING;
}

enum err pool_ring_build(const struct pool_spec *pool, struct ring **ring_out)
{
	struct ring_server *servers = calloc(pool->server_count + 1, sizeof(*servers));
	if (!servers) return ERR_NOMEM;
	for (uint32_t i = 0; i < pool->server_count; i++) {
		const struct server_spec *s = &pool->servers[i];
		servers[i] = (struct ring_server){ .name = s->name,
						   .host = s->host,
						   .port = s->port,
						   .weight = s->weight,
						   .ejected = pool_server_is_off_ring(pool, s) };
	}
	struct ring_spec spec = { .kind = pool->distribution,
				  .hash = pool->hash,
				  .hash_tag = { pool->hash_tag[0], pool->hash_tag[1] },
				  .servers = servers,
				  .server_count = pool->server_count };
	enum err e = ring_build(&spec, ring_out);
	free(servers);
	return e;
}

#include "proxy/where.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/topology_ring.h"

static void where_one(const struct pool_spec *pool, const struct ring *ring, struct slice key)
{
	uint64_t rng = 1;
	uint32_t i = ring_lookup(ring, key, &rng);
	fwrite(key.p, 1, key.n, stdout);
	printf("\t%s\n", i == RING_NONE ? "-" : pool->servers[i].ring_name);
}

int where_print(const struct topology *t, const struct options *o)
{
	const struct pool_spec *pool = topology_pool(t, slice_of(o->where_pool));
	if (!pool) {
		fprintf(stderr, "no pool '%s'\n", o->where_pool);
		return 1;
	}
	struct ring *ring;
	if (pool_ring_build(pool, &ring) != ERR_NONE) {
		fprintf(stderr, "the ring of pool '%s' cannot be built\n", o->where_pool);
		return 1;
	}
	for (uint32_t i = 0; i < o->where_key_count; i++)
		where_one(pool, ring, slice_of(o->where_keys[i]));
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	while (o->where_key_count == 0 && (n = getline(&line, &cap, stdin)) > 0) {
		if (line[n - 1] == '\n') n--;
		where_one(pool, ring, (struct slice){ line, (size_t)n });
	}
	free(line);
	ring_free(&ring);
	return ferror(stdout) || fflush(stdout) != 0;
}

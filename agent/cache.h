/* cache.h - the last good tree on disk, so that an agent can start when the store is away.
 *
 * Everything read back is validated as if it came from the tree. Blocks on the disk; small.
 */
#ifndef TWINRING_AGENT_CACHE_H
#define TWINRING_AGENT_CACHE_H

#include "agent/reader.h"

struct cached_pool {
	char *name;
	struct pool_state state;
	struct topology *body, *next; /* next: the other ring's of a transition, or NULL */
};

/* Failure is only logged. */
void cache_save(const char *path, const json_t *topology, const struct reader_pool *pools,
		uint32_t count);
/* false: nothing of use. What it hands out belongs to the caller. */
bool cache_load(const char *path, struct cached_pool **pools_out, uint32_t *count_out,
		json_t **routes_out, uint64_t *version_out);

#endif

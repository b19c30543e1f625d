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

/* What is in the cache; its parts belong to whoever asked. */
struct cached_tree {
	struct cached_pool *pools;
	uint32_t count;
	json_t *routes; /* or NULL */
	uint64_t version;
	uint64_t age_s; /* since the tree was last known to say so */
};

enum err cache_save(const char *path, const json_t *topology, const struct reader_pool *pools,
		    uint32_t count, struct err_at *where_out);
/* What was saved last is what the tree says now. */
void cache_touch(const char *path);
/* Of the two generations the newest that is whole and good, or the one before when that is further
 * on: somebody put an old file back. false: nothing of use. What is wrong is logged. */
bool cache_load(const char *path, struct cached_tree *out);

#endif

/* resolver_pool.h - the helper threads of the resolver: jobs in, answers out. Private to it.
 *
 * Threads: helpers touch only jobs and what the pool's lock guards. A helper that hangs in a
 * lookup outlives resolver_pool_free(); the pool's memory goes with the last of them.
 */
#ifndef TWINRING_COMMON_RESOLVER_POOL_H
#define TWINRING_COMMON_RESOLVER_POOL_H

#include "common/list.h"
#include "common/resolver.h"

struct resolver_job {
	STAILQ_ENTRY(resolver_job) link;
	uint32_t id;
	uint64_t serial; /* tells an id's earlier use from the present one */
	uint16_t port;
	bool ok;
	const char *why; /* static, when not ok */
	uint32_t count;
	struct net_addr addrs[RESOLVER_ADDRS_MAX];
	char host[];
};

STAILQ_HEAD(resolver_jobs, resolver_job);

struct resolver_pool;

struct resolver_pool *resolver_pool_new(resolver_lookup_fn lookup);
/* Readable when there are answers. Owned by the pool. */
int resolver_pool_fd(const struct resolver_pool *p);
/* Takes the job over. */
void resolver_pool_submit(struct resolver_pool *p, struct resolver_job *job);
/* Hands all answers over; the caller frees each with free(). */
void resolver_pool_collect(struct resolver_pool *p, struct resolver_jobs *out);
void resolver_pool_free(struct resolver_pool *p);

#endif

/* jobs_check.h - ask every server of the ring that is to be whether it can take its keys.
 *
 * Also those of the ring that is are asked, as the way may lead back; but a dead one of them is no
 * reason not to replace it.
 *
 * Threads: the loop's. Ownership: the pools are borrowed for the call.
 */
#ifndef TWINRING_AGENT_JOBS_CHECK_H
#define TWINRING_AGENT_JOBS_CHECK_H

#include "common/io.h"
#include "common/topology.h"

struct jobs_check;

/* ok: every target can be used. promote: and given leases on keys. Called once, later; the check
 * may be freed in it. */
typedef void (*jobs_check_fn)(void *ctx, bool ok, bool promote, const char *why);

struct jobs_check *jobs_check_new(struct io_loop *l, const struct pool_spec *ring,
				  const struct pool_spec *next, jobs_check_fn done, void *ctx);
/* Sets *c to NULL; NULL is a no-op. */
void jobs_check_free(struct jobs_check **c);

#endif

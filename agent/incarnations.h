/* incarnations.h - notice that a server was started anew while keys move.
 *
 * Each server is asked every few seconds who it is. The first answer counts as what it was: a
 * successor of a dead coordinator begins anew, which is why Redis also keeps a mark of its own.
 *
 * Threads: the loop's; on_restart comes from the loop. Ownership: pools are borrowed for the call.
 */
#ifndef TWINRING_AGENT_INCARNATIONS_H
#define TWINRING_AGENT_INCARNATIONS_H

#include "common/io.h"
#include "common/pool_state.h"
#include "common/topology.h"

struct incarnations;

struct incarnations *
incarnations_new(struct io_loop *l,
		 void (*on_restart)(void *ctx, const char *server, const char *why), void *ctx);
/* Watch the servers of both pools, but for those that are out or lost, and no others. Cheap when
 * they are the same as before. */
void incarnations_watch(struct incarnations *n, const struct pool_state *state,
			const struct pool_spec *ring, const struct pool_spec *next);
/* What they are now is what they were. */
void incarnations_forget(struct incarnations *n);
/* Sets *n to NULL; NULL is a no-op. */
void incarnations_free(struct incarnations **n);

#endif

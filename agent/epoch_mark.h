/* epoch_mark.h - tell all Redis nodes of a transition which imports are valid from now on.
 *
 * Every script that imports or deletes moving keys compares its mark with the key "twinring:epoch"
 * and does nothing when they differ, so what was sent under an older mark, by whomever and however
 * long ago, has no effect any more. Plain commands that a dead proxy left in a stalled node's
 * socket are discarded by closing its connection.
 *
 * Threads:   the loop's; nothing blocks.
 * Ownership: the plan is copied. `done` is called once, later; the errand is gone when it returns.
 */
#ifndef TWINRING_AGENT_EPOCH_MARK_H
#define TWINRING_AGENT_EPOCH_MARK_H

#include "common/io.h"
#include "common/topology.h"

enum epoch_errand {
	EPOCH_WRITE,	      /* set the key, unless it is a higher mark already            */
	EPOCH_WRITE_AND_KILL, /* ... then close all normal connections but our own and those
			       * of `spared` names, until none is left                      */
	EPOCH_CLEAN,	      /* delete the key if it is `mark`, and the hashes of all marks */
};

struct epoch_mark_plan {
	enum epoch_errand errand;
	const struct pool_spec *from, *to; /* their servers are the nodes                  */
	const char *mark;
	const char *const *spared; /* client names of live proxies                         */
	uint32_t spared_count;
	const char *const *lost; /* ring names of nodes that are dead for good: left out   */
	uint32_t lost_count;
	uint32_t timeout_ms; /* for each node to get on with it; 0: 10 s                   */
};

struct epoch_mark;
/* ok: every node has said yes. `why` names the first that did not: "cache1: ..."; borrowed. */
typedef void (*epoch_mark_fn)(void *ctx, bool ok, const char *why);

struct epoch_mark *epoch_mark_start(struct io_loop *l, const struct epoch_mark_plan *plan,
				    epoch_mark_fn done, void *ctx);
/* `done` is not called any more. Sets *e to NULL; NULL is a no-op. Not from within `done`. */
void epoch_mark_cancel(struct epoch_mark **e);

#endif

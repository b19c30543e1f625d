/* rejoin.h - empty a cache before it serves again: while it was out, it missed deletes.
 *
 * Memcached: flush_all. Redis: FLUSHDB of the pool's database, which FLUSHALL would exceed; with
 * the pool's user and password.
 *
 * Threads, ownership: as probe.h, and what it gives is a probe, to be cancelled as such. The
 * result is PROBE_GOOD when the server has said OK; its incarnation is not asked for.
 */
#ifndef TWINRING_AGENT_REJOIN_H
#define TWINRING_AGENT_REJOIN_H

#include "agent/probe.h"

/* t->kind: PROBE_MEMCACHED or PROBE_REDIS. */
struct probe *rejoin_flush(struct io_loop *l, const struct probe_target *t, probe_done_fn done,
			   void *ctx);

#endif

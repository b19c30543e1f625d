/* election.h - one of many: whoever has the lowest number in a directory of ephemeral sequential
 * nodes. Each watches only the one before it, so that a death wakes one successor, not all.
 *
 * The recipe is ZooKeeper's own (leader election). Threads: the agent's loop.
 */
#ifndef TWINRING_AGENT_ELECTION_H
#define TWINRING_AGENT_ELECTION_H

#include "agent/store.h"

struct election;

/* `dir` below the chroot; `id` is told to people. on_change: elected or no longer. */
struct election *election_new(struct io_loop *l, struct store *s, const char *dir, const char *id,
			      void (*on_change)(void *ctx, bool elected), void *ctx);
bool election_won(const struct election *e);
void election_session(struct election *e, enum store_session session);
/* The store says that `path` changed. */
void election_changed(struct election *e, const char *path);
void election_free(struct election **e);

#endif

/* keeper.h - nodes that this agent wants to exist: made, kept up to date, made again after a new
 * session, and removed when no longer wanted.
 *
 * Threads: the agent's loop. Errors: retried until they succeed.
 */
#ifndef TWINRING_AGENT_KEEPER_H
#define TWINRING_AGENT_KEEPER_H

#include "agent/store.h"

struct keeper;

struct keeper *keeper_new(struct io_loop *l, struct store *s);
/* The node at `path` shall hold `data`. Nothing is written when it does already. */
void keeper_set(struct keeper *k, const char *path, struct slice data, bool ephemeral);
/* The node shall exist; what is in it is not our affair once it does. */
void keeper_found(struct keeper *k, const char *path, struct slice data);
/* It shall not exist. */
void keeper_unset(struct keeper *k, const char *path);
/* For each wanted path that begins with `prefix`: fn may unset it. */
void keeper_each(struct keeper *k, const char *prefix, void (*fn)(void *ctx, const char *path),
		 void *ctx);
bool keeper_wants(const struct keeper *k, const char *path);
/* Has it been there since the store was last connected, though perhaps with older content? */
bool keeper_has(const struct keeper *k, const char *path);
void keeper_session(struct keeper *k, enum store_session session);
void keeper_free(struct keeper **k);

#endif

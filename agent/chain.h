/* chain.h - several writes, one after the other, each only if the one before succeeded.
 *
 * The last write of a chain is the one that takes effect (a state, by compare-and-set); those
 * before it only prepare (a ring body, what a successor needs to know), so a chain may stop
 * anywhere.
 */
#ifndef TWINRING_AGENT_CHAIN_H
#define TWINRING_AGENT_CHAIN_H

#include "agent/store.h"

struct chain;

struct chain *chain_new(struct store *s, void (*done)(void *ctx, enum store_rc rc), void *ctx);
/* Create a node that never changes; if it is there already, good. */
void chain_create(struct chain *c, const char *path, struct slice data, uint32_t flags);
/* Compare-and-set; a `version` below zero creates the node, which must not exist. */
void chain_put(struct chain *c, const char *path, struct slice data, int32_t version);
/* Begin. `done` gets STORE_OK or what stopped it, and the chain is gone. */
void chain_run(struct chain *c);

#endif

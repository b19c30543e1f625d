/* coordinator.h - the elected agent's work: specs become rings and states, votes become verdicts.
 *
 * It holds no truth of its own. Each pass looks at the tree as the mirror shows it, decides, and
 * writes at most one change per pool, whose last write is a compare-and-set of pools/P/state. A
 * successor, or this one after a restart, does the same from the same nodes. A spec that is refused
 * leaves the state untouched; why is written to pools/P/status.
 *
 * Threads: the agent's loop.
 */
#ifndef TWINRING_AGENT_COORDINATOR_H
#define TWINRING_AGENT_COORDINATOR_H

#include <jansson.h>

#include "agent/store.h"

struct coordinator;

/* A pool as this very agent has it, from the tree or from its disk. */
struct coordinator_view {
	const char *lineage;
	uint64_t epoch;	     /* a tree that says less was restored, or made anew */
	const char *problem; /* why the tree's state is not followed; NULL: it is */
};

struct coordinator_events {
	/* Something was decided and written: for webhooks and counters. `server` may be NULL. */
	void (*on_decision)(void *ctx, const char *what, const char *pool, const char *server,
			    const char *why);
	/* What this agent itself follows; false: it knows nothing of the pool. May be NULL. */
	bool (*in_force)(void *ctx, const char *pool, struct coordinator_view *out);
	/* See warmth_percent(). Only this agent's own proxies are asked: a sample of all, so that
	 * no other agent has to write to the store for it. A key moves for all of them at once. May
	 * be NULL. */
	int (*hit_percent)(void *ctx, const char *pool);
	void *ctx;
};

/* ring_grace_ms: ring bodies are deleted when no state has named them for so long. */
struct coordinator *coordinator_new(struct io_loop *l, struct store *s, const char *agent_id,
				    uint32_t ring_grace_ms,
				    const struct coordinator_events *events);
/* Elected, or no longer. */
void coordinator_elect(struct coordinator *c, bool elected);
void coordinator_session(struct coordinator *c, enum store_session session);
/* The store says that `path` changed. */
void coordinator_changed(struct coordinator *c, const char *path);
void coordinator_free(struct coordinator **c);

#endif

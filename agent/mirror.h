/* mirror.h - what the store says, at hand: nodes are read when first asked for, and again whenever
 * they change.
 *
 * It turns asynchronous reading inside out: a decision is a plain function that asks the mirror for
 * all it needs, gives up when something is still pending, and is simply run again when on_change
 * says that something arrived. Decisions made on what is a moment old are harmless as long as they
 * are written by compare-and-set with the version that was seen.
 *
 * Threads: the agent's loop. Ownership: what it returns is good until the next turn of the loop.
 */
#ifndef TWINRING_AGENT_MIRROR_H
#define TWINRING_AGENT_MIRROR_H

#include "agent/store.h"

enum mirror_state {
	MIRROR_PENDING, /* not read yet: come back later         */
	MIRROR_NONE,	/* there is no such node                 */
	MIRROR_OK,
};

struct mirror_node {
	enum mirror_state state;
	struct slice data; /* mirror_data()     */
	struct store_stat stat;
	char **names; /* mirror_list(): sorted */
	uint32_t count;
};

struct mirror;

/* on_change is called soon after anything that was asked for has changed. */
struct mirror *mirror_new(struct io_loop *l, struct store *s, void (*on_change)(void *ctx),
			  void *ctx);
const struct mirror_node *mirror_data(struct mirror *m, const char *path);
const struct mirror_node *mirror_list(struct mirror *m, const char *path);
/* What is known of it is not enough: pending until it has been read from now on. For what must not
 * be older than a write of our own that has just succeeded. */
void mirror_refresh(struct mirror *m, const char *path);
/* From here on a new round: what is not asked for until mirror_sweep() is forgotten. */
void mirror_mark(struct mirror *m);
void mirror_sweep(struct mirror *m);
/* The store says that `path` changed; NULL: that all may have. */
void mirror_changed(struct mirror *m, const char *path);
void mirror_free(struct mirror **m);

#endif

/* mover.h - a background job over all servers of a pool on its way from one ring to another.
 *
 * A key moves when its owners by the two rings are different servers. Two names for one server are
 * not borne: a key would be its own copy, and be deleted as such. The source of a moving key is its
 * owner by `from`, the target its owner by `to`; with plan.back the other way round. Jobs look at
 * moving keys only.
 *
 * All jobs may be stopped at any time and started again: what is done already is found to be done.
 * A server that does not answer is waited for, however long, and told of in mover_describe(); a
 * job fails only of what waiting does not mend.
 *
 * Threads:   the loop's; nothing blocks.
 * Ownership: the plan is copied. The owner frees the job, from within any of its callbacks too.
 * Memory:    bounded: keys wait in a spool of limited size per server, values in flight stay
 *            within limits.bytes_held_max and what a source had in its answers by then.
 */
#ifndef TWINRING_AGENT_MOVER_H
#define TWINRING_AGENT_MOVER_H

#include <jansson.h>

#include "common/io.h"
#include "common/topology.h"

enum mover_kind {
	/* Delete what a target still holds of the keys that it is about to get. Before HOLD: no
	 * proxy may be using these keys there. */
	MOVER_SCRUB_TARGETS,
	/* Take every moving key to its target, as proxies do it at the same time: only during
	 * DUAL (back: DUAL-R). Redis: done when a whole scan of the sources finds none left. */
	MOVER_MOVE,
	/* Fails when a source holds any moving key. Changes nothing. */
	MOVER_CHECK_EMPTY,
	/* Delete what the sources still hold: when the transition is over. */
	MOVER_SCRUB_SOURCES,
	MOVER_KIND_MAX
};

enum { MOVER_BYTES_MAX = 64 << 20, MOVER_BIG_KEYS_MAX = 100 };

/* 0: no such limit. */
struct mover_limits {
	uint32_t keys_per_s;	 /* of each server that is scanned                           */
	uint64_t bytes_per_s;	 /* of values, for the whole job                             */
	uint64_t bytes_held_max; /* values that are at neither server; 0: MOVER_BYTES_MAX       */
	uint32_t latency_max_ms; /* halve the pace when a server takes longer for a PING; it is
				  * halved also when that takes twice as long as at first    */
};

struct mover_plan {
	enum mover_kind kind;
	const struct pool_spec *from, *to; /* the pool by the ring, and by the next one        */
	bool back;			   /* roles swapped                                    */
	const char *mark; /* Redis: what twinring:epoch must be; all but CHECK_EMPTY need it */
	uint64_t move_max_bytes; /* larger values are reported, not moved; 0: no such limit    */
	const char *const *lost; /* ring names of sources that are dead for good: not scanned  */
	uint32_t lost_count;
	struct mover_limits limits;
};

struct mover_big_key {
	const char *server; /* ring name */
	struct slice key;
	uint64_t bytes;
};

struct mover_events {
	/* Asked again and again: is the owner still sure to be the one that leads the transition?
	 * After "no" the job does nothing more and fails. A promotion that is made after another
	 * coordinator has gone on would bring back what is out of date. NULL: it always is. */
	bool (*may_go_on)(void *ctx);
	/* About once a second. */
	void (*on_progress)(void *ctx);
	/* Once for each, for the first MOVER_BIG_KEYS_MAX. */
	void (*on_big_key)(void *ctx, const struct mover_big_key *big);
	/* Once, later than mover_new(). `why` is borrowed for the call, "" when ok. */
	void (*on_done)(void *ctx, bool ok, const char *why);
};

/* Part of `why` when a node's mark is another one, or gone: somebody has to look. */
#define MOVER_MARK_GONE "is not in force there"

struct mover;

/* Callbacks that are NULL are not called. `events` must last as long as the job. */
struct mover *mover_new(struct io_loop *l, const struct mover_plan *plan,
			const struct mover_events *events, void *ctx);
/* What is under way is finished, nothing new begun. */
void mover_pause(struct mover *m, bool paused);
void mover_throttle(struct mover *m, const struct mover_limits *limits);
/* {kind, state, passes, scanned, found, moved, deleted, bytes, held, left, rate, eta_s, pace,
 * errors, last_error, big_key_count, big_keys: [{server, key, bytes}]}: a new reference. `left` and
 * `eta_s` are estimates, null when there is nothing to go by. */
json_t *mover_describe(const struct mover *m);
const char *mover_kind_name(enum mover_kind k);
/* Sets *m to NULL; NULL is a no-op. No callback comes any more. */
void mover_free(struct mover **m);

#endif

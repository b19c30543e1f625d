/* transition.h - a pool between two rings: what its coordinator does next.
 *
 * Pure: no I/O, no clock. All that is known goes in, one choice comes out: wait, and for what; the
 * next step; or the end. The choice rests on what the state says and on facts that anybody can
 * find out again, so that a successor goes on where a coordinator died.
 *
 * Rules (tests/model has the proofs). Each slice of the moving keys makes one legal move per step:
 *
 *	prepare>hold  hold>dual  dual>drain                         towards the new ring
 *	drain>dual  dual>hold  hold>hold-r  hold-r>dual-r  dual-r>drain-r      and back
 *	hold>prepare  only while the slice has never been in dual
 *
 * and only when all agents that count have acknowledged the step before, with one exception: back
 * to the phase just left needs no acknowledgement, as everybody is in one of the two. That is how
 * HOLD, in which nobody writes, ends by itself when somebody does not follow in time, and how an
 * operator leaves PREPARE, which routes as STABLE does, while a host is silent.
 *
 * Slices roll when there are many agents: at most one of them is in HOLD, and one in HOLD-R. On the
 * way forward, a slice in HOLD is one that never was in DUAL unless all that were are in HOLD.
 */
#ifndef TWINRING_AGENT_TRANSITION_H
#define TWINRING_AGENT_TRANSITION_H

#include "common/transition.h"

/* Errands at the servers. Each belongs to one step; a successor begins it anew. */
enum transition_job {
	JOB_CHECK, /* can the targets be used, and how?                            */
	JOB_SCRUB, /* delete what targets have of keys that are not theirs yet     */
	JOB_MARK,  /* Redis: a fresh epoch everywhere; kill the dead proxies' links */
	JOB_MOVE,  /* carry keys from source to target                             */
	JOB_EMPTY, /* is there nothing left at the sources that moves?             */
	JOB_SWEEP, /* a cache: delete what has been left at the sources            */
	TRANSITION_JOB_MAX
};

enum job_state { JOB_IDLE, JOB_RUNS, JOB_DONE, JOB_FAILED };

enum transition_wish { WISH_NONE, WISH_PAUSE, WISH_RESUME, WISH_ABORT };

struct transition_facts {
	/* What the state says. */
	enum phase phases[TRANSITION_SLICES];
	bool dirty, back, paused;
	bool storage; /* nothing may be lost                                       */
	bool redis;   /* imports need a mark                                       */
	bool roll;    /* slice by slice                                            */
	bool lost;    /* some servers are declared lost                            */
	/* What has happened. */
	bool acked;	 /* this step, by every agent that counts                       */
	bool trouble;	 /* a server is not the one it was: a person must look         */
	bool newly_lost; /* servers to be added to `lost`                           */
	bool restored;	 /* operators want the old ring again                        */
	enum transition_wish wish;
	enum job_state jobs[TRANSITION_JOB_MAX];
	bool promote; /* JOB_CHECK found that copies can be promoted                */
	/* Time, all in ms. */
	uint64_t step_ms;  /* since this step was first seen                        */
	uint64_t acked_ms; /* since it was acknowledged; 0 while it is not          */
	uint64_t retry_ms; /* HOLD is not tried again for so long                   */
	uint64_t hold_max_ms, dual_max_ms, drain_min_ms;
	int hit_percent; /* of reads of moving keys, at the targets: warmth.h; -1: unknown */
};

enum transition_move {
	MOVE_NONE,   /* wait                                             */
	MOVE_STEP,   /* publish phases, flags                            */
	MOVE_FINISH, /* the new ring is the ring                         */
	MOVE_RETURN, /* the old ring stays                               */
};

enum transition_wait {
	WAIT_NOTHING,
	WAIT_AGENTS,
	WAIT_PAUSED,
	WAIT_CHECK,
	WAIT_SCRUB,
	WAIT_RETRY,
	WAIT_MARK,
	WAIT_MOVE,
	WAIT_EMPTY,
	WAIT_DRAIN,
	WAIT_SWEEP,
	TRANSITION_WAIT_MAX
};

struct transition_choice {
	enum transition_move move;
	enum transition_wait wait; /* with MOVE_NONE */
	const char *why;	   /* with a move: static, for the log */
	enum phase phases[TRANSITION_SLICES];
	bool dirty, back, paused;
	bool new_mark;	   /* the mark that JOB_MARK wrote comes into force     */
	bool take_lost;	   /* and the newly lost                                */
	bool bounced;	   /* HOLD took too long: try again later, not at once  */
	bool wish_done;	   /* the wish was granted, or means nothing here       */
	unsigned jobs;	   /* bits of those that are to run now                 */
	uint64_t again_ms; /* ask again then at the latest; 0: when a fact changes */
};

void transition_decide(const struct transition_facts *f, struct transition_choice *out);

/* The mark of slices that are in DUAL (or DUAL-R) already stays when one more enters: does this
 * step need a fresh one? */
bool transition_needs_new_mark(const enum phase phases[TRANSITION_SLICES]);

/* May a slice go from `from` to `to`? dirty: it has been in DUAL. */
bool transition_legal(enum phase from, enum phase to, bool dirty);

/* "waits for agents" and the like: static. */
const char *transition_wait_text(enum transition_wait w);
const char *transition_job_name(enum transition_job j);
/* What the pool as a whole is in: the phase that most needs attention. */
enum phase transition_lead(const enum phase phases[TRANSITION_SLICES]);

#endif

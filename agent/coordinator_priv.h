/* coordinator_priv.h - what the coordinator's files share. */
#ifndef TWINRING_AGENT_COORDINATOR_PRIV_H
#define TWINRING_AGENT_COORDINATOR_PRIV_H

#include "agent/chain.h"
#include "agent/coordinator.h"
#include "agent/jobs.h"
#include "agent/mirror.h"
#include "agent/probe.h"
#include "agent/transition.h"
#include "agent/tree_path.h"
#include "agent/verdict.h"
#include "common/pool_state.h"
#include "common/spec.h"

/* A decision that is being written; told to the world once it is. */
struct decision {
	struct decision *next;
	char what[32], server[256], why[VERDICT_WHY_MAX];
};

/* A returning server that is being emptied, or has been. */
struct rejoining {
	struct rejoining *next;
	struct pool_work *work;
	char *server;
	struct probe *probe; /* NULL: done, see `clean` */
	bool clean;
	uint64_t retry_ms;
};

/* Who has acknowledged the state in force. */
struct barrier {
	bool pending; /* not known yet                                             */
	bool acked;   /* by everybody who counts                                   */
	uint32_t registered, missing, excluded;
	json_t *agents, *words; /* that it waits for, and why: the first ones       */
};

/* Of a transition, between two passes. Times by clock_boot_us(), in ms. */
struct walk {
	uint64_t epoch; /* this step ...                       */
	uint32_t step;
	uint64_t seen_ms;  /* ... was first seen then          */
	uint64_t acked_ms; /* ... and acknowledged; 0: not yet */
	uint64_t retry_ms; /* no HOLD before                   */
	unsigned bounces;
	char trouble[200]; /* what a person has to look at; "": nothing */
};

enum spec_change { SPEC_AT_ONCE, SPEC_BY_STEPS };

/* What the coordinator knows of one pool between two passes; nothing that the tree does not say. */
struct pool_work {
	struct pool_work *next;
	struct coordinator *c;
	char *name;
	bool seen; /* in this pass */
	bool busy; /* a chain is being written */

	int64_t spec_id;   /* modification id of the spec that was parsed last; 0: none */
	struct spec *spec; /* it, or NULL when it was refused                           */
	char spec_hex[65]; /* the ring that it wants                                   */
	struct err_at refused;
	int64_t applied_id;   /* modification id of the spec that is in force ... */
	struct spec *applied; /* ... and what it says; health and ejection go by it */

	char body_hex[65]; /* the ring body that was parsed last */
	struct topology *body;

	struct pool_state state; /* as read in this pass */
	bool has_state;
	struct err_at trouble;	 /* why the state cannot be followed: an operator must act */
	bool troubled;		 /* the world was told so                                  */
	uint64_t doubt_us;	 /* since when our own agent does not follow it; 0: it does */
	uint64_t held_since_us;	 /* monotonic: we first saw ejected servers held; 0: none are */
	uint64_t epoch_floor;	 /* the highest epoch that there has been: agents never go back */
	struct verdict *verdict; /* NULL: to be loaded */
	struct decision *decisions;
	struct rejoining *rejoining;
	struct old_ring *old_rings; /* bodies that no state names */
	/* A transition. */
	char next_hex[65];
	struct topology *next_body; /* the other ring's */
	struct walk walk;
	struct transition_choice choice; /* of this pass */
	struct jobs *jobs;		 /* NULL: none yet */
	struct incarnations *incarnations;
	json_t *newly_lost;   /* names of servers out by verdict, for `lost`; NULL: none */
	bool return_failed;   /* a server on its way back is out again */
	int32_t wish_version; /* of the node as read in this pass; -1: none */
	bool drop_wish;	      /* once the step is written */
	const char *point;    /* a failpoint, then        */
	uint64_t swept_epoch; /* barriers older than this are gone */
	uint32_t swept_step;
	char *status; /* as we wrote it last */
	uint64_t status_us;
	bool status_busy;
};

struct coordinator {
	struct io_loop *loop;
	struct store *store;
	struct mirror *mirror;
	char *id;
	struct coordinator_events events;
	bool elected, connected;
	struct pool_work *works;
	struct io_timer again; /* a pass is due ... */
	uint64_t due_us;       /* ... then */
	char lineage[64];
	uint64_t epoch_floor; /* an operator says that there have been epochs up to this one */
	uint64_t log_count;
	uint32_t ring_grace_ms;
	/* Whether we still lead is asked of the store while it matters; clock_boot_us(). */
	struct io_timer pulse;
	bool feeling;
	uint64_t asking_us, pulse_us, pulse_until_us;
	struct silent *silent; /* registered agents that are not live */
};

/* Run a pass in so many milliseconds, or sooner. */
void coordinator_poke(struct coordinator *c, uint64_t in_ms);
/* Are we sure that nobody else coordinates by now? Known while coordinator_feel_pulse() has been
 * called within the last seconds. */
bool coordinator_leads(const struct coordinator *c);
void coordinator_feel_pulse(struct coordinator *c);
/* Note a decision; it is logged, and told, when the chain has been written. */
void work_decide(struct pool_work *w, const char *what, const char *server, const char *why);
/* Write the state (and whatever the chain has before it) by compare-and-set. */
void work_commit(struct pool_work *w, struct chain *chain, const struct pool_state *state,
		 int32_t version);
struct chain *work_chain(struct pool_work *w);
/* As work_decide, at once: for what is not a write of ours. */
void work_announce(struct pool_work *w, const char *what, const char *why);

/* coordinator_state.c. Read the state into w->state; false: it is not here yet, or w->trouble says
 * what is wrong with it. */
bool work_read_state(struct pool_work *w, const struct mirror_node *node);
/* Learn the highest epoch that there has been, and whether our own agent follows what it reads.
 * False: not read yet. */
bool work_know_epoch(struct pool_work *w);
/* Tell the world when a trouble begins or ends. */
void work_tell_trouble(struct pool_work *w);
/* The pool as it is now, from its ring body; NULL: there is none, or it is not here yet. */
const struct pool_spec *work_current(struct pool_work *w, bool *pending_out);
/* coordinator_spec.c. Begin to write what the spec wants, or note why it is refused. */
void work_apply_spec(struct pool_work *w, const struct mirror_node *spec,
		     const struct mirror_node *state);
/* Find out which spec is in force: w->applied. false: not known yet. */
bool work_know_applied(struct pool_work *w, const struct mirror_node *spec);
/* coordinator_eject.c */
void work_judge(struct pool_work *w, const struct mirror_node *state);
void work_stop_rejoining(struct pool_work *w);
/* Let others take over the keys of servers that nobody asks any more. */
void work_release_held(struct pool_work *w, const struct mirror_node *state,
		       const struct barrier *b);
/* coordinator_rings.c. Delete bodies that have not been named for long; not while a chain is being
 * written. */
void work_sweep_rings(struct pool_work *w, const struct mirror_node *state);
void work_forget_rings(struct pool_work *w);
/* coordinator_barrier.c. Fill in *b, which barrier_fini() ends. */
void work_barrier(struct pool_work *w, struct barrier *b);
void barrier_fini(struct barrier *b);
/* Names of live proxies' connections, from their acknowledgements; NULL: not read yet. */
json_t *work_client_names(struct pool_work *w);
void work_sweep_barriers(struct pool_work *w, const struct barrier *b);
void coordinator_note_silent(struct coordinator *c);
void coordinator_forget_silent(struct coordinator *c);
/* coordinator_transition.c. How `wanted` is to be made of the pool as it is, which may be NULL. */
enum spec_change work_classify(const struct pool_spec *current, const struct spec *wanted);
/* `wanted` but with the ring of `ring`: borrows from both. */
struct pool_spec work_options_on(const struct pool_spec *ring, const struct pool_spec *wanted);
void work_begin_transition(const struct spec *spec, const char *hex, struct pool_state *next);
/* Ejected servers come back through a transition, so that no copy of a neighbour's outlives them.
 */
bool work_returns_by_steps(const struct pool_work *w);
/* One pass of a pool in transition, or of one that is not. */
void work_walk(struct pool_work *w, const struct mirror_node *state, const struct barrier *b);
void work_rest(struct pool_work *w, const struct barrier *b);
/* The step was written. */
void work_walked(struct pool_work *w);
void work_forget_walk(struct pool_work *w);
/* A new reference. */
json_t *work_describe_walk(struct pool_work *w, const struct barrier *b);
/* coordinator_status.c */
void work_report(struct pool_work *w, const struct mirror_node *spec, const struct barrier *b);

#endif

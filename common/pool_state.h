/* pool_state.h - what a pool is right now: the content of pools/P/state.
 *
 * The coordinator writes it by compare-and-set, every agent follows it. Which of two states is the
 * later one is decided by (epoch, step) within one lineage, never by when they were read.
 *
 * Pure. Threads: none shared. Ownership: whoever parsed or filled a state ends it with
 * pool_state_fini; all texts in it are its own.
 */
#ifndef TWINRING_COMMON_POOL_STATE_H
#define TWINRING_COMMON_POOL_STATE_H

#include <jansson.h>

#include "common/err.h"
#include "common/scratch.h"
#include "common/transition.h"

#define POOL_STATE_BYTES_MAX 2048

/* One server out of the ring by verdict. */
struct ejection {
	char *server;	   /* its name in the ring                           */
	uint64_t since_ms; /* Unix time, for people only; 0: not said        */
	char *why;	   /* for people; NULL: not said                     */
	bool held;	   /* nobody may take over its keys yet              */
	bool returning;	   /* the transition leads to a ring that has it     */
};

/* A transition under way. `ring` is the old ring's until it has ended well. */
struct state_transition {
	struct transition_rules rules;
	char next[65]; /* name of the other ring's body; `ring` itself when servers return   */
	bool dirty;    /* a phase of the kind DUAL was entered: targets have been written */
	bool back;     /* it shall lead back to `ring`                                */
	bool paused;   /* by an operator                                              */
};

struct pool_state {
	char *lineage;	/* of the cluster that the numbers belong to, not empty */
	uint64_t epoch; /* of the latest transition                             */
	uint32_t step;	/* within the epoch                                     */
	char ring[65];	/* name of the ring's body                              */
	struct ejection *ejected;
	uint32_t ejected_count;
	uint64_t spec_version;		     /* of the spec that it was made from             */
	uint32_t lease_ms;		     /* 0: strict                                     */
	struct state_transition *transition; /* owned; NULL: stable              */
};

/* ERR_INVALID with a JSON path in *where_out (may be NULL) for anything that is not a whole state
 * of at most POOL_STATE_BYTES_MAX bytes; *out is then empty. Unknown keys are ignored. */
enum err pool_state_parse(struct slice text, struct pool_state *out, struct err_at *where_out);

/* Write the state over *out. When it does not fit into POOL_STATE_BYTES_MAX, first the reasons and
 * then the times of the ejections are left out; ERR_INVALID when it does not fit even so: then one
 * server more cannot be ejected. */
enum err pool_state_print(const struct pool_state *s, struct scratch *out);

enum pool_state_order {
	POOL_STATE_FOREIGN, /* another lineage: neither is later           */
	POOL_STATE_LOWER,   /* `a` is earlier than `b`                     */
	POOL_STATE_EQUAL,   /* same epoch and step, whatever else differs  */
	POOL_STATE_HIGHER,
};

enum pool_state_order pool_state_compare(const struct pool_state *a, const struct pool_state *b);

/* NULL when the server is not ejected. */
const struct ejection *pool_state_ejection(const struct pool_state *s, const char *server);

/* Set texts of a state that is being built; false when out of memory. */
bool pool_state_set_lineage(struct pool_state *s, const char *lineage);
/* `why` may be NULL. A server that is ejected already keeps its entry. */
bool pool_state_eject(struct pool_state *s, const char *server, uint64_t since_ms, const char *why);
/* Begin one: every slice in `phase`, defaults for the rest. False when out of memory. */
bool pool_state_begin_transition(struct pool_state *s, const char *next, enum phase phase);
/* NULL transition is a no-op. */
void pool_state_end_transition(struct pool_state *s);
/* Some of the ejected are on their way back into the ring. */
bool pool_state_is_returning(const struct pool_state *s);
/* No-op when it is not ejected. */
void pool_state_restore(struct pool_state *s, const char *server);

/* Deep. False: no memory, and *to is empty. */
bool pool_state_copy(struct pool_state *to, const struct pool_state *from);
/* Leaves a zeroed, empty state. */
void pool_state_fini(struct pool_state *s);

#endif

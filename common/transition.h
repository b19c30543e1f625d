/* transition.h - a pool on its way from one ring to another: which rules apply to keys that move.
 *
 * A transition walks through phases, each published to all proxies and acknowledged by all before
 * the next. A key moves when its two owners, by the old and by the new ring, are different servers;
 * all others are routed as if there were no transition. Protocol and proofs: tests/model/.
 *
 * Pure. Threads: plain data, immutable once it is part of a topology.
 */
#ifndef TWINRING_COMMON_TRANSITION_H
#define TWINRING_COMMON_TRANSITION_H

#include "common/list.h"
#include "common/settings.h"

struct pool_spec;

/* `a` is who has authority over a moving key, `b` the other one, from which it may be promoted. */
enum phase {
	PHASE_STABLE,  /* a: old ring; as without transition                       */
	PHASE_PREPARE, /* a: old ring; targets are probed and scrubbed meanwhile   */
	PHASE_HOLD,    /* a: new ring; nobody writes                               */
	PHASE_DUAL,    /* a: new ring; what it does not have is promoted from b    */
	PHASE_DRAIN,   /* a: new ring; b is still deleted from, but not read       */
	PHASE_HOLD_R,  /* the way back, roles swapped: a: old ring, b: new ring    */
	PHASE_DUAL_R,
	PHASE_DRAIN_R,
	PHASE_MAX
};

enum { TRANSITION_SLICES = 16 };

/* What state and topology both say of it. */
struct transition_rules {
	enum phase phases[TRANSITION_SLICES]; /* of each sixteenth of the moving keys       */
	bool storage; /* nothing may be lost; else a cache, where misses are allowed  */
	bool promote; /* memcached: the targets have meta commands and cas            */
	char *mark;   /* Redis: imports are made under it; NULL or "": none           */
	char **lost;  /* servers, by ring name, that are dead for good                */
	uint32_t lost_count;
	uint32_t hold_park_ms;	 /* a write waits so long for HOLD to end                        */
	uint64_t move_max_bytes; /* Redis: larger keys are not moved by proxies                */
};

/* What a proxy needs to know. */
struct transition {
	struct transition_rules rules;
	uint32_t lease_ms;	/* how long a proxy may go on unconfirmed; 0: for ever       */
	struct pool_spec *next; /* the pool as it is to become; owned                        */
};

extern const struct settings transition_rules_settings; /* struct transition_rules */

/* "hold-r"; NULL for a value that is no phase. */
const char *phase_name(enum phase p);
/* Authority is with the new ring's owner. */
static inline bool phase_is_forward(enum phase p)
{
	return p >= PHASE_HOLD && p <= PHASE_DRAIN;
}

/* The phase of a key. `routed` is the part of it that is hashed: see hash_tag_apply(). */
enum phase transition_phase(const struct transition_rules *t, struct slice routed);
/* All slices are in the same phase. */
bool transition_is_whole(const struct transition_rules *t);
void transition_set_phase(struct transition_rules *t, enum phase p);
bool transition_is_lost(const struct transition_rules *t, const char *server);

#endif

/* mutation.h - rules of the two-ring transition that a test build can switch off, one at a time, to
 * prove that the tests would notice: TWINRING_BUG=NAME in the environment of a process built with
 * -DTWINRING_MUTATIONS (make MODE=mutations). Every other build decides at compile time that no
 * rule is off, and nothing is left of the question.
 *
 *	if (!MUTATED(SETORDER)) flow_delete(f, f->b);
 *
 * Names are those of tests/model, listed in mutation.def; no other name compiles. A rule that
 * is kept in two places (memcached and Redis, proxy and mover) asks in both.
 */
#ifndef TWINRING_COMMON_MUTATION_H
#define TWINRING_COMMON_MUTATION_H

#include <stdbool.h>

#ifdef TWINRING_MUTATIONS
#include <stdlib.h>
#include <string.h>
#endif

enum mutation {
#define MUTATION(name, where, what) MUTATION_##name,
#include "common/mutation.def"
#undef MUTATION
};

#define MUTATED(name) mutated(MUTATION_##name)

#ifdef TWINRING_MUTATIONS
/* The environment is read each time: only a test build pays. */
static inline bool mutated(enum mutation m)
{
	static const char *const names[] = {
#define MUTATION(name, where, what) #name,
#include "common/mutation.def"
#undef MUTATION
	};
	const char *bug = getenv("TWINRING_BUG");

	return bug && strcmp(bug, names[m]) == 0;
}
#else
static inline bool mutated(enum mutation m)
{
	(void)m;
	return false;
}
#endif

#endif

/* mutation.h - rules of the two-ring transition that a test build can switch off, one at a time, to
 * prove that the tests would notice: TWINRING_BUG=NAME in the environment of a process built with
 * -DTWINRING_MUTATIONS (make MODE=mutations). Every other build decides at compile time that no
 * rule is off, and nothing is left of the question.
 *
 *	if (!MUTATED(SETORDER)) flow_delete(f, f->b); // the rule, and the place of the rule
 *
 * Names are those of tests/model; a name that is not in the list does not compile. A rule that is
 * kept in two places (memcached and Redis, proxy and agent) asks in both.
 */
#ifndef TWINRING_COMMON_MUTATION_H
#define TWINRING_COMMON_MUTATION_H

#include <stdbool.h>

#ifdef TWINRING_MUTATIONS
#include <stdlib.h>
#include <string.h>
#endif

/*	 name        with the rule off */
#define MUTATIONS(X)                                                                               \
	X(NOHOLD)    /* proxy: HOLD and HOLD-R treat every operation as in DUAL and DUAL-R     */  \
	X(HOLDORDER) /* proxy: a delete in HOLD deletes at a before b                          */  \
	X(SETORDER)  /* proxy: a set in DUAL and DRAIN sets at a before it deletes at b        */  \
	X(DELORDER)  /* proxy: a delete in DUAL and DRAIN deletes at a before b                */  \
	X(NOLEASE)   /* proxy: memcached promotion by a plain add                              */  \
	X(CASTAG)    /* proxy: cas tokens go to whichever server, as they are                  */  \
	X(TARGETFIRST) /* proxy: Redis commands in DUAL run at a without asking b when a has k */                                                                                                \
	X(READORDER) /* proxy: Redis reads in HOLD ask a before b                              */  \
	X(NOMARK)    /* proxy, mover: RESTORE if absent, whether k was moved before or not     */  \
	X(NOEPOCH)   /* proxy, mover: import scripts do not ask for the epoch                  */  \
	X(NODRAIN)   /* proxy: "drained" as soon as applied                                    */  \
	X(NOFENCE)   /* proxy: a lease that ran out changes nothing                            */  \
	X(NOSCRUB)   /* agent: targets are not scrubbed                                        */  \
	X(NOKILL)    /* agent: connections outlive the change of the epoch                     */  \
	X(NODRAINSTEP) /* agent: from DUAL straight to the new ring */                                                                                                \
	X(EARLYDRAIN) /* agent: DRAIN although the mover has not finished                       */ \
	X(SHORTABORT) /* agent: from HOLD back to PREPARE although DUAL was entered             */

#define MUTATION_ENUM(name) MUTATION_##name,
enum mutation { MUTATIONS(MUTATION_ENUM) MUTATION_MAX };
#undef MUTATION_ENUM

#define MUTATED(name) mutated(MUTATION_##name)

#ifdef TWINRING_MUTATIONS
/* The environment is read each time: only a test build pays. */
static inline bool mutated(enum mutation m)
{
#define MUTATION_NAME(name) #name,
	static const char *const names[] = { MUTATIONS(MUTATION_NAME) };
#undef MUTATION_NAME
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

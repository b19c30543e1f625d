/* compare.h - what would change if one pool became another: servers, options, keys.
 *
 * Pure. Threads: none shared. Out of memory aborts.
 */
#ifndef TWINRING_AGENT_CTL_COMPARE_H
#define TWINRING_AGENT_CTL_COMPARE_H

#include "common/topology.h"

enum { COMPARE_SAMPLES = 100000 };

/* {"added": [SERVER], "removed": [SERVER], "reweighted": [{"server", "from", "to"}], "moved":
 * [{"server", "from", "to"}], "options": {KEY: {"from", "to"}}, "keys": {"sampled": N, "moved": M,
 * "percent": P, "spread": [{"server", "from", "to"}]}}: a new reference. `from` may be NULL: every
 * server is added then, and "keys" is null, as it is when keys are spread at random. `from` and
 * `to` in spread are per cent of the sample. Passwords are not shown. */
json_t *compare_pools(const struct pool_spec *from, const struct pool_spec *to);

/* Is anything different? */
bool compare_differs(const json_t *comparison);

#endif

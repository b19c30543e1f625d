/* output_text.h - a pool as other programs read it: libketama's list of servers, nutcracker's
 * configuration. Pure.
 *
 * An ejected server is left out where its keys go along the ring (failover: ring); where they are
 * to fail or to go to another pool it stays, because without it the other servers would get them.
 * False: the format cannot say what this pool is; `why` says what, and nothing was written.
 */
#ifndef TWINRING_AGENT_OUTPUT_TEXT_H
#define TWINRING_AGENT_OUTPUT_TEXT_H

#include "common/scratch.h"
#include "common/topology.h"

/* "host:port<TAB>weight" lines. Names of servers are lost: libketama's ring is made of addresses.
 */
bool output_ketama(const struct pool_spec *p, struct scratch *out, char *why, size_t cap);

/* One pool of a nutcracker.yml. `listen`: as there. */
bool output_nutcracker(const struct pool_spec *p, const char *listen, struct scratch *out,
		       char *why, size_t cap);

/* `text` with the pool's name for each "{pool}"; NULL: `why` says why the name cannot be in it.
 * The caller frees it. */
char *output_expand(const char *text, const char *pool, char *why, size_t cap);

#endif

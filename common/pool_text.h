/* pool_text.h - a pool as people write it, in as few words as possible.
 *
 * Pure. Threads: none shared. Out of memory aborts, but where NULL is promised.
 */
#ifndef TWINRING_COMMON_POOL_TEXT_H
#define TWINRING_COMMON_POOL_TEXT_H

#include "common/scratch.h"
#include "common/topology.h"

/* As people write it: only what differs from the defaults, servers as "host:port:weight name". A
 * new reference that reads back to an equal pool; NULL when out of memory. */
json_t *pool_text_native(const struct pool_spec *p);

/* Append the server as "host:port:weight name"; a name is left out when the ring derives it. False,
 * and nothing is appended: only a mapping can say it (a name with blanks, a path with a colon). */
bool pool_text_server(const struct server_spec *s, struct scratch *out);

#endif

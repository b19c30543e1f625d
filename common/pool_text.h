/* pool_text.h - a pool in the words of others, and in our own as few as possible.
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

/* Append the pool as one entry of a nutcracker.yml, which listens at `listen`. Servers that own no
 * keys are left out. False when nutcracker 0.5.0 would not read it or would route otherwise;
 * *why_out (static) then says why, and the text is there all the same. */
bool pool_text_nutcracker(const struct pool_spec *p, const char *listen, struct scratch *out,
			  const char **why_out);

/* Append the servers as libketama reads them: "host:port TAB weight" a line. False as above. */
bool pool_text_ketama(const struct pool_spec *p, struct scratch *out, const char **why_out);

#endif

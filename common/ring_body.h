/* ring_body.h - the canonical, immutable description of one ring: pools/P/rings/HEX.
 *
 * {"checksum": HEX16, "points": N, "pool": {...}}, compact, keys sorted: equal pools have equal
 * bodies, and HEX is the SHA-256 of the body, so that a body under its name cannot be wrong without
 * being noticed. Points and checksum are those of the ring that its writer built: a program that
 * builds another one from the same pool refuses the body rather than send keys elsewhere.
 *
 * Pure. Threads: none shared. Costs a ring (some 15 ms per 1,000 servers).
 */
#ifndef TWINRING_COMMON_RING_BODY_H
#define TWINRING_COMMON_RING_BODY_H

#include "common/scratch.h"
#include "common/topology.h"

#define RING_BODY_MAX  (512u << 10) /* bytes                                */
#define RING_BODY_ROOM 128u	    /* of them for what is not the pool     */
#define RING_HEX_CHARS 64

/* Write the body over *out and its name, which ends in NUL, to hex_out. Ejections are left out.
 * ERR_INVALID: larger than RING_BODY_MAX, or no ring can be built of it. */
enum err ring_body_print(const struct pool_spec *pool, struct scratch *out,
			 char hex_out[RING_HEX_CHARS + 1]);

/* The pool of a body, called `pool_name`, alone in a topology. `hex` is the name under which the
 * body was found: another content, a pool that is not valid here, or another ring than its writer's
 * is ERR_INVALID with *where_out (may be NULL). Keys from later versions are ignored. */
enum err ring_body_parse(struct slice body, const char *hex, const char *pool_name,
			 struct topology **topology_out, struct err_at *where_out);

/* 64 lower-case hexadecimal digits. */
bool ring_hex_is_valid(const char *hex);

#endif

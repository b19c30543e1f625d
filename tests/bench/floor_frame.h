/* floor_frame.h - where one request or reply ends; nothing else is looked at.
 *
 * Pure. Used by the floor, and by the servers that lockstep plays. No input is refused: what cannot
 * be framed is a line.
 */
#ifndef TESTS_BENCH_FLOOR_FRAME_H
#define TESTS_BENCH_FLOOR_FRAME_H

#include <stddef.h>

enum floor_proto { FLOOR_MEMCACHED, FLOOR_REDIS };

/* Length of the message at p[0..n), or 0: it is not complete. Then *need_out is the least length
 * that it is known to have. */
typedef size_t (*floor_frame_fn)(const char *p, size_t n, size_t *need_out);

floor_frame_fn floor_frame_request(enum floor_proto proto);
floor_frame_fn floor_frame_reply(enum floor_proto proto);

#endif

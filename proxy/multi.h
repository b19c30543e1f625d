/* multi.h - requests with several keys: taken apart by server, sent, and put together again.
 *
 * One part per server, not per key. A request whose keys all live on one server is not split at
 * all. The parts are requests of their own; when the last is answered the codec merges the
 * replies and the parent is answered.
 *
 * Threads: one scratch per worker.
 */
#ifndef TWINRING_PROXY_MULTI_H
#define TWINRING_PROXY_MULTI_H

#include "proxy/route.h"

struct multi_slot {
	const struct route *leaf;
	uint32_t stamp;
	uint16_t part;
};

/* Working memory for splitting; zero it to start. */
struct multi_scratch {
	struct multi_slot *slots; /* leaf -> part, of the request with this stamp */
	uint32_t slot_count;	  /* a power of two */
	uint32_t stamp;
	const struct route **located; /* of each key */
	uint32_t *index;	      /* keys, grouped by part */
	uint16_t *part_of;	      /* of each key           */
	uint32_t key_cap;
	const struct route **leaves; /* of each part    */
	uint32_t *starts;	     /* its first place in index */
	uint32_t part_cap;
};

/* Route `req`, made from `cmd`, whose route is OP_SAME, OP_SPLIT or OP_ALL. Exactly one answer
 * comes, later. */
void multi_send(struct core *core, struct multi_scratch *s, const struct route *root,
		struct request *req, const struct command *cmd);
void multi_scratch_fini(struct multi_scratch *s);

#endif

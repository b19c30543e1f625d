/* dual_redis.h - what the files of the Redis side of DualRoute share.
 *
 *   dual_redis.c         the rules: phase by access, and what each of them does
 *   dual_redis_import.c  a key is brought from b to a, once for all who wait for it
 *   dual_redis_keys.c    requests with several keys
 */
#ifndef TWINRING_PROXY_ROUTES_DUAL_REDIS_H
#define TWINRING_PROXY_ROUTES_DUAL_REDIS_H

#include "proxy/routes/dual.h"
#include "proxy/routes/flow.h"

struct redis_flow;

/* A key that moves, of a flow. */
struct redis_key {
	struct slice name;
	struct dest *b; /* where it may still be; NULL: that server is lost, and the key with it */
};

/* How an import ended. Good only during the call. */
struct import_end {
	enum import_how {
		IMPORT_MOVED,	/* b does not have the key (any more)                 */
		IMPORT_TOO_BIG, /* it is as it was, at b                             */
		IMPORT_UNSURE,	/* it may be at b, at a, or both: nothing may be done */
	} how;
	enum err err;	    /* UNSURE: a request failed in the proxy ...             */
	const char *server; /* ... and at whom; ring name                            */
	bool brought;	    /* MOVED: b had the key until now                        */
	struct slice text;  /* UNSURE and err is ERR_NONE: the error for the client  */
};

typedef void (*import_done_fn)(struct redis_flow *f, const struct import_end *end);

struct redis_flow {
	struct flow base;
	const struct transition *transition;
	const struct op_info *info; /* the client's command */
	struct redis_key *keys;	    /* those that move: &one, or in `memory` */
	struct redis_key one;
	struct buf *memory;
	uint32_t key_count;
	uint32_t imported; /* of these, so far */
	uint8_t rule;	   /* enum redis_rule */
	bool whole;	   /* `keys` are all that the command names, and all end up at a */
	bool brought;	   /* some of them were at b until now */

	/* dual_redis_import.c's own, while it waits for an import */
	const struct redis_key *key;
	import_done_fn done;
	bool drops; /* it brings the mark alone: the value is given up */
	uint64_t key_hash;
	LIST_ENTRY(redis_flow) leader;	     /* it imports, and others wait for it ... */
	STAILQ_HEAD(, redis_flow) followers; /* ... in the order in which they came    */
	STAILQ_ENTRY(redis_flow) follower;
};

/* Bring `key` from key->b to f->base.a, or wait for the flow that is at it. `done` is called later,
 * once. */
void import_start(struct redis_flow *f, const struct redis_key *key, import_done_fn done);

/* Is it known that `b` does not have the key, and will not before the next epoch? */
bool import_is_done(struct core *core, const struct transition *t, struct slice key,
		    const struct dest *a, const struct dest *b);
/* Too large to be moved is no obstacle for it. */
bool import_may_drop(const struct redis_flow *f);

/* A flow for a request whose moving keys are keys[0..count), which are copied; all have the owner
 * `a` in the end. `rule` as below. */
enum redis_rule {
	REDIS_AT_A,   /* the authority has it                                        */
	REDIS_HELD,   /* a read while nobody writes: at b; what b has not, at a      */
	REDIS_PARK,   /* a write, and nobody may                                     */
	REDIS_IMPORT, /* first bring it to a                                         */
	REDIS_REFUSE, /* this proxy has lost touch                                   */
	REDIS_RULES
};
enum redis_rule dual_redis_rule(enum phase phase, bool fenced, const struct op_info *info);
void dual_redis_start(const struct transition *t, const struct server_pool *pool,
		      enum redis_rule rule, struct dest *a, const struct redis_key *keys,
		      uint32_t count, bool whole, struct request *req);

/* A server that would have to be asked, and is ejected: nothing can be done now. Or NULL. */
const struct dest *dual_redis_out(const struct dual_way *way, enum redis_rule rule);

#endif

/* flow.h - one client request that takes several requests to servers, one after the other.
 *
 * A flow holds its request (the parent) as a connection would, keeps copies of what the parent
 * lent only for the way down, sends requests of its own with flow_call(), and in the end answers
 * the parent with flow_answer() or flow_fail(), which also end the flow. The protocol's rules live
 * in its type: proxy/routes/dual_*.c.
 *
 * Order:     two operations of one client on one key take effect in the client's order. Each
 *            worker knows its flows by (lane, key); a flow whose predecessor has not ended waits
 *            for it. Flows start at the end of the turn that made them or set them free.
 *            A flow of several keys that cannot be split is wide: it waits for all of its client's
 *            flows, and they wait for it, whatever their keys.
 *            A newer snapshot may send a key's requests straight to a server, which asks no flow
 *            first: a client is not read on before its flows of earlier snapshots have ended.
 * Parking:   a flow that may do nothing yet is parked. When the worker takes over a newer snapshot,
 *            parked flows end, and their requests are routed again by it, as are those that wait
 *            behind them. So is one whose turn comes under a newer snapshot than its own.
 * Time:      after FLOW_MAX_US no flow calls a server any more; it fails. With a pool's timeout
 *            that bounds how long after its start a request can touch a server. (A flow that only
 *            waits or is parked has not started.)
 * Leaving:   a client that closes its connection ends no flow: what it had sent takes its course.
 * Threads:   a flow lives and dies on one worker.
 */
#ifndef TWINRING_PROXY_FLOW_H
#define TWINRING_PROXY_FLOW_H

#include "proxy/destination.h"
#include "proxy/route.h"

enum { FLOW_MAX_US = 5000000 };

struct flow;

struct flow_type {
	size_t size; /* of the protocol's struct, which begins with a struct flow */
	/* Its turn has come: call, park, answer or fail. */
	void (*start)(struct flow *f);
	/* It was parked for as long as it may be: call, answer or fail. */
	void (*on_unpark)(struct flow *f);
	/* Let go of what it kept; NULL: nothing. */
	void (*fini)(struct flow *f);
};

typedef void (*flow_answer_fn)(struct flow *f, const struct answer *a);

struct flow {
	const struct flow_type *type;
	struct core *core;
	struct request *parent;
	const struct server_pool *pool; /* of the route that made it */
	struct dest *a, *b;		/* borrowed from the parent's view */

	/* Of the parent, good as long as the flow. A large body is kept by reference. */
	struct slice key, head, body;
	struct buf *in; /* `body` lies in it, or NULL */

	/* flow.c's own */
	struct buf *memory;
	uint64_t started_us; /* 0: not yet                                */
	uint64_t until_us;   /* parked until then                         */
	uint64_t hash;	     /* of lane and key                           */
	uint32_t generation; /* core.flow_generation when it was made     */
	flow_answer_fn on_answer;
	struct flow *ready_next;
	struct flow *behind, *last; /* waiting for it, in order; the last of them: head only */
	LIST_ENTRY(flow) bucket;
	TAILQ_ENTRY(flow) parked;
	bool is_parked, in_table;
	bool wide;
	uint32_t ahead;		     /* wide: flows of its lane that it waits for        */
	TAILQ_ENTRY(flow) wide_next; /* wide, in order ...                               */
	STAILQ_HEAD(, flow) gated;   /* ... and what came after it                       */
	STAILQ_ENTRY(flow) gate_next;
};

/* A flow for `req`, which came to a route of `pool`; it starts later in this turn. All that the
 * type's struct has beyond struct flow is zero until then. */
struct flow *flow_new(const struct flow_type *type, const struct server_pool *pool, struct dest *a,
		      struct dest *b, struct request *req);
/* Some flow of the same client on the same key has not ended: `req` must not overtake it. */
bool flow_is_ahead(struct core *core, const struct request *req);

/* Has this client flows that an earlier snapshot made? For core.older_flows > 0. */
bool flow_is_of_older(const struct core *core, uint32_t lane);

/* Send a request to `d`; what comes of it, an error too, is told to `fn`, later. One at a time.
 * head and body are copied or referenced before the call returns; `in` is where they lie when that
 * is a buf, else NULL. An answer is good only during the call: buf_hold() what must last. */
void flow_call(struct flow *f, struct dest *d, const struct op_info *info, struct slice head,
	       struct slice body, struct buf *in, flow_answer_fn fn);
/* What was called last will be executed before whatever is sent after it: let those behind start
 * before it is answered. Nothing more may be called. */
void flow_pass(struct flow *f);
/* Do nothing until the snapshot changes or `ms` have passed. */
void flow_park(struct flow *f, uint32_t ms);

/* Answer the client, if it is still there, and end. */
void flow_answer(struct flow *f, const struct answer *a);
/* The same with these bytes. */
void flow_say(struct flow *f, enum reply_kind kind, struct slice text);
/* The same with an error; `server` is a ring name of the parent's snapshot, or NULL. */
void flow_fail(struct flow *f, enum err e, const char *server);

/* --- for the worker --------------------------------------------------------------------------- */

/* Start the flows whose turn has come: core.ready. */
void flows_run(struct core *core);
/* A newer snapshot is in force: core.find_pool() finds it. */
void flows_adopt(struct core *core);
/* Fail all that are parked, and from here on whatever a flow tries. */
void flows_close(struct core *core);
void flows_free(struct core *core);
/* How many there are. */
uint32_t flows_live(const struct core *core);

#endif

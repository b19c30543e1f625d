/* core.h - what every part of one worker shares: its loop, its clock, its memory, its lists.
 *
 * A worker is one thread. All that its clients, destinations and requests need from each other at
 * run time goes through this struct, so that none of them has to know the worker itself. Nothing
 * in it is touched by another thread.
 */
#ifndef TWINRING_PROXY_CORE_H
#define TWINRING_PROXY_CORE_H

#include "common/buf.h"
#include "common/clock.h"
#include "common/codec.h"
#include "common/io.h"
#include "common/freelist.h"
#include "proxy/stats.h"

struct client;
struct conn;
struct dest;
struct flow;
struct flows;
struct imports;
struct request;
struct route;
struct view;

/* Memory that a callback may still touch in this turn of the loop; freed at its end. */
struct garbage {
	struct garbage *next;
	void (*free)(struct garbage *g);
};

struct core {
	struct io_loop loop;
	uint64_t now_us; /* taken once a turn, before its first callback; see core_now() */
	bool now_taken;
	uint32_t index; /* of the worker: its slot in every counter                    */
	uint64_t rng;	/* xorshift state; never 0                                     */

	struct buf_pool bufs;
	struct freelist requests;
	struct parser parser;
	struct scratch text;  /* replies and requests being composed                         */
	struct scratch aside; /* the same, while `text` is in use: handshakes and probes     */
	struct buf *rbuf;     /* what is read from a socket lands here first ...             */
	uint32_t rbuf_at;     /* ... from here on                                            */
	uint64_t buffer_max;  /* above it no client is read; 0: no limit                     */

	struct conn *dirty_conns;	/* have bytes to send at the end of this turn   */
	struct client *dirty_clients;	/* the same                                     */
	LIST_HEAD(, conn) active_conns; /* wait for a reply or for a connection         */
	struct io_timer sweep;		/* runs while active_conns is not empty         */
	struct request *deferred, **deferred_tail; /* failed at once, to be told at turn's end */
	struct garbage *garbage;
	struct flows *flows;  /* requests that take several steps: proxy/routes/flow.c; or NULL */
	uint32_t wide_flows;  /* of these, that hold back all of their client's others          */
	uint32_t older_flows; /* and that an earlier snapshot made                    */
	uint32_t flow_generation; /* counts the snapshots taken over                      */
	struct imports *imports;  /* keys being moved: proxy/routes/dual_redis_import.c; or NULL */
	struct flow *ready; /* of these, whose turn it is in this turn                        */

	uint32_t in_flight;    /* requests waiting for a server     */
	uint32_t turn_replies; /* replies that this turn has brought */
	uint32_t reply_max;    /* bytes of one reply                */
	struct worker_slot *stats;
	const char *client_name; /* of our connections to servers, for their lists; or NULL  */
	/* Atomic, main's: until when this proxy may act on a transition; 0: never granted. */
	const uint64_t *lease_until_us;

	/* A destination was marked down or is back: tell whoever decides about ejection. */
	void (*on_dest_state)(struct core *core, struct dest *d);
	/* Where requests of the pool enter in the newest snapshot, which *view_out is; or NULL. */
	const struct route *(*find_pool)(struct core *core, const char *pool,
					 struct view **view_out);
	/* Route a request of several keys, which `cmd` describes, from `root` on. */
	void (*send_keys)(struct core *core, const struct route *root, struct request *req,
			  const struct command *cmd);
	void *worker;
};

static inline uint64_t core_now(struct core *core)
{
	if (!core->now_taken) {
		core->now_us = clock_now_us();
		core->now_taken = true;
	}
	return core->now_us;
}

static inline uint64_t core_random(struct core *core)
{
	uint64_t x = core->rng;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return core->rng = x;
}

static inline void core_discard(struct core *core, struct garbage *g,
				void (*free_fn)(struct garbage *))
{
	g->free = free_fn;
	g->next = core->garbage;
	core->garbage = g;
}

/* Everything but `worker` and the functions above it. false: no event loop could be made. */
bool core_init(struct core *core, uint32_t index, struct worker_slot *stats);
void core_fini(struct core *core);
/* Close every connection that waits for something; its requests fail. */
void core_close_conns(struct core *core);
/* The turn's last acts: tell deferred failures, send what is queued, free what died.
 * `settle` sees to `ready` and to dirty_clients. */
void core_end_turn(struct core *core, void (*settle)(struct core *core));

/* The read buffer; what is read goes behind its len, which is rbuf_at then. Bytes parsed from it
 * may be kept by reference: the next call leaves them alone. */
struct buf *core_read_buffer(struct core *core);

#endif

/* destination.h - one server as one worker sees it: its connections and whether it is fit.
 *
 * Threads:   every call runs on the owning worker's thread.
 * Ownership: views hold references; the last dest_unref() closes it. A request borrows a
 *            destination through its view.
 * Order:     the replies of one connection come in the order of its requests; its queue is the
 *            only correlation. A client always uses the same lane, so its requests to one server
 *            are executed in order.
 * States:    READY -> TKO after server_failure_limit failures in a row, or at once when the
 *            server refuses connections or breaks the protocol. In TKO requests fail at once,
 *            connections that still owe replies are quarantined (kept, unused: what was sent may
 *            yet be executed), and a probe of our own is sent at growing intervals. TKO -> READY
 *            when a probe is answered.
 */
#ifndef TWINRING_PROXY_DESTINATION_H
#define TWINRING_PROXY_DESTINATION_H

#include "proxy/request.h"

enum dest_state { DEST_READY, DEST_TKO };

struct dest {
	struct core *core;
	const struct server_pool *pool; /* of the newest snapshot that names it */
	const struct pool_server *server;
	struct server_slot *stats;
	uint64_t id; /* pool_server.id */
	uint32_t refs;
	uint8_t state; /* enum dest_state; written by dest_set_state() */
	enum err last_error;
	uint32_t failures; /* in a row */
	uint32_t lane_count;
	uint64_t answered_us; /* TKO: when a probe was first answered; 0: not yet */
	uint32_t probe_delay_ms;
	struct io_timer probe_timer;
	struct conn *probe; /* a connection that is being tried */
	LIST_HEAD(, conn) quarantine;
	struct garbage garbage;
	struct conn *lanes[]; /* [lane_count]; NULL: not connected */
};

struct dest *dest_new(struct core *core, const struct server_pool *pool,
		      const struct pool_server *server);
/* A newer snapshot names the same server: follow its options from here on. */
void dest_update(struct dest *d, const struct server_pool *pool, const struct pool_server *server);
static inline void dest_ref(struct dest *d)
{
	d->refs++;
}
void dest_unref(struct dest *d);

/* Queue the request; its bytes leave at the end of this turn. Never blocks, never answers inline.
 * Copies or references what it needs of key, head and body. */
void dest_send(struct dest *d, struct request *req);

/* The tag of the process that a request like this would go to: codec.tag(); 0: not known. */
uint16_t dest_tag(const struct dest *d, const struct request *req);

/* Open the lanes that the pool wants open from the start. */
void dest_preconnect(struct dest *d);

/* --- between destination.c and conn.c --------------------------------------------------------- */

/* A connection delivered a good reply, or failed: one request timed out, or all of it broke. */
void dest_on_success(struct dest *d);
void dest_on_failure(struct dest *d, enum err e);
/* A connection takes no more requests: it is closed, or quarantined. */
void dest_on_conn_gone(struct dest *d, struct conn *c);
/* A quarantined connection got all that it was owed: the server may well be back. */
void dest_on_drained(struct dest *d);

#endif

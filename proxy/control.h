/* control.h - the control socket: how agent and operators talk to a running proxy.
 *
 * A unix socket, mode 0600, for our own user and root only; beside it NAME.lock is held while we
 * live, so that the agent can tell a dead proxy from a silent one. One request is worked on at a
 * time, in order, per connection.
 *
 * Threads:   runs on the base it was given, main's. Operations are called there and must not
 *            block; they must not call control_free().
 * Ownership: borrows base, ops and ctx until control_free().
 */
#ifndef TWINRING_PROXY_CONTROL_H
#define TWINRING_PROXY_CONTROL_H

#include "common/ctlmsg.h"

struct event_base;
struct control;

enum {
	CONTROL_CONNECTIONS = 32,
	/* A connection is not read while it has more than this to read itself, ... */
	CONTROL_OUTPUT_PAUSE_BYTES = 64 << 10,
	/* ... and closed when events pile up beyond this. */
	CONTROL_OUTPUT_MAX_BYTES = 8 << 20,
};

/* params: an object, borrowed. *result_out: a new reference that becomes ours; left NULL it is {}.
 * On error the code is the err's, and the text *where_out, or err_text() if that is empty. */
typedef enum err (*control_fn)(void *ctx, const json_t *params, json_t **result_out,
			       struct err_at *where_out);

/* What one can subscribe to. */
enum control_topic {
	CONTROL_TOPOLOGY = 1, /* "subscribe", "topology.apply": applied topologies are drained */
	CONTROL_HEALTH = 2,   /* "health.subscribe": servers marked down, counters, 1/s        */
};

/* One per method; NULL: not supported by this process. */
struct control_ops {
	control_fn hello;	   /* "hello": identity, versions, what runs now                */
	control_fn topology_apply; /* "topology.apply": also subscribes the caller to events    */
	control_fn topology_show;  /* "topology.show"                                           */
	control_fn lease_renew; /* \"lease.renew\"  {lease_ms}                                  */
	control_fn pool_show;	/* "pool.show"    {pool}                                     */
	control_fn server_show; /* "server.show"  {pool, server}                             */
	control_fn route_trace; /* "route.trace"  {pool, key}                                */
	control_fn stats_show;	/* "stats.show"                                              */
	control_fn log_set;	/* "log.set"      {level}                                    */
	control_fn drain;	/* "drain"                                                   */
	control_fn shutdown;	/* "shutdown"                                                */
				/* "subscribe", "health.subscribe" only subscribe. */
};

/* Take the lock and listen. ERR_IO: another process lives there, or the path is unusable. */
enum err control_new(struct event_base *base, const char *path, const struct control_ops *ops,
		     void *ctx, struct control **control_out, struct err_at *where_out);

/* Send `event`, an object with "event" in it, to all who subscribed to the topic. Borrowed. */
void control_broadcast(struct control *c, enum control_topic topic, const json_t *event);
bool control_has_subscribers(const struct control *c, enum control_topic topic);

/* Other than CTLMSG_LINE_TIMEOUT_MS, for tests. */
void control_line_timeout(struct control *c, uint32_t ms);

/* Write what can be written at once, close all, remove socket and lock; sets *c to NULL, NULL is
 * a no-op. */
void control_free(struct control **c);

#endif

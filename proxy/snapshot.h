/* snapshot.h - a topology made ready to route: rings built, names resolved, counters found.
 *
 * Main builds a snapshot and posts it to every worker; each takes it over between two turns of its
 * loop and gives up the one before once the last request routed by it is answered. When all have,
 * nothing routed by it is in flight anywhere ("drained"), and main frees it.
 *
 * Threads: built and freed on main; immutable in between, so read by all without locks. The
 * reference count is the only thing that changes.
 */
#ifndef TWINRING_PROXY_SNAPSHOT_H
#define TWINRING_PROXY_SNAPSHOT_H

#include "common/config.h"
#include "proxy/route.h"

struct identities;

struct snapshot {
	uint32_t refs;	 /* atomic: one per worker that still uses it, one of main's */
	uint64_t serial; /* counts up with every snapshot of this process             */
	struct topology *topology;
	struct proxy_spec limits;  /* its numbers; its strings are not here           */
	struct server_pool *pools; /* [pool_count]: the topology's, then those that pools become */
	uint32_t pool_count;
	struct route **roots; /* [topology->pool_count]; PoolRoute of each pool  */
	uint32_t dest_count;
	const struct route **entries; /* where listener number i leads; NULL: nowhere */
	uint32_t entry_count;
	/* Called on the thread that drops the last reference; main frees it from there. */
	void (*on_unused)(void *ctx, struct snapshot *s);
	void *ctx;
};

/* What a snapshot is made from, besides the topology. */
struct snapshot_input {
	struct stats *stats;
	struct identities *identities;
	const struct proxy_spec *proxy;
	/* Listener number -> the pool (or route) that it leads to; NULL names: not in use. */
	const struct listener_spec *const *listeners;
	uint32_t listener_count;
	bool stale; /* nothing is to be routed by it: it may be too old */
	/* The address of a server; *addr_out->len 0 when it is not known (yet). */
	void (*resolve)(void *ctx, const struct server_spec *server, struct net_addr *addr_out);
	void *ctx;
};

/* Takes `t`, also on failure. One reference, the caller's. */
enum err snapshot_build(struct topology *t, const struct snapshot_input *in,
			struct snapshot **snapshot_out, struct err_at *where_out);
void snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);
void snapshot_free(struct snapshot *s);

/* Where requests of pool `name` enter, or NULL. */
const struct route *snapshot_pool_route(const struct snapshot *s, const char *name);

/* Numbers for servers: the same pool, name, address and credentials keep the same number from one
 * snapshot to the next, and with it their connections. Main only. */
struct identities *identities_new(void);
void identities_free(struct identities **ids);

#endif

/* stats.h - the counters of all workers, kept by name and summed for whoever asks.
 *
 * Ownership: main creates one `struct stats`; a snapshot holds a reference on the entry of each
 * pool and server it names, so that counters outlive a reload and go when the name has gone.
 * Threads: get/unref from the main thread only. A worker writes only its own slot of each entry;
 * any thread that holds the entry alive may sum slots.
 */
#ifndef TWINRING_PROXY_STATS_H
#define TWINRING_PROXY_STATS_H

#include "common/codec.h"
#include "common/hist.h"
#include "common/memory.h"
#include "common/metric.h"

/* clang-format off */
enum pool_metric {
#define POOL(name)   POOL_##name,
#define SERVER(name)
#define WORKER(name)
#define METRIC(scope, name, type, help) scope(name)
#include "proxy/metrics.def"
	POOL_METRIC_MAX
};
enum server_metric {
#undef POOL
#undef SERVER
#define POOL(name)
#define SERVER(name) SERVER_##name,
#include "proxy/metrics.def"
	SERVER_METRIC_MAX
};
enum worker_metric {
#undef SERVER
#undef WORKER
#define SERVER(name)
#define WORKER(name) WORKER_##name,
#include "proxy/metrics.def"
	WORKER_METRIC_MAX
};
#undef METRIC
#undef POOL
#undef SERVER
#undef WORKER
/* clang-format on */

/* One worker's share; on cache lines of its own. */
struct pool_slot {
	uint64_t m[POOL_METRIC_MAX];
	struct hist latency; /* request parsed to reply ready */
	uint64_t *commands;  /* requests by op_info.id, codec->op_count entries */
} __attribute__((aligned(64)));

struct server_slot {
	uint64_t m[SERVER_METRIC_MAX];
	struct hist latency; /* queued for the server to its reply read */
} __attribute__((aligned(64)));

struct worker_slot {
	uint64_t m[WORKER_METRIC_MAX];
} __attribute__((aligned(64)));

struct stats;

struct stats_pool {
	char *name;
	const struct codec *codec;
	struct pool_slot *slots;      /* [worker] */
	struct stats_pool *next;      /* private to stats.c from here */
	struct stats_server *servers; /* in the order they came: hh.next */
	struct stats *owner;	      /* NULL: replaced, or the registry is gone */
	uint32_t workers;
	uint32_t refs;
};

struct stats_server {
	char *name;		   /* ring name */
	struct server_slot *slots; /* [worker]  */
	UT_hash_handle hh;	   /* private to stats.c from here: by name, in its pool */
	struct stats_pool *pool;
	uint32_t refs;
};

struct stats *stats_new(uint32_t workers);
void stats_free(struct stats **s);

struct worker_slot *stats_worker(struct stats *s, uint32_t worker);

/* Find or create; each call takes a reference, and a server's entry holds one on its pool's. A pool
 * that changes protocol gets new counters. Running out of memory aborts. */
struct stats_pool *stats_pool_get(struct stats *s, const char *name, const struct codec *codec);
struct stats_server *stats_server_get(struct stats_pool *p, const char *ring_name);
void stats_pool_unref(struct stats_pool *p);
void stats_server_unref(struct stats_server *s);

uint64_t stats_pool_sum(const struct stats_pool *p, enum pool_metric m);
uint64_t stats_server_sum(const struct stats_server *s, enum server_metric m);
uint64_t stats_worker_sum(const struct stats *s, enum worker_metric m);

/* What only the process knows; read when stats are shown. Main thread. */
struct stats_process {
	uint64_t started_us; /* wall clock */
	const char *config_file;
	bool config_ok;	       /* the last reload was accepted            */
	uint64_t config_at_us; /* when a configuration was last accepted  */
	uint64_t config_reloads, config_failures;
	uint64_t topology_version;
	bool ready, draining;
	bool fenced;  /* has a topology, but does not serve by it   */
	bool unsaved; /* the topology is not kept for the next start */
};

/* twemproxy's schema with ours added: one JSON object, newline at its end. */
void stats_render_json(const struct stats *s, const struct stats_process *p, struct scratch *out);
/* Prometheus text format 0.0.4. */
void stats_render_prometheus(const struct stats *s, const struct stats_process *p,
			     struct scratch *out);
/* Markdown table of every metric: the documentation is made from the same table. */
void stats_render_doc(struct scratch *out);
/* The same as plain text, in the layout of `nutcracker -D`. */
void stats_render_description(struct scratch *out);

#endif

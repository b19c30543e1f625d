/* stats_priv.h - what stats.c shares with the files that render it. Main thread only. */
#ifndef TWINRING_PROXY_STATS_PRIV_H
#define TWINRING_PROXY_STATS_PRIV_H

#include "proxy/stats.h"

struct stats {
	uint32_t workers;
	struct worker_slot *slots; /* [worker]                                        */
	struct stats_pool *pools;  /* in order of creation; one per name              */
	uint64_t retired_total;	   /* connections ever made by entries that are gone  */
};

extern const struct metric_info stats_pool_metrics[POOL_METRIC_MAX];
extern const struct metric_info stats_server_metrics[SERVER_METRIC_MAX];
extern const struct metric_info stats_worker_metrics[WORKER_METRIC_MAX];

/* Sums over all workers. The histogram is written over. */
void stats_pool_latency(const struct stats_pool *p, struct hist *out);
void stats_server_latency(const struct stats_server *s, struct hist *out);
uint64_t stats_pool_commands(const struct stats_pool *p, uint32_t op_id);

/* Connections with clients and servers, now and ever. */
struct stats_connections {
	uint64_t current, total;
};
struct stats_connections stats_connections(const struct stats *s);

/* A metric of the Prometheus text that is not a plain row of metrics.def. */
struct prom_writer;
struct prom_family {
	const char *name, *type, *labels, *help;
	void (*emit)(struct prom_writer *w, const struct prom_family *f);
};
extern const struct prom_family prom_families[];
extern const uint32_t prom_family_count;

/* "twinring_server_eof_total" for the row {server_eof, counter} and the scope "server". */
void prom_row_name(struct scratch *out, const char *scope, const struct metric_info *row);

#endif

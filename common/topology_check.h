/* topology_check.h - from a tree of nodes to a topology; every problem reported.
 *
 * The one place that decides what a valid pool is: proxy, agent and CLI refuse the same input with
 * the same words, whether it came from a file or in a message.
 */
#ifndef TWINRING_COMMON_TOPOLOGY_CHECK_H
#define TWINRING_COMMON_TOPOLOGY_CHECK_H

#include "common/topology_server.h"
#include "common/topology_settings.h"

#define ROUTES_MAX  4096
#define POOLS_MAX   4096
#define SERVERS_MAX 65535

/* As topology_from_json, but with all problems instead of the first. `r` may have a label; the
 * caller frees it. */
enum err topology_read_json(const json_t *doc, struct topology **topology_out, struct report *r);

/* An empty topology; NULL when out of memory. */
struct topology *topology_new(void);

/* Read the native `pools` mapping into `t`, which has none yet. `pools` may be NULL: reported as
 * missing in `doc`. */
void topology_read_pools(struct topology *t, const struct node *doc, const struct node *pools,
			 struct report *r);

/* For other spellings of a pool. Make room for `count` pools, all zeroed. False: no memory. */
bool topology_reserve(struct topology *t, uint32_t count, const struct node *at, struct report *r);
/* Name the pool, which is at `n`, and fill in defaults; false: no memory. */
bool pool_init(struct pool_spec *p, const char *name, const struct node *n, enum setting_dialect d,
	       struct report *r);
/* Read one native pool from the mapping `n`, but for the keys that are `beside`'s (may be NULL).
 * The pool that its failover names is not looked for. */
void pool_read_native(struct pool_spec *p, const char *name, const struct node *n,
		      const struct settings *beside, struct report *r);
/* Read one server from each of `count` nodes and check them as a set; `at` is the pool. */
void pool_read_servers(struct pool_spec *p, const struct node *at, const struct node *const *nodes,
		       uint32_t count, server_read_fn *read, struct report *r);
/* Computed defaults, and checks across options. */
void pool_finish(struct pool_spec *p, const struct node *at, struct report *r);

/* Report that there is no pool `name`, with the one that may be meant. */
void topology_report_no_pool(const struct topology *t, const char *name, const struct node *at,
			     struct report *r);

/* Failover must lead to another pool of the same protocol and never back. `nodes` is where the
 * pools were written, one child each. */
void topology_check_failover(const struct topology *t, const struct node *nodes, struct report *r);

/* A name people chose: 1 to 255 bytes without control characters. */
bool topology_check_name(const struct node *n, enum report_at at, const char *name,
			 const char *what, struct report *r);

#endif

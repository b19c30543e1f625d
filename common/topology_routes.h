/* topology_routes.h - named route trees: checked here, built by the proxy. */
#ifndef TWINRING_COMMON_TOPOLOGY_ROUTES_H
#define TWINRING_COMMON_TOPOLOGY_ROUTES_H

#include "common/report.h"
#include "common/topology.h"

/* Check the mapping NAME -> tree against t's pools and keep it in t->routes. */
void topology_read_routes(struct topology *t, const struct node *routes, struct report *r);

/* Check one tree and add it to t->routes as `name`; at `n` is the tree. */
void topology_read_route(struct topology *t, const char *name, const struct node *n,
			 struct report *r);

/* The pool that the route `name` sends to, borrowed from `t`; NULL when it sends to none or does
 * not exist. */
const struct pool_spec *topology_route_pool(const struct topology *t, const char *name);

#endif

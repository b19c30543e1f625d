/* route.h - route handles: the nodes of the tree that decides where a request goes.
 *
 * Trees are built by main from a topology, never change, and die with their snapshot; every worker
 * reads them. A handle sends a request down with route_send(). To see the answer it pushes a frame
 * on the request first; a plain pool pushes nothing and costs nothing.
 */
#ifndef TWINRING_PROXY_ROUTE_H
#define TWINRING_PROXY_ROUTE_H

#include <jansson.h>

#include "proxy/request.h"

struct route;

struct route_type {
	const char *name; /* as in configurations: "PoolRoute" */

	/* Send the request on its way. Exactly one answer comes, later. */
	void (*send)(const struct route *r, struct request *req);

	/* The handle at which requests for `key` may be gathered into one: keys for which this
	 * returns the same handle can travel in one request to it. A handle that treats each
	 * key on its own returns itself. */
	const struct route *(*locate)(const struct route *r, struct slice key, uint64_t *rng);

	/* locate() for each key of `cmd`, in their order. NULL: they are located one by one. */
	void (*locate_keys)(const struct route *r, const struct command *cmd, uint64_t *rng,
			    const struct route **out);

	/* A request with several keys, or for every server: true when the handle has taken it, and
	 * exactly one answer comes, later. NULL: it takes none, and keys are located one by one. */
	bool (*send_keys)(const struct route *r, struct request *req, const struct command *cmd);

	/* Call fn for each server handle below, for commands that go to every server. */
	void (*each)(const struct route *r, void (*fn)(const struct route *leaf, void *ctx),
		     void *ctx);

	/* What it would do with `key`, as JSON for people; NULL key: what it is. New reference. */
	json_t *(*describe)(const struct route *r, const struct slice *key);

	void (*free)(struct route *r);
};

struct route {
	const struct route_type *type;
	const struct server_pool *pool; /* whose codec and limits apply; never NULL */
	uint32_t leaf;			/* destination number of a server handle    */
	bool per_key; /* a request that can be split goes to it key by key          */
};

static inline void route_send(const struct route *r, struct request *req)
{
	r->type->send(r, req);
}

static inline const struct route *route_locate(const struct route *r, struct slice key,
					       uint64_t *rng)
{
	return r->type->locate(r, key, rng);
}

static inline void route_free(struct route *r)
{
	if (r) r->type->free(r);
}

#endif

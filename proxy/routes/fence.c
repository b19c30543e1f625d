#include "proxy/routes/fence.h"

#include <stdlib.h>

struct fence_route {
	struct route base;
	struct route *behind;
};

static void fence_send(const struct route *r, struct request *req)
{
	(void)r;
	request_fail_later(req->view->core, req, ERR_STALE, NULL);
}

static const struct route *fence_locate(const struct route *r, struct slice key, uint64_t *rng)
{
	(void)key, (void)rng;
	return r;
}

static void fence_each(const struct route *r, void (*fn)(const struct route *, void *), void *ctx)
{
	fn(r, ctx);
}

static json_t *fence_describe(const struct route *r, const struct slice *key)
{
	const struct fence_route *f = (const struct fence_route *)r;
	json_t *d = f->behind->type->describe(f->behind, key);
	json_object_set_new(d, "fenced", json_true());
	return d;
}

static void fence_free(struct route *r)
{
	struct fence_route *f = (struct fence_route *)r;
	route_free(f->behind);
	free(f);
}

static const struct route_type fence_route = {
	.name = "FenceRoute",
	.send = fence_send,
	.locate = fence_locate,
	.each = fence_each,
	.describe = fence_describe,
	.free = fence_free,
};

struct route *route_fence_new(struct route *behind)
{
	struct fence_route *f = calloc(1, sizeof(*f));
	if (!f) return NULL;
	f->base = (struct route){ .type = &fence_route, .pool = behind->pool };
	f->behind = behind;
	return &f->base;
}

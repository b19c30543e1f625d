#include "proxy/eject.h"

#include <stdlib.h>

#include "common/log.h"

static struct ejection *ejections_find(const struct ejections *e, const char *pool,
				       const char *server)
{
	struct ejection *x;
	LIST_FOREACH (x, &e->list, list) {
		if (strcmp(x->pool, pool) == 0 && strcmp(x->server, server) == 0) return x;
	}
	return NULL;
}

static void ejection_free(struct ejection *x)
{
	LIST_REMOVE(x, list);
	free(x->pool);
	free(x->server);
	free(x->failing);
	free(x);
}

bool ejections_report(struct ejections *e, const struct pool_spec *pool, const char *server,
		      uint32_t worker, bool failing, uint64_t now_us)
{
	struct ejection *x = ejections_find(e, pool->name, server);
	if (x) {
		x->failing[worker] = failing;
		return false;
	}
	if (!failing || !pool->auto_eject_hosts) return false;
	x = calloc(1, sizeof(*x));
	if (!x || !(x->pool = strdup(pool->name)) || !(x->server = strdup(server)) ||
	    !(x->failing = calloc(e->worker_count, 1)))
		abort();
	x->failing[worker] = true;
	x->since_us = now_us;
	x->until_us = now_us + pool->server_retry_timeout_ms * 1000ull;
	LIST_INSERT_HEAD(&e->list, x, list);
	log_warn("pool %s: server %s leaves the ring for at least %u ms", pool->name, server,
		 pool->server_retry_timeout_ms);
	return true;
}

static bool ejection_may_end(const struct ejection *x, uint32_t worker_count, uint64_t now_us)
{
	for (uint32_t i = 0; i < worker_count; i++)
		if (x->failing[i]) return false;
	return now_us >= x->until_us;
}

bool ejections_expire(struct ejections *e, uint64_t now_us)
{
	bool any = false;
	struct ejection *x, *next;
	LIST_FOREACH_SAFE (x, &e->list, list, next) {
		if (!ejection_may_end(x, e->worker_count, now_us)) continue;
		log_notice("pool %s: server %s is back in the ring", x->pool, x->server);
		ejection_free(x);
		any = true;
	}
	return any;
}

void ejections_mark(const struct ejections *e, struct topology *t)
{
	for (uint32_t p = 0; p < t->pool_count; p++) {
		struct pool_spec *pool = &t->pools[p];
		for (uint32_t i = 0; pool->auto_eject_hosts && i < pool->server_count; i++) {
			struct server_spec *s = &pool->servers[i];
			if (!ejections_find(e, pool->name, s->ring_name)) continue;
			s->ejected = true;
			s->held = false; /* its keys have moved: nothing is left to wait for */
		}
	}
}

void ejections_fini(struct ejections *e)
{
	struct ejection *x, *next;
	LIST_FOREACH_SAFE (x, &e->list, list, next) {
		ejection_free(x);
	}
}

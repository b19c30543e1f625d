#include "proxy/addresses.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/giveway.h"
#include "common/log.h"
#include "common/resolver.h"

#include "common/memory.h"

enum { GATHER_US = 20000 }; /* changes that come together make one new snapshot */

struct address {
	char *key;	 /* "host\nport" */
	uint32_t id;	 /* the resolver's */
	uint64_t wanted; /* the round in which a topology last named it */
	UT_hash_handle hh;
};

struct addresses {
	struct io_loop *loop;
	struct resolver *resolver;
	struct address *by_key;
	uint64_t round;
	struct io_timer gather;
	void (*on_change)(void *ctx);
	void *ctx;
};

static void addresses_on_gathered(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct addresses *a = owner;
	a->on_change(a->ctx);
}

static void addresses_on_change(void *ctx, uint32_t id, const struct net_addr *addr)
{
	struct addresses *a = ctx;
	char name[NET_NAME_MAX];
	net_addr_name(addr, name);
	log_notice("name number %u resolves to %s", id, name);
	if (!io_timer_armed(&a->gather)) io_timer_set(&a->gather, GATHER_US);
}

struct addresses *addresses_new(struct io_loop *l, uint32_t refresh_ms,
				void (*on_change)(void *ctx), void *ctx)
{
	struct addresses *a = calloc(1, sizeof(*a));
	if (!a) return NULL;
	*a = (struct addresses){ .loop = l, .on_change = on_change, .ctx = ctx };
	io_timer_init(&a->gather, l, addresses_on_gathered, a);
	struct resolver_config config = { .on_change = addresses_on_change, .ctx = a };
	config.refresh_ms = refresh_ms;
	if (refresh_ms < RESOLVER_RETRY_MS) config.retry_ms = refresh_ms;
	a->resolver = resolver_new(io_loop_base(l), &config);
	if (a->resolver) return a;
	free(a);
	return NULL;
}

static struct address *addresses_find(const struct addresses *a, const char *host, uint16_t port)
{
	char key[600];
	int n = snprintf(key, sizeof(key), "%.500s\n%u", host, port);
	struct address *found;
	HASH_FIND(hh, a->by_key, key, (size_t)n, found);
	return found;
}

static struct address *addresses_add(struct addresses *a, const char *host, uint16_t port)
{
	struct address *n = calloc(1, sizeof(*n));
	if (!n || asprintf(&n->key, "%.500s\n%u", host, port) < 0) abort();
	n->id = resolver_watch(a->resolver, host, port);
	HASH_ADD_KEYPTR(hh, a->by_key, n->key, strlen(n->key), n);
	return n;
}

static void addresses_drop(struct addresses *a, struct address *gone)
{
	HASH_DEL(a->by_key, gone);
	resolver_unwatch(a->resolver, gone->id);
	free(gone->key);
	free(gone);
}

static void addresses_want_pool(struct addresses *a, const struct pool_spec *pool)
{
	for (uint32_t i = 0; i < pool->server_count; i++) {
		const struct server_spec *s = &pool->servers[i];
		struct address *x = addresses_find(a, s->host, s->port);
		if (!x) x = addresses_add(a, s->host, s->port);
		x->wanted = a->round;
		give_way_each(64, i);
	}
}

void addresses_want(struct addresses *a, const struct topology *t)
{
	a->round++;
	for (uint32_t p = 0; p < t->pool_count; p++) {
		const struct pool_spec *pool = &t->pools[p];
		addresses_want_pool(a, pool);
		if (pool->transition) addresses_want_pool(a, pool->transition->next);
	}
	struct address *x, *next;
	HASH_ITER (hh, a->by_key, x, next) {
		if (x->wanted != a->round) addresses_drop(a, x);
	}
}

void addresses_lookup(const struct addresses *a, const char *host, uint16_t port,
		      struct net_addr *addr_out)
{
	const struct address *x = addresses_find(a, host, port);
	const struct net_addr *addr = x ? resolver_addr(a->resolver, x->id) : NULL;
	*addr_out = addr ? *addr : (struct net_addr){ 0 };
}

static bool addresses_known(const struct addresses *a)
{
	for (const struct address *x = a->by_key; x; x = x->hh.next)
		if (!resolver_addr(a->resolver, x->id)) return false;
	return true;
}

static void addresses_on_timeout(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	*(bool *)owner = true;
}

void addresses_wait(struct addresses *a, uint32_t ms)
{
	bool late = false;
	struct io_timer timeout;
	io_timer_init(&timeout, a->loop, addresses_on_timeout, &late);
	io_timer_set(&timeout, ms * 1000ull);
	while (!late && !addresses_known(a)) io_loop_turn(a->loop);
	io_timer_stop(&timeout);
	if (late) log_warn("not all server names resolve; serving without those that do not");
}

void addresses_free(struct addresses **a)
{
	if (!*a) return;
	struct address *x, *next;
	HASH_ITER (hh, (*a)->by_key, x, next) {
		addresses_drop(*a, x);
	}
	io_timer_stop(&(*a)->gather);
	resolver_free(&(*a)->resolver);
	free(*a);
	*a = NULL;
}

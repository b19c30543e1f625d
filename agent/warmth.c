#include "agent/warmth.h"

#include <stdlib.h>

#include "common/list.h"

struct reads {
	uint64_t hits, misses;
};

/* What a proxy has told of one pool. */
struct source {
	LIST_ENTRY(source) next;
	char *proxy;
	struct reads told;
	uint64_t at_ms;
};

struct warm_pool {
	LIST_ENTRY(warm_pool) next;
	char *name;
	LIST_HEAD(, source) sources;
	struct reads now, before; /* the halves; `now` began at since_ms */
	uint64_t since_ms;
};

struct warmth {
	LIST_HEAD(, warm_pool) pools;
};

struct warmth *warmth_new(void)
{
	return calloc(1, sizeof(struct warmth));
}

/* --- who is known ----------------------------------------------------------------------------- */

static struct warm_pool *pool_find(const struct warmth *w, const char *name)
{
	struct warm_pool *p;
	LIST_FOREACH (p, &w->pools, next)
		if (strcmp(p->name, name) == 0) return p;
	return NULL;
}

static struct warm_pool *pool_add(struct warmth *w, const char *name, uint64_t now_ms)
{
	struct warm_pool *p = calloc(1, sizeof(*p));
	if (!p || !(p->name = strdup(name))) abort();
	p->since_ms = now_ms;
	LIST_INSERT_HEAD(&w->pools, p, next);
	return p;
}

static struct source *source_find(const struct warm_pool *p, const char *proxy)
{
	struct source *s;
	LIST_FOREACH (s, &p->sources, next)
		if (strcmp(s->proxy, proxy) == 0) return s;
	return NULL;
}

static void source_add(struct warm_pool *p, const char *proxy, struct reads told, uint64_t now_ms)
{
	struct source *s = calloc(1, sizeof(*s));
	if (!s || !(s->proxy = strdup(proxy))) abort();
	s->told = told;
	s->at_ms = now_ms;
	LIST_INSERT_HEAD(&p->sources, s, next);
}

/* One that has been silent for so long begins anew: nothing of it is needed. */
static void sources_forget(struct warm_pool *p, uint64_t now_ms)
{
	struct source *s, *next;
	LIST_FOREACH_SAFE (s, &p->sources, next, next) {
		if (now_ms - s->at_ms <= WARMTH_GAP_MS) continue;
		LIST_REMOVE(s, next);
		free(s->proxy);
		free(s);
	}
}

static void pool_drop(struct warm_pool *p)
{
	sources_forget(p, UINT64_MAX); /* all */
	LIST_REMOVE(p, next);
	free(p->name);
	free(p);
}

/* Pools are told of only while they are in transition. */
static void warmth_forget(struct warmth *w, uint64_t now_ms)
{
	struct warm_pool *p, *next;
	LIST_FOREACH_SAFE (p, &w->pools, next, next) {
		sources_forget(p, now_ms);
		if (LIST_EMPTY(&p->sources) && now_ms - p->since_ms > WARMTH_MS) pool_drop(p);
	}
}

void warmth_free(struct warmth **w)
{
	if (!*w) return;
	while (!LIST_EMPTY(&(*w)->pools)) pool_drop(LIST_FIRST(&(*w)->pools));
	free(*w);
	*w = NULL;
}

/* --- the window ------------------------------------------------------------------------------- */

static void pool_turn(struct warm_pool *p, uint64_t now_ms)
{
	uint64_t age_ms = now_ms - p->since_ms;
	if (age_ms < WARMTH_HALF_MS) return;
	p->before = age_ms < 2 * WARMTH_HALF_MS ? p->now : (struct reads){ 0 };
	p->now = (struct reads){ 0 };
	p->since_ms = now_ms - age_ms % WARMTH_HALF_MS;
}

void warmth_note(struct warmth *w, const char *pool, const char *proxy, uint64_t hits,
		 uint64_t misses, uint64_t now_ms)
{
	struct reads told = { hits, misses };
	warmth_forget(w, now_ms);
	struct warm_pool *p = pool_find(w, pool);
	if (!p) p = pool_add(w, pool, now_ms);
	pool_turn(p, now_ms);
	struct source *s = source_find(p, proxy);
	if (!s) {
		source_add(p, proxy, told, now_ms);
		return;
	}
	if (hits >= s->told.hits && misses >= s->told.misses) {
		p->now.hits += hits - s->told.hits;
		p->now.misses += misses - s->told.misses;
	}
	s->told = told;
	s->at_ms = now_ms;
}

int warmth_percent(struct warmth *w, const char *pool, uint64_t now_ms)
{
	struct warm_pool *p = pool_find(w, pool);
	if (!p) return -1;
	pool_turn(p, now_ms);
	uint64_t hits = p->now.hits + p->before.hits;
	uint64_t reads = hits + p->now.misses + p->before.misses;
	return reads < WARMTH_READS_MIN ? -1 : (int)(100 * hits / reads);
}

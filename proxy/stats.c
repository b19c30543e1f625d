#include "proxy/stats.h"

#include <stdlib.h>

#include "proxy/stats_priv.h"

#define IGNORE(name, type, help)
#define ROW(name, type, help)		{ #name, METRIC_##type, help },
#define METRIC(scope, name, type, help) scope(name, type, help)

#define POOL   ROW
#define SERVER IGNORE
#define WORKER IGNORE
const struct metric_info stats_pool_metrics[POOL_METRIC_MAX] = {
#include "proxy/metrics.def"
};
#undef POOL
#undef SERVER
#define POOL   IGNORE
#define SERVER ROW
const struct metric_info stats_server_metrics[SERVER_METRIC_MAX] = {
#include "proxy/metrics.def"
};
#undef SERVER
#undef WORKER
#define SERVER IGNORE
#define WORKER ROW
const struct metric_info stats_worker_metrics[WORKER_METRIC_MAX] = {
#include "proxy/metrics.def"
};

/* Zeroed, on cache lines of its own. Counters are few and made at start and reload: no memory for
 * them means no memory for anything. */
static void *stats_alloc(size_t count, size_t size)
{
	size_t bytes = (count * size + 63) & ~(size_t)63;
	void *p = aligned_alloc(64, bytes ? bytes : 64);
	if (!p) abort();
	memset(p, 0, bytes);
	return p;
}

static char *stats_strdup(const char *text)
{
	char *copy = strdup(text);
	if (!copy) abort();
	return copy;
}

struct stats *stats_new(uint32_t workers)
{
	struct stats *s = stats_alloc(1, sizeof(*s));
	s->workers = workers;
	s->slots = stats_alloc(workers, sizeof(*s->slots));
	return s;
}

void stats_free(struct stats **s)
{
	if (!*s) return;
	/* Entries that are still held go with their last reference. */
	for (struct stats_pool *p = (*s)->pools; p; p = p->next) p->owner = NULL;
	free((*s)->slots);
	free(*s);
	*s = NULL;
}

struct worker_slot *stats_worker(struct stats *s, uint32_t worker)
{
	return &s->slots[worker];
}

/* --- pools ------------------------------------------------------------------------------------ */

static void stats_pool_unlink(struct stats_pool *p)
{
	if (!p->owner) return;
	for (struct stats_pool **at = &p->owner->pools; *at; at = &(*at)->next) {
		if (*at != p) continue;
		*at = p->next;
		break;
	}
	p->owner->retired_total += stats_pool_sum(p, POOL_client_accepted);
	p->owner = NULL;
}

static struct stats_pool *stats_pool_new(struct stats *s, const char *name,
					 const struct codec *codec)
{
	struct stats_pool *p = stats_alloc(1, sizeof(*p));
	p->name = stats_strdup(name);
	p->codec = codec;
	p->workers = s->workers;
	p->slots = stats_alloc(s->workers, sizeof(*p->slots));
	for (uint32_t w = 0; w < s->workers; w++)
		p->slots[w].commands = stats_alloc(codec->op_count, sizeof(uint64_t));
	p->owner = s;
	return p;
}

struct stats_pool *stats_pool_get(struct stats *s, const char *name, const struct codec *codec)
{
	struct stats_pool **at = &s->pools;
	while (*at && strcmp((*at)->name, name) != 0) at = &(*at)->next;
	/* Another protocol has other commands. Whoever holds the old entry keeps it, unseen. */
	if (*at && (*at)->codec != codec) {
		stats_pool_unlink(*at);
		while (*at) at = &(*at)->next;
	}
	if (!*at) *at = stats_pool_new(s, name, codec);
	(*at)->refs++;
	return *at;
}

void stats_pool_unref(struct stats_pool *p)
{
	if (!p || --p->refs > 0) return;
	stats_pool_unlink(p);
	for (uint32_t w = 0; w < p->workers; w++) free(p->slots[w].commands);
	free(p->slots);
	free(p->name);
	free(p);
}

uint64_t stats_pool_sum(const struct stats_pool *p, enum pool_metric m)
{
	uint64_t sum = 0;
	for (uint32_t w = 0; w < p->workers; w++) sum += metric_get(&p->slots[w].m[m]);
	return sum;
}

void stats_pool_latency(const struct stats_pool *p, struct hist *out)
{
	*out = (struct hist){ 0 };
	for (uint32_t w = 0; w < p->workers; w++) hist_merge(out, &p->slots[w].latency);
}

uint64_t stats_pool_commands(const struct stats_pool *p, uint32_t op_id)
{
	uint64_t sum = 0;
	for (uint32_t w = 0; w < p->workers; w++) sum += metric_get(&p->slots[w].commands[op_id]);
	return sum;
}

/* --- servers ---------------------------------------------------------------------------------- */

struct stats_server *stats_server_get(struct stats_pool *p, const char *ring_name)
{
	struct stats_server *s;
	HASH_FIND_STR(p->servers, ring_name, s);
	if (!s) {
		s = stats_alloc(1, sizeof(*s));
		s->name = stats_strdup(ring_name);
		s->slots = stats_alloc(p->workers, sizeof(*s->slots));
		s->pool = p;
		p->refs++; /* its slots are as many as the pool's, its place is in the pool's table
			    */
		HASH_ADD_KEYPTR(hh, p->servers, s->name, strlen(s->name), s);
	}
	s->refs++;
	return s;
}

void stats_server_unref(struct stats_server *s)
{
	if (!s || --s->refs > 0) return;
	struct stats_pool *p = s->pool;
	HASH_DEL(p->servers, s);
	if (p->owner) p->owner->retired_total += stats_server_sum(s, SERVER_connects);
	free(s->slots);
	free(s->name);
	free(s);
	stats_pool_unref(p);
}

uint64_t stats_server_sum(const struct stats_server *s, enum server_metric m)
{
	uint64_t sum = 0;
	for (uint32_t w = 0; w < s->pool->workers; w++) {
		uint64_t v = metric_get(&s->slots[w].m[m]);
		if (m != SERVER_server_ejected_at) sum += v;
		else if (v > sum) /* a moment: the latest one counts */ sum = v;
	}
	return sum;
}

void stats_server_latency(const struct stats_server *s, struct hist *out)
{
	*out = (struct hist){ 0 };
	for (uint32_t w = 0; w < s->pool->workers; w++) hist_merge(out, &s->slots[w].latency);
}

/* --- process ---------------------------------------------------------------------------------- */

uint64_t stats_worker_sum(const struct stats *s, enum worker_metric m)
{
	uint64_t sum = 0;
	for (uint32_t w = 0; w < s->workers; w++) sum += metric_get(&s->slots[w].m[m]);
	return sum;
}

struct stats_connections stats_connections(const struct stats *s)
{
	struct stats_connections c = { .total = s->retired_total };
	for (const struct stats_pool *p = s->pools; p; p = p->next) {
		c.current += stats_pool_sum(p, POOL_client_connections);
		c.total += stats_pool_sum(p, POOL_client_accepted);
		for (const struct stats_server *v = p->servers; v; v = v->hh.next) {
			c.current += stats_server_sum(v, SERVER_server_connections);
			c.total += stats_server_sum(v, SERVER_connects);
		}
	}
	return c;
}

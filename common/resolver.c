#include "common/resolver.h"

#include <event2/event.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/resolver_pool.h"

struct resolver_watch {
	struct resolver *resolver;
	struct event *timer; /* next lookup; NULL: numeric, never looked up */
	char *host;
	uint16_t port;
	uint32_t id;
	uint64_t serial;
	bool failed;	      /* the last lookup did: said once, not every 5 s */
	struct net_addr addr; /* len 0: not known yet                          */
};

struct resolver {
	struct event_base *base;
	struct resolver_config config;
	struct resolver_pool *pool; /* NULL until the first name */
	struct event *answers;
	struct resolver_watch **watches; /* [id - 1]; NULL: free */
	uint32_t cap;
	uint64_t serial;
};

/* --- lookup ----------------------------------------------------------------------------------- */

static bool resolver_getaddrinfo(const char *host, uint16_t port, struct net_addr *addrs,
				 uint32_t max, uint32_t *count_out, const char **why_out)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	char service[6];
	snprintf(service, sizeof(service), "%u", port);
	int g = getaddrinfo(host, service, &hints, &list);
	if (g != 0) {
		*why_out = gai_strerror(g);
		return false;
	}
	uint32_t n = 0;
	for (const struct addrinfo *ai = list; ai && n < max; ai = ai->ai_next, n++) {
		addrs[n] = (struct net_addr){ .len = ai->ai_addrlen };
		memcpy(&addrs[n].ss, ai->ai_addr, ai->ai_addrlen);
	}
	freeaddrinfo(list);
	*count_out = n;
	*why_out = "no address";
	return n > 0;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void resolver_schedule(struct resolver_watch *w, uint32_t ms)
{
	struct timeval in = { ms / 1000, ms % 1000 * 1000 };
	event_add(w->timer, &in);
}

static bool resolver_contains(const struct resolver_job *job, const struct net_addr *addr)
{
	for (uint32_t i = 0; i < job->count; i++)
		if (net_addr_equal(&job->addrs[i], addr)) return true;
	return false;
}

static void resolver_failed(struct resolver_watch *w, const char *why)
{
	if (!w->failed)
		log_warn("%s: %s%s", w->host, why, w->addr.len ? "; its last address stays" : "");
	w->failed = true;
	resolver_schedule(w, w->resolver->config.retry_ms);
}

/* The watch may be gone when this returns: the callback may unwatch it. */
static void resolver_answered(struct resolver_watch *w, const struct resolver_job *job)
{
	const struct resolver_config *config = &w->resolver->config;
	if (w->failed) log_notice("%s: resolved again", w->host);
	w->failed = false;
	resolver_schedule(w, config->refresh_ms);
	if (w->addr.len && resolver_contains(job, &w->addr)) return;
	char name[NET_NAME_MAX];
	net_addr_name(&job->addrs[0], name);
	log_info("%s: %s %s", w->host, w->addr.len ? "moved to" : "is", name);
	w->addr = job->addrs[0];
	config->on_change(config->ctx, w->id, &job->addrs[0]);
}

static void resolver_on_answers(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct resolver *r = arg;
	struct resolver_jobs done;
	struct resolver_job *job, *next;
	resolver_pool_collect(r->pool, &done);
	STAILQ_FOREACH_SAFE (job, &done, link, next) {
		struct resolver_watch *w = job->id <= r->cap ? r->watches[job->id - 1] : NULL;
		/* Nobody may be interested any more. */
		if (w && w->serial == job->serial) {
			if (job->ok) resolver_answered(w, job);
			else resolver_failed(w, job->why);
		}
		free(job);
	}
}

/* --- questions -------------------------------------------------------------------------------- */

static bool resolver_start(struct resolver *r)
{
	if (r->pool) return true;
	r->pool = resolver_pool_new(r->config.lookup);
	if (!r->pool) return false;
	r->answers = event_new(r->base, resolver_pool_fd(r->pool), EV_READ | EV_PERSIST,
			       resolver_on_answers, r);
	if (!r->answers) abort();
	event_add(r->answers, NULL);
	return true;
}

static void resolver_ask(struct resolver_watch *w)
{
	if (!resolver_start(w->resolver)) {
		resolver_failed(w, "no descriptor left to resolve with");
		return;
	}
	size_t n = strlen(w->host) + 1;
	struct resolver_job *job = calloc(1, sizeof(*job) + n);
	if (!job) abort();
	job->id = w->id;
	job->serial = w->serial;
	job->port = w->port;
	memcpy(job->host, w->host, n);
	resolver_pool_submit(w->resolver->pool, job);
}

static void resolver_on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	resolver_ask(arg);
}

/* --- watches ---------------------------------------------------------------------------------- */

static uint32_t resolver_slot(struct resolver *r)
{
	for (uint32_t i = 0; i < r->cap; i++)
		if (!r->watches[i]) return i;
	uint32_t cap = r->cap ? r->cap * 2 : 16, slot = r->cap;
	struct resolver_watch **grown = realloc(r->watches, cap * sizeof(struct resolver_watch *));
	if (!grown) abort();
	for (uint32_t i = r->cap; i < cap; i++) grown[i] = NULL;
	r->watches = grown;
	r->cap = cap;
	return slot;
}

uint32_t resolver_watch(struct resolver *r, const char *host, uint16_t port)
{
	uint32_t slot = resolver_slot(r);
	struct resolver_watch *w = calloc(1, sizeof(*w));
	if (!w) abort();
	w->resolver = r;
	w->host = strdup(host);
	if (!w->host) abort();
	w->port = port;
	w->id = slot + 1;
	w->serial = ++r->serial;
	r->watches[slot] = w;
	if (net_addr_numeric(host, port, &w->addr)) return w->id;
	w->addr.len = 0;
	if (port == 0) { /* a path that no socket can have: nothing to look up */
		log_warn("%s: not usable as the path of a unix socket", host);
		return w->id;
	}
	w->timer = evtimer_new(r->base, resolver_on_timer, w);
	if (!w->timer) abort();
	resolver_ask(w);
	return w->id;
}

void resolver_unwatch(struct resolver *r, uint32_t id)
{
	struct resolver_watch *w = id && id <= r->cap ? r->watches[id - 1] : NULL;
	if (!w) return;
	r->watches[id - 1] = NULL;
	if (w->timer) event_free(w->timer);
	free(w->host);
	free(w);
}

const struct net_addr *resolver_addr(const struct resolver *r, uint32_t id)
{
	const struct resolver_watch *w = id && id <= r->cap ? r->watches[id - 1] : NULL;
	return w && w->addr.len ? &w->addr : NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

struct resolver *resolver_new(struct event_base *base, const struct resolver_config *config)
{
	struct resolver *r = calloc(1, sizeof(*r));
	if (!r) abort();
	r->base = base;
	r->config = *config;
	if (!r->config.refresh_ms) r->config.refresh_ms = RESOLVER_REFRESH_MS;
	if (!r->config.retry_ms) r->config.retry_ms = RESOLVER_RETRY_MS;
	if (!r->config.lookup) r->config.lookup = resolver_getaddrinfo;
	return r;
}

void resolver_free(struct resolver **r)
{
	if (!*r) return;
	for (uint32_t id = 1; id <= (*r)->cap; id++) resolver_unwatch(*r, id);
	if ((*r)->answers) event_free((*r)->answers);
	resolver_pool_free((*r)->pool);
	free((*r)->watches);
	free(*r);
	*r = NULL;
}

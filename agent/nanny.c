#include "agent/nanny_impl.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/resolver.h"

/* 0 <= result < n; n > 0 */
static uint64_t nanny_random(struct nanny *n, uint64_t below)
{
	n->random ^= n->random << 13;
	n->random ^= n->random >> 7;
	n->random ^= n->random << 17;
	return n->random % below;
}

void charge_vote(const struct charge *c, bool changed, bool restarted)
{
	const struct nanny_events *e = &c->ward->nanny->events;
	struct nanny_vote v = {
		.pool = c->ward->pool.name,
		.server = c->name,
		.bad = c->bad,
		.changed = changed,
		.restarted = restarted,
		.why = c->why,
		.since_ms = c->since_ms,
	};
	e->on_vote(e->ctx, &v);
}

/* --- results ---------------------------------------------------------------------------------- */

static void charge_set_bad(struct charge *c, bool bad, const char *why)
{
	const char *pool = c->ward->pool.name;
	c->bad = bad;
	c->run = 0;
	c->turned_us = bad ? clock_now_us() : 0;
	c->since_ms = clock_wall_us() / 1000;
	snprintf(c->why, sizeof(c->why), "%s", why);
	if (bad) log_warn("%s: server %s is bad: %s", pool, c->name, why);
	else log_notice("%s: server %s is well: %s", pool, c->name, why);
}

/* True: it has turned. */
static bool charge_weigh(struct charge *c, const struct probe_result *r)
{
	const struct health_spec *h = &c->ward->pool.health;
	bool bad = r->outcome != PROBE_GOOD;
	if (bad == c->bad) {
		c->run = 0;
		return false;
	}
	uint32_t limit = bad ? h->fall : h->rise;
	if (++c->run < limit) return false;
	char why[PROBE_WHY_MAX];
	snprintf(why, sizeof(why), "%u good probes in a row", c->run);
	charge_set_bad(c, bad, bad ? r->why : why);
	return true;
}

static bool charge_restarted(struct charge *c, const struct probe_result *r)
{
	if (!r->incarnation[0]) return false;
	bool known = c->incarnation[0] != '\0';
	bool other = strcmp(c->incarnation, r->incarnation) != 0;
	memcpy(c->incarnation, r->incarnation, sizeof(c->incarnation));
	if (known && other)
		log_notice("%s: server %s was started anew", c->ward->pool.name, c->name);
	return known && other;
}

static void charge_puzzled(struct charge *c, const char *why)
{
	if (!c->puzzled)
		log_warn("%s: server %s cannot be probed: %s", c->ward->pool.name, c->name, why);
	c->puzzled = true;
}

/* --- probing ---------------------------------------------------------------------------------- */

/* The next probe begins an interval after this one began, give or take a tenth. */
static void charge_schedule(struct charge *c, uint64_t took_us)
{
	uint64_t interval = c->ward->pool.health.interval_ms * 1000ull;
	uint64_t wait = interval * 9 / 10 + nanny_random(c->ward->nanny, interval / 5 + 1);
	io_timer_set(&c->timer, wait > took_us ? wait - took_us : 0);
}

static void charge_on_result(void *ctx, const struct probe_result *r)
{
	struct charge *c = ctx;
	struct nanny *n = c->ward->nanny;
	c->probe = NULL;
	charge_schedule(c, r->took_us);
	if (r->outcome == PROBE_UNKNOWN) {
		charge_puzzled(c, r->why);
		return;
	}
	c->puzzled = false;
	bool changed = charge_weigh(c, r);
	bool restarted = charge_restarted(c, r);
	/* First the doubt, then the vote: or the first votes of many would count. */
	if (changed) nanny_review(n);
	if (changed || restarted) charge_vote(c, changed, restarted);
}

static struct net_addr address_at(const struct net_addr *addr, uint16_t port)
{
	struct net_addr a = *addr;
	if (a.ss.ss_family == AF_INET) ((struct sockaddr_in *)&a.ss)->sin_port = htons(port);
	if (a.ss.ss_family == AF_INET6) ((struct sockaddr_in6 *)&a.ss)->sin6_port = htons(port);
	return a;
}

/* addr: NULL: the host is numeric. */
static void charge_probe(struct charge *c, const struct net_addr *addr)
{
	const struct ward *w = c->ward;
	const struct health_spec *h = &w->pool.health;
	struct net_addr moved;
	uint16_t port = c->port;
	if (h->probe == PROBE_HTTP && h->http_port && port) {
		port = h->http_port;
		if (addr) {
			moved = address_at(addr, port);
			addr = &moved;
		}
	}
	struct probe_target t = {
		.kind = h->probe,
		.host = c->host,
		.port = port,
		.addr = addr,
		.pool = w->pool.name,
		.server = c->name,
		.auth_user = w->pool.auth_user,
		.auth_password = w->pool.auth_password,
		.db = w->pool.db,
		.http_path = h->http_path ? h->http_path : "/",
		.script = w->script,
		.timeout_ms = h->timeout_ms,
	};
	c->probe = probe_start(w->nanny->loop, &t, charge_on_result, c);
}

static void charge_on_timer(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct charge *c = owner;
	const struct net_addr *addr = NULL;
	if (c->address) {
		addr = resolver_addr(c->ward->nanny->resolver, c->address);
		if (!addr) {
			charge_puzzled(c, "no address is known for its name");
			charge_schedule(c, 0);
			return;
		}
	}
	charge_probe(c, addr);
}

/* --- servers ---------------------------------------------------------------------------------- */

static void nanny_on_address(void *ctx, uint32_t id, const struct net_addr *addr)
{
	(void)ctx, (void)id, (void)addr; /* the next probe asks for it */
}

static uint32_t nanny_watch(struct nanny *n, const struct nanny_server *s)
{
	struct net_addr numeric;
	if (net_addr_numeric(s->host, s->port, &numeric)) return 0;
	struct resolver_config config = { .on_change = nanny_on_address };
	if (!n->resolver) n->resolver = resolver_new(io_loop_base(n->loop), &config);
	return resolver_watch(n->resolver, s->host, s->port);
}

struct charge *charge_new(struct ward *w, const struct nanny_server *s)
{
	struct charge *c = calloc(1, sizeof(*c));
	if (!c) abort();
	c->ward = w;
	c->name = strdup(s->name);
	c->host = strdup(s->host);
	if (!c->name || !c->host) abort();
	c->port = s->port;
	c->address = nanny_watch(w->nanny, s);
	c->since_ms = clock_wall_us() / 1000;
	io_timer_init(&c->timer, w->nanny->loop, charge_on_timer, c);
	io_timer_set(&c->timer, nanny_random(w->nanny, w->pool.health.interval_ms * 1000ull + 1));
	LIST_INSERT_HEAD(&w->charges, c, link);
	if (!s->ejected) return c;
	c->bad = true;
	snprintf(c->why, sizeof(c->why), "out, and not seen to be well yet");
	charge_vote(c, true, false);
	return c;
}

void charge_free(struct charge *c, bool tell)
{
	LIST_REMOVE(c, link);
	if (tell && c->bad) {
		c->bad = false;
		snprintf(c->why, sizeof(c->why), "no longer looked after");
		charge_vote(c, true, false);
	}
	probe_cancel(&c->probe);
	io_timer_stop(&c->timer);
	if (c->address) resolver_unwatch(c->ward->nanny->resolver, c->address);
	free(c->name);
	free(c->host);
	free(c);
}

struct nanny *nanny_new(struct io_loop *l, const struct nanny_events *events)
{
	struct nanny *n = calloc(1, sizeof(*n));
	if (!n) abort();
	n->loop = l;
	n->events = *events;
	if (!n->events.doubt_ms) n->events.doubt_ms = NANNY_DOUBT_MS;
	n->random = events->seed * 2 + 0x9e3779b97f4a7c15u; /* never 0, as the constant is odd */
	LIST_INIT(&n->wards);
	io_timer_init(&n->review, l, nanny_on_review, n);
	return n;
}

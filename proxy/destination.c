#include "proxy/destination.h"

#include <assert.h>
#include <stdlib.h>

#include "common/log.h"
#include "proxy/conn.h"

enum {
	PROBE_FIRST_MS = 100,
	PROBE_MAX_MS = 2000,
	PROBE_TIMEOUT_MS = 1000,
	PROBE_AGAIN_MS = 50,	      /* answered, but an old connection still owes replies */
	QUARANTINE_WAIT_US = 1000000, /* how long a healthy server waits for them          */
};

static void dest_on_probe_timer(int fd, short what, void *owner);

struct dest *dest_new(struct core *core, const struct server_pool *pool,
		      const struct pool_server *server)
{
	struct dest *d = calloc(1, sizeof(*d) + pool->lanes * sizeof(d->lanes[0]));
	if (!d) abort();
	d->core = core;
	d->id = server->id;
	d->refs = 1;
	d->lane_count = pool->lanes;
	LIST_INIT(&d->quarantine);
	io_timer_init(&d->probe_timer, &core->loop, dest_on_probe_timer, d);
	dest_update(d, pool, server);
	return d;
}

/* What was asked under a longer timeout must not hold up the shorter ones behind it. */
static void dest_shorten(struct dest *d, const struct pool_spec *was, const struct pool_spec *is)
{
	if (!is->timeout_ms || (was->timeout_ms && was->timeout_ms <= is->timeout_ms)) return;
	uint64_t deadline_us = core_now(d->core) + is->timeout_ms * 1000ull;
	for (uint32_t i = 0; i < d->lane_count; i++)
		if (d->lanes[i]) conn_shorten(d->lanes[i], deadline_us);
}

void dest_update(struct dest *d, const struct server_pool *pool, const struct pool_server *server)
{
	assert(d->lane_count == pool->lanes && d->id == server->id);
	server_pool_hold(pool);
	if (d->pool) dest_shorten(d, d->pool->spec, pool->spec);
	if (d->pool) server_pool_release(d->pool);
	d->pool = pool;
	d->server = server;
	d->stats = &server->stats->slots[d->core->index];
}

static void dest_free(struct garbage *g)
{
	free((char *)g - offsetof(struct dest, garbage));
}

void dest_unref(struct dest *d)
{
	if (--d->refs > 0) return;
	d->refs = 1; /* closing takes and drops references of its own */
	io_timer_stop(&d->probe_timer);
	for (uint32_t i = 0; i < d->lane_count; i++)
		if (d->lanes[i]) conn_close(d->lanes[i], ERR_SHUTDOWN);
	if (d->probe) conn_close(d->probe, ERR_SHUTDOWN);
	while (!LIST_EMPTY(&d->quarantine)) conn_close(LIST_FIRST(&d->quarantine), ERR_SHUTDOWN);
	if (d->state == DEST_TKO) metric_sub(&d->stats->m[SERVER_tko_workers], 1);
	io_timer_stop(&d->probe_timer);
	server_pool_release(d->pool);
	core_discard(d->core, &d->garbage, dest_free);
}

/* --- state ------------------------------------------------------------------------------------ */

static void dest_schedule_probe(struct dest *d, uint32_t delay_ms)
{
	uint64_t us = delay_ms * 1000ull;
	/* Up to a fifth more, so that workers and proxies do not probe in step. */
	io_timer_set(&d->probe_timer, us + core_random(d->core) % (us / 5 + 1));
}

static void dest_set_state(struct dest *d, enum dest_state state, const char *why)
{
	if (d->state == state) return;
	d->state = (uint8_t)state;
	const char *name = d->server->spec->ring_name;
	switch (state) {
	case DEST_READY:
		d->failures = 0;
		metric_sub(&d->stats->m[SERVER_tko_workers], 1);
		io_timer_stop(&d->probe_timer);
		log_notice("server %s is back: %s", name, why);
		break;
	case DEST_TKO:
		metric_add(&d->stats->m[SERVER_tko], 1);
		metric_add(&d->stats->m[SERVER_tko_workers], 1);
		d->answered_us = 0;
		d->probe_delay_ms = PROBE_FIRST_MS;
		dest_schedule_probe(d, d->probe_delay_ms);
		log_warn("server %s marked down: %s", name, why);
		for (uint32_t i = 0; i < d->lane_count; i++)
			if (d->lanes[i]) conn_retire(d->lanes[i], CONN_OWED_US);
		break;
	}
	d->core->on_dest_state(d->core, d);
}

void dest_on_success(struct dest *d)
{
	if (d->state == DEST_READY) d->failures = 0;
}

/* A failure that leaves no doubt: nobody listens there, or it does not speak the protocol. */
static bool err_is_hard(enum err e)
{
	return e == ERR_REFUSED || e == ERR_DESYNC;
}

void dest_on_failure(struct dest *d, enum err e)
{
	d->failures++;
	d->last_error = e;
	uint32_t limit = d->pool->spec->server_failure_limit;
	if (d->state == DEST_READY && (err_is_hard(e) || d->failures >= limit))
		dest_set_state(d, DEST_TKO, err_text(e));
	else if (d->state == DEST_TKO && d->failures == limit) d->core->on_dest_state(d->core, d);
}

void dest_on_conn_gone(struct dest *d, struct conn *c)
{
	if (d->probe == c) d->probe = NULL;
	if (d->lanes[c->lane] == c) d->lanes[c->lane] = NULL;
}

void dest_on_drained(struct dest *d)
{
	if (d->state == DEST_TKO && !d->probe) dest_schedule_probe(d, 0);
}

/* --- probing ---------------------------------------------------------------------------------- */

static void dest_probe_failed(struct dest *d, enum err e)
{
	d->answered_us = 0;
	d->probe_delay_ms *= 2;
	if (d->probe_delay_ms > PROBE_MAX_MS) d->probe_delay_ms = PROBE_MAX_MS;
	if (e != ERR_NONE) dest_on_failure(d, e);
	dest_schedule_probe(d, d->probe_delay_ms);
}

/* A good answer makes the server fit again, unless a quarantined connection still owes replies:
 * what was sent on it would be executed after what is sent from now on. The wait for it is bounded.
 */
static void dest_on_probe_reply(struct frame *f, struct request *req, const struct answer *a)
{
	struct dest *d = f->owner;
	struct conn *c = d->probe;
	request_drop(d->core, req);
	if (d->state != DEST_TKO) return;
	if (!c || a->kind != REPLY_HIT) {
		/* A connection that is gone has counted its own failure. */
		d->probe = NULL;
		dest_probe_failed(d, c ? (a->err ? a->err : ERR_CONNECT) : ERR_NONE);
		if (c) conn_retire(c, 0);
		return;
	}
	uint64_t now = core_now(d->core);
	d->failures = 0;
	if (!d->answered_us) d->answered_us = now;
	if (!LIST_EMPTY(&d->quarantine) && now - d->answered_us < QUARANTINE_WAIT_US) {
		dest_schedule_probe(d, PROBE_AGAIN_MS);
		return;
	}
	d->probe = NULL;
	if (!d->lanes[0]) d->lanes[0] = c;
	dest_set_state(d, DEST_READY, "it answered a probe");
}

static void dest_on_probe_timer(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct dest *d = owner;
	if (d->state != DEST_TKO) return;
	struct core *core = d->core;
	enum err e = ERR_NONE;
	metric_add(&d->stats->m[SERVER_probes], 1);
	if (!d->probe) d->probe = conn_open(d, 0, &e);
	if (!d->probe) {
		dest_probe_failed(d, e);
		return;
	}
	scratch_clear(&core->aside);
	struct request *req = request_new(core, d->pool->codec->probe(&core->aside));
	req->bottom = (struct frame){ .reply = dest_on_probe_reply, .owner = d };
	req->start_us = core_now(core);
	req->deadline_us = req->start_us + PROBE_TIMEOUT_MS * 1000ull;
	req->head = scratch_slice(&core->aside);
	conn_queue(d->probe, req);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* One client's requests always take the same way, or they could overtake each other. */
static uint32_t dest_lane(const struct dest *d, const struct request *req)
{
	uint32_t n = d->pool->spec->server_connections;
	return (n > 1 ? req->lane % n : 0) + (req->resp == 3 ? n : 0);
}

/* There is no connection yet. NULL: nor can there be one; the request is told. */
static __attribute__((noinline)) struct conn *dest_open_lane(struct dest *d, uint32_t lane,
							     struct request *req)
{
	enum err e = ERR_NONE;
	struct conn *c = d->lanes[lane] = conn_open(d, lane, &e);
	if (c) return c;
	dest_on_failure(d, e);
	request_fail_later(d->core, req, e, d->server->spec->ring_name);
	return NULL;
}

void dest_send(struct dest *d, struct request *req)
{
	if (d->state == DEST_TKO) {
		metric_add(&d->stats->m[SERVER_fast_fails], 1);
		request_fail_later(d->core, req, d->last_error, d->server->spec->ring_name);
		return;
	}
	uint32_t lane = dest_lane(d, req);
	struct conn *c = d->lanes[lane];
	if (!c) c = dest_open_lane(d, lane, req);
	if (!c) return;
	if (c->count < d->pool->spec->inflight_max) conn_queue(c, req);
	else request_fail_later(d->core, req, ERR_QUEUE_FULL, d->server->spec->ring_name);
}

uint16_t dest_tag(const struct dest *d, const struct request *req)
{
	const struct conn *c = d->lanes[dest_lane(d, req)];
	return c && c->state == CONN_READY ? c->tag : 0;
}

void dest_preconnect(struct dest *d)
{
	enum err e = ERR_NONE;
	if (d->state != DEST_READY || d->lanes[0]) return;
	d->lanes[0] = conn_open(d, 0, &e);
	if (!d->lanes[0]) dest_on_failure(d, e);
}

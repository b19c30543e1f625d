#include "agent/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/agent_priv.h"
#include "agent/events.h"
#include "common/clock.h"
#include "common/log.h"

enum {
	SECOND_US = 1000000,
	ALARM_SECONDS = 3, /* what is mended by then was only on its way */
};

void agent_webhook(struct agent *a, const char *event, json_t *body)
{
	json_object_set_new(body, "agent", json_string(a->config->id));
	webhooks_send(a->webhooks, event, body);
}

/* --- what happens
 * ----------------------------------------------------------------------------------- */

/* What the tree has not confirmed for too long is pushed as such. */
void agent_check_age(struct agent *a)
{
	uint64_t max_ms = a->config->cache_max_age_ms;
	bool stale = max_ms > 0 && reader_age_ms(a->reader) > max_ms;
	if (stale && !a->stale)
		log_warn(
		    "the tree has not been confirmed for longer than cache_max_age_ms: proxies "
		    "that start now do not serve by it");
	a->stale = stale;
	push_stale(a->push, stale);
}

static void agent_on_topology(void *ctx, const json_t *doc, uint64_t version, bool confirmed)
{
	struct agent *a = ctx;
	struct err_at at = { 0 };
	struct topology *t;
	if (topology_from_json(doc, &t, &at) != ERR_NONE) {
		log_error("topology %llu: %s: %s", (unsigned long long)version, at.where, at.why);
		agent_count(&a->metrics, AGENT_METRIC_topologies_refused);
		return;
	}
	topology_free(&a->topology);
	a->topology = t;
	agent_count(&a->metrics, AGENT_METRIC_topologies);
	log_notice("topology %llu%s", (unsigned long long)version,
		   confirmed ? "" : ", from the cache, not confirmed");
	push_topology(a->push, doc);
	/* Proxies cannot say that they follow a transition without a lease for it. */
	for (uint32_t i = 0; i < t->pool_count; i++)
		if (t->pools[i].transition && a->connected) {
			agent_confirm(a);
			break;
		}
	outputs_update(a->outputs, t);
	if (a->nanny) agent_want_probes(a);
}

static void agent_on_read(void *ctx)
{
	struct agent *a = ctx;
	agent_count(&a->metrics, AGENT_METRIC_reads);
	agent_lease(a);
	agent_report(a);
}

/* Tell when what is in force has not been followed for a while, and when it is again. */
static void agent_check_alarm(struct agent *a)
{
	const char *alarm = reader_alarm(a->reader);
	a->alarm_seconds = alarm ? a->alarm_seconds + 1 : 0;
	bool now = a->alarm_seconds >= ALARM_SECONDS;
	if (now == a->alarmed || (alarm && !now)) return;
	a->alarmed = now;
	enum agent_event what = now ? AGENT_EVENT_TREE_REFUSED : AGENT_EVENT_TREE_GOOD;
	if (now) log_error("the tree is not followed, the last good one stays: %s", alarm);
	else log_notice("the tree is followed again");
	agent_webhook(a, agent_event_name(what), json_pack("{s:s?}", "why", alarm));
}

static void agent_on_push(void *ctx)
{
	agent_report(ctx);
}

static void agent_note_hits(struct agent *a, const char *proxy, const json_t *event)
{
	const char *pool;
	json_t *pair;
	json_object_foreach (json_object_get(event, "hits"), pool, pair) {
		json_int_t hits = json_integer_value(json_array_get(pair, 0));
		json_int_t misses = json_integer_value(json_array_get(pair, 1));
		warmth_note(a->warmth, pool, proxy, (uint64_t)hits, (uint64_t)misses,
			    clock_now_us() / 1000);
	}
}

static void agent_on_health(void *ctx, const char *proxy, const json_t *event)
{
	struct agent *a = ctx;
	agent_note_suspects(a, proxy, event);
	agent_note_hits(a, proxy, event);
}

static void agent_on_decision(void *ctx, const char *what, const char *pool, const char *server,
			      const char *why)
{
	struct agent *a = ctx;
	agent_count_decision(a, what);
	agent_webhook(
	    a, what,
	    json_pack("{s:s, s:s?, s:s}", "pool", pool, "server", server, "why", why ? why : ""));
}

static bool agent_in_force(void *ctx, const char *pool, struct coordinator_view *out)
{
	const struct agent *a = ctx;
	for (uint32_t i = 0; i < reader_pool_count(a->reader); i++) {
		const struct reader_pool *p = reader_pool(a->reader, i);
		if (strcmp(p->name, pool) != 0) continue;
		*out = (struct coordinator_view){ p->state.lineage, p->state.epoch, p->problem };
		return true;
	}
	return false;
}

static int agent_hit_percent(void *ctx, const char *pool)
{
	const struct agent *a = ctx;
	return warmth_percent(a->warmth, pool, clock_now_us() / 1000);
}

static void agent_on_elected(void *ctx, bool elected)
{
	struct agent *a = ctx;
	if (elected) agent_count(&a->metrics, AGENT_METRIC_elections);
	agent_gauge(&a->metrics, AGENT_METRIC_coordinator, elected);
	coordinator_elect(a->coordinator, elected);
}

static void agent_on_session(void *ctx, enum store_session session)
{
	struct agent *a = ctx;
	bool was = a->connected;
	a->connected = session != STORE_LOST;
	agent_count_session(a, session);
	keeper_session(a->keeper, session);
	if (a->coordinator) coordinator_session(a->coordinator, session);
	if (a->election) election_session(a->election, session);
	if (a->connected) {
		reader_poke(a->reader);
		mirror_changed(a->mirror, NULL);
	}
	if (a->nanny) nanny_doubt(a->nanny, !a->connected, "the store is away");
	if (was == a->connected) return;
	log_notice(a->connected ? "connected to the store" : "lost the store; going on as it is");
	agent_webhook(
	    a, agent_event_name(a->connected ? AGENT_EVENT_STORE_BACK : AGENT_EVENT_STORE_LOST),
	    json_object());
	a->synced_us = 0;
	if (!a->connected) push_lease(a->push, 0, 0);
}

static void agent_on_change(void *ctx, const char *path)
{
	struct agent *a = ctx;
	reader_changed(a->reader, path);
	mirror_changed(a->mirror, path);
	if (a->coordinator) coordinator_changed(a->coordinator, path);
	if (a->election) election_changed(a->election, path);
}

static void agent_on_mirror(void *ctx)
{
	struct agent *a = ctx;
	if (a->nanny) agent_want_probes(a);
}

static void agent_on_second(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct agent *a = owner;
	agent_check_suspects(a);
	agent_check_alarm(a);
	agent_check_age(a);
	agent_report(a);
	log_flush();
	io_timer_set(&a->second, SECOND_US);
}

/* --- life
 * --------------------------------------------------------------------------------------------- */

/* A directory of files is a cluster of its own: nobody has to found it. */
static void agent_found_cluster(struct agent *a)
{
	char text[160];
	snprintf(text, sizeof(text), "{\"format\":1,\"lineage\":\"%08x-%016llx\"}",
		 (unsigned)getpid(), (unsigned long long)clock_wall_us());
	keeper_found(a->keeper, "cluster", slice_of(text));
}

static void agent_register(struct agent *a)
{
	char path[STORE_PATH_MAX], data[64];
	snprintf(path, sizeof(path), "live/%.255s", a->config->id);
	snprintf(data, sizeof(data), "{\"pid\":%d}", (int)getpid());
	keeper_set(a->keeper, path, slice_of(data), true);
	if (a->nanny) agent_register_nanny(a);
}

static enum err agent_open_store(struct agent *a, struct err_at *where_out)
{
	const struct agent_config *c = a->config;
	struct store_events events = { agent_on_session, agent_on_change, a };
	if (c->source.kind == AGENT_SOURCE_FILE)
		return store_file_new(a->loop, c->source.where, &events, &a->store, where_out);
	return store_zk_new(a->loop, c->source.text, c->digest.text, c->session_timeout_ms, &events,
			    &a->store, where_out);
}

static enum err agent_start(struct agent *a, struct err_at *where_out)
{
	const struct agent_config *c = a->config;
	char cache[600];
	struct push_events push = { agent_on_push, agent_on_health, a };
	struct reader_events reader = { agent_on_topology, agent_on_read, a };
	struct coordinator_events decisions = { agent_on_decision, agent_in_force,
						agent_hit_percent, a };
	if (!(a->warmth = warmth_new())) return ERR_NOMEM;
	agent_start_metrics(a);
	a->webhooks = webhooks_new(a->loop, c);
	a->outputs = outputs_new(a->loop, c);
	a->push = push_new(a->loop, c->run_dir, &push, where_out);
	if (!a->webhooks || !a->outputs || !a->push) return ERR_IO;
	enum err e = agent_open_store(a, where_out);
	if (e != ERR_NONE) return e;
	a->keeper = keeper_new(a->loop, a->store);
	a->mirror = mirror_new(a->loop, a->store, agent_on_mirror, a);
	if (!a->keeper || !a->mirror) return ERR_NOMEM;
	if (c->nanny && !agent_start_nanny(a)) return ERR_NOMEM;
	if (c->coordinator) {
		a->coordinator =
		    coordinator_new(a->loop, a->store, c->id, c->ring_grace_ms, &decisions);
		a->election =
		    election_new(a->loop, a->store, "lock/coordinator", c->id, agent_on_elected, a);
		if (!a->coordinator || !a->election) return ERR_NOMEM;
	}
	snprintf(cache, sizeof(cache), "%.500s/tree.json", c->state_dir);
	a->reader = reader_new(a->loop, a->store, cache, c->reread_ms, &reader);
	if (!a->reader) return ERR_NOMEM;
	agent_check_age(a); /* before the proxies get what is in the cache */
	if (c->source.kind == AGENT_SOURCE_FILE) agent_found_cluster(a);
	agent_register(a);
	io_timer_init(&a->second, a->loop, agent_on_second, a);
	io_timer_set(&a->second, SECOND_US);
	io_timer_init(&a->confirm, a->loop, agent_on_confirm, a);
	io_timer_set(&a->confirm, c->confirm_ms * 1000ull);
	return agent_open_pages(a, where_out);
}

enum err agent_new(struct io_loop *l, const struct agent_config *config, struct agent **agent_out,
		   struct err_at *where_out)
{
	struct agent *a = calloc(1, sizeof(*a));
	if (!a) return ERR_NOMEM;
	a->loop = l;
	a->config = config;
	enum err e = agent_start(a, where_out);
	if (e != ERR_NONE) agent_free(&a);
	*agent_out = a;
	return e;
}

void agent_free(struct agent **a)
{
	struct agent *x = *a;
	if (!x) return;
	if (x->reader) {
		io_timer_stop(&x->second);
		io_timer_stop(&x->confirm);
	}
	nanny_free(&x->nanny);
	/* First, so that every call that is under way gets its answer while its owner still is. */
	store_free(&x->store);
	election_free(&x->election);
	coordinator_free(&x->coordinator);
	reader_free(&x->reader);
	keeper_free(&x->keeper);
	mirror_free(&x->mirror);
	push_free(&x->push);
	outputs_free(&x->outputs);
	webhooks_free(&x->webhooks);
	agent_close_metrics(x);
	agent_free_suspects(x);
	warmth_free(&x->warmth);
	json_decref(x->armed);
	topology_free(&x->topology);
	free(x);
	*a = NULL;
}

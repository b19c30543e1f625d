/* coordinator_eject.c - votes, suspicions and pins in; ejections and returns out. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/coordinator_priv.h"
#include "agent/rejoin.h"
#include "common/clock.h"
#include "common/log.h"

enum {
	FLUSH_TIMEOUT_MS = 3000,
	FLUSH_RETRY_MS = 2000,
	HOLD_MAX_MS = 5000, /* an ejection does not wait longer for agents that are silent */
	HOLD_POLL_MS = 50,
};

/* Everything that verdict_decide() borrows. */
struct hearing {
	struct verdict_input in;
	struct verdict_server *servers;
	struct verdict_nanny *nannies;
	char (*addresses)[300];
	json_t *reasons; /* keeps the texts of votes */
	bool pending;
};

static uint64_t now_ms(void)
{
	return clock_wall_us() / 1000;
}

/* --- rejoining
 * ------------------------------------------------------------------------------------ */

static struct rejoining *work_rejoining(struct pool_work *w, const char *server)
{
	for (struct rejoining *r = w->rejoining; r; r = r->next)
		if (strcmp(r->server, server) == 0) return r;
	return NULL;
}

static void rejoining_on_flushed(void *ctx, const struct probe_result *result)
{
	struct rejoining *r = ctx;
	r->probe = NULL;
	r->clean = result->outcome == PROBE_GOOD;
	if (!r->clean) {
		log_warn("pool %s: server %s cannot be emptied yet: %s", r->work->name, r->server,
			 result->why);
		r->retry_ms = now_ms() + FLUSH_RETRY_MS;
	}
	coordinator_poke(r->work->c, 0);
}

static void rejoining_start(struct pool_work *w, struct rejoining *r, const struct server_spec *s)
{
	const struct pool_spec *pool = &w->body->pools[0];
	struct probe_target t = { .kind = pool->protocol == PROTOCOL_REDIS ? PROBE_REDIS
									   : PROBE_MEMCACHED,
				  .host = s->host,
				  .port = s->port,
				  .pool = pool->name,
				  .server = s->ring_name,
				  .auth_user = pool->auth_user,
				  .auth_password = pool->auth_password,
				  .db = pool->redis_db,
				  .timeout_ms = FLUSH_TIMEOUT_MS };
	r->probe = rejoin_flush(w->c->loop, &t, rejoining_on_flushed, r);
}

/* A server that may return but has to be emptied first. */
static void work_empty(struct pool_work *w, const struct server_spec *s)
{
	struct rejoining *r = work_rejoining(w, s->ring_name);
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r || !(r->server = strdup(s->ring_name))) abort();
		r->work = w;
		r->next = w->rejoining;
		w->rejoining = r;
	}
	if (!r->probe && !r->clean && now_ms() >= r->retry_ms) rejoining_start(w, r, s);
	if (!r->probe && !r->clean) coordinator_poke(w->c, FLUSH_RETRY_MS);
}

static void rejoining_free(struct rejoining *r)
{
	if (r->probe) probe_cancel(&r->probe);
	free(r->server);
	free(r);
}

/* A server that is out again, or back in, has to be emptied anew next time. */
static void work_forget_rejoining(struct pool_work *w, const char *server)
{
	for (struct rejoining **at = &w->rejoining; *at; at = &(*at)->next) {
		struct rejoining *r = *at;
		if (strcmp(r->server, server) != 0) continue;
		*at = r->next;
		rejoining_free(r);
		return;
	}
}

void work_stop_rejoining(struct pool_work *w)
{
	while (w->rejoining) {
		struct rejoining *r = w->rejoining;
		w->rejoining = r->next;
		rejoining_free(r);
	}
}

/* --- hearing
 * ---------------------------------------------------------------------------------------- */

static void hearing_nannies(struct coordinator *c, struct hearing *h)
{
	const struct mirror_node *list = mirror_list(c->mirror, "lock/nanny");
	h->pending |= list->state == MIRROR_PENDING;
	h->nannies = calloc(list->count + 1, sizeof(*h->nannies));
	if (!h->nannies) abort();
	for (uint32_t i = 0; i < list->count; i++) {
		char path[STORE_PATH_MAX];
		snprintf(path, sizeof(path), "lock/nanny/%.255s", list->names[i]);
		const struct mirror_node *n = mirror_data(c->mirror, path);
		h->pending |= n->state == MIRROR_PENDING;
		if (n->state != MIRROR_OK) continue;
		json_t *doc = json_loadb(n->data.p, n->data.n, 0, NULL);
		h->nannies[h->in.nanny_count++] =
		    (struct verdict_nanny){ .id = list->names[i],
					    .abstains =
						json_is_string(json_object_get(doc, "abstains")) };
		json_decref(doc);
	}
	h->in.nannies = h->nannies;
}

/* What a nanny wrote beside its vote; NULL: nothing of use. Owned by the hearing. */
static const char *hearing_reason(struct pool_work *w, struct hearing *h, const char *votes,
				  const char *nanny)
{
	char path[STORE_PATH_MAX];
	snprintf(path, sizeof(path), "%.400s/%.100s", votes, nanny);
	const struct mirror_node *n = mirror_data(w->c->mirror, path);
	h->pending |= n->state == MIRROR_PENDING;
	if (n->state != MIRROR_OK) return NULL;
	json_t *doc = json_loadb(n->data.p, n->data.n, 0, NULL);
	if (doc) json_array_append_new(h->reasons, doc);
	return json_string_value(json_object_get(doc, "why"));
}

static void hearing_votes(struct pool_work *w, struct hearing *h, struct verdict_server *s,
			  const char *node)
{
	char path[STORE_PATH_MAX];
	pool_path(path, w->name, "votes/%.200s", node);
	const struct mirror_node *list = mirror_list(w->c->mirror, path);
	h->pending |= list->state == MIRROR_PENDING;
	if (list->count == 0) return;
	struct verdict_vote *votes = calloc(list->count, sizeof(*votes));
	if (!votes) abort();
	for (uint32_t i = 0; i < list->count; i++)
		votes[i] =
		    (struct verdict_vote){ .nanny = list->names[i],
					   .why = hearing_reason(w, h, path, list->names[i]) };
	s->votes = votes;
	s->vote_count = list->count;
}

static uint32_t count_racks(struct coordinator *c, struct hearing *h,
			    const struct mirror_node *agents)
{
	json_t *racks = json_object();
	for (uint32_t i = 0; i < agents->count; i++) {
		char path[STORE_PATH_MAX];
		snprintf(path, sizeof(path), "agents/%.255s", agents->names[i]);
		const struct mirror_node *n = mirror_data(c->mirror, path);
		h->pending |= n->state == MIRROR_PENDING;
		if (n->state != MIRROR_OK) continue;
		json_t *doc = json_loadb(n->data.p, n->data.n, 0, NULL);
		const char *rack = json_string_value(json_object_get(doc, "rack"));
		json_object_set_new(racks, rack ? rack : "", json_true());
		json_decref(doc);
	}
	uint32_t count = (uint32_t)json_object_size(racks);
	json_decref(racks);
	return count;
}

static void hearing_suspects(struct pool_work *w, struct hearing *h, struct verdict_server *s,
			     const char *node)
{
	char path[STORE_PATH_MAX];
	pool_path(path, w->name, "suspects/%.200s", node);
	const struct mirror_node *list = mirror_list(w->c->mirror, path);
	h->pending |= list->state == MIRROR_PENDING;
	s->suspects = list->count;
	if (list->count > 0) s->racks = count_racks(w->c, h, list);
}

static bool listed(const struct mirror_node *list, const char *name)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (strcmp(list->names[i], name) == 0) return true;
	return false;
}

static void hearing_servers(struct pool_work *w, struct hearing *h)
{
	const struct pool_spec *pool = &w->body->pools[0];
	char votes_path[STORE_PATH_MAX], suspects_path[STORE_PATH_MAX];
	pool_path(votes_path, w->name, "votes");
	pool_path(suspects_path, w->name, "suspects");
	const struct mirror_node *votes = mirror_list(w->c->mirror, votes_path);
	const struct mirror_node *suspects = mirror_list(w->c->mirror, suspects_path);
	h->pending |= votes->state == MIRROR_PENDING || suspects->state == MIRROR_PENDING;
	h->servers = calloc(pool->server_count, sizeof(*h->servers));
	h->addresses = calloc(pool->server_count, sizeof(*h->addresses));
	if (!h->servers || !h->addresses) abort();
	for (uint32_t i = 0; i < pool->server_count; i++) {
		const struct server_spec *s = &pool->servers[i];
		char node[NODE_NAME_MAX];
		node_name(node, s->ring_name);
		snprintf(h->addresses[i], sizeof(h->addresses[i]), "%.280s:%u", s->host, s->port);
		const struct rejoining *r = work_rejoining(w, s->ring_name);
		h->servers[i] = (struct verdict_server){
			.name = s->ring_name,
			.address = h->addresses[i],
			.weight = s->weight,
			.pin = spec_pin(w->applied, s->ring_name),
			.hold = w->applied->on_rejoin == REJOIN_FLUSH && !(r && r->clean),
		};
		if (listed(votes, node)) hearing_votes(w, h, &h->servers[i], node);
		if (listed(suspects, node)) hearing_suspects(w, h, &h->servers[i], node);
	}
	h->in.servers = h->servers;
	h->in.server_count = pool->server_count;
}

static void hearing_fini(struct hearing *h)
{
	for (uint32_t i = 0; i < h->in.server_count; i++) free((void *)h->servers[i].votes);
	free(h->servers);
	free(h->nannies);
	free(h->addresses);
	json_decref(h->reasons);
}

static bool work_is_prepared(const struct state_transition *t)
{
	return transition_is_whole(&t->rules) && t->rules.phases[0] == PHASE_PREPARE;
}

/* --- holding
 * ------------------------------------------------------------------------------------------
 *
 * Were others to take over at once, a proxy that has not heard of the ejection yet could still read
 * from the server what has been overwritten or deleted elsewhere. So for a moment nobody serves its
 * keys: until all proxies have stopped asking it, or for HOLD_MAX_MS.
 */

void work_release_held(struct pool_work *w, const struct mirror_node *state,
		       const struct barrier *b)
{
	bool any = false;
	uint64_t now = clock_now_us();
	for (uint32_t i = 0; i < w->state.ejected_count; i++) any |= w->state.ejected[i].held;
	if (!any) w->held_since_us = 0;
	else if (!w->held_since_us) w->held_since_us = now;
	/* A ring whose keys are on the move keeps its arcs. */
	if (!any || (w->state.transition && !work_is_prepared(w->state.transition))) return;
	if (!b->acked && now - w->held_since_us < HOLD_MAX_MS * 1000ull) {
		coordinator_poke(w->c, HOLD_POLL_MS);
		return;
	}
	struct pool_state next;
	if (!pool_state_copy(&next, &w->state)) abort();
	for (uint32_t i = 0; i < next.ejected_count; i++) next.ejected[i].held = false;
	next.step++;
	work_commit(w, work_chain(w), &next, state->stat.version);
	pool_state_fini(&next);
}

/* --- verdict
 * ------------------------------------------------------------------------------------------ */

static bool work_load_verdict(struct pool_work *w, const struct mirror_node *node)
{
	if (node->state == MIRROR_PENDING) return false;
	if (w->verdict) return true;
	json_t *doc =
	    node->state == MIRROR_OK ? json_loadb(node->data.p, node->data.n, 0, NULL) : NULL;
	w->verdict = verdict_load(doc);
	json_decref(doc);
	return true;
}

/* While keys change hands rings must not: who goes out meanwhile is lost for what moves away from
 * it, and out of the ring when that is over; who could come back waits as long. */
static void work_verdict_lost(struct pool_work *w, const struct verdict_output *out)
{
	json_t *lost = json_array();
	for (uint32_t i = 0; i < w->body->pools[0].server_count; i++) {
		const char *server = w->body->pools[0].servers[i].ring_name;
		const struct ejection *e = pool_state_ejection(&w->state, server);
		w->return_failed |= e && e->returning && out->status[i].out;
		if (!out->status[i].out || (e && !e->returning) ||
		    transition_is_lost(&w->state.transition->rules, server))
			continue;
		json_array_append_new(lost, json_string(server));
	}
	json_decref(w->newly_lost);
	w->newly_lost = json_array_size(lost) > 0 ? json_incref(lost) : NULL;
	json_decref(lost);
}

/* A server that may come back; its keys are carried home first, when the pool allows that. */
static bool state_let_return(struct pool_work *w, struct pool_state *next, const char *server)
{
	if (!work_returns_by_steps(w)) {
		pool_state_restore(next, server);
		return true;
	}
	bool begun = next->transition && !w->state.transition;
	for (uint32_t i = 0; i < next->ejected_count; i++) {
		struct ejection *e = &next->ejected[i];
		/* One transition after the other, and none while a ring is about to change. */
		if (e->held || (next->transition && !begun)) return false;
	}
	for (uint32_t i = 0; i < next->ejected_count; i++)
		if (strcmp(next->ejected[i].server, server) == 0) next->ejected[i].returning = true;
	if (!begun) work_begin_transition(w->applied, next->ring, next);
	return true;
}

/* The state with exactly the servers out that the verdict says. true: it differs. */
static bool work_verdict_state(struct pool_work *w, const struct verdict_output *out,
			       struct pool_state *next)
{
	bool changed = false;
	if (!pool_state_copy(next, &w->state)) abort();
	json_decref(w->newly_lost);
	w->newly_lost = NULL;
	w->return_failed = false;
	if (next->transition && !work_is_prepared(next->transition)) {
		work_verdict_lost(w, out);
		return false;
	}
	for (uint32_t i = 0; i < w->body->pools[0].server_count; i++) {
		const char *server = w->body->pools[0].servers[i].ring_name;
		const struct verdict_status *s = &out->status[i];
		const struct ejection *e = pool_state_ejection(&w->state, server);
		if (e && e->returning) w->return_failed |= s->out;
		if ((e && e->returning) || s->out == (e != NULL)) continue;
		if (!s->out && !state_let_return(w, next, server)) continue;
		changed = true;
		work_forget_rejoining(w, server);
		if (!s->out) continue;
		if (!pool_state_eject(next, server, s->since_ms, s->why)) abort();
		else
			next->ejected[next->ejected_count - 1].held =
			    w->body->pools[0].failover != FAILOVER_ERROR;
	}
	/* PREPARE routes as STABLE does; what has been prepared is looked at anew. */
	if (changed && w->state.transition) {
		next->step++;
	} else if (changed) {
		next->epoch++;
		next->step = 0;
	}
	return changed;
}

static void work_write_verdict(struct pool_work *w, const struct verdict_output *out,
			       const struct mirror_node *verdict, const struct mirror_node *state)
{
	struct pool_state next;
	bool changed = work_verdict_state(w, out, &next);
	if (changed || out->event_count > 0) {
		char path[STORE_PATH_MAX];
		struct chain *chain = work_chain(w);
		json_t *doc = verdict_save(w->verdict);
		char *text = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
		if (!text) abort();
		pool_path(path, w->name, "verdict");
		chain_put(chain, path, slice_of(text),
			  verdict->state == MIRROR_OK ? verdict->stat.version : -1);
		for (uint32_t i = 0; i < out->event_count; i++)
			work_decide(w, verdict_what_text(out->events[i].what),
				    out->events[i].server, out->events[i].why);
		work_commit(w, chain, &next, state->stat.version);
		free(text);
		json_decref(doc);
	}
	pool_state_fini(&next);
}

void work_judge(struct pool_work *w, const struct mirror_node *state)
{
	char path[STORE_PATH_MAX];
	struct hearing h = { .in.settings = w->applied->ejection };
	struct verdict_output out;
	bool pending;
	if (!work_current(w, &pending)) return;
	pool_path(path, w->name, "verdict");
	const struct mirror_node *verdict = mirror_data(w->c->mirror, path);
	const struct mirror_node *live = mirror_list(w->c->mirror, "live");
	h.in.agents = live->count;
	h.reasons = json_array();
	hearing_nannies(w->c, &h);
	hearing_servers(w, &h);
	if (!h.pending && live->state != MIRROR_PENDING && work_load_verdict(w, verdict)) {
		uint64_t now = now_ms();
		verdict_decide(w->verdict, &h.in, now, &out);
		for (uint32_t i = 0; i < h.in.server_count; i++)
			if (out.status[i].returnable) work_empty(w, &w->body->pools[0].servers[i]);
		if (out.next_ms) coordinator_poke(w->c, out.next_ms > now ? out.next_ms - now : 0);
		work_write_verdict(w, &out, verdict, state);
	}
	hearing_fini(&h);
}

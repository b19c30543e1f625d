/* coordinator_transition.c - walks one pool from ring to ring: gathers facts, asks transition.h
 * what to do, and does it by one compare-and-set of the state per step.
 *
 * Everything that decides stands in the tree; what is kept here between passes (jobs under way,
 * since when a step is acknowledged) a successor finds out again, if later.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/coordinator_priv.h"
#include "agent/failpoint.h"
#include "agent/incarnations.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/ring_body.h"
#include "common/topology_ring.h"
#include "common/tree_topology.h"

enum {
	ROLL_AGENTS = 500,	  /* with more of them, keys change hands slice by slice */
	HOLD_MS = 2000,		  /* HOLD lasts so long at most ...                       */
	HOLD_AGENTS_PER_S = 2000, /* ... and a second more for each so many agents     */
	PROMISE_MS = 5000,	  /* memcached: how long a promoter's lease on a key lasts */
	BOUNCE_MS = 10000,	  /* after a HOLD that took too long, doubled each time   */
	BOUNCE_DOUBLINGS = 5,
	CLEAN_AFTER_MS = 1000,
	LEAD_POLL_MS = 50,
};

/* --- the two pools ------------------------------------------------------------------------------
 */

/* A body by its name, kept in *slot; NULL: not here yet, or not whole. */
static const struct pool_spec *work_body(struct pool_work *w, const char *hex, char slot_hex[65],
					 struct topology **slot)
{
	char path[STORE_PATH_MAX];
	struct err_at at = { 0 };
	if (*slot && strcmp(slot_hex, hex) == 0) return &(*slot)->pools[0];
	pool_path(path, w->name, "rings/%s", hex);
	const struct mirror_node *n = mirror_data(w->c->mirror, path);
	topology_free(slot);
	if (n->state != MIRROR_OK) return NULL;
	if (ring_body_parse(n->data, hex, w->name, slot, &at) != ERR_NONE) {
		log_error("pool %s: a ring body is not whole: %s: %s", w->name, at.where, at.why);
		return NULL;
	}
	snprintf(slot_hex, 65, "%s", hex);
	return &(*slot)->pools[0];
}

const struct pool_spec *work_current(struct pool_work *w, bool *pending_out)
{
	char path[STORE_PATH_MAX];
	*pending_out = false;
	if (!w->has_state) return NULL;
	const struct pool_spec *p = work_body(w, w->state.ring, w->body_hex, &w->body);
	pool_path(path, w->name, "rings/%s", w->state.ring);
	if (!p) *pending_out = mirror_data(w->c->mirror, path)->state == MIRROR_PENDING;
	return p;
}

/* False: not both are here. */
static bool work_rings(struct pool_work *w)
{
	bool here = work_body(w, w->state.ring, w->body_hex, &w->body) != NULL;
	return work_body(w, w->state.transition->next, w->next_hex, &w->next_body) != NULL && here;
}

/* --- beginning -----------------------------------------------------------------------------------
 */

static const struct server_spec *server_by_name(const struct pool_spec *p, const char *name)
{
	for (uint32_t i = 0; i < p->server_count; i++)
		if (strcmp(p->servers[i].ring_name, name) == 0) return &p->servers[i];
	return NULL;
}

/* Does any key change its server? */
static bool keys_move(const struct pool_spec *from, const struct pool_spec *to)
{
	struct ring *old = NULL, *new = NULL;
	bool same =
	    pool_ring_build(from, &old) == ERR_NONE && pool_ring_build(to, &new) == ERR_NONE;
	same = same && ring_checksum(old) == ring_checksum(new);
	ring_free(&old);
	ring_free(&new);
	for (uint32_t i = 0; same && i < to->server_count; i++) {
		const struct server_spec *s = server_by_name(from, to->servers[i].ring_name);
		same = s && server_spec_same(s, &to->servers[i]);
	}
	return !same;
}

/* A key whose two owners are one box under two names would be its own copy. */
static bool boxes_have_one_name(const struct pool_spec *a, const struct pool_spec *b)
{
	for (uint32_t i = 0; i < a->server_count; i++) {
		for (uint32_t k = 0; k < b->server_count; k++) {
			const struct server_spec *x = &a->servers[i], *y = &b->servers[k];
			if (x->port == y->port && strcmp(x->host, y->host) == 0 &&
			    strcmp(x->ring_name, y->ring_name) != 0)
				return false;
		}
	}
	return true;
}

/* Without owners that all proxies agree on there is no way from one to the other. */
static bool two_rings_possible(const struct pool_spec *a, const struct pool_spec *b)
{
	return a->protocol == b->protocol && a->redis_db == b->redis_db &&
	       a->distribution != RING_RANDOM && b->distribution != RING_RANDOM &&
	       !a->auto_eject_hosts && !b->auto_eject_hosts && boxes_have_one_name(a, b) &&
	       boxes_have_one_name(b, b);
}

enum spec_change work_classify(const struct pool_spec *current, const struct spec *wanted)
{
	if (!current || wanted->transition == TRANSITION_INSTANT) return SPEC_AT_ONCE;
	if (!two_rings_possible(current, wanted->pool)) return SPEC_AT_ONCE;
	return keys_move(current, wanted->pool) ? SPEC_BY_STEPS : SPEC_AT_ONCE;
}

struct pool_spec work_options_on(const struct pool_spec *ring, const struct pool_spec *wanted)
{
	struct pool_spec p = *wanted;
	p.servers = ring->servers;
	p.server_count = ring->server_count;
	p.distribution = ring->distribution;
	p.hash = ring->hash;
	memcpy(p.hash_tag, ring->hash_tag, sizeof(p.hash_tag));
	return p;
}

void work_begin_transition(const struct spec *spec, const char *hex, struct pool_state *next)
{
	if (!pool_state_begin_transition(next, hex, PHASE_PREPARE)) abort();
	struct transition_rules *r = &next->transition->rules;
	r->storage = spec->mode == MODE_STORAGE;
	r->hold_park_ms = spec->moving.hold_park_ms;
	r->move_max_bytes = spec->moving.value_max_bytes;
}

bool work_returns_by_steps(const struct pool_work *w)
{
	const struct pool_spec *ring = &w->body->pools[0];
	return w->applied->transition == TRANSITION_TWO_RING && w->applied->mode == MODE_CACHE &&
	       w->applied->on_rejoin == REJOIN_FLUSH && ring->failover == FAILOVER_RING &&
	       two_rings_possible(ring, ring);
}

/* --- wishes
 * --------------------------------------------------------------------------------------- */

/* pools/P/wish: {"epoch": E, "wish": WORD}; it means that transition and no other. */
static enum transition_wish work_wish(struct pool_work *w, bool *pending_out)
{
	static const char *const words[] = {
		[WISH_PAUSE] = "pause", [WISH_RESUME] = "resume", [WISH_ABORT] = "abort"
	};
	char path[STORE_PATH_MAX];
	enum transition_wish wish = WISH_NONE;
	pool_path(path, w->name, "wish");
	const struct mirror_node *n = mirror_data(w->c->mirror, path);
	*pending_out = n->state == MIRROR_PENDING;
	w->wish_version = n->state == MIRROR_OK ? n->stat.version : -1;
	if (n->state != MIRROR_OK) return WISH_NONE;
	json_t *doc = json_loadb(n->data.p, n->data.n, 0, NULL);
	const char *text = json_string_value(json_object_get(doc, "wish"));
	bool ours = (uint64_t)json_integer_value(json_object_get(doc, "epoch")) == w->state.epoch;
	for (unsigned i = WISH_PAUSE; ours && text && i <= WISH_ABORT; i++)
		if (strcmp(text, words[i]) == 0) wish = (enum transition_wish)i;
	json_decref(doc);
	return wish;
}

static void wish_on_deleted(void *ctx, enum store_rc rc, const struct store_stat *stat,
			    const char *path)
{
	(void)stat;
	(void)path;
	struct coordinator *c = ctx;
	if (rc != STORE_OK) coordinator_poke(c, 1000);
}

static void work_drop_wish(struct pool_work *w)
{
	char path[STORE_PATH_MAX];
	pool_path(path, w->name, "wish");
	if (w->wish_version < 0) return;
	store_delete(w->c->store, path, w->wish_version, wish_on_deleted, w->c);
	w->wish_version = -1;
}

/* Nobody is waiting for what was wished of a transition that is over. */
static void work_drop_old_wish(struct pool_work *w)
{
	bool pending;
	work_wish(w, &pending);
	if (!pending) work_drop_wish(w);
}

/* --- facts
 * ---------------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	return clock_boot_us() / 1000;
}

static void work_note_step(struct pool_work *w, bool acked)
{
	struct walk *k = &w->walk;
	if (k->epoch != w->state.epoch || k->step != w->state.step || !k->seen_ms) {
		k->epoch = w->state.epoch;
		k->step = w->state.step;
		k->seen_ms = now_ms();
		k->acked_ms = 0;
	}
	if (acked && !k->acked_ms) k->acked_ms = now_ms();
}

static bool work_rolls(const struct pool_work *w, uint32_t agents)
{
	uint32_t slices = w->applied->moving.slices;
	return slices > 1 || (slices == 0 && agents > ROLL_AGENTS);
}

/* Is the ring wanted back that still is in force: by the operators, or because a server that was to
 * return to it has failed again? */
static bool work_restored(struct pool_work *w)
{
	if (w->return_failed) return true;
	if (w->spec_id == (int64_t)w->state.spec_version || !w->spec) return false;
	return !keys_move(&w->body->pools[0], w->spec->pool);
}

static int work_hit_percent(const struct pool_work *w)
{
	const struct coordinator_events *e = &w->c->events;
	return e->hit_percent ? e->hit_percent(e->ctx, w->name) : -1;
}

static void work_facts(struct pool_work *w, const struct barrier *b, struct transition_facts *f)
{
	const struct state_transition *t = w->state.transition;
	const struct moving_spec *m = &w->applied->moving;
	const struct walk *k = &w->walk;
	uint64_t now = now_ms();
	bool redis = w->body->pools[0].protocol == PROTOCOL_REDIS;
	*f = (struct transition_facts){
		.dirty = t->dirty,
		.back = t->back,
		.paused = t->paused,
		.storage = t->rules.storage,
		.redis = redis,
		.roll = !transition_is_whole(&t->rules) || work_rolls(w, b->registered),
		.lost = t->rules.lost_count > 0,
		.acked = b->acked,
		.trouble = w->walk.trouble[0] != 0,
		.newly_lost = w->newly_lost != NULL,
		.restored = work_restored(w),
		.promote = jobs_promote(w->jobs),
		.step_ms = now - k->seen_ms,
		.acked_ms = k->acked_ms ? now - k->acked_ms : 0,
		.retry_ms = k->retry_ms > now ? k->retry_ms - now : 0,
		.hold_max_ms = m->hold_max_ms
				   ? m->hold_max_ms
				   : HOLD_MS + b->registered * 1000ull / HOLD_AGENTS_PER_S,
		.dual_max_ms = m->dual_max_ms,
		.drain_min_ms = redis ? 0 : PROMISE_MS,
		.hit_percent = work_hit_percent(w),
	};
	memcpy(f->phases, t->rules.phases, sizeof(f->phases));
	for (unsigned i = 0; i < TRANSITION_JOB_MAX; i++)
		f->jobs[i] = jobs_state(w->jobs, (enum transition_job)i);
}

/* --- a step
 * ---------------------------------------------------------------------------------------- */

/* Before and after it is written, for failpoints. */
static const char *step_point(const struct transition_choice *c, bool after)
{
	static const char *const points[PHASE_MAX][2] = {
		[PHASE_HOLD] = { "hold before", "hold after" },
		[PHASE_DUAL] = { "dual before", "dual after" },
		[PHASE_DRAIN] = { "drain before", "drain after" },
	};
	if (c->move == MOVE_FINISH) return after ? "finish after" : "finish before";
	if (c->move == MOVE_RETURN) return after ? "return after" : "return before";
	if (c->back) return after ? "back after" : "back before";
	return points[transition_lead(c->phases)][after];
}

static void lost_add(struct transition_rules *r, const char *server)
{
	if (transition_is_lost(r, server)) return;
	char **more = realloc(r->lost, (r->lost_count + 1) * sizeof(*more));
	if (!more || !(more[r->lost_count] = strdup(server))) abort();
	r->lost = more;
	r->lost_count++;
}

static void step_apply(struct pool_work *w, const struct transition_choice *c,
		       struct pool_state *next)
{
	struct state_transition *t = next->transition;
	if (t->rules.phases[0] == PHASE_PREPARE && !t->dirty)
		t->rules.promote = jobs_promote(w->jobs);
	memcpy(t->rules.phases, c->phases, sizeof(c->phases));
	t->dirty = c->dirty;
	t->back = c->back;
	t->paused = c->paused;
	if (c->new_mark) {
		free(t->rules.mark);
		if (!(t->rules.mark = strdup(jobs_mark(w->jobs)))) abort();
	}
	json_t *name;
	size_t i;
	if (c->take_lost)
		json_array_foreach (w->newly_lost, i, name)
			lost_add(&t->rules, json_string_value(name));
}

/* The ejected that the ring does not have, or has elsewhere, were other boxes. */
static void finish_ejections(struct pool_work *w, struct pool_state *next)
{
	for (uint32_t i = next->ejected_count; i-- > 0;) {
		char *name = next->ejected[i].server;
		const struct server_spec *is = server_by_name(&w->next_body->pools[0], name);
		if (!is || !tree_server_ejection(next, &w->body->pools[0], is, true))
			pool_state_restore(next, name);
	}
}

static void work_publish(struct pool_work *w, const struct transition_choice *c,
			 const struct mirror_node *state)
{
	struct pool_state next;
	char why[VERDICT_WHY_MAX], from[24];
	struct transition_rules *rules = &w->state.transition->rules;
	const char *point = step_point(c, false);
	if (!pool_state_copy(&next, &w->state)) abort();
	next.step++;
	snprintf(from, sizeof(from), "%s", phase_name(transition_lead(rules->phases)));
	switch (c->move) {
	case MOVE_STEP:
		step_apply(w, c, &next);
		snprintf(why, sizeof(why), "%s > %s: %s", from,
			 phase_name(transition_lead(c->phases)), c->why);
		work_decide(w, "step", NULL, why);
		break;
	case MOVE_FINISH:
		snprintf(next.ring, sizeof(next.ring), "%s", w->state.transition->next);
		finish_ejections(w, &next);
		pool_state_end_transition(&next);
		snprintf(why, sizeof(why), "ring %.12s, epoch %llu", next.ring,
			 (unsigned long long)next.epoch);
		work_decide(w, "transition done", NULL, why);
		break;
	case MOVE_RETURN:
		for (uint32_t i = 0; i < next.ejected_count; i++) next.ejected[i].returning = false;
		pool_state_end_transition(&next);
		snprintf(why, sizeof(why), "ring %.12s stays, epoch %llu", next.ring,
			 (unsigned long long)next.epoch);
		work_decide(w, "transition undone", NULL, why);
		break;
	case MOVE_NONE: break;
	}
	if (point) failpoint(point);
	w->point = step_point(c, true);
	work_commit(w, work_chain(w), &next, state->stat.version);
	pool_state_fini(&next);
}

static bool any_dual(const enum phase p[TRANSITION_SLICES])
{
	for (int i = 0; i < TRANSITION_SLICES; i++)
		if (p[i] == PHASE_DUAL || p[i] == PHASE_DUAL_R) return true;
	return false;
}

/* What is kept between passes follows what was decided; also should the write fail: then it comes
 * to the same again. */
static void walk_follow(struct pool_work *w, const struct transition_choice *c)
{
	struct walk *k = &w->walk;
	if (c->bounced) {
		k->retry_ms = now_ms() + ((uint64_t)BOUNCE_MS << k->bounces);
		if (k->bounces < BOUNCE_DOUBLINGS) k->bounces++;
	} else if (c->move != MOVE_STEP || any_dual(c->phases)) {
		k->bounces = 0;
		k->retry_ms = 0;
	}
	if (w->state.transition->paused && !c->paused) {
		k->trouble[0] = 0;
		incarnations_forget(w->incarnations);
		jobs_forget(w->jobs);
	}
}

/* --- a pass
 * ----------------------------------------------------------------------------------------- */

static void work_on_job(void *ctx, const char *news)
{
	struct pool_work *w = ctx;
	if (news) work_announce(w, "big key", news);
	coordinator_poke(w->c, 0);
}

static bool work_may_go_on(void *ctx)
{
	const struct pool_work *w = ctx;
	return coordinator_leads(w->c);
}

static void work_on_restart(void *ctx, const char *server, const char *why)
{
	struct pool_work *w = ctx;
	snprintf(w->walk.trouble, sizeof(w->walk.trouble), "%.80s %.100s", server, why);
	work_announce(w, "server restarted", w->walk.trouble);
	coordinator_poke(w->c, 0);
}

/* A successor that never saw who the server was finds out by its mark. */
static void work_note_trouble(struct pool_work *w)
{
	const char *why = jobs_trouble(w->jobs);
	if (!why || w->walk.trouble[0] || !coordinator_leads(w->c)) return;
	snprintf(w->walk.trouble, sizeof(w->walk.trouble), "%s", why);
	work_announce(w, "server restarted", why);
}

static void work_tools(struct pool_work *w)
{
	struct jobs_events events = { work_on_job, work_may_go_on, w };
	if (!w->jobs) w->jobs = jobs_new(w->c->loop, &events);
	if (!w->incarnations) w->incarnations = incarnations_new(w->c->loop, work_on_restart, w);
}

/* Nobody must be in between when keys change hands: only then it matters who restarts. */
static bool work_watches(const struct state_transition *t)
{
	return t->dirty || transition_lead(t->rules.phases) != PHASE_PREPARE;
}

static void work_run_jobs(struct pool_work *w, const struct transition_choice *c)
{
	json_t *names = NULL;
	unsigned bits = c->jobs;
	if (!coordinator_leads(w->c)) { /* not sure yet, or no longer */
		coordinator_poke(w->c, LEAD_POLL_MS);
		return;
	}
	if (bits & (1u << JOB_MARK)) {
		names = work_client_names(w);
		if (!names) bits &= ~(1u << JOB_MARK); /* soon */
	}
	jobs_pause(w->jobs, w->state.transition->paused);
	jobs_run(w->jobs, bits, names);
	json_decref(names);
}

void work_walk(struct pool_work *w, const struct mirror_node *state, const struct barrier *b)
{
	struct transition_facts f;
	bool pending;
	struct transition_choice *c = &w->choice;
	if (!work_rings(w) || b->pending) return;
	work_tools(w);
	coordinator_feel_pulse(w->c);
	work_note_step(w, b->acked);
	struct jobs_plan plan = { .ring = &w->body->pools[0],
				  .next = &w->next_body->pools[0],
				  .state = &w->state,
				  .moving = &w->applied->moving };
	jobs_set(w->jobs, &plan);
	if (work_watches(w->state.transition))
		incarnations_watch(w->incarnations, &w->state, plan.ring, plan.next);
	work_note_trouble(w);
	work_facts(w, b, &f);
	f.wish = work_wish(w, &pending);
	if (pending) return;
	transition_decide(&f, c);
	if (c->again_ms) coordinator_poke(w->c, c->again_ms);
	if (c->move != MOVE_NONE) {
		walk_follow(w, c);
		w->drop_wish = c->wish_done;
		work_publish(w, c, state);
		return;
	}
	if (c->wish_done) work_drop_wish(w);
	work_run_jobs(w, c);
}

void work_walked(struct pool_work *w)
{
	if (w->point) failpoint(w->point);
	w->point = NULL;
	if (w->drop_wish) {
		failpoint("wish granted");
		work_drop_wish(w);
	}
	w->drop_wish = false;
}

/* In stable: what the last transition has left. */
void work_rest(struct pool_work *w, const struct barrier *b)
{
	if (b->pending) return;
	work_note_step(w, b->acked);
	incarnations_free(&w->incarnations);
	w->walk.trouble[0] = 0;
	work_drop_old_wish(w);
	if (!w->jobs || !w->walk.acked_ms) return;
	coordinator_feel_pulse(w->c);
	if (now_ms() - w->walk.acked_ms >= CLEAN_AFTER_MS && coordinator_leads(w->c))
		jobs_clean_up(w->jobs);
	else coordinator_poke(w->c, CLEAN_AFTER_MS);
}

void work_forget_walk(struct pool_work *w)
{
	jobs_free(&w->jobs);
	incarnations_free(&w->incarnations);
	topology_free(&w->next_body);
	json_decref(w->newly_lost);
	w->newly_lost = NULL;
	w->walk = (struct walk){ 0 };
	w->point = NULL;
	w->drop_wish = false;
}

/* --- for people
 * ------------------------------------------------------------------------------------- */

static json_t *walk_waits(const struct pool_work *w, const struct barrier *b)
{
	const struct transition_choice *c = &w->choice;
	json_t *out = json_array();
	if (c->move != MOVE_NONE) return out;
	if (c->wait == WAIT_AGENTS) json_array_extend(out, b->words);
	else json_array_append_new(out, json_string(transition_wait_text(c->wait)));
	if (w->walk.trouble[0]) json_array_append_new(out, json_string(w->walk.trouble));
	for (unsigned i = 0; i < TRANSITION_JOB_MAX; i++) {
		json_t *d =
		    c->jobs >> i & 1 ? jobs_describe(w->jobs, (enum transition_job)i) : NULL;
		const char *why = json_string_value(json_object_get(d, "last_error"));
		if (why && why[0])
			json_array_append_new(
			    out, json_sprintf("%s: %s", transition_job_name((enum transition_job)i),
					      why));
		json_decref(d);
	}
	return out;
}

json_t *work_describe_walk(struct pool_work *w, const struct barrier *b)
{
	const struct state_transition *t = w->state.transition;
	if (!t || !w->jobs) return json_null();
	bool waits = w->spec_id && w->spec_id != (int64_t)w->state.spec_version;
	json_t *out = json_pack(
	    "{s:s, s:s, s:b, s:b, s:o, s:s, s:s, s:i}", "phase",
	    phase_name(transition_lead(t->rules.phases)), "goal", t->back ? "back" : "forward",
	    "paused", t->paused, "spec_waits", waits, "blocked_on", walk_waits(w, b), "mode",
	    t->rules.storage ? "storage" : "cache", "next", t->next, "excluded", (int)b->excluded);
	int percent = work_hit_percent(w);
	json_object_set_new(out, "hit_percent", percent < 0 ? json_null() : json_integer(percent));
	json_t *counts = json_object();
	for (int i = 0; i < TRANSITION_SLICES && !transition_is_whole(&t->rules); i++) {
		const char *name = phase_name(t->rules.phases[i]);
		json_int_t n = json_integer_value(json_object_get(counts, name));
		json_object_set_new(counts, name, json_integer(n + 1));
	}
	if (json_object_size(counts) > 0) json_object_set(out, "slices", counts);
	json_decref(counts);
	for (unsigned i = 0; i < TRANSITION_JOB_MAX; i++) {
		json_t *d = jobs_describe(w->jobs, (enum transition_job)i);
		if (d && (w->choice.jobs >> i & 1)) json_object_set(out, "job", d);
		json_decref(d);
	}
	return out;
}

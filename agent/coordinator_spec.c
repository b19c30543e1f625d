/* coordinator_spec.c - from what operators want to what shall be: a ring body and a state. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/coordinator_priv.h"
#include "agent/failpoint.h"
#include "common/log.h"
#include "common/ring_body.h"

enum { OTHER_POOLS_MAX = 4096 };

static void work_refuse(struct pool_work *w, const struct err_at *at)
{
	if (strcmp(w->refused.why, at->why) != 0 || strcmp(w->refused.where, at->where) != 0) {
		log_warn("pool %s: its spec is refused: %s: %s", w->name, at->where, at->why);
		w->c->events.on_decision(w->c->events.ctx, "refused", w->name, NULL, at->why);
	}
	w->refused = *at;
}

/* Parse the spec if it is not the one we know. */
static void work_parse_spec(struct pool_work *w, const struct mirror_node *node)
{
	if (w->spec_id == node->stat.mzxid) return;
	char label[300];
	struct config_issues issues = { 0 };
	struct err_at none = { 0 };
	snprintf(label, sizeof(label), "pools/%.200s/spec", w->name);
	spec_free(&w->spec);
	w->spec_id = node->stat.mzxid;
	enum err e = spec_parse(node->data.p, node->data.n, w->name, label, &w->spec, &issues);
	for (uint32_t i = 0; e != ERR_NONE && i < issues.count; i++) {
		if (issues.items[i].warning) continue;
		work_refuse(w, &issues.items[i].at);
		break;
	}
	if (e == ERR_NONE) w->refused = none;
	w->spec_hex[0] = 0;
	struct scratch body = { 0 };
	if (w->spec && ring_body_print(w->spec->pool, &body, w->spec_hex) != ERR_NONE)
		w->spec_hex[0] = 0;
	scratch_fini(&body);
	config_issues_fini(&issues);
}

/* What can only be judged next to what is there. */
static bool work_check(struct pool_work *w, const struct pool_spec *current)
{
	struct err_at at = { 0 };
	const struct pool_spec *others[OTHER_POOLS_MAX];
	uint32_t count = 0;
	if (current && spec_check_shrink(w->spec, current, &at) != ERR_NONE) {
		work_refuse(w, &at);
		return false;
	}
	for (const struct pool_work *o = w->c->works; o && count < OTHER_POOLS_MAX; o = o->next)
		if (o->seen && o->spec) others[count++] = o->spec->pool;
	if (spec_check_failover(w->spec, others, count, &at) == ERR_NONE) return true;
	work_refuse(w, &at);
	return false;
}

/* The next state: the same ejections, as far as their servers are still there. */
static void work_next_state(const struct pool_work *w, const struct pool_spec *pool,
			    const char *hex, struct pool_state *next)
{
	*next = (struct pool_state){ 0 };
	if (w->has_state && !pool_state_copy(next, &w->state)) abort();
	for (uint32_t i = 0; w->has_state && i < w->state.ejected_count; i++) {
		const char *server = w->state.ejected[i].server;
		bool there = false;
		for (uint32_t k = 0; k < pool->server_count; k++)
			there |= strcmp(pool->servers[k].ring_name, server) == 0;
		if (!there) pool_state_restore(next, server);
	}
	bool gone_back = next->epoch < w->epoch_floor;
	if (gone_back) next->epoch = w->epoch_floor;
	if (strcmp(next->ring, hex) != 0 || !w->has_state || gone_back) next->epoch++;
	if (!pool_state_set_lineage(next, w->c->lineage)) abort();
	snprintf(next->ring, sizeof(next->ring), "%s", hex);
	if (next->epoch != w->state.epoch || !w->has_state) next->step = 0;
	next->spec_version = (uint64_t)w->spec_id;
	next->lease_ms = w->spec->lease_ms;
	pool_state_end_transition(next);
}

/* What nannies have to know: they read no specs. */
static void work_chain_health(struct pool_work *w, struct chain *chain,
			      const struct mirror_node *health)
{
	char path[STORE_PATH_MAX];
	json_t *doc = spec_to_json(w->spec);
	char *text = json_dumps(json_object_get(doc, "health"), JSON_COMPACT | JSON_SORT_KEYS);
	if (!text) abort();
	pool_path(path, w->name, "health");
	chain_put(chain, path, slice_of(text),
		  health->state == MIRROR_OK ? health->stat.version : -1);
	free(text);
	json_decref(doc);
}

static void work_refuse_ring(struct pool_work *w)
{
	struct err_at at = { .where = "servers", .why = "no ring can be built of them" };
	work_refuse(w, &at);
}

/* Write a ring body, what nannies have to know, and the state. */
static void work_write(struct pool_work *w, const struct scratch *body, const char *hex,
		       const struct pool_state *next, const struct mirror_node *state)
{
	char path[STORE_PATH_MAX];
	pool_path(path, w->name, "health");
	const struct mirror_node *health = mirror_data(w->c->mirror, path);
	struct chain *chain = work_chain(w);
	pool_path(path, w->name, "rings/%s", hex);
	failpoint("body before");
	chain_create(chain, path, scratch_slice(body), STORE_PARENTS);
	work_chain_health(w, chain, health);
	work_commit(w, chain, next, state->state == MIRROR_OK ? state->stat.version : -1);
}

/* At once. With `again` only a part of the spec took effect: the rest is for the next pass. */
static void work_adopt(struct pool_work *w, const struct pool_spec *pool, bool again,
		       const struct mirror_node *state)
{
	struct scratch body = { 0 };
	struct pool_state next;
	char hex[RING_HEX_CHARS + 1], why[120];
	if (ring_body_print(pool, &body, hex) != ERR_NONE) {
		work_refuse_ring(w);
		scratch_fini(&body);
		return;
	}
	work_next_state(w, pool, hex, &next);
	if (again) next.spec_version = w->state.spec_version;
	snprintf(why, sizeof(why), "%u servers, ring %.12s, epoch %llu%s", pool->server_count, hex,
		 (unsigned long long)next.epoch, again ? "; the ring follows" : "");
	work_decide(w, "applied", NULL, why);
	if (again) w->point = "options written";
	work_write(w, &body, hex, &next, state);
	pool_state_fini(&next);
	scratch_fini(&body);
}

/* First what else the spec changes, on the ring as it is; then the ring, step by step. */
static void work_start(struct pool_work *w, const struct pool_spec *current,
		       const struct mirror_node *state)
{
	struct scratch body = { 0 };
	struct pool_state next;
	char hex[RING_HEX_CHARS + 1], why[160];
	struct pool_spec options = work_options_on(current, w->spec->pool);
	if (ring_body_print(&options, &body, hex) != ERR_NONE) {
		work_refuse_ring(w);
	} else if (strcmp(hex, w->state.ring) != 0) {
		work_adopt(w, &options, true, state);
	} else if (ring_body_print(w->spec->pool, &body, hex) != ERR_NONE) {
		work_refuse_ring(w);
	} else {
		work_next_state(w, current, w->state.ring, &next);
		if (next.epoch == w->state.epoch) next.epoch++;
		work_begin_transition(w->spec, hex, &next);
		snprintf(why, sizeof(why), "from ring %.12s to %.12s, epoch %llu", w->state.ring,
			 hex, (unsigned long long)next.epoch);
		work_decide(w, "transition begun", NULL, why);
		failpoint("start before");
		w->point = "start after";
		work_write(w, &body, hex, &next, state);
		pool_state_fini(&next);
	}
	scratch_fini(&body);
}

/* The pool as its ring body has it, with everything else as by default: for a coordinator that
 * finds a refused spec and has never seen the one before. */
static struct spec *work_spec_of_body(struct pool_work *w)
{
	bool pending;
	struct spec *spec = NULL;
	struct config_issues issues = { 0 };
	const struct pool_spec *current = work_current(w, &pending);
	json_t *doc = current ? pool_spec_to_json(current) : NULL;
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	if (text) spec_parse(text, strlen(text), w->name, "ring body", &spec, &issues);
	config_issues_fini(&issues);
	free(text);
	json_decref(doc);
	return spec;
}

bool work_know_applied(struct pool_work *w, const struct mirror_node *node)
{
	if (!w->has_state) return false;
	if (w->applied && w->applied_id == (int64_t)w->state.spec_version) return true;
	struct config_issues issues = { 0 };
	struct spec *found = NULL;
	if (node->stat.mzxid == (int64_t)w->state.spec_version) {
		spec_parse(node->data.p, node->data.n, w->name, "spec", &found, &issues);
		config_issues_fini(&issues);
	} else {
		found = work_spec_of_body(w);
	}
	if (!found) return w->applied != NULL;
	spec_free(&w->applied);
	w->applied = found;
	w->applied_id = (int64_t)w->state.spec_version;
	return true;
}

void work_apply_spec(struct pool_work *w, const struct mirror_node *spec,
		     const struct mirror_node *state)
{
	bool pending;
	work_parse_spec(w, spec);
	if (!w->spec) return;
	/* From a backup, and an operator has said so: agents follow once its epoch is higher. */
	bool revived = w->has_state && !w->state.transition && w->state.epoch < w->c->epoch_floor;
	const struct pool_spec *current = work_current(w, &pending);
	if (w->has_state && w->state.spec_version == (uint64_t)w->spec_id && !revived) return;
	if (pending || w->state.transition) return; /* one after the other */
	struct err_at before = w->refused;
	if (!work_check(w, current)) return;
	if (before.why[0]) w->refused = (struct err_at){ 0 };
	char path[STORE_PATH_MAX];
	pool_path(path, w->name, "health");
	if (mirror_data(w->c->mirror, path)->state == MIRROR_PENDING) return;
	bool held = false;
	for (uint32_t i = 0; i < w->state.ejected_count; i++) held |= w->state.ejected[i].held;
	if (revived || work_classify(current, w->spec) == SPEC_AT_ONCE)
		work_adopt(w, w->spec->pool, false, state);
	else if (!held) work_start(w, current, state);
}

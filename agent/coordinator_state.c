/* coordinator_state.c - is the state that stands in the tree one to go on from? What is broken, of
 * another lineage or older than there has been is never repaired by guessing: agents keep the last
 * good one, and an operator decides.
 */
#include <stdio.h>

#include "agent/coordinator_priv.h"
#include "agent/events.h"
#include "common/clock.h"
#include "common/log.h"

/* Our own agent and our mirror read the tree apart from each other, a moment before or after. */
enum { DOUBT_MS = 2000 };

static void work_trouble(struct pool_work *w, const char *where, const char *why)
{
	snprintf(w->trouble.where, sizeof(w->trouble.where), "%.90s", where);
	snprintf(w->trouble.why, sizeof(w->trouble.why), "%.200s", why);
}

bool work_read_state(struct pool_work *w, const struct mirror_node *node)
{
	struct err_at at = { 0 };
	pool_state_fini(&w->state);
	w->has_state = false;
	w->trouble = (struct err_at){ 0 };
	if (node->state == MIRROR_PENDING) return false;
	if (node->state == MIRROR_NONE) return true;
	if (pool_state_parse(node->data, &w->state, &at) != ERR_NONE) {
		char where[sizeof(at.where) + 8];
		snprintf(where, sizeof(where), "state%s%s", at.where[0] ? ": " : "", at.where);
		work_trouble(w, where, at.why);
		return false;
	}
	if (strcmp(w->state.lineage, w->c->lineage) != 0) {
		work_trouble(w, "state", "belongs to another lineage than `cluster`");
		return false;
	}
	w->has_state = true;
	if (w->epoch_floor < w->state.epoch) w->epoch_floor = w->state.epoch;
	return true;
}

/* Our own agent stands for all of them: what it refuses to follow, they refuse too. */
static void work_ask_agent(struct pool_work *w)
{
	struct coordinator_view v = { 0 };
	if (!w->c->events.in_force || !w->c->events.in_force(w->c->events.ctx, w->name, &v)) return;
	bool ours = v.lineage && strcmp(v.lineage, w->c->lineage) == 0;
	if (ours && w->epoch_floor < v.epoch) w->epoch_floor = v.epoch;
	if (!v.problem || w->trouble.why[0]) {
		w->doubt_us = 0;
		return;
	}
	uint64_t now = clock_now_us();
	if (!w->doubt_us) w->doubt_us = now;
	if (now - w->doubt_us >= DOUBT_MS * 1000) work_trouble(w, "state", v.problem);
	else coordinator_poke(w->c, DOUBT_MS);
}

/* A state that was deleted, or put back from a backup, says less than there has been: the status
 * that was written with it remembers, and so does our own agent. */
bool work_know_epoch(struct pool_work *w)
{
	char path[STORE_PATH_MAX];
	pool_path(path, w->name, "status");
	const struct mirror_node *node = mirror_data(w->c->mirror, path);
	if (node->state == MIRROR_PENDING) return false;
	if (node->state == MIRROR_OK) {
		json_t *doc = json_loadb(node->data.p, node->data.n, 0, NULL);
		json_int_t epoch = json_integer_value(json_object_get(doc, "epoch"));
		if (epoch > 0 && w->epoch_floor < (uint64_t)epoch) w->epoch_floor = (uint64_t)epoch;
		json_decref(doc);
	}
	if (w->epoch_floor < w->c->epoch_floor) w->epoch_floor = w->c->epoch_floor;
	work_ask_agent(w);
	return true;
}

void work_tell_trouble(struct pool_work *w)
{
	bool now = w->trouble.why[0] != 0;
	if (now == w->troubled) return;
	w->troubled = now;
	if (!now) {
		work_announce(w, agent_event_name(AGENT_EVENT_STATE_WHOLE), "it is followed again");
		return;
	}
	char why[VERDICT_WHY_MAX];
	snprintf(why, sizeof(why), "%.80s: %.100s", w->trouble.where, w->trouble.why);
	log_error("pools/%s/state cannot be followed: %s: %s; agents keep the last good one, an "
		  "operator must act",
		  w->name, w->trouble.where, w->trouble.why);
	work_announce(w, agent_event_name(AGENT_EVENT_STATE_BROKEN), why);
}

/* coordinator_status.c - what operators read: refused and why, or applied and who is still behind.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/coordinator_priv.h"
#include "common/clock.h"
#include "common/log.h"

enum { BARRIER_POLL_MS = 200, BLOCKED_MAX = 50 };

/* Registered agents that have not said that their proxies have drained this epoch and step. */
static json_t *work_blocked_on(struct pool_work *w, bool *pending_out)
{
	char path[STORE_PATH_MAX];
	json_t *blocked = json_array();
	const struct mirror_node *agents = mirror_list(w->c->mirror, "agents");
	pool_path(path, w->name, "barrier/%llu.%u", (unsigned long long)w->state.epoch,
		  w->state.step);
	const struct mirror_node *passed = mirror_list(w->c->mirror, path);
	*pending_out = agents->state == MIRROR_PENDING || passed->state == MIRROR_PENDING;
	for (uint32_t i = 0; i < agents->count; i++) {
		bool there = false;
		for (uint32_t k = 0; k < passed->count; k++)
			there |= strcmp(passed->names[k], agents->names[i]) == 0;
		if (!there && json_array_size(blocked) < BLOCKED_MAX)
			json_array_append_new(blocked, json_string(agents->names[i]));
	}
	return blocked;
}

bool work_barrier_is_passed(struct pool_work *w)
{
	bool pending;
	json_t *blocked = work_blocked_on(w, &pending);
	bool passed = !pending && json_array_size(blocked) == 0;
	json_decref(blocked);
	return passed;
}

static void status_on_written(void *ctx, enum store_rc rc, const struct store_stat *stat,
			      const char *path)
{
	(void)stat;
	(void)path;
	struct pool_work *w = ctx;
	w->status_busy = false;
	if (rc == STORE_OK) return;
	free(w->status);
	w->status = NULL;
	coordinator_poke(w->c, BARRIER_POLL_MS);
}

static void work_write_status(struct pool_work *w, json_t *doc)
{
	char path[STORE_PATH_MAX];
	char *text = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
	pool_path(path, w->name, "status");
	const struct mirror_node *node = mirror_data(w->c->mirror, path);
	if (!text) abort();
	if (node->state == MIRROR_PENDING || w->status_busy ||
	    (w->status && strcmp(w->status, text) == 0)) {
		free(text);
		return;
	}
	free(w->status);
	w->status = text;
	json_object_set_new(doc, "since", json_integer((json_int_t)(clock_wall_us() / 1000)));
	char *dated = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
	if (!dated) abort();
	w->status_busy = true;
	if (node->state == MIRROR_OK)
		store_put(w->c->store, path, slice_of(dated), STORE_ANY_VERSION, status_on_written,
			  w);
	else store_create(w->c->store, path, slice_of(dated), STORE_PARENTS, status_on_written, w);
	free(dated);
}

void work_report(struct pool_work *w, const struct mirror_node *spec)
{
	bool pending = false;
	json_t *blocked = w->has_state ? work_blocked_on(w, &pending) : json_array();
	bool refused = w->refused.why[0] != 0, waiting = json_array_size(blocked) > 0;
	bool broken = w->trouble.why[0] != 0;
	/* What is blocked on nobody may still be the spec before. */
	if (!refused && w->has_state && w->state.spec_version != (uint64_t)spec->stat.mzxid)
		waiting = true;
	if (waiting) coordinator_poke(w->c, BARRIER_POLL_MS);
	json_t *doc = json_pack(
	    "{s:I, s:s, s:o, s:o, s:o, s:I, s:i}", "spec_version", (json_int_t)spec->stat.mzxid,
	    "state",
	    broken		       ? "broken"
	    : refused		       ? "rejected"
	    : waiting || !w->has_state ? "waiting"
				       : "ok",
	    "rejected",
	    refused ? json_pack("{s:s, s:s}", "where", w->refused.where, "why", w->refused.why)
		    : json_null(),
	    "problem",
	    broken ? json_pack("{s:s, s:s}", "where", w->trouble.where, "why", w->trouble.why)
		   : json_null(),
	    "blocked_on", blocked, "epoch",
	    (json_int_t)(w->has_state ? w->state.epoch : w->epoch_floor), "step",
	    (int)w->state.step);
	if (!doc) abort();
	if (!pending) work_write_status(w, doc);
	json_decref(doc);
}

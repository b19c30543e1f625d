/* coordinator_status.c - what operators read: refused and why, or applied and who is still behind.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/coordinator_priv.h"
#include "common/clock.h"
#include "common/log.h"

enum { BARRIER_POLL_MS = 200, STATUS_US = 500000 };

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
	uint64_t now = clock_now_us();
	bool same = w->status && strcmp(w->status, text) == 0;
	/* A mover tells of progress all the time. */
	bool early = w->state.transition && now - w->status_us < STATUS_US;
	if (early && !same) coordinator_poke(w->c, STATUS_US / 1000);
	if (node->state == MIRROR_PENDING || w->status_busy || early || same) {
		free(text);
		return;
	}
	free(w->status);
	w->status = text;
	json_object_set_new(doc, "since", json_integer((json_int_t)(clock_wall_us() / 1000)));
	char *dated = json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS);
	if (!dated) abort();
	w->status_busy = true;
	w->status_us = now;
	if (node->state == MIRROR_OK)
		store_put(w->c->store, path, slice_of(dated), STORE_ANY_VERSION, status_on_written,
			  w);
	else store_create(w->c->store, path, slice_of(dated), STORE_PARENTS, status_on_written, w);
	free(dated);
}

/* The spec that was taken up wants another ring than the one that is in force. */
static bool work_undone(const struct pool_work *w)
{
	return w->has_state && !w->state.transition && w->spec && w->spec_hex[0] &&
	       w->state.spec_version == (uint64_t)w->spec_id &&
	       strcmp(w->spec_hex, w->state.ring) != 0;
}

static const char *work_condition(const struct pool_work *w, bool waiting)
{
	if (w->trouble.why[0]) return "broken";
	if (w->refused.why[0]) return "rejected";
	if (w->state.transition) return "moving";
	if (waiting || !w->has_state) return "waiting";
	return work_undone(w) ? "undone" : "ok";
}

static json_t *err_to_json(const struct err_at *at)
{
	if (!at->why[0]) return json_null();
	return json_pack("{s:s, s:s}", "where", at->where, "why", at->why);
}

void work_report(struct pool_work *w, const struct mirror_node *spec, const struct barrier *b)
{
	bool waiting = json_array_size(b->agents) > 0;
	/* What is blocked on nobody may still be the spec before. */
	if (w->has_state && w->state.spec_version != (uint64_t)spec->stat.mzxid) waiting = true;
	if (waiting) coordinator_poke(w->c, BARRIER_POLL_MS);
	if (b->pending || w->busy) return;
	json_t *doc =
	    json_pack("{s:I, s:s, s:o, s:o, s:o, s:I, s:i, s:o}", "spec_version",
		      (json_int_t)spec->stat.mzxid, "state", work_condition(w, waiting), "rejected",
		      err_to_json(&w->refused), "problem", err_to_json(&w->trouble), "blocked_on",
		      b->agents ? json_incref(b->agents) : json_array(), "epoch",
		      (json_int_t)(w->has_state ? w->state.epoch : w->epoch_floor), "step",
		      (int)w->state.step, "transition", work_describe_walk(w, b));
	if (!doc) abort();
	work_write_status(w, doc);
	json_decref(doc);
}

/* coordinator_rings.c - ring bodies that no state names any more are deleted, or ZooKeeper, which
 * holds everything in memory, would grow with every edit.
 *
 * An agent fetches only bodies that a state names, or named when it read it a moment ago. So a body
 * goes when we ourselves have seen it unnamed for a whole grace, without a gap: what is put back in
 * use, or was created for a state that is just being written, starts anew. A successor starts anew
 * with all of them; that only delays.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/coordinator_priv.h"
#include "common/clock.h"
#include "common/log.h"

struct old_ring {
	struct old_ring *next;
	char name[256];
	uint64_t since_us; /* unnamed since then, as far as we have seen */
	bool there, asked; /* still in the tree; its deletion is under way */
};

static void ring_on_deleted(void *ctx, enum store_rc rc, const struct store_stat *stat,
			    const char *path)
{
	(void)stat;
	(void)path;
	(void)ctx;
	/* The watch on the list tells of those that are gone. */
	if (rc != STORE_OK && rc != STORE_NO_NODE)
		log_warn("an old ring body cannot be deleted: %s", store_rc_text(rc));
}

static struct old_ring *work_old_ring(struct pool_work *w, const char *name, uint64_t now)
{
	for (struct old_ring *o = w->old_rings; o; o = o->next)
		if (strcmp(o->name, name) == 0) return o;
	struct old_ring *o = calloc(1, sizeof(*o));
	if (!o) abort();
	snprintf(o->name, sizeof(o->name), "%s", name);
	o->since_us = now;
	o->next = w->old_rings;
	w->old_rings = o;
	return o;
}

/* Keep those that were marked. */
static void work_drop_rings(struct pool_work *w)
{
	for (struct old_ring **at = &w->old_rings; *at;) {
		struct old_ring *o = *at;
		if (o->there) {
			o->there = false;
			at = &o->next;
			continue;
		}
		*at = o->next;
		free(o);
	}
}

static void work_delete_ring(struct pool_work *w, struct old_ring *o)
{
	char path[STORE_PATH_MAX];
	pool_path(path, w->name, "rings/%.200s", o->name);
	log_info("pool %s: ring %.12s is no longer used: deleted", w->name, o->name);
	o->asked = true;
	store_delete(w->c->store, path, STORE_ANY_VERSION, ring_on_deleted, w->c);
}

void work_sweep_rings(struct pool_work *w, const struct mirror_node *state)
{
	char path[STORE_PATH_MAX];
	uint64_t now = clock_now_us(), grace_us = w->c->ring_grace_ms * 1000ull;
	pool_path(path, w->name, "rings");
	const struct mirror_node *rings = mirror_list(w->c->mirror, path);
	if (rings->state != MIRROR_OK || state->state != MIRROR_OK) return;
	for (uint32_t i = 0; i < rings->count; i++) {
		/* Wherever the state names it: as what is, what will be or what was. */
		if (strstr(state->data.p, rings->names[i])) continue;
		struct old_ring *o = work_old_ring(w, rings->names[i], now);
		o->there = true;
		uint64_t age_us = now - o->since_us;
		if (age_us < grace_us) coordinator_poke(w->c, (grace_us - age_us) / 1000 + 1);
		else if (!o->asked) work_delete_ring(w, o);
	}
	work_drop_rings(w);
}

void work_forget_rings(struct pool_work *w)
{
	work_drop_rings(w); /* between passes none is marked */
}

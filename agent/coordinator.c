#include "agent/coordinator_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/failpoint.h"
#include "common/clock.h"
#include "common/log.h"

enum {
	LOG_KEEP = 500,
	LOG_PRUNE_EVERY = 50,
	IDLE_PASS_MS = 30000, /* even when nothing seems to happen */
	PULSE_MS = 300,
	PULSE_LASTS_MS = 60000,
	LEAD_MS = 1500, /* less than any session lasts */
};

/* --- decisions
 * -------------------------------------------------------------------------------------- */

void work_decide(struct pool_work *w, const char *what, const char *server, const char *why)
{
	struct decision *d = calloc(1, sizeof(*d)), **at = &w->decisions;
	if (!d) abort();
	snprintf(d->what, sizeof(d->what), "%s", what);
	snprintf(d->server, sizeof(d->server), "%s", server ? server : "");
	snprintf(d->why, sizeof(d->why), "%s", why ? why : "");
	while (*at) at = &(*at)->next;
	*at = d;
}

static void log_on_pruned(void *ctx, enum store_rc rc, const struct store_stat *stat,
			  const char *path)
{
	(void)ctx;
	(void)rc;
	(void)stat;
	(void)path;
}

static void log_on_list(void *ctx, enum store_rc rc, const char *const *names, uint32_t count)
{
	struct coordinator *c = ctx;
	for (uint32_t i = 0; rc == STORE_OK && count > LOG_KEEP && i < count - LOG_KEEP; i++) {
		char path[STORE_PATH_MAX];
		snprintf(path, sizeof(path), "log/%.200s", names[i]);
		store_delete(c->store, path, STORE_ANY_VERSION, log_on_pruned, c);
	}
}

static void log_on_written(void *ctx, enum store_rc rc, const struct store_stat *stat,
			   const char *path)
{
	(void)stat;
	(void)path;
	struct coordinator *c = ctx;
	if (rc != STORE_OK) log_warn("the decision log cannot be written: %s", store_rc_text(rc));
	else if (++c->log_count % LOG_PRUNE_EVERY == 0)
		store_list(c->store, "log", false, log_on_list, c);
}

static void work_tell(struct pool_work *w, const struct decision *d)
{
	struct coordinator *c = w->c;
	const char *server = d->server[0] ? d->server : NULL;
	json_t *doc = json_pack("{s:I, s:s, s:s, s:s, s:s?, s:s}", "time",
				(json_int_t)(clock_wall_us() / 1000), "agent", c->id, "pool",
				w->name, "what", d->what, "server", server, "why", d->why);
	char *text = doc ? json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	log_notice("pool %s: %s%s%s: %s", w->name, d->what, server ? " " : "", d->server, d->why);
	if (text)
		store_create(c->store, "log/n-", slice_of(text), STORE_SEQUENTIAL | STORE_PARENTS,
			     log_on_written, c);
	c->events.on_decision(c->events.ctx, d->what, w->name, server, d->why);
	free(text);
	json_decref(doc);
}

void work_announce(struct pool_work *w, const char *what, const char *why)
{
	struct decision d = { 0 };
	snprintf(d.what, sizeof(d.what), "%s", what);
	snprintf(d.why, sizeof(d.why), "%s", why);
	work_tell(w, &d);
}

static void work_drop_decisions(struct pool_work *w, bool tell)
{
	while (w->decisions) {
		struct decision *d = w->decisions;
		w->decisions = d->next;
		if (tell) work_tell(w, d);
		free(d);
	}
}

/* --- writing
 * ---------------------------------------------------------------------------------------- */

/* A pass must not see less than what it has written itself: decisions about who has followed rest
 * on that. */
static void work_look_again(struct pool_work *w)
{
	char path[STORE_PATH_MAX];
	pool_path(path, w->name, "state");
	mirror_refresh(w->c->mirror, path);
	mirror_refresh(w->c->mirror, "agents");
	mirror_refresh(w->c->mirror, "live");
}

static void work_on_committed(void *ctx, enum store_rc rc)
{
	struct pool_work *w = ctx;
	w->busy = false;
	if (rc == STORE_OK) work_walked(w);
	w->point = NULL;
	w->drop_wish = false;
	if (w->c->elected) work_look_again(w);
	/* What was not written has not happened: somebody else was faster, or we were cut off. */
	if (rc != STORE_OK) {
		log_info("pool %s: not written: %s", w->name, store_rc_text(rc));
		verdict_free(&w->verdict);
	}
	work_drop_decisions(w, rc == STORE_OK);
	coordinator_poke(w->c, rc == STORE_OK ? 0 : 100);
}

struct chain *work_chain(struct pool_work *w)
{
	return chain_new(w->c->store, work_on_committed, w);
}

void work_commit(struct pool_work *w, struct chain *chain, const struct pool_state *state,
		 int32_t version)
{
	char path[STORE_PATH_MAX];
	struct scratch text = { 0 };
	if (pool_state_print(state, &text) != ERR_NONE) {
		/* More ejected servers than a state can hold: then nobody else is ejected. */
		log_error("pool %s: its state would be too large", w->name);
		scratch_clear(&text);
		pool_state_print(&w->state, &text);
	}
	pool_path(path, w->name, "state");
	chain_put(chain, path, scratch_slice(&text), version);
	w->busy = true;
	chain_run(chain);
	scratch_fini(&text);
}

/* --- a pass
 * ------------------------------------------------------------------------------------------- */

static struct pool_work *coordinator_work(struct coordinator *c, const char *name)
{
	for (struct pool_work *w = c->works; w; w = w->next)
		if (strcmp(w->name, name) == 0) return w;
	struct pool_work *w = calloc(1, sizeof(*w));
	if (!w || !(w->name = strdup(name))) abort();
	w->c = c;
	w->next = c->works;
	c->works = w;
	return w;
}

/* Forget what was derived from the tree, so that a successor and we start alike. */
static void work_forget(struct pool_work *w)
{
	spec_free(&w->spec);
	w->spec_id = 0;
	spec_free(&w->applied);
	w->applied_id = 0;
	verdict_free(&w->verdict);
	work_stop_rejoining(w);
	work_forget_rings(w);
	work_forget_walk(w);
	free(w->status);
	w->status = NULL;
	w->troubled = false;
	w->doubt_us = 0;
}

/* Who has followed, and what comes next. */
static void work_go_on(struct pool_work *w, const struct mirror_node *state, struct barrier *b)
{
	work_barrier(w, b);
	if (w->state.transition && w->applied) work_walk(w, state, b);
	else if (!w->state.transition) work_rest(w, b);
	if (!w->busy) work_release_held(w, state, b);
	if (!w->busy) work_sweep_barriers(w, b);
}

static void work_pass(struct pool_work *w)
{
	char spec_path[STORE_PATH_MAX], state_path[STORE_PATH_MAX];
	pool_path(spec_path, w->name, "spec");
	pool_path(state_path, w->name, "state");
	const struct mirror_node *spec = mirror_data(w->c->mirror, spec_path);
	const struct mirror_node *state = mirror_data(w->c->mirror, state_path);
	w->seen = spec->state == MIRROR_OK;
	if (w->busy || spec->state != MIRROR_OK) return;
	bool good = work_read_state(w, state);
	if ((!good && !w->trouble.why[0]) || !work_know_epoch(w)) return;
	struct barrier b = { 0 };
	if (good) work_apply_spec(w, spec, state);
	/* Also under a spec that is refused: the one before is in force, and its servers may fail.
	 */
	if (good && !w->busy && work_know_applied(w, spec)) work_judge(w, state);
	if (good && w->has_state && !w->busy) work_go_on(w, state, &b);
	if (good && !w->busy) work_sweep_rings(w, state);
	work_tell_trouble(w);
	work_report(w, spec, &b);
	barrier_fini(&b);
}

static bool coordinator_read_cluster(struct coordinator *c)
{
	const struct mirror_node *n = mirror_data(c->mirror, "cluster");
	if (n->state != MIRROR_OK) return false;
	json_t *doc = json_loadb(n->data.p, n->data.n, 0, NULL);
	const char *lineage = json_string_value(json_object_get(doc, "lineage"));
	snprintf(c->lineage, sizeof(c->lineage), "%s", lineage ? lineage : "");
	json_int_t floor = json_integer_value(json_object_get(doc, "epoch_floor"));
	c->epoch_floor = floor > 0 ? (uint64_t)floor : 0;
	json_decref(doc);
	if (!c->lineage[0]) log_error("cluster has no lineage; twinringctl init makes one");
	return c->lineage[0] != 0;
}

/* --- do we still lead?
 *
 * Who was stopped for a while, or is cut off, may have a successor already. The store answers a
 * sync only within the session that our place in the election belongs to, and keeps that for
 * longer than LEAD_MS after it has heard from us.
 */

static void coordinator_on_pulse(void *ctx, enum store_rc rc, const struct store_stat *stat,
				 const char *path)
{
	(void)stat;
	(void)path;
	struct coordinator *c = ctx;
	c->feeling = false;
	if (rc == STORE_OK) c->pulse_us = c->asking_us;
}

static void coordinator_on_pulse_timer(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct coordinator *c = owner;
	uint64_t now = clock_boot_us();
	if (!c->elected || now > c->pulse_until_us) return;
	io_timer_set(&c->pulse, PULSE_MS * 1000);
	if (c->feeling || !c->connected) return;
	c->feeling = true;
	c->asking_us = now;
	store_sync(c->store, coordinator_on_pulse, c);
}

bool coordinator_leads(const struct coordinator *c)
{
	return c->elected && c->connected && clock_boot_us() - c->pulse_us < LEAD_MS * 1000;
}

void coordinator_feel_pulse(struct coordinator *c)
{
	c->pulse_until_us = clock_boot_us() + PULSE_LASTS_MS * 1000ull;
	if (!io_timer_armed(&c->pulse)) coordinator_on_pulse_timer(0, 0, c);
}

/* --- all pools ---------------------------------------------------------------------------------
 */

static void coordinator_pass(void *ctx)
{
	struct coordinator *c = ctx;
	if (!c->elected || !c->connected) return;
	mirror_mark(c->mirror);
	coordinator_note_silent(c);
	const struct mirror_node *pools = mirror_list(c->mirror, "pools");
	if (coordinator_read_cluster(c) && pools->state == MIRROR_OK)
		for (uint32_t i = 0; i < pools->count; i++)
			work_pass(coordinator_work(c, pools->names[i]));
	mirror_sweep(c->mirror);
	coordinator_poke(c, IDLE_PASS_MS);
}

static void coordinator_on_timer(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	coordinator_pass(owner);
}

void coordinator_poke(struct coordinator *c, uint64_t in_ms)
{
	uint64_t due = clock_now_us() + in_ms * 1000;
	if (io_timer_armed(&c->again) && c->due_us <= due) return;
	c->due_us = due;
	io_timer_set(&c->again, in_ms * 1000);
}

/* --- life
 * ------------------------------------------------------------------------------------------------
 */

struct coordinator *coordinator_new(struct io_loop *l, struct store *s, const char *agent_id,
				    uint32_t ring_grace_ms, const struct coordinator_events *events)
{
	struct coordinator *c = calloc(1, sizeof(*c));
	if (!c) return NULL;
	*c = (struct coordinator){ .loop = l, .store = s, .events = *events };
	c->ring_grace_ms = ring_grace_ms;
	c->id = strdup(agent_id);
	c->mirror = mirror_new(l, s, coordinator_pass, c);
	io_timer_init(&c->again, l, coordinator_on_timer, c);
	io_timer_init(&c->pulse, l, coordinator_on_pulse_timer, c);
	return c;
}

void coordinator_elect(struct coordinator *c, bool elected)
{
	c->elected = elected;
	if (elected) failpoint("elected");
	coordinator_forget_silent(c);
	c->pulse_us = 0;
	for (struct pool_work *w = c->works; w; w = w->next) work_forget(w);
	if (elected) {
		mirror_changed(c->mirror, NULL);
		coordinator_poke(c, 0);
		return;
	}
	mirror_mark(c->mirror);
	mirror_sweep(c->mirror);
}

void coordinator_session(struct coordinator *c, enum store_session session)
{
	c->connected = session != STORE_LOST;
	if (c->connected) mirror_changed(c->mirror, NULL);
}

void coordinator_changed(struct coordinator *c, const char *path)
{
	if (c->elected) mirror_changed(c->mirror, path);
}

/* After the store: no write is under way any more. */
void coordinator_free(struct coordinator **c)
{
	if (!*c) return;
	io_timer_stop(&(*c)->again);
	io_timer_stop(&(*c)->pulse);
	while ((*c)->works) {
		struct pool_work *w = (*c)->works;
		(*c)->works = w->next;
		work_forget(w);
		work_drop_decisions(w, false);
		pool_state_fini(&w->state);
		topology_free(&w->body);
		free(w->name);
		free(w);
	}
	coordinator_forget_silent(*c);
	mirror_free(&(*c)->mirror);
	free((*c)->id);
	free(*c);
	*c = NULL;
}

/* coordinator_barrier.c - who has acknowledged a step, whom it waits for, and who no longer counts.
 *
 * Everybody who is registered counts, connected or not. One who has been silent may be passed over
 * only in a transition, only when its proxies hold leases for it (agents/ID says so, as that must
 * outlive its session), and only when those have certainly run out: by our own clock, from when we
 * saw its session gone. An agent promises nothing to its proxies before it can be seen (see
 * agent_lease.c), so what counts is the list of live agents as it was after the step was published.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/coordinator_priv.h"
#include "agent/failpoint.h"
#include "common/clock.h"
#include "common/log.h"

enum {
	BLOCKED_MAX = 50,
	LEASE_MARGIN_PERCENT = 110,
	OP_TIMEOUT_MS = 5000, /* of a pool that has none */
	OP_ROUND_TRIPS = 4,   /* that one operation may take, each with its timeout */
};

struct silent {
	struct silent *next;
	char *agent;
	uint64_t since_us; /* clock_boot_us() */
	bool there;
};

/* --- who is silent ------------------------------------------------------------------------------
 */

static bool is_listed(const struct mirror_node *list, const char *name)
{
	uint32_t from = 0, to = list->count;
	while (from < to) {
		uint32_t at = from + (to - from) / 2;
		int cmp = strcmp(name, list->names[at]);
		if (cmp == 0) return true;
		if (cmp < 0) to = at;
		else from = at + 1;
	}
	return false;
}

static void silent_note(struct coordinator *c, const char *agent, uint64_t now)
{
	for (struct silent *s = c->silent; s; s = s->next) {
		if (strcmp(s->agent, agent) != 0) continue;
		s->there = true;
		return;
	}
	struct silent *s = calloc(1, sizeof(*s));
	if (!s || !(s->agent = strdup(agent))) abort();
	*s = (struct silent){ c->silent, s->agent, now, true };
	c->silent = s;
}

static void silent_free(struct silent **at)
{
	struct silent *s = *at;
	*at = s->next;
	free(s->agent);
	free(s);
}

void coordinator_forget_silent(struct coordinator *c)
{
	while (c->silent) silent_free(&c->silent);
}

void coordinator_note_silent(struct coordinator *c)
{
	const struct mirror_node *agents = mirror_list(c->mirror, "agents");
	const struct mirror_node *live = mirror_list(c->mirror, "live");
	if (agents->state == MIRROR_PENDING || live->state == MIRROR_PENDING) return;
	for (struct silent *s = c->silent; s; s = s->next) s->there = false;
	for (uint32_t i = 0; i < agents->count; i++)
		if (!is_listed(live, agents->names[i]))
			silent_note(c, agents->names[i], clock_boot_us());
	for (struct silent **at = &c->silent; *at;) {
		if ((*at)->there) at = &(*at)->next;
		else silent_free(at);
	}
}

static uint64_t silent_ms(const struct coordinator *c, const char *agent)
{
	for (const struct silent *s = c->silent; s; s = s->next)
		if (strcmp(s->agent, agent) == 0) return (clock_boot_us() - s->since_us) / 1000;
	return 0;
}

/* --- who is passed over -------------------------------------------------------------------------
 */

static bool agent_is_armed(struct pool_work *w, const char *agent, bool *pending_out)
{
	char path[STORE_PATH_MAX];
	snprintf(path, sizeof(path), "agents/%.255s", agent);
	const struct mirror_node *n = mirror_data(w->c->mirror, path);
	if (n->state == MIRROR_PENDING) *pending_out = true;
	if (n->state != MIRROR_OK) return false;
	json_t *doc = json_loadb(n->data.p, n->data.n, 0, NULL);
	const json_t *epoch = json_object_get(json_object_get(doc, "armed"), w->name);
	bool armed =
	    json_is_integer(epoch) && (uint64_t)json_integer_value(epoch) == w->state.epoch;
	json_decref(doc);
	return armed;
}

/* After how long of silence its proxies have stopped; 0: never. */
static uint64_t exclusion_ms(const struct pool_work *w)
{
	uint32_t timeout_ms = w->body ? w->body->pools[0].timeout_ms : 0;
	if (!w->state.lease_ms || !w->body) return 0;
	if (!timeout_ms) timeout_ms = OP_TIMEOUT_MS;
	return (uint64_t)w->state.lease_ms * LEASE_MARGIN_PERCENT / 100 +
	       (uint64_t)timeout_ms * OP_ROUND_TRIPS;
}

static void barrier_wait(struct barrier *b, const char *agent, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void barrier_wait(struct barrier *b, const char *agent, const char *format, ...)
{
	char why[200];
	va_list ap;
	b->missing++;
	if (json_array_size(b->agents) >= BLOCKED_MAX) return;
	va_start(ap, format);
	vsnprintf(why, sizeof(why), format, ap);
	va_end(ap);
	json_array_append_new(b->agents, json_string(agent));
	json_array_append_new(b->words, json_sprintf("agent %s: %s", agent, why));
}

/* It has not acknowledged. */
static void barrier_judge(struct pool_work *w, struct barrier *b, const char *agent, bool live)
{
	if (live || !w->state.transition) {
		barrier_wait(b, agent,
			     live ? "not all of its proxies have followed and drained" : "silent");
		return;
	}
	uint64_t silent = silent_ms(w->c, agent), after = exclusion_ms(w);
	if (!agent_is_armed(w, agent, &b->pending)) {
		barrier_wait(b, agent,
			     "silent for %llu s, and its proxies have no lease of this transition: "
			     "if the host is dead, twinringctl agent deregister",
			     (unsigned long long)(silent / 1000));
	} else if (!after) {
		barrier_wait(b, agent, "silent, and lease_ms 0 lets nobody be passed over");
	} else if (silent < after) {
		barrier_wait(b, agent, "silent; passed over in %llu s",
			     (unsigned long long)(after - silent) / 1000 + 1);
		coordinator_poke(w->c, after - silent);
	} else {
		b->excluded++;
	}
}

void work_barrier(struct pool_work *w, struct barrier *b)
{
	char path[STORE_PATH_MAX];
	const struct mirror_node *agents = mirror_list(w->c->mirror, "agents");
	const struct mirror_node *live = mirror_list(w->c->mirror, "live");
	pool_path(path, w->name, "barrier/%llu.%u", (unsigned long long)w->state.epoch,
		  w->state.step);
	const struct mirror_node *passed = mirror_list(w->c->mirror, path);
	*b = (struct barrier){ .agents = json_array(), .words = json_array() };
	b->pending = agents->state == MIRROR_PENDING || live->state == MIRROR_PENDING ||
		     passed->state == MIRROR_PENDING;
	if (b->pending) return;
	b->registered = agents->count;
	for (uint32_t i = 0; i < agents->count; i++)
		if (!is_listed(passed, agents->names[i]))
			barrier_judge(w, b, agents->names[i], is_listed(live, agents->names[i]));
	b->acked = !b->pending && !b->missing;
}

void barrier_fini(struct barrier *b)
{
	json_decref(b->agents);
	json_decref(b->words);
}

/* --- client names of live proxies ----------------------------------------------------------------
 */

json_t *work_client_names(struct pool_work *w)
{
	char path[STORE_PATH_MAX];
	bool pending = false;
	json_t *names = json_array();
	pool_path(path, w->name, "barrier/%llu.%u", (unsigned long long)w->state.epoch,
		  w->state.step);
	const struct mirror_node *passed = mirror_list(w->c->mirror, path);
	pending = passed->state == MIRROR_PENDING;
	for (uint32_t i = 0; i < passed->count; i++) {
		size_t k;
		json_t *proxy;
		pool_path(path, w->name, "barrier/%llu.%u/%.200s",
			  (unsigned long long)w->state.epoch, w->state.step, passed->names[i]);
		const struct mirror_node *n = mirror_data(w->c->mirror, path);
		pending |= n->state == MIRROR_PENDING;
		json_t *doc =
		    n->state == MIRROR_OK ? json_loadb(n->data.p, n->data.n, 0, NULL) : NULL;
		json_array_foreach (json_object_get(doc, "proxies"), k, proxy) {
			json_t *name = json_object_get(proxy, "client_name");
			if (json_string_length(name) > 0) json_array_append(names, name);
		}
		json_decref(doc);
	}
	if (!pending) return names;
	json_decref(names);
	return NULL;
}

/* --- what is over --------------------------------------------------------------------------------
 */

static void barrier_on_deleted(void *ctx, enum store_rc rc, const struct store_stat *stat,
			       const char *path)
{
	(void)ctx;
	(void)stat;
	(void)path;
	if (rc != STORE_OK && rc != STORE_NO_NODE && rc != STORE_NOT_EMPTY && rc != STORE_AWAY)
		log_warn("an old barrier cannot be deleted: %s", store_rc_text(rc));
}

/* Agents take their acknowledgements of older steps away themselves; what they were in goes once it
 * is empty. A few at a time, and only when the step in force is acknowledged. */
void work_sweep_barriers(struct pool_work *w, const struct barrier *b)
{
	enum { AT_ONCE = 8 };
	char path[STORE_PATH_MAX], now[64];
	uint32_t asked = 0;
	pool_path(path, w->name, "barrier");
	if (!b->acked || (w->swept_epoch == w->state.epoch && w->swept_step == w->state.step))
		return;
	const struct mirror_node *list = mirror_list(w->c->mirror, path);
	if (list->state == MIRROR_PENDING) return;
	snprintf(now, sizeof(now), "%llu.%u", (unsigned long long)w->state.epoch, w->state.step);
	for (uint32_t i = 0; i < list->count && asked < AT_ONCE; i++) {
		if (strcmp(list->names[i], now) == 0) continue;
		failpoint("barrier swept");
		pool_path(path, w->name, "barrier/%.60s", list->names[i]);
		store_delete(w->c->store, path, STORE_ANY_VERSION, barrier_on_deleted, w->c);
		asked++;
	}
	if (asked < AT_ONCE) {
		w->swept_epoch = w->state.epoch;
		w->swept_step = w->state.step;
	}
}

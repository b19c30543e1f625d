#include "proxy/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "common/log.h"
#include "proxy/client.h"
#include "proxy/destination.h"
#include "proxy/moderate.h"
#include "proxy/routes/dual.h"
#include "proxy/routes/flow.h"

#include "common/memory.h"

enum {
	SECOND_US = 1000000,
	CLIENTS_PER_SLAB = 64,
};

/* --- views ------------------------------------------------------------------------------------ */

static void view_on_unused(struct view *v)
{
	for (uint32_t i = 0; i < v->dest_count; i++) dest_unref(v->dests[i]);
	snapshot_unref(v->snapshot);
	free(v->dests);
	free(v);
}

struct dest_entry {
	uint64_t id;
	struct dest *dest;
	UT_hash_handle hh;
};

/* The destinations of the view before and of the one being made, by server id, for the time of one
 * adoption. Most servers stay where they were in their lists: only the first that does not has
 * the table filled. */
struct dest_index {
	const struct view *old; /* or NULL */
	uint32_t guess;		/* its place there, if nothing came or went */
	struct view *fresh;
	uint32_t fresh_count; /* its destinations so far                */
	struct dest_entry *by_id, *entries;
	uint32_t count;
};

static void dest_index_add(struct dest_index *index, struct dest *d)
{
	struct dest_entry *e;
	HASH_FIND(hh, index->by_id, &d->id, sizeof(d->id), e);
	if (e) return;
	e = &index->entries[index->count++];
	e->id = d->id;
	e->dest = d;
	HASH_ADD(hh, index->by_id, id, sizeof(e->id), e);
}

static void dest_index_fill(struct dest_index *index)
{
	uint32_t old_count = index->old ? index->old->dest_count : 0;
	index->entries = calloc(old_count + index->fresh->dest_count, sizeof(*index->entries));
	if (!index->entries) abort();
	for (uint32_t i = 0; i < old_count; i++) dest_index_add(index, index->old->dests[i]);
	for (uint32_t i = 0; i < index->fresh_count; i++)
		dest_index_add(index, index->fresh->dests[i]);
}

static struct dest *dest_index_find(struct dest_index *index, uint64_t id)
{
	const struct view *old = index->old;
	if (old && index->guess < old->dest_count && old->dests[index->guess]->id == id)
		return old->dests[index->guess++];
	if (!index->entries) dest_index_fill(index);
	struct dest_entry *e;
	HASH_FIND(hh, index->by_id, &id, sizeof(id), e);
	return e ? e->dest : NULL;
}

static void view_add_pool(struct view *v, struct dest_index *index, const struct server_pool *pool)
{
	for (uint32_t i = 0; i < pool->spec->server_count; i++) {
		const struct pool_server *server = &pool->servers[i];
		index->fresh_count = pool->dest_base + i;
		struct dest *d = dest_index_find(index, server->id);
		if (d) dest_ref(d);
		else dest_index_add(index, d = dest_new(v->core, pool, server));
		/* A pool and what it is to become share servers: the pool itself decides. */
		if (d->pool->snapshot != v->snapshot) dest_update(d, pool, server);
		v->dests[pool->dest_base + i] = d;
		if (pool->spec->preconnect || pool->in_transition) dest_preconnect(d);
	}
}

static struct view *worker_new_view(struct worker *w, struct snapshot *s)
{
	struct view *v = calloc(1, sizeof(*v));
	struct dest **dests = calloc(s->dest_count + 1, sizeof(*dests));
	struct dest_index index = { .old = w->view, .fresh = v };
	if (!v || !dests) abort();
	*v = (struct view){ .snapshot = s,
			    .dests = dests,
			    .dest_count = s->dest_count,
			    .refs = 1,
			    .on_unused = view_on_unused,
			    .core = &w->core };
	for (uint32_t p = 0; p < s->pool_count; p++) view_add_pool(v, &index, &s->pools[p]);
	HASH_CLEAR(hh, index.by_id);
	free(index.entries);
	return v;
}

/* Clients of a listener that now leads to another pool are counted there. */
static void worker_move_gauges(struct worker *w, const struct snapshot *from,
			       const struct snapshot *to)
{
	for (uint32_t i = 0; i < LISTENERS_MAX; i++) {
		uint32_t n = w->entry_clients[i];
		if (n == 0) continue;
		const struct route *a = i < from->entry_count ? from->entries[i] : NULL;
		const struct route *b = i < to->entry_count ? to->entries[i] : NULL;
		struct stats_pool *was = a ? a->pool->stats : NULL, *is = b ? b->pool->stats : NULL;
		if (was == is) continue;
		if (was) metric_sub(&was->slots[w->core.index].m[POOL_client_connections], n);
		if (is) metric_add(&is->slots[w->core.index].m[POOL_client_connections], n);
	}
}

static void worker_note_codecs(struct worker *w, const struct snapshot *s)
{
	for (uint32_t i = 0; i < s->entry_count; i++) {
		if (!s->entries[i]) continue;
		w->codecs[i] = s->entries[i]->pool->codec;
		w->limits[i] = s->entries[i]->pool->limits;
	}
}

static void worker_adopt(struct worker *w, struct snapshot *s)
{
	worker_note_codecs(w, s);
	struct view *old = w->view;
	w->view = worker_new_view(w, s);
	w->core.reply_max = s->limits.reply_max_bytes;
	w->core.buffer_max = s->limits.memory_max_bytes / w->shared->threads;
	metric_add(&w->core.stats->m[WORKER_snapshots], 1);
	if (old) {
		worker_move_gauges(w, old->snapshot, s);
		flows_adopt(&w->core);
		view_unref(old);
	}
	__atomic_store_n(&w->adopted_serial, s->serial, __ATOMIC_RELEASE);
	mailbox_post(w->shared->main, &(struct mail){ .kind = MAIN_ADOPTED });
}

/* --- mail ------------------------------------------------------------------------------------- */

static void worker_drain(struct worker *w)
{
	struct client *c, *next;
	w->draining = true;
	LIST_FOREACH_SAFE (c, &w->clients, all, next) {
		client_finish(c);
	}
	if (LIST_EMPTY(&w->clients))
		mailbox_post(w->shared->main,
			     &(struct mail){ .kind = MAIN_DRAINED, .id = w->core.index });
}

/* A client that was posted to us as we stopped. */
static void worker_refuse(struct worker *w, const struct mail *m)
{
	io_close(m->fd);
	__atomic_sub_fetch(&w->shared->listener_clients[m->number], 1, __ATOMIC_RELAXED);
	__atomic_sub_fetch(&w->client_count, 1, __ATOMIC_RELAXED);
}

static void worker_on_mail(void *owner, const struct mail *m)
{
	struct worker *w = owner;
	switch ((enum worker_mail)m->kind) {
	case WORKER_CLIENT:
		if (w->stopping) worker_refuse(w, m);
		else client_new(w, m->fd, (uint16_t)m->number);
		break;
	case WORKER_SNAPSHOT:
		if (w->stopping) snapshot_unref(m->p);
		else worker_adopt(w, m->p);
		break;
	case WORKER_DRAIN: worker_drain(w); break;
	case WORKER_STOP: w->stopping = true; break;
	}
}

/* A destination went down or came back, or has failed as often as its pool allows. */
static void worker_on_dest_state(struct core *core, struct dest *d)
{
	struct worker *w = core->worker;
	uint32_t limit = d->pool->spec->server_failure_limit;
	bool failing = d->state == DEST_TKO && d->failures >= limit;
	if (d->state == DEST_TKO && !failing) return;
	mailbox_post(w->shared->main, &(struct mail){ .kind = MAIN_DEST,
						      .id = d->id,
						      .number = failing,
						      .fd = (int)core->index });
}

/* --- what core asks of us --------------------------------------------------------------------- */

static const struct route *worker_find_pool(struct core *core, const char *pool,
					    struct view **view_out)
{
	struct worker *w = core->worker;
	*view_out = w->view;
	return w->view ? snapshot_pool_route(w->view->snapshot, pool) : NULL;
}

static void worker_send_keys(struct core *core, const struct route *root, struct request *req,
			     const struct command *cmd)
{
	struct worker *w = core->worker;
	multi_send(core, &w->multi, root, req, cmd);
}

static void worker_settle(struct core *core)
{
	if (core->ready) flows_run(core);
	clients_flush(core);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void worker_on_second(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct worker *w = owner;
	uint32_t now_s = (uint32_t)(core_now(&w->core) / SECOND_US);
	struct client *c, *next;
	LIST_FOREACH_SAFE (c, &w->clients, all, next) {
		client_check(c, now_s);
	}
	buf_pool_trim(&w->core.bufs);
	freelist_trim(&w->core.requests);
	parser_trim(&w->core.parser);
	scratch_trim(&w->core.text, BUF_READ);
	io_timer_set(&w->second, SECOND_US);
}

/* Clients are flushed at the end of the turn: there is nothing to do but to have a turn. */
static void worker_on_cork_timer(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	(void)owner;
}

static void worker_moderate(struct worker *w)
{
	if (!w->view) return; /* no snapshot yet, so that nothing is in flight */
	uint32_t clients = __atomic_load_n(&w->client_count, __ATOMIC_RELAXED);
	uint32_t us = moderate_pause_us(worker_limits(w)->moderation_us, w->core.in_flight, clients,
					w->core.turn_replies);
	if (us == 0) return;
	metric_add(&w->core.stats->m[WORKER_moderated], 1);
	struct timespec pause = { .tv_nsec = (long)us * 1000 };
	nanosleep(&pause, NULL);
}

void worker_turn(struct worker *w)
{
	w->core.now_taken = false;
	w->core.turn_replies = 0;
	io_loop_turn(&w->core.loop);
	core_end_turn(&w->core, worker_settle);
	metric_add(&w->core.stats->m[WORKER_ticks], 1);
	worker_moderate(w);
}

void worker_close(struct worker *w)
{
	struct client *c, *next;
	w->stopping = true;
	LIST_FOREACH_SAFE (c, &w->clients, all, next) {
		client_close(c);
	}
	/* Requests that nobody awaits any more keep views, and views keep destinations. */
	core_end_turn(&w->core, worker_settle);
	flows_close(&w->core);
	core_close_conns(&w->core);
	if (w->view) view_unref(w->view);
	w->view = NULL;
	core_end_turn(&w->core, worker_settle);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	char name[24]; /* for `top -H` and the like */
	snprintf(name, sizeof(name), "worker-%u", w->core.index);
	prctl(PR_SET_NAME, name);
	prctl(PR_SET_TIMERSLACK, 1); /* ns; the default of 50 us would swamp the pause */
	while (!w->stopping) worker_turn(w);
	worker_close(w);
	return NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

struct worker *worker_new(struct worker_shared *shared, uint32_t index)
{
	struct worker *w = calloc(1, sizeof(*w));
	if (!w) return NULL;
	w->shared = shared;
	w->next_client_id = 1;
	LIST_INIT(&w->clients);
	freelist_init_slab(&w->client_pool, sizeof(struct client), CLIENTS_PER_SLAB);
	if (!core_init(&w->core, index, stats_worker(shared->stats, index)) ||
	    !mailbox_init(&w->mail, &w->core.loop, worker_on_mail, w)) {
		core_fini(&w->core);
		free(w);
		return NULL;
	}
	w->core.worker = w;
	w->core.client_name = shared->client_name;
	w->core.lease_until_us = &shared->lease_until_us;
	w->core.on_dest_state = worker_on_dest_state;
	w->core.find_pool = worker_find_pool;
	w->core.send_keys = worker_send_keys;
	io_timer_init(&w->second, &w->core.loop, worker_on_second, w);
	io_timer_init(&w->cork_timer, &w->core.loop, worker_on_cork_timer, w);
	io_timer_set(&w->second, SECOND_US);
	return w;
}

void worker_free(struct worker **w)
{
	if (!*w) return;
	mailbox_fini(&(*w)->mail);
	io_timer_stop(&(*w)->second);
	io_timer_stop(&(*w)->cork_timer);
	multi_scratch_fini(&(*w)->multi);
	flows_free(&(*w)->core);
	imports_free(&(*w)->core);
	freelist_fini(&(*w)->client_pool);
	core_fini(&(*w)->core);
	free(*w);
	*w = NULL;
}

struct worker *worker_start(struct worker_shared *shared, uint32_t index)
{
	struct worker *w = worker_new(shared, index);
	if (w && pthread_create(&w->thread, NULL, worker_main, w) != 0) worker_free(&w);
	return w;
}

void worker_join(struct worker **w)
{
	if (!*w) return;
	pthread_join((*w)->thread, NULL);
	worker_free(w);
}

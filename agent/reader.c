#include "agent/reader.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/cache.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/ring_body.h"
#include "common/tree_topology.h"

enum {
	GATHER_US = 10000, /* changes that come so close together are read together */
	RETRY_US = 1000000,
	CACHE_AGAIN_US = 2000000,
	POOLS_MAX = 4096,
};

struct reader {
	struct io_loop *loop;
	struct store *store;
	struct reader_events events;
	char *cache;
	struct io_timer timer;
	uint64_t reread_us;	   /* a watch may have been lost */
	struct reader_pool *pools; /* in force, sorted by name */
	uint32_t pool_count;
	json_t *routes, *doc;
	uint64_t version, confirmed_us, began_us;
	/* Monotonic: when what is in force was last known to be what the tree says, or, since then
	 * only read from the cache, when that was read; and how old it was then. */
	uint64_t current_us, current_age_us;
	bool uncached; /* what is in force has changed since it was written to the disk */
	bool foreign;  /* the tree, as read last, is not ours, or is older than what is in force */
	char *cache_problem;
	struct io_timer cache_again;
	char *problem, *alarm; /* `alarm`: a problem with what is in force */
	struct round *round;   /* a reading under way */
	bool again;	       /* something changed during it */
};

/* What one reading found; takes effect only as a whole. */
struct found_pool {
	struct round *round;
	char *name;
	bool removed;
	enum store_rc rc;
	struct pool_state state;
	int64_t mzxid;
	struct topology *body, *next; /* NULL: the reader has it already */
	char *problem;
};

struct round {
	struct reader *reader;
	uint32_t outstanding;
	uint64_t began_us;
	bool away; /* the store could not be asked: nothing takes effect */
	struct found_pool *found;
	uint32_t count;
	char **removed;
	uint32_t removed_count;
	json_t *routes;
	char *problem;
};

/* --- in force ----------------------------------------------------------------------------------
 */

static void reader_pool_fini(struct reader_pool *p)
{
	free(p->name);
	pool_state_fini(&p->state);
	topology_free(&p->body);
	topology_free(&p->next);
	free(p->problem);
}

static struct reader_pool *reader_find(const struct reader *r, const char *name)
{
	for (uint32_t i = 0; i < r->pool_count; i++)
		if (strcmp(r->pools[i].name, name) == 0) return &r->pools[i];
	return NULL;
}

static struct reader_pool *reader_add(struct reader *r, const char *name)
{
	struct reader_pool *pools = realloc(r->pools, (r->pool_count + 1) * sizeof(*pools));
	if (!pools) abort();
	r->pools = pools;
	uint32_t at = r->pool_count;
	while (at > 0 && strcmp(pools[at - 1].name, name) > 0) at--;
	memmove(pools + at + 1, pools + at, (r->pool_count - at) * sizeof(*pools));
	pools[at] = (struct reader_pool){ .name = strdup(name) };
	if (!pools[at].name) abort();
	r->pool_count++;
	return &pools[at];
}

static void reader_remove(struct reader *r, struct reader_pool *p)
{
	uint32_t at = (uint32_t)(p - r->pools);
	reader_pool_fini(p);
	memmove(p, p + 1, (r->pool_count - at - 1) * sizeof(*p));
	r->pool_count--;
}

static void set_text(char **slot, const char *text)
{
	char *copy = text ? strdup(text) : NULL;
	free(*slot);
	*slot = copy;
}

/* Put together what is in force and tell, if it is not what was told last. */
static void reader_compose(struct reader *r, uint64_t at_least, bool confirmed)
{
	struct tree_pool *parts = calloc(r->pool_count + 1, sizeof(*parts));
	struct err_at at = { 0 };
	json_t *doc = NULL;
	if (!parts) abort();
	for (uint32_t i = 0; i < r->pool_count; i++) {
		const struct reader_pool *p = &r->pools[i];
		parts[i] = (struct tree_pool){ p->name, &p->state, &p->body->pools[0],
					       p->next ? &p->next->pools[0] : NULL };
	}
	uint64_t version = at_least > r->version ? at_least : r->version;
	enum err e = r->pool_count
			 ? tree_topology(parts, r->pool_count, r->routes, version, &doc, NULL, &at)
			 : ERR_NONE;
	free(parts);
	if (e != ERR_NONE) {
		char text[500];
		snprintf(text, sizeof(text), "%s: %s", at.where, at.why);
		set_text(&r->problem, text);
		log_error("the tree makes no topology: %s", text);
		return;
	}
	if (!doc) return;
	if (r->doc && version == r->version && !json_equal(doc, r->doc)) {
		/* Something changed that has no modification id of its own. */
		json_object_set_new(doc, "version", json_integer((json_int_t)++version));
	}
	bool changed = !r->doc || !json_equal(doc, r->doc);
	r->version = version;
	json_decref(r->doc);
	r->doc = doc;
	r->uncached |= changed;
	if (changed) r->events.on_topology(r->events.ctx, doc, version, confirmed);
}

/* --- one reading -------------------------------------------------------------------------------
 */

static void round_free(struct round *round)
{
	for (uint32_t i = 0; i < round->count; i++) {
		free(round->found[i].name);
		free(round->found[i].problem);
		pool_state_fini(&round->found[i].state);
		topology_free(&round->found[i].body);
		topology_free(&round->found[i].next);
	}
	for (uint32_t i = 0; i < round->removed_count; i++) free(round->removed[i]);
	free(round->removed);
	free(round->found);
	free(round->problem);
	json_decref(round->routes);
	free(round);
}

static bool round_removed(const struct round *round, const char *name)
{
	for (uint32_t i = 0; i < round->removed_count; i++)
		if (strcmp(round->removed[i], name) == 0) return true;
	return false;
}

static void found_refuse(struct found_pool *f, const char *where, const char *why)
{
	char text[500];
	snprintf(text, sizeof(text), "%s%s%s", where, where[0] ? ": " : "", why);
	set_text(&f->problem, text);
}

/* Where `p` keeps the ring body called `hex`; NULL: nowhere. */
static struct topology **reader_body(struct reader_pool *p, const char *hex)
{
	if (p->body && strcmp(p->state.ring, hex) == 0) return &p->body;
	if (p->next && strcmp(p->state.transition->next, hex) == 0) return &p->next;
	return NULL;
}

/* The body called `hex`, from where it is. */
static struct topology *reader_move_body(struct reader_pool *p, struct topology **fresh,
					 const char *hex)
{
	struct topology **at = *fresh ? fresh : reader_body(p, hex);
	struct topology *body = *at;
	*at = NULL;
	return body;
}

static void reader_take_bodies(struct reader_pool *p, struct found_pool *f)
{
	const struct state_transition *t = f->state.transition;
	struct topology *body = reader_move_body(p, &f->body, f->state.ring);
	struct topology *next = NULL;
	if (t && !f->next && strcmp(t->next, f->state.ring) == 0) {
		next = topology_copy(body); /* servers return to the ring that is */
		if (!next) abort();
	} else if (t) {
		next = reader_move_body(p, &f->next, t->next);
	}
	topology_free(&p->body);
	topology_free(&p->next);
	p->body = body;
	p->next = next;
}

/* Make what was found of one pool the pool in force, unless it is worse. true: something changed.
 */
static bool reader_take(struct reader *r, struct found_pool *f)
{
	struct reader_pool *p = reader_find(r, f->name);
	if (!f->problem && p) {
		switch (pool_state_compare(&f->state, &p->state)) {
		case POOL_STATE_FOREIGN:
			r->foreign = true;
			found_refuse(f, "state",
				     "belongs to another lineage: the tree was restored or made "
				     "anew; the last good one stays in force");
			break;
		case POOL_STATE_LOWER:
			r->foreign = true;
			found_refuse(f, "state", "is older than what is in force");
			break;
		case POOL_STATE_EQUAL:
		case POOL_STATE_HIGHER: break;
		}
	}
	if (f->problem) {
		if (p && (!p->problem || strcmp(p->problem, f->problem) != 0))
			log_warn("pool %s stays as it was: %s", f->name, f->problem);
		if (p) set_text(&p->problem, f->problem);
		return false;
	}
	if (!p) p = reader_add(r, f->name);
	set_text(&p->problem, NULL);
	reader_take_bodies(p, f);
	pool_state_fini(&p->state);
	p->state = f->state;
	f->state = (struct pool_state){ 0 };
	return true;
}

/* The first problem of a pool that is in force, or of one that is not, unless there is text. */
static void reader_note_pools(const struct reader *r, const struct round *round, bool in_force,
			      char *text, size_t size)
{
	for (uint32_t i = 0; !text[0] && i < round->count; i++) {
		const struct found_pool *f = &round->found[i];
		if (f->problem && (reader_find(r, f->name) != NULL) == in_force)
			snprintf(text, size, "pools/%.200s: %s", f->name, f->problem);
	}
}

static void reader_note_problem(struct reader *r, const struct round *round)
{
	char text[600] = "";
	if (round->problem) snprintf(text, sizeof(text), "%s", round->problem);
	reader_note_pools(r, round, true, text, sizeof(text));
	for (uint32_t i = 0; !text[0] && i < r->pool_count; i++) {
		bool there = false;
		for (uint32_t k = 0; k < round->count; k++)
			there |= strcmp(round->found[k].name, r->pools[i].name) == 0;
		if (!there)
			snprintf(text, sizeof(text),
				 "pools/%.200s is gone without its tombstone; "
				 "the last good one stays in force",
				 r->pools[i].name);
	}
	set_text(&r->alarm, text[0] ? text : NULL);
	/* A pool that has never been in force has no state yet, or a spec that was refused. */
	reader_note_pools(r, round, false, text, sizeof(text));
	set_text(&r->problem, text[0] ? text : NULL);
}

/* Also when nothing has changed: the file's time says how old what is in it is. */
static void reader_save(struct reader *r)
{
	struct err_at at = { 0 };
	char text[500];
	if (!r->cache || !r->doc) return;
	if (!r->uncached) {
		cache_touch(r->cache);
		return;
	}
	enum err e = cache_save(r->cache, r->doc, r->pools, r->pool_count, &at);
	if (e == ERR_NONE) {
		if (r->cache_problem) log_notice("the tree is cached again");
		set_text(&r->cache_problem, NULL);
		r->uncached = false;
		io_timer_stop(&r->cache_again);
		return;
	}
	snprintf(text, sizeof(text), "the tree is not cached: %s: %s", at.where,
		 at.why[0] ? at.why : err_text(e));
	if (!r->cache_problem) log_error("%s", text);
	set_text(&r->cache_problem, text);
	io_timer_set(&r->cache_again, CACHE_AGAIN_US);
}

static void reader_on_cache_again(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct reader *r = owner;
	/* What is foreign must not make it look current. */
	if (r->foreign) io_timer_set(&r->cache_again, CACHE_AGAIN_US);
	else reader_save(r);
	r->events.on_read(r->events.ctx);
}

static void reader_finish(struct reader *r, struct round *round)
{
	r->round = NULL;
	if (round->away) {
		set_text(&r->problem, "the store is away");
		round_free(round);
		io_timer_set(&r->timer, RETRY_US);
		r->events.on_read(r->events.ctx);
		return;
	}
	uint64_t version = 0;
	r->foreign = false;
	for (uint32_t i = 0; i < round->count; i++) {
		struct found_pool *f = &round->found[i];
		if (reader_take(r, f) && (uint64_t)f->mzxid > version) version = (uint64_t)f->mzxid;
	}
	for (uint32_t i = 0; i < round->removed_count; i++) {
		struct reader_pool *gone = reader_find(r, round->removed[i]);
		if (gone) reader_remove(r, gone);
	}
	reader_note_problem(r, round);
	json_decref(r->routes);
	r->routes = json_incref(round->routes);
	r->began_us = round->began_us;
	round_free(round);
	r->confirmed_us = clock_now_us();
	reader_compose(r, version, true);
	if (!r->foreign) {
		r->current_us = r->confirmed_us;
		r->current_age_us = 0;
		reader_save(r);
	}
	io_timer_set(&r->timer, r->again ? GATHER_US : r->reread_us);
	r->again = false;
	r->events.on_read(r->events.ctx);
}

static void round_release(struct round *round)
{
	if (--round->outstanding == 0) reader_finish(round->reader, round);
}

static void found_take_body(struct found_pool *f, enum store_rc rc, struct slice data,
			    const char *hex, struct topology **to)
{
	struct err_at at = { 0 };
	if (rc == STORE_AWAY) f->round->away = true;
	else if (rc != STORE_OK) found_refuse(f, hex, store_rc_text(rc));
	else if (ring_body_parse(data, hex, f->name, to, &at) != ERR_NONE)
		found_refuse(f, at.where, at.why);
	round_release(f->round);
}

static void found_on_body(void *ctx, enum store_rc rc, struct slice data,
			  const struct store_stat *stat)
{
	(void)stat;
	struct found_pool *f = ctx;
	found_take_body(f, rc, data, f->state.ring, &f->body);
}

static void found_on_next(void *ctx, enum store_rc rc, struct slice data,
			  const struct store_stat *stat)
{
	(void)stat;
	struct found_pool *f = ctx;
	found_take_body(f, rc, data, f->state.transition->next, &f->next);
}

static void found_want_body(struct found_pool *f, const char *hex, store_data_fn fn)
{
	struct reader *r = f->round->reader;
	struct reader_pool *p = reader_find(r, f->name);
	if (p && reader_body(p, hex)) return; /* bodies never change */
	char path[STORE_PATH_MAX];
	snprintf(path, sizeof(path), "pools/%.200s/rings/%s", f->name, hex);
	f->round->outstanding++;
	store_get(r->store, path, false, fn, f);
}

static void found_on_state(void *ctx, enum store_rc rc, struct slice data,
			   const struct store_stat *stat)
{
	struct found_pool *f = ctx;
	struct err_at at = { 0 };
	f->rc = rc;
	if (rc == STORE_AWAY) f->round->away = true;
	else if (rc != STORE_OK) found_refuse(f, "state", store_rc_text(rc));
	else if (data.n == 0) found_refuse(f, "state", "is empty");
	else if (pool_state_parse(data, &f->state, &at) != ERR_NONE)
		found_refuse(f, at.where, at.why);
	else {
		f->mzxid = stat->mzxid;
		found_want_body(f, f->state.ring, found_on_body);
		if (f->state.transition)
			found_want_body(f, f->state.transition->next, found_on_next);
	}
	round_release(f->round);
}

static void round_on_pools(void *ctx, enum store_rc rc, const char *const *names, uint32_t count)
{
	struct round *round = ctx;
	struct reader *r = round->reader;
	if (rc == STORE_AWAY) round->away = true;
	else if (rc != STORE_OK || count > POOLS_MAX)
		set_text(&round->problem,
			 rc != STORE_OK ? "pools: cannot be read" : "too many pools");
	else {
		round->found = calloc(count + 1, sizeof(*round->found));
		if (!round->found) abort();
		for (uint32_t i = 0; i < count; i++) {
			if (round_removed(round, names[i])) continue;
			struct found_pool *f = &round->found[round->count++];
			*f = (struct found_pool){ .round = round, .name = strdup(names[i]) };
			if (!f->name) abort();
			char path[STORE_PATH_MAX];
			snprintf(path, sizeof(path), "pools/%.200s/state", f->name);
			round->outstanding++;
			store_get(r->store, path, true, found_on_state, f);
		}
	}
	round_release(round);
}

static void round_on_removed(void *ctx, enum store_rc rc, const char *const *names, uint32_t count)
{
	struct round *round = ctx;
	if (rc == STORE_AWAY) round->away = true;
	if (rc == STORE_OK && count > 0) {
		round->removed = calloc(count, sizeof(*round->removed));
		if (!round->removed) abort();
		for (uint32_t i = 0; i < count; i++)
			if ((round->removed[i] = strdup(names[i])) == NULL) abort();
		round->removed_count = count;
	}
	round->outstanding++;
	store_list(round->reader->store, "pools", true, round_on_pools, round);
	round_release(round);
}

static void round_on_routes(void *ctx, enum store_rc rc, struct slice data,
			    const struct store_stat *stat)
{
	(void)stat;
	struct round *round = ctx;
	json_error_t where;
	if (rc == STORE_AWAY) round->away = true;
	if (rc == STORE_OK && data.n > 0) {
		round->routes = json_loadb(data.p, data.n, JSON_REJECT_DUPLICATES, &where);
		if (!round->routes) {
			char text[300];
			snprintf(text, sizeof(text), "routes:%d:%d: %.200s", where.line,
				 where.column, where.text);
			set_text(&round->problem, text);
			round->routes = json_incref(round->reader->routes);
		}
	}
	round_release(round);
}

static void reader_start(struct reader *r)
{
	if (r->round) {
		r->again = true;
		return;
	}
	struct round *round = calloc(1, sizeof(*round));
	if (!round) abort();
	round->reader = r;
	round->began_us = clock_now_us();
	round->outstanding = 2;
	r->round = round;
	store_get(r->store, "routes", true, round_on_routes, round);
	store_list(r->store, "removed", true, round_on_removed, round);
}

static void reader_on_timer(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	reader_start(owner);
}

/* --- life ----------------------------------------------------------------------------------------
 */

void reader_poke(struct reader *r)
{
	if (r->round) r->again = true;
	else io_timer_set(&r->timer, GATHER_US);
}

void reader_changed(struct reader *r, const char *path)
{
	size_t n = strlen(path);
	bool state = n > 6 && strcmp(path + n - 6, "/state") == 0;
	if (state || strcmp(path, "pools") == 0 || strcmp(path, "routes") == 0 ||
	    strcmp(path, "removed") == 0)
		reader_poke(r);
}

static void reader_from_cache(struct reader *r)
{
	struct cached_tree t;
	if (!r->cache || !cache_load(r->cache, &t)) return;
	for (uint32_t i = 0; i < t.count; i++) {
		struct reader_pool *p = reader_add(r, t.pools[i].name);
		p->state = t.pools[i].state;
		p->body = t.pools[i].body;
		p->next = t.pools[i].next;
		free(t.pools[i].name);
	}
	free(t.pools);
	r->routes = t.routes;
	r->current_us = clock_now_us();
	r->current_age_us = t.age_s * 1000000;
	reader_compose(r, t.version, false);
	set_text(&r->problem, "from the cache: the tree has not been read yet");
	log_notice("starting from the cache: %u pools, version %llu, confirmed %llu s ago", t.count,
		   (unsigned long long)t.version, (unsigned long long)t.age_s);
}

struct reader *reader_new(struct io_loop *l, struct store *s, const char *cache, uint32_t reread_ms,
			  const struct reader_events *events)
{
	struct reader *r = calloc(1, sizeof(*r));
	if (!r) return NULL;
	*r = (struct reader){
		.loop = l, .store = s, .events = *events, .reread_us = reread_ms * 1000ull
	};
	if (cache) r->cache = strdup(cache);
	set_text(&r->problem, "the tree has not been read yet");
	io_timer_init(&r->timer, l, reader_on_timer, r);
	io_timer_init(&r->cache_again, l, reader_on_cache_again, r);
	reader_from_cache(r);
	return r;
}

/* After the store: its last callbacks have come, and a round has finished. */
void reader_free(struct reader **r)
{
	if (!*r) return;
	io_timer_stop(&(*r)->timer);
	io_timer_stop(&(*r)->cache_again);
	for (uint32_t i = 0; i < (*r)->pool_count; i++) reader_pool_fini(&(*r)->pools[i]);
	free((*r)->pools);
	json_decref((*r)->routes);
	json_decref((*r)->doc);
	free((*r)->cache);
	free((*r)->problem);
	free((*r)->alarm);
	free((*r)->cache_problem);
	free(*r);
	*r = NULL;
}

uint32_t reader_pool_count(const struct reader *r)
{
	return r->pool_count;
}

const struct reader_pool *reader_pool(const struct reader *r, uint32_t i)
{
	return &r->pools[i];
}

uint64_t reader_version(const struct reader *r)
{
	return r->version;
}

const char *reader_problem(const struct reader *r)
{
	return r->problem;
}

const char *reader_alarm(const struct reader *r)
{
	return r->alarm;
}

uint64_t reader_began_us(const struct reader *r)
{
	return r->began_us;
}

uint64_t reader_confirmed_us(const struct reader *r)
{
	return r->confirmed_us;
}

const char *reader_cache_problem(const struct reader *r)
{
	return r->cache_problem;
}

bool reader_current(const struct reader *r)
{
	return r->confirmed_us && !r->foreign;
}

uint64_t reader_age_ms(const struct reader *r)
{
	if (!r->current_us) return 0; /* nothing is in force */
	return (clock_now_us() - r->current_us + r->current_age_us) / 1000;
}

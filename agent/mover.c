#include "agent/mover.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/mover_impl.h"
#include "common/clock.h"
#include "common/log.h"

enum {
	SECOND_US = 1000000,
	AGAIN_US = SECOND_US,
	REST_MIN_MS = 200, /* before the pass that follows one in which something failed */
	REST_MAX_MS = 10000,
	SPOOL_LOW = 2000,	  /* fewer keys wait: SCAN goes on                        */
	BYTES_GUESS = 16384,	  /* a value's, before any was seen                       */
	UNSEEN_BYTES = 256 << 10, /* of values that a source has been asked for at a time */
};

static const char *const kind_names[MOVER_KIND_MAX] = {
	[MOVER_SCRUB_TARGETS] = "scrub-targets",
	[MOVER_MOVE] = "move",
	[MOVER_CHECK_EMPTY] = "check-empty",
	[MOVER_SCRUB_SOURCES] = "scrub-sources",
};

const char *mover_kind_name(enum mover_kind k)
{
	return kind_names[k];
}

/* --- the end ---------------------------------------------------------------------------------- */

static void job_over(struct mover *m, bool ok)
{
	m->over = true;
	m->ok = ok;
	io_timer_set(&m->timer, 0);
}

void mover_fail(struct mover *m, const struct mover_node *n, const char *format, ...)
{
	if (m->over) return;
	int at = n ? snprintf(m->why, sizeof(m->why), "%s: ", n->name) : 0;
	if (at < 0 || at >= MOVER_WHY_MAX) at = 0;
	va_list args;
	va_start(args, format);
	vsnprintf(m->why + at, sizeof(m->why) - (size_t)at, format, args);
	va_end(args);
	text_make_printable(m->why);
	job_over(m, false);
}

bool mover_awake(struct mover *m)
{
	if (m->over) return false;
	uint64_t now = clock_now_us(), wall = clock_wall_us();
	/* Steady time stands still while the machine is suspended. */
	uint64_t slept = now - m->turn_us;
	if (wall > m->turn_wall_us && wall - m->turn_wall_us > slept)
		slept = wall - m->turn_wall_us;
	if (slept <= MOVER_ASLEEP_US) return true;
	mover_fail(m, NULL, "the agent was stopped for %u s", (unsigned)(slept / SECOND_US));
	return false;
}

/* --- telling ---------------------------------------------------------------------------------- */

void mover_error(struct mover_node *n, const char *format, ...)
{
	struct mover *m = n->m;
	int at = snprintf(m->last_error, sizeof(m->last_error), "%s: ", n->name);
	if (at < 0 || at >= MOVER_WHY_MAX) at = 0;
	va_list args;
	va_start(args, format);
	vsnprintf(m->last_error + at, sizeof(m->last_error) - (size_t)at, format, args);
	va_end(args);
	text_make_printable(m->last_error);
	m->tally.errors++;
}

void mover_big(struct mover_node *n, struct slice key, uint64_t bytes)
{
	struct mover *m = n->m;
	n->round_big++;
	for (uint32_t i = 0; i < m->big_count; i++) {
		struct mover_big *b = &m->bigs[i];
		if (b->n != key.n || memcmp(b->key, key.p, key.n) != 0) continue;
		b->bytes = bytes;
		return;
	}
	if (m->big_count == MOVER_BIG_KEYS_MAX) return;
	struct mover_big *b = &m->bigs[m->big_count++];
	*b = (struct mover_big){ n->name, malloc(key.n + 1), (uint32_t)key.n, bytes };
	if (!b->key) abort();
	memcpy(b->key, key.p, key.n);
	/* It is told in the next turn, from where the owner may free the job. */
}

/* Keys are any bytes; JSON is not. */
static json_t *printable(struct slice key)
{
	struct scratch text = { 0 };
	scratch_put_printable(&text, key, 300);
	json_t *j = json_stringn(text.p ? text.p : "", text.n);
	scratch_fini(&text);
	return j;
}

static json_t *describe_bigs(const struct mover *m)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < m->big_count; i++) {
		const struct mover_big *b = &m->bigs[i];
		json_array_append_new(list, json_pack("{s:s,s:o,s:I}", "server", b->server, "key",
						      printable((struct slice){ b->key, b->n }),
						      "bytes", (json_int_t)b->bytes));
	}
	return list;
}

static uint64_t node_bigs(const struct mover *m)
{
	uint64_t bigs = 0;
	for (uint32_t i = 0; i < m->node_count; i++) bigs += m->nodes[i].round_big;
	return bigs;
}

/* Keys that are still to be worked on; < 0: nothing to go by yet. */
static double estimate_left(const struct mover *m)
{
	double left = 0;
	for (uint32_t i = 0; i < m->node_count; i++) {
		const struct mover_node *n = &m->nodes[i];
		if (n->scan == SCAN_START && n->total == 0) return -1;
		left += spool_waiting(&n->spool) + n->busy_count;
		if (n->scan != SCAN_ASKED || n->total <= n->pass_listed) continue;
		if (n->pass_listed == 0) return -1;
		left += (double)(n->total - n->pass_listed) * (double)n->pass_found /
			(double)n->pass_listed;
	}
	return left;
}

static const char *state_name(const struct mover *m)
{
	if (m->over) return m->ok ? "done" : "failed";
	if (m->paused) return "paused";
	for (uint32_t i = 0; i < m->node_count; i++) {
		const struct mover_node *n = &m->nodes[i];
		bool down =
		    (n->conn && !server_conn_up(n->conn)) || (n->sink && !server_conn_up(n->sink));
		if (down || n->scan == SCAN_RESTING) return "waiting";
	}
	return "running";
}

double mover_node_pace(const struct mover_node *n)
{
	uint32_t limit = n->m->limits.keys_per_s;
	return limit && limit < n->rate.pace ? limit : n->rate.pace;
}

static double slowest_pace(const struct mover *m)
{
	double pace = RATE_MAX;
	for (uint32_t i = 0; i < m->node_count; i++) {
		const struct mover_node *n = &m->nodes[i];
		if (n->pulse && mover_node_pace(n) < pace) pace = mover_node_pace(n);
	}
	return pace;
}

json_t *mover_describe(const struct mover *m)
{
	const struct mover_tally *t = &m->tally;
	double left = estimate_left(m);
	json_t *eta =
	    left >= 0 && m->per_s > 0 ? json_integer((json_int_t)(left / m->per_s)) : json_null();
	return json_pack(
	    "{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:I,s:o,s:I,s:I,s:o,s:I,s:o}", "kind",
	    kind_names[m->kind], "state", state_name(m), "passes", (json_int_t)t->passes, "scanned",
	    (json_int_t)t->scanned, "found", (json_int_t)t->found, "moved", (json_int_t)t->moved,
	    "deleted", (json_int_t)t->deleted, "bytes", (json_int_t)t->bytes, "held",
	    (json_int_t)m->held, "left", left >= 0 ? json_integer((json_int_t)left) : json_null(),
	    "rate", (json_int_t)m->per_s, "eta_s", eta, "pace", (json_int_t)slowest_pace(m),
	    "errors", (json_int_t)t->errors, "last_error",
	    m->last_error[0] ? printable(slice_of(m->last_error)) : json_null(), "big_key_count",
	    (json_int_t)node_bigs(m), "big_keys", describe_bigs(m));
}

/* --- listing ---------------------------------------------------------------------------------- */

void mover_node_found(struct mover_node *n, struct slice key, uint64_t cas, uint64_t size)
{
	struct mover *m = n->m;
	struct mover_node *src, *dst;
	m->tally.scanned++;
	n->pass_listed++;
	if (!mover_key_moves(m, key, &src, &dst)) return;
	if (n != (m->kind == MOVER_SCRUB_TARGETS ? dst : src)) return;
	struct spool_entry e = { .hash = spool_hash(key), .cas = cas, .size = size };
	if (!spool_takes(&n->spool, e.hash)) return;
	m->tally.found++;
	n->pass_found++;
	n->round_found++;
	if (m->kind == MOVER_CHECK_EMPTY) return;
	spool_put(&n->spool, &e, key);
}

void mover_node_listed(struct mover_node *n)
{
	n->scan = SCAN_LISTED;
}

void mover_node_restart(struct mover_node *n)
{
	if (n->scan == SCAN_DONE || n->scan == SCAN_OFF) return;
	n->scan = SCAN_RESTING;
	n->rest_ms = n->rest_ms ? n->rest_ms * 2 : REST_MIN_MS;
	if (n->rest_ms > REST_MAX_MS) n->rest_ms = REST_MAX_MS;
	n->rest_until_us = clock_now_us() + n->rest_ms * 1000ull;
	spool_reset(&n->spool);
}

static void pass_begin(struct mover_node *n)
{
	n->pass_listed = n->pass_found = n->pass_failed = 0;
	if (n->spool.lo == 0) n->round_found = n->round_big = 0;
	n->cursor = n->scan_at_us = 0;
	n->scan_asked = false;
	n->scan = SCAN_ASKED;
	n->m->tally.passes++;
	n->m->ops->list(n);
}

/* All that was listed has been worked on. */
static void pass_end(struct mover_node *n)
{
	if (n->pass_failed) {
		mover_node_restart(n);
		return;
	}
	n->rest_ms = 0;
	bool more = spool_next_range(&n->spool);
	if (more || n->m->ops->again(n)) {
		if (!more) spool_reset(&n->spool);
		n->scan = SCAN_START;
		return;
	}
	n->scan = SCAN_DONE;
}

/* --- one key ---------------------------------------------------------------------------------- */

static void key_begin(struct mover_node *n)
{
	const struct spool_entry *e = spool_first(&n->spool);
	struct slice key = spool_key(&n->spool, e);
	struct mover_key *k = calloc(1, sizeof(*k) + key.n + 1);
	if (!k) abort();
	struct mover_node *src;
	mover_key_moves(n->m, key, &src, &k->dst);
	k->src = n;
	k->hash = e->hash;
	k->cas = e->cas;
	k->size = e->size;
	k->tries = e->tries;
	/* Of how many keys the sizes come too late must not depend on how many are begun at once.
	 */
	if (n->m->kind == MOVER_MOVE) {
		k->charged = e->size ? (double)e->size : n->m->byte_guess;
		n->unseen += k->charged;
	}
	n->m->byte_tokens -= k->charged;
	k->n = (uint32_t)key.n;
	memcpy(k->key, key.p, key.n);
	spool_pop(&n->spool);
	LIST_INSERT_HEAD(&n->busy, k, link);
	n->busy_count++;
	n->m->ops->work(k);
}

/* Values under way are limited by reading no more from the sources. */
static void job_hold(struct mover *m)
{
	uint64_t most = m->limits.bytes_held_max ? m->limits.bytes_held_max : MOVER_BYTES_MAX;
	bool hold = m->held > (m->held_up ? most / 2 : most);
	if (hold == m->held_up) return;
	m->held_up = hold;
	for (uint32_t i = 0; i < m->node_count; i++)
		if (m->nodes[i].conn) server_conn_hold(m->nodes[i].conn, hold);
}

void mover_key_release(struct mover_key *k)
{
	k->src->m->held -= k->held;
	k->held = 0;
}

void mover_key_hold(struct mover_key *k, size_t bytes)
{
	struct mover *m = k->src->m;
	k->held = bytes;
	m->held += bytes;
	m->byte_tokens -= (double)bytes - k->charged;
	m->byte_guess += ((double)bytes - m->byte_guess) / 16;
	k->src->unseen -= k->charged;
	k->charged = 0;
	m->tally.bytes += bytes;
	job_hold(m);
}

void mover_key_failed(struct mover_key *k, const char *what, struct slice answer)
{
	while (answer.n && (answer.p[answer.n - 1] == '\n' || answer.p[answer.n - 1] == '\r'))
		answer.n--;
	mover_error(k->src, "%s: %.*s", what, (int)(answer.n < 120 ? answer.n : 120), answer.p);
	k->src->pass_failed++;
	mover_key_done(k);
}

void mover_key_done(struct mover_key *k)
{
	struct mover_node *n = k->src;
	mover_key_release(k);
	n->m->byte_tokens += k->charged; /* it had no value to move */
	n->unseen -= k->charged;
	LIST_REMOVE(k, link);
	n->busy_count--;
	free(k);
}

void mover_key_again(struct mover_key *k)
{
	struct mover_node *n = k->src;
	struct spool_entry e = { .hash = k->hash,
				 .cas = k->cas,
				 .size = k->size,
				 .tries = k->tries + 1,
				 .not_before_us = clock_now_us() + AGAIN_US };
	if (spool_takes(&n->spool, e.hash)) spool_put(&n->spool, &e, mover_key_slice(k));
	mover_key_done(k);
}

/* --- the turn --------------------------------------------------------------------------------- */

static bool bytes_allow(struct mover *m, uint64_t now)
{
	if (m->limits.bytes_per_s == 0) return true;
	double per_s = (double)m->limits.bytes_per_s, most = per_s / 10;
	m->byte_tokens += per_s * (double)(now - m->byte_at_us) / SECOND_US;
	if (m->byte_tokens > most) m->byte_tokens = most;
	m->byte_at_us = now;
	return m->byte_tokens > 0;
}

static bool key_may_begin(struct mover_node *n, uint64_t now)
{
	struct mover *m = n->m;
	if (spool_waiting(&n->spool) == 0 || n->busy_count >= MOVER_WINDOW || m->held_up)
		return false;
	if (spool_first(&n->spool)->not_before_us > now) return false;
	/* A server answers what it has got at once before it listens to others. */
	if (n->unseen > UNSEEN_BYTES) return false;
	return bytes_allow(m, now) && rate_allows(&n->rate, now, m->limits.keys_per_s);
}

static void node_work(struct mover_node *n, uint64_t now)
{
	struct mover *m = n->m;
	while (!m->over && server_conn_up(n->conn) && key_may_begin(n, now)) {
		rate_take(&n->rate);
		key_begin(n);
	}
}

void mover_node_refill(struct mover_node *n)
{
	struct mover *m = n->m;
	if (m->over || m->paused || n->busy_count > MOVER_WINDOW / 2) return;
	if (n->scan == SCAN_ASKED || n->scan == SCAN_LISTED) node_work(n, clock_now_us());
}

static void node_turn(struct mover_node *n, uint64_t now)
{
	struct mover *m = n->m;
	if (n->scan == SCAN_RESTING && now >= n->rest_until_us && n->busy_count == 0)
		n->scan = SCAN_START;
	if (m->paused) return;
	bool ready = server_conn_up(n->conn) && (!n->list || server_conn_up(n->list)) &&
		     (!m->ops->identify || n->identity[0]);
	if (n->scan == SCAN_START && ready) pass_begin(n);
	if (n->scan == SCAN_ASKED && m->ops->more && spool_waiting(&n->spool) < SPOOL_LOW &&
	    server_conn_up(n->conn))
		m->ops->more(n);
	if (n->scan == SCAN_ASKED || n->scan == SCAN_LISTED) node_work(n, now);
	if (n->scan == SCAN_LISTED && spool_waiting(&n->spool) == 0 && n->busy_count == 0)
		pass_end(n);
}

static void mover_fail_by_big(struct mover *m, uint64_t bigs)
{
	const struct mover_big *b = &m->bigs[0];
	struct scratch key = { 0 };
	scratch_put_printable(&key, (struct slice){ b->key, b->n }, 80);
	mover_fail(m, NULL, "%llu keys are too large to be moved, like %.*s at %s",
		   (unsigned long long)bigs, (int)key.n, key.p, b->server);
	scratch_fini(&key);
}

static void job_ended(struct mover *m)
{
	uint64_t bigs = node_bigs(m), found = 0;
	for (uint32_t i = 0; i < m->node_count; i++) found += m->nodes[i].round_found;
	if (m->kind == MOVER_CHECK_EMPTY && found)
		mover_fail(m, NULL, "%llu moving keys are left at their sources",
			   (unsigned long long)found);
	else if (m->kind == MOVER_MOVE && bigs && m->protocol == PROTOCOL_REDIS)
		mover_fail_by_big(m, bigs);
	else job_over(m, true);
}

static void turn_nodes(struct mover *m, uint64_t now)
{
	bool all_done = true;
	for (uint32_t i = 0; i < m->node_count && !m->over; i++) {
		struct mover_node *n = &m->nodes[i];
		if (n->conn) mover_node_pulse(n, now);
	}
	if (!m->ready) m->ready = mover_nodes_ready(m);
	if (!m->ready) return;
	for (uint32_t i = 0; i < m->node_count && !m->over; i++) {
		struct mover_node *n = &m->nodes[i];
		if (n->scan == SCAN_OFF) continue;
		node_turn(n, now);
		all_done &= n->scan == SCAN_DONE;
	}
	if (all_done && !m->over) job_ended(m);
}

static void turn_second(struct mover *m, uint64_t now)
{
	if (now - m->second_us < SECOND_US) return;
	uint64_t worked = m->tally.moved + m->tally.deleted;
	double per_s =
	    (double)(worked - m->worked_before) * SECOND_US / (double)(now - m->second_us);
	m->per_s = m->per_s > 0 ? m->per_s * 0.7 + per_s * 0.3 : per_s;
	m->worked_before = worked;
	m->second_us = now;
	if (m->events->on_progress) m->events->on_progress(m->ctx); /* `m` may be gone */
}

/* One at a time: the owner may free the job. */
static bool turn_big(struct mover *m)
{
	if (m->big_told == m->big_count || !m->events->on_big_key) return false;
	const struct mover_big *b = &m->bigs[m->big_told++];
	struct mover_big_key big = { b->server, { b->key, b->n }, b->bytes };
	io_timer_set(&m->timer, 0);
	m->events->on_big_key(m->ctx, &big);
	return true;
}

static void job_tell(struct mover *m)
{
	if (m->told) return;
	m->told = true;
	for (uint32_t i = 0; i < m->node_count; i++) {
		struct mover_node *n = &m->nodes[i];
		server_conn_free(&n->conn);
		server_conn_free(&n->sink);
		server_conn_free(&n->list);
		server_conn_free(&n->pulse);
	}
	if (m->events->on_done) m->events->on_done(m->ctx, m->ok, m->ok ? "" : m->why);
}

static void mover_on_timer(int fd, short what, void *owner)
{
	(void)fd, (void)what;
	struct mover *m = owner;
	if (!m->over && mover_awake(m) && m->events->may_go_on && !m->events->may_go_on(m->ctx))
		mover_fail(m, NULL, "this agent does not lead the transition any more");
	if (turn_big(m)) return;
	if (m->over) {
		job_tell(m);
		return;
	}
	uint64_t now = clock_now_us();
	m->turn_us = now;
	m->turn_wall_us = clock_wall_us();
	job_hold(m);
	turn_nodes(m, now);
	io_timer_set(&m->timer, m->over ? 0 : MOVER_TURN_US);
	turn_second(m, now);
}

/* --- life ------------------------------------------------------------------------------------- */

static void job_begin(struct mover *m)
{
	bool listed = false;
	for (uint32_t i = 0; i < m->node_count; i++) {
		struct mover_node *n = &m->nodes[i];
		spool_init(&n->spool, MOVER_SPOOL_BYTES);
		if (n->lost) continue;
		mover_node_connect(n);
		if (!mover_node_is_listed(n)) continue;
		n->scan = SCAN_START;
		listed = true;
	}
	/* A random pool's keys have no owners, so none moves. */
	if (!listed || m->hash_random[0] || m->hash_random[1]) job_over(m, true);
}

struct mover *mover_new(struct io_loop *l, const struct mover_plan *plan,
			const struct mover_events *events, void *ctx)
{
	struct mover *m = calloc(1, sizeof(*m));
	if (!m) abort();
	m->loop = l;
	m->events = events;
	m->ctx = ctx;
	m->kind = plan->kind;
	m->protocol = plan->from->protocol;
	m->back = plan->back;
	m->mark = strdup(plan->mark ? plan->mark : "");
	if (!m->mark) abort();
	m->move_max_bytes = plan->move_max_bytes;
	m->limits = plan->limits;
	m->ops = m->protocol == PROTOCOL_REDIS ? &mover_redis_ops : &mover_mc_ops;
	m->byte_guess = BYTES_GUESS;
	m->turn_us = m->second_us = m->byte_at_us = clock_now_us();
	m->turn_wall_us = clock_wall_us();
	io_timer_init(&m->timer, l, mover_on_timer, m);
	io_timer_set(&m->timer, 0);
	if (!mover_nodes_build(m, plan)) mover_fail(m, NULL, "the rings cannot be built");
	else if (m->protocol == PROTOCOL_REDIS && !m->mark[0] && m->kind != MOVER_CHECK_EMPTY)
		mover_fail(m, NULL, "no mark was given");
	else if (!m->over) job_begin(m);
	return m;
}

void mover_pause(struct mover *m, bool paused)
{
	m->paused = paused;
}

void mover_throttle(struct mover *m, const struct mover_limits *limits)
{
	m->limits = *limits;
	m->byte_tokens = 0; /* what was moved before is forgiven */
	m->byte_at_us = clock_now_us();
	for (uint32_t i = 0; i < m->node_count; i++) m->nodes[i].scan_at_us = 0;
}

void mover_free(struct mover **mover)
{
	struct mover *m = *mover;
	if (!m) return;
	*mover = NULL;
	io_timer_stop(&m->timer);
	mover_nodes_free(m);
	for (uint32_t i = 0; i < m->big_count; i++) free(m->bigs[i].key);
	free(m->mark);
	free(m);
}

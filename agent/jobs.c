#include "agent/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "agent/epoch_mark.h"
#include "agent/failpoint.h"
#include "agent/jobs_check.h"
#include "agent/mover.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/scratch.h"
#include "common/tree_topology.h"

enum {
	RETRY_MS = 2000,
	RETRY_BIG_MAX_MS = 32000, /* each try lists all keys, and waits for a person */
	EPOCH_TIMEOUT_MS = 10000,
	MARK_TIMEOUT_MS = 2000,
	BIGS_TOLD_MAX = 64,
};

struct job {
	struct jobs *jobs;
	enum transition_job kind;
	enum job_state state;
	char about[160]; /* what it is done for; another text: do it again */
	char why[200];	 /* it failed, or waits                            */
	uint64_t retry_us;
	struct mover *mover;
	struct epoch_mark *mark;
	struct jobs_check *check;
	uint32_t big_tries; /* in a row that ended with keys too large to be moved */
	bool met_big;	    /* this one has met such a key                         */
	uint32_t told_count;
	uint64_t told[BIGS_TOLD_MAX]; /* which keys the world has been told of: hashes */
};

struct jobs {
	struct io_loop *loop;
	struct jobs_events events;
	struct job job[TRANSITION_JOB_MAX];
	struct job cleaner;
	struct io_timer retry;
	/* The plan, kept. */
	struct topology *ring, *next;
	struct pool_state state;
	struct moving_spec moving;
	bool redis, paused, promote;
	char mark[40];
	json_t *names;
};

static const struct transition_rules *jobs_rules(const struct jobs *j)
{
	return &j->state.transition->rules;
}

/* --- one job -------------------------------------------------------------------------------------
 */

static void job_stop(struct job *b)
{
	mover_free(&b->mover);
	epoch_mark_cancel(&b->mark);
	jobs_check_free(&b->check);
	if (b->state == JOB_RUNS) b->state = JOB_IDLE;
}

static uint32_t job_retry_ms(struct job *b)
{
	b->big_tries = b->met_big ? b->big_tries + 1 : 0;
	uint32_t ms = RETRY_MS;
	for (uint32_t i = 1; i < b->big_tries && ms < RETRY_BIG_MAX_MS; i++) ms *= 2;
	return ms;
}

static void job_end(struct job *b, bool ok, const char *why)
{
	struct jobs *j = b->jobs;
	b->state = ok ? JOB_DONE : JOB_FAILED;
	snprintf(b->why, sizeof(b->why), "%s", why); /* theirs, who go now */
	mover_free(&b->mover);
	jobs_check_free(&b->check);
	b->retry_us = clock_now_us() + job_retry_ms(b) * 1000ull;
	if (!ok) log_warn("%s: %s", transition_job_name(b->kind), b->why);
	/* Something was left behind: the mover has to go through it once more. */
	if (!ok && b->kind == JOB_EMPTY) j->job[JOB_MOVE].state = JOB_IDLE;
	j->events.on_change(j->events.ctx, NULL);
}

static void jobs_on_retry(int fd, short what, void *owner)
{
	(void)fd;
	(void)what;
	struct jobs *j = owner;
	j->events.on_change(j->events.ctx, NULL);
}

/* --- movers --------------------------------------------------------------------------------------
 */

static const struct {
	enum mover_kind kind;
	const char *begun, *runs, *done; /* failpoints */
} mover_jobs[TRANSITION_JOB_MAX] = {
	[JOB_SCRUB] = { MOVER_SCRUB_TARGETS, "scrub begins", NULL, "scrub done" },
	[JOB_MOVE] = { MOVER_MOVE, "mover begins", "mover runs", "mover done" },
	[JOB_EMPTY] = { MOVER_CHECK_EMPTY, NULL, NULL, "empty done" },
	[JOB_SWEEP] = { MOVER_SCRUB_SOURCES, "sweep begins", NULL, "sweep done" },
};

static void mover_on_progress(void *ctx)
{
	struct job *b = ctx;
	if (mover_jobs[b->kind].runs) failpoint(mover_jobs[b->kind].runs);
	b->jobs->events.on_change(b->jobs->events.ctx, NULL);
}

/* Once for each key, though it is met again by each try. */
static bool job_may_tell(struct job *b, struct slice key)
{
	uint64_t hash = XXH3_64bits(key.p, key.n);
	for (uint32_t i = 0; i < b->told_count; i++)
		if (b->told[i] == hash) return false;
	if (b->told_count == BIGS_TOLD_MAX) return false;
	b->told[b->told_count++] = hash;
	return true;
}

static void mover_on_big_key(void *ctx, const struct mover_big_key *big)
{
	struct job *b = ctx;
	struct scratch news = { 0 };
	b->met_big = true;
	if (!job_may_tell(b, big->key)) return;
	scratch_printf(&news,
		       "%.120s: a value of %llu bytes is too large to be moved: ", big->server,
		       (unsigned long long)big->bytes);
	scratch_put_printable(&news, big->key, 100);
	scratch_put(&news, "", 1);
	b->jobs->events.on_change(b->jobs->events.ctx, news.p);
	scratch_fini(&news);
}

static void mover_on_done(void *ctx, bool ok, const char *why)
{
	struct job *b = ctx;
	if (ok && mover_jobs[b->kind].done) failpoint(mover_jobs[b->kind].done);
	job_end(b, ok, why);
}

static struct mover_plan jobs_mover_plan(const struct jobs *j, enum mover_kind kind)
{
	const struct transition_rules *rules = jobs_rules(j);
	bool scrub = kind != MOVER_MOVE;
	return (struct mover_plan){
		.kind = kind,
		.from = &j->ring->pools[0],
		.to = &j->next->pools[0],
		.back = j->state.transition->back,
		.mark = j->redis ? rules->mark : NULL,
		.move_max_bytes = rules->move_max_bytes,
		.lost = (const char *const *)rules->lost,
		.lost_count = rules->lost_count,
		.limits = { .keys_per_s = scrub ? j->moving.scrub_keys_per_s : j->moving.keys_per_s,
			    .bytes_per_s = j->moving.bytes_per_s,
			    .latency_max_ms = j->moving.latency_max_ms },
	};
}

static bool mover_may_go_on(void *ctx)
{
	const struct job *b = ctx;
	return b->jobs->events.may_go_on(b->jobs->events.ctx);
}

static const struct mover_events mover_events = { mover_may_go_on, mover_on_progress,
						  mover_on_big_key, mover_on_done };

static void mover_begin(struct job *b, const char *mark)
{
	struct jobs *j = b->jobs;
	struct mover_plan plan = jobs_mover_plan(j, mover_jobs[b->kind].kind);
	if (mark && plan.kind != MOVER_CHECK_EMPTY) plan.mark = mark;
	if (mover_jobs[b->kind].begun) failpoint(mover_jobs[b->kind].begun);
	b->met_big = false;
	b->mover = mover_new(j->loop, &plan, &mover_events, b);
	if (j->paused) mover_pause(b->mover, true);
}

/* --- marks ---------------------------------------------------------------------------------------
 */

static void mark_begin(struct job *b, enum epoch_errand errand, const char *mark, uint32_t timeout,
		       epoch_mark_fn done)
{
	struct jobs *j = b->jobs;
	const struct transition_rules *rules = jobs_rules(j);
	size_t count = json_array_size(j->names);
	const char **names = calloc(count + 1, sizeof(*names));
	if (!names) abort();
	for (size_t i = 0; i < count; i++)
		names[i] = json_string_value(json_array_get(j->names, i));
	struct epoch_mark_plan plan = { .errand = errand,
					.from = &j->ring->pools[0],
					.to = &j->next->pools[0],
					.mark = mark,
					.spared = names,
					.spared_count = (uint32_t)count,
					.lost = (const char *const *)rules->lost,
					.lost_count = rules->lost_count,
					.timeout_ms = timeout };
	b->mark = epoch_mark_start(j->loop, &plan, done, b);
	free(names);
}

static void mark_on_done(void *ctx, bool ok, const char *why)
{
	struct job *b = ctx;
	b->mark = NULL;
	if (ok) failpoint("mark done");
	job_end(b, ok, why);
}

static void scrub_mark(const struct jobs *j, char out[48])
{
	snprintf(out, 48, "%llu.%u", (unsigned long long)j->state.epoch, j->state.step);
}

static void scrub_on_marked(void *ctx, bool ok, const char *why)
{
	struct job *b = ctx;
	char mark[48];
	b->mark = NULL;
	scrub_mark(b->jobs, mark);
	if (ok) mover_begin(b, mark);
	else job_end(b, false, why);
}

/* --- begin ---------------------------------------------------------------------------------------
 */

static void check_on_done(void *ctx, bool ok, bool promote, const char *why)
{
	struct job *b = ctx;
	b->jobs->promote = promote;
	if (ok) failpoint("check done");
	job_end(b, ok, why);
}

static void begin_check(struct job *b)
{
	struct jobs *j = b->jobs;
	failpoint("check begins");
	b->check =
	    jobs_check_new(j->loop, &j->ring->pools[0], &j->next->pools[0], check_on_done, b);
}

/* A scrubber that wakes up late must find a higher mark: so it begins under one of its own. */
static void begin_scrub(struct job *b)
{
	char mark[48];
	scrub_mark(b->jobs, mark);
	failpoint("scrub mark");
	if (b->jobs->redis) mark_begin(b, EPOCH_WRITE, mark, EPOCH_TIMEOUT_MS, scrub_on_marked);
	else mover_begin(b, NULL);
}

static void begin_mark(struct job *b)
{
	failpoint("mark begins");
	mark_begin(b, EPOCH_WRITE_AND_KILL, b->jobs->mark, MARK_TIMEOUT_MS, mark_on_done);
}

static void begin_mover(struct job *b)
{
	mover_begin(b, NULL);
}

static void (*const begin[TRANSITION_JOB_MAX])(struct job *b) = {
	[JOB_CHECK] = begin_check, [JOB_SCRUB] = begin_scrub, [JOB_MARK] = begin_mark,
	[JOB_MOVE] = begin_mover,  [JOB_EMPTY] = begin_mover, [JOB_SWEEP] = begin_mover,
};

/* Whoever asks too early is called again: a timer may fire a little before its time. */
static void job_await_retry(struct job *b, uint64_t now)
{
	struct jobs *j = b->jobs;
	if (b->retry_us <= now) b->state = JOB_IDLE;
	else if (!io_timer_armed(&j->retry)) io_timer_set(&j->retry, b->retry_us - now);
}

void jobs_run(struct jobs *j, unsigned bits, const json_t *names)
{
	uint64_t now = clock_now_us();
	json_decref(j->names);
	j->names = json_deep_copy(names);
	for (unsigned i = 0; i < TRANSITION_JOB_MAX; i++) {
		struct job *b = &j->job[i];
		if (!(bits >> i & 1)) {
			job_stop(b);
			continue;
		}
		if (b->state == JOB_FAILED) job_await_retry(b, now);
		if (b->state != JOB_IDLE) continue;
		b->state = JOB_RUNS;
		begin[i](b);
	}
}

/* --- what it is about ----------------------------------------------------------------------------
 */

static void job_set(struct job *b, const char *about)
{
	if (strcmp(b->about, about) == 0) return;
	job_stop(b);
	b->state = JOB_IDLE;
	b->why[0] = 0;
	b->big_tries = b->told_count = 0;
	snprintf(b->about, sizeof(b->about), "%s", about);
}

/* Which ejections a ring was built with: names alone, summed up. */
static uint32_t ejected_sum(const struct pool_spec *p)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i < p->server_count; i++)
		if (p->servers[i].ejected) sum = sum * 31 + i * 2 + 1 + p->servers[i].held;
	return sum;
}

static struct topology *keep_pool(const struct jobs_plan *plan, bool is_next)
{
	const struct pool_spec *p = is_next ? plan->next : plan->ring;
	const struct topology of = { .pools = (struct pool_spec *)(uintptr_t)p, .pool_count = 1 };
	struct topology *copy = topology_copy(&of);
	if (!copy) abort();
	struct pool_spec *own = &copy->pools[0];
	for (uint32_t i = 0; i < own->server_count; i++) {
		struct server_spec *s = &own->servers[i];
		const struct ejection *e =
		    tree_server_ejection(plan->state, plan->ring, s, is_next);
		s->ejected = e != NULL;
		s->held = e && e->held;
	}
	return copy;
}

static void jobs_keep(struct jobs *j, const struct jobs_plan *plan)
{
	topology_free(&j->ring);
	topology_free(&j->next);
	pool_state_fini(&j->state);
	j->ring = keep_pool(plan, false);
	j->next = keep_pool(plan, true);
	if (!pool_state_copy(&j->state, plan->state)) abort();
	j->moving = *plan->moving;
	j->redis = plan->ring->protocol == PROTOCOL_REDIS;
}

void jobs_set(struct jobs *j, const struct jobs_plan *plan)
{
	char about[160];
	const struct state_transition *t = plan->state->transition;
	const struct transition_rules *r = &t->rules;
	const char *mark = r->mark ? r->mark : "";
	unsigned long long epoch = plan->state->epoch;
	jobs_keep(j, plan);
	job_stop(&j->cleaner);
	j->cleaner.state = JOB_IDLE;
	snprintf(about, sizeof(about), "%llu %u %u", epoch, ejected_sum(&j->ring->pools[0]),
		 ejected_sum(&j->next->pools[0]));
	job_set(&j->job[JOB_CHECK], about);
	job_set(&j->job[JOB_SCRUB], about);
	snprintf(about, sizeof(about), "%llu.%u", epoch, plan->state->step);
	job_set(&j->job[JOB_MARK], about);
	snprintf(about, sizeof(about), "%llu %s %d %u", epoch, mark, t->back, r->lost_count);
	job_set(&j->job[JOB_MOVE], about);
	job_set(&j->job[JOB_EMPTY], about);
	job_set(&j->job[JOB_SWEEP], about);
	/* Slices that are in DUAL already keep the mark; else one that nobody has had. */
	if (mark[0] && !transition_needs_new_mark(r->phases))
		snprintf(j->mark, sizeof(j->mark), "%s", mark);
	else snprintf(j->mark, sizeof(j->mark), "%llu.%u", epoch, plan->state->step + 1);
}

enum job_state jobs_state(const struct jobs *j, enum transition_job job)
{
	return j->job[job].state;
}

void jobs_pause(struct jobs *j, bool paused)
{
	if (j->paused == paused) return;
	j->paused = paused;
	for (int i = 0; i < TRANSITION_JOB_MAX; i++)
		if (j->job[i].mover) mover_pause(j->job[i].mover, paused);
}

bool jobs_promote(const struct jobs *j)
{
	return j->promote;
}

const char *jobs_mark(const struct jobs *j)
{
	return j->mark;
}

json_t *jobs_describe(const struct jobs *j, enum transition_job job)
{
	const struct job *b = &j->job[job];
	if (b->mover) return mover_describe(b->mover);
	if (!b->why[0]) return NULL;
	return json_pack("{s:s, s:s}", "kind", transition_job_name(job), "last_error", b->why);
}

const char *jobs_trouble(const struct jobs *j)
{
	const struct job *b = &j->job[JOB_MOVE];
	return b->state == JOB_FAILED && strstr(b->why, MOVER_MARK_GONE) ? b->why : NULL;
}

void jobs_forget(struct jobs *j)
{
	for (int i = 0; i < TRANSITION_JOB_MAX; i++) job_set(&j->job[i], "");
}

/* --- when it is over
 * ------------------------------------------------------------------------------ */

static void clean_on_unmarked(void *ctx, bool ok, const char *why)
{
	struct job *b = ctx;
	b->mark = NULL;
	if (!ok) log_notice("marks of the last transition may be left: %s", why);
	b->state = JOB_DONE;
}

void jobs_clean_up(struct jobs *j)
{
	const char *mark = j->state.transition ? jobs_rules(j)->mark : NULL;
	if (!j->state.transition || j->cleaner.state != JOB_IDLE) return;
	failpoint("clean begins");
	if (!j->redis || !mark || !mark[0]) {
		j->cleaner.state = JOB_DONE; /* it never came to DUAL */
		return;
	}
	j->cleaner.state = JOB_RUNS;
	mark_begin(&j->cleaner, EPOCH_CLEAN, mark, EPOCH_TIMEOUT_MS, clean_on_unmarked);
}

/* --- life ----------------------------------------------------------------------------------------
 */

struct jobs *jobs_new(struct io_loop *l, const struct jobs_events *events)
{
	struct jobs *j = calloc(1, sizeof(*j));
	if (!j) abort();
	j->loop = l;
	j->events = *events;
	for (unsigned i = 0; i < TRANSITION_JOB_MAX; i++)
		j->job[i] = (struct job){ .jobs = j, .kind = (enum transition_job)i };
	j->cleaner = (struct job){ .jobs = j, .kind = TRANSITION_JOB_MAX };
	io_timer_init(&j->retry, l, jobs_on_retry, j);
	return j;
}

void jobs_free(struct jobs **jobs)
{
	struct jobs *j = *jobs;
	if (!j) return;
	for (int i = 0; i < TRANSITION_JOB_MAX; i++) job_stop(&j->job[i]);
	job_stop(&j->cleaner);
	io_timer_stop(&j->retry);
	topology_free(&j->ring);
	topology_free(&j->next);
	pool_state_fini(&j->state);
	json_decref(j->names);
	free(j);
	*jobs = NULL;
}
